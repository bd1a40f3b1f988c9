"""The sections of an identification's report."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from roboopt._programs import called
from roboopt._progress import counted
from roboopt.data import Trajectory
from roboopt.diagnose import IdentifiabilityReport, gradient_section
from roboopt.objectives import PredictionError
from roboopt.report import Details, Figure, Notes, Section, Table, replay_section
from roboopt.sysid._figures import (
    COLORS,
    fit_losses,
    forecast_errors,
    predictions,
    whiskers,
)
from roboopt.sysid._parameters import (
    COMBINED,
    NOT_EXCITED,
    Parameter,
    number,
    only_rounding,
    parameter_table,
)
from roboopt.sysid._simulation_tables import (
    recording_table,
    simulation_sentence,
    simulation_table,
)
from roboopt.sysid._tables import (
    MODELS,
    base_sentence,
    base_table,
    combination_table,
    coordinates,
    effort_sentence,
    effort_table,
    exact_sentence,
    forecast_table,
    known_first,
)
from roboopt.view import RobotMotions

if TYPE_CHECKING:
    from roboopt.sysid._result import IdentifyResult

WINDOW_S = 0.5  # of one prediction that is drawn
MIN_SINGULAR = 1e-11  # of the largest value: what is less is rounding
MAX_ROWS = 40  # of a table of parameters before those not excited are folded
MAX_DRAWN = 1000  # points of a curve
SHOWN_S = 4.0  # of a recording that is drawn
REPLAYED = (
    "The robot as it was measured and, as ghosts, as its URDF and the fitted model "
    f"predict it, from the measured state anew every {WINDOW_S:g} s."
)
ERRORS = {
    "motion": "of the predicted motion, through the twin",
    "effort": "of the efforts, through inverse dynamics",
    "both": "of the predicted motion and of the efforts",
}
USES = {"fit": "the fit", "held out": "judging", "both": "the fit, its end for judging"}


def sections(found: "IdentifyResult") -> list[Section]:
    """Return the sections of the report, in order."""
    made = [
        _efforts(found),
        _forecasts(found),
        _motions(found),
        _simulations(found),
        replay_section(found.robot_motions(), REPLAYED),
        _base_parameters(found),
        _parameters(found.parameters),
        _identifiability(found),
        _fits(found),
        None if only_rounding(found.explained) else _gradient(found),
        _recordings(found),
    ]
    return [section for section in made if section is not None]


def _parameters(rows: Sequence[Parameter]) -> Section:
    """Return the parameters, with one panel a quantity, its axes and links together."""
    groups: dict[tuple[str, str], list[tuple[str, Parameter]]] = {}
    for row in rows:
        quantity, _, where = row.name.partition(" = ")[0].partition("[")
        family, _, axis = quantity.partition(".")
        place = " ".join(part for part in (axis, where.rstrip("]")) if part)
        groups.setdefault((family, row.unit), []).append((place or family, row))
    families, panels = [family for family, _ in groups], []
    for (family, unit), group in groups.items():
        several = f" [{unit}]" if families.count(family) > 1 else ""
        title = family.replace("_", " ") + several
        panels.append(whiskers(title, unit, group))
    known = any(row.true is not None for row in rows)
    caption = (
        "Estimates less the starts, with 95 % intervals. Hollow circles are parameters "
        "that the data do not determine by themselves"
        f"{', crosses the true values' if known else ''}."
    )
    legend = {"start": COLORS["URDF"], "estimate": COLORS["fitted"]}
    long = len(rows) > MAX_ROWS
    still = [row for row in rows if long and row.verdict == NOT_EXCITED]
    told = [row for row in rows if row not in still]
    blocks: list[Any] = [Figure(panels, caption, legend)]
    blocks.append(parameter_table(told))
    if still:
        count = counted(len(still), "parameter")
        said = f"{count} that the recordings tell too little of"
        lines = (
            f"{row.name} [{row.unit}]: {number(row.start)} → {number(row.estimate)}"
            for row in still
        )
        blocks.append(Details(said, "\n".join(lines)))
    return Section("Parameters", blocks)


def _efforts(found: "IdentifyResult") -> Section | None:
    made = found.efforts
    if made is None:
        return None
    said = [
        "Root mean square errors of the efforts that the recorded motion takes, by "
        f"inverse dynamics. {effort_sentence(made)}"
    ]
    if made.unconstrained is not None:
        said.append(
            "The last column is what least squares in the base parameters leave, whose "
            "robot need not be possible: on the recordings of the fit no rigid robot "
            "with this friction does better, on others one may."
        )
    return Section("Efforts", [Notes(said), effort_table(made, found.model)])


def _base_parameters(found: "IdentifyResult") -> Section | None:
    base = () if found.efforts is None else found.efforts.base
    if not base:
        return None
    told = [
        "Base parameters are the fewest numbers that all efforts are linear in: "
        "masses m, first moments m·x and inertias I about the origin of the "
        "joint's frame, joined where the recordings tell only their sum. "
        f"{base_sentence(base)} σ is the standard deviation, which counts how long an "
        "error of the efforts lasts, and a value is known to 1.96 σ, half its 95 % "
        "interval. The terms of a sum that contribute most are named."
    ]
    if found.error == "both":
        told.append(
            "The fit also counted errors of the motion: fitted values may lie outside "
            "of the intervals where the robot is more than its model, as in its gears."
        )
    whole = "\n".join(row.name for row in known_first(base))
    blocks = [Notes(told), base_table(base), Details("The whole sums", whole)]
    return Section("Base parameters", blocks)


def _forecasts(found: "IdentifyResult") -> Section | None:
    made = found.forecasts
    if made is None:
        return None
    on = "recordings that the fit has not seen" if found.held_out else "the fitted data"
    said = (
        "Root mean square errors of forecasts that begin at measured states and follow "
        f"the measured actions open loop, on {on}: {found.split}."
    )
    blocks: list[Any] = [Notes([said]), forecast_table(made, found.model)]
    if len(made.seconds) > 1:
        panels = [
            forecast_errors(
                name, unit, made.seconds, {m: made.rmse[m][:, i] for m in MODELS}
            )
            for i, (name, unit) in enumerate(coordinates(found.model))
        ]
        caption = (
            "Root mean square error by how far ahead the forecast is; forecasts.csv "
            f"holds all numbers.{exact_sentence(made, found.model)}"
        )
        blocks.append(Figure(panels, caption, COLORS))
    return Section("Forecasts", blocks)


def predicted_motions(found: "IdentifyResult") -> RobotMotions | None:
    """Return the recording of `_motions` in 3D, with the predictions as ghosts."""
    predicted = None if found.scene is None else _predicted(found)
    if found.scene is None or predicted is None:
        return None
    shown, _, _, curves = predicted
    joints = len(found.scene.robot.joint_names)
    runs = {
        label: np.concatenate([*windows[:, :-1], windows[-1, -1:]])
        for label, windows in curves.items()
    }
    runs["measured"] = np.asarray(shown.observations)
    return RobotMotions(
        found.scene,
        {label: [rows[:, :joints]] for label, rows in runs.items()},
        float(shown.time_step),
        colors={label: COLORS[label] for label in curves},
    )


def _predicted(
    found: "IdentifyResult",
) -> tuple[Trajectory, int, int, dict[str, np.ndarray]] | None:
    """Return part of the longest recording, and its predictions.

    Between them stand the number of its first step, and the steps of a window.
    """
    longest = max(found.held_out or found.training, key=lambda run: run.steps)
    step = longest.time_step
    steps = max(1, round(WINDOW_S / step))
    count = min(longest.steps, round(SHOWN_S / step)) // steps
    if count < 1:
        return None
    states = np.asarray(longest.observations)
    first = _liveliest(states, count * steps)
    last = first + count * steps
    shown = Trajectory(states[first : last + 1], longest.actions[first:last], step)
    models = {"URDF": found.before, "fitted": found.model}
    curves = {label: _windows(model, shown, steps) for label, model in models.items()}
    return shown, first, steps, curves


def _liveliest(states: np.ndarray, steps: int) -> int:
    """Return where to begin: at the start, unless there is twice the motion elsewhere.

    Robots often rest at first.
    """
    squares = np.square(states[:, states.shape[1] // 2 :]).sum(1)
    sums = np.append(0.0, np.cumsum(squares))
    motion = sums[steps + 1 :] - sums[: -steps - 1]
    return int(motion.argmax()) if 2 * motion[0] < motion.max() else 0


def _motions(found: "IdentifyResult") -> Section | None:
    if (predicted := _predicted(found)) is None:
        return None
    shown, first, steps, curves = predicted
    states, step = np.asarray(shown.observations), shown.time_step
    time = (first + np.arange(len(states))) * step
    panels = []
    for i, (name, unit) in enumerate(coordinates(found.model)):
        drawn = {label: windows[..., i] for label, windows in curves.items()}
        panels.append(predictions(name, unit, time, states[:, i], drawn))
    smoothed = "" if found.cutoff is None else f", smoothed above {found.cutoff:.3g} Hz"
    caption = (
        "Part of the longest recording that was "
        f"{'held out' if found.held_out else 'fitted'}{smoothed}, "
        "and predictions that begin anew at the measured state every "
        f"{steps * step:.3g} s. Curves that leave the panel are cut off."
    )
    legend = {"measured": "gray", **{m: COLORS[m] for m in MODELS[:2]}}
    return Section("Predicted and measured motion", [Figure(panels, caption, legend)])


def _simulations(found: "IdentifyResult") -> Section | None:
    made = found.simulations
    if made is None:
        return None
    off = (
        "A joint is off where its error first exceeds the standard deviation of its "
        "recorded motion; times are medians of the recordings."
    )
    twin = found.model.inner
    commanded = twin.effort_axes is not None or twin.interface != "torque"
    time, recorded, simulated = made.shown
    few = slice(None, None, max(1, len(time) // MAX_DRAWN))
    panels = [
        predictions(
            name,
            unit,
            time[few],
            recorded[few, i],
            {label: simulated[label][None, few, i] for label in MODELS[:2]},
            label=f"{name}: simulated and measured",
        )
        for i, (name, unit) in enumerate(coordinates(found.model)[: found.model.joints])
    ]
    caption = (
        f"The longest recording that was {'held out' if found.held_out else 'fitted'}, "
        "simulated from its first measured state to its end with the recorded "
        f"{'commands' if commanded else 'efforts'}. Curves that leave the panel "
        "are cut off."
    )
    legend = {"measured": "gray", **{m: COLORS[m] for m in MODELS[:2]}}
    blocks = [
        Notes([simulation_sentence(made), off]),
        simulation_table(made, found.model),
        Figure(panels, caption, legend),
        recording_table(made, found.simulated_names, found.model),
    ]
    return Section("Simulation of whole recordings", blocks)


def _windows(model: Any, shown: Trajectory, steps: int) -> np.ndarray:
    """Return predictions with the states that they begin at, (window, node, state)."""
    objective = PredictionError(horizon=steps)
    errors = np.asarray(called(objective.errors, model, shown))
    nodes = np.arange(len(errors))[:, None] * steps + np.arange(steps + 1)
    measured = np.asarray(shown.observations)[nodes]
    return np.concatenate([measured[:, :1], measured[:, 1:] + errors], axis=1)


def _identifiability(found: "IdentifyResult") -> Section | None:
    report = found.identifiability
    if report is None or not found.conclusive:
        return None
    blocks: list[Any] = [Notes([_conditioning(report)])]
    verdicts = [parameter.verdict for parameter in found.parameters]
    base = found.efforts is not None and found.efforts.base
    if COMBINED in verdicts and base:
        said = "parameter is" if verdicts.count(COMBINED) == 1 else "parameters are"
        blocks.append(
            Notes(
                [
                    f"{verdicts.count(COMBINED)} {said} known only in combination: the "
                    "base parameters above are what is known of them."
                ]
            )
        )
    elif sums := report.combinations:
        said = (
            "The data determine these sums of parameters that are known only in "
            "combination, of which the terms that contribute most are named:"
        )
        whole = Details("The whole sums", "\n".join(map(str, sums)))
        blocks += [Notes([said]), combination_table(sums), whole]
    values = ", ".join(f"{value:.3g}" for value in report.singular_values)
    if values:
        blocks.append(Details("Singular values", values))
    return Section("Identifiability", blocks)


def _fits(found: "IdentifyResult") -> Section | None:
    history = found.result.history
    if "fit" not in history:  # as of results that were saved before
        return None
    caption = (
        "Half the mean square of the errors, with the prior, over the steps of all "
        "fits. A fit weighs the errors by the noise that the one before it left, so "
        "that losses of different fits have different units."
    )
    return Section("The fits", [Figure([fit_losses(history)], caption, columns=2)])


def _gradient(found: "IdentifyResult") -> Section | None:
    said = (
        f"L is half the mean square of the errors {ERRORS[found.error]}, in units of "
        "their noise, with the prior. How sharply it rises around the estimate is how "
        "well the recordings determine a parameter; the changes for 1 % are to second "
        "order, as the fit sees them."
    )
    return gradient_section(found.explained, {}, notes=[said])


def _conditioning(report: IdentifiabilityReport) -> str:
    singular = report.singular_values
    unseen = int(np.sum(singular <= MIN_SINGULAR * max(singular, default=0.0)))
    if unseen:
        return (
            f"Of {len(singular)} directions of the parameters that the data depend on, "
            f"{len(singular) - unseen} change the errors; along the others nothing "
            "changes, and only sums of the parameters are known, whatever is recorded."
        )
    said = (
        f"The sensitivities to the {len(singular)} parameters that the data depend on "
        f"have the condition number {report.condition:.3g}: the least known direction "
        "is that many times less certain than the best known. "
    )
    if report.condition < 100:
        return said + "The robot is well excited."
    if report.condition < 1e4:
        return said + "Some combinations are known much better than others."
    return said + (
        "Some combinations are practically unknown; a recording that moves all joints "
        "at different speeds and postures would determine more."
    )


def _recordings(found: "IdentifyResult") -> Section:
    rows = []
    for one in found.sources:
        duration, step = one.steps * one.time_step, 1e3 * one.time_step
        size = f"{one.steps}", f"{duration:.4g}", f"{step:.4g}"
        rows.append([one.name, *size, USES[one.use]])
    noise = "The recordings are clean and were not smoothed."
    if found.cutoff is not None:
        noise = f"The recordings were smoothed above {found.cutoff:.3g} Hz."
    checks = [f"{f.severity.capitalize()}, {f}" for f in found.findings]
    said = [
        f"The fit minimized errors {ERRORS[found.error]}. {noise} "
        f"{found.split.capitalize()}.",
        *(checks or ["The checks found nothing wrong with the recordings."]),
    ]
    head = ("recording", "steps", "duration [s]", "mean step [ms]", "used for")
    return Section("Recordings", [Table(head, rows, text=(0, 4)), Notes(said)])
