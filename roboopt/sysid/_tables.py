"""What judges an identification, as tables, in sentences, and as files."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roboopt.diagnose import Combination
from roboopt.dynamics import Multibody, ParametricTwin
from roboopt.report import Table, write_csv
from roboopt.rollouts import JointUnits
from roboopt.sysid._base_parameters import BaseParameter
from roboopt.sysid._effort_errors import WORSE_RATIO, EffortErrors
from roboopt.sysid._forecast import NO_ERROR, Forecasts
from roboopt.sysid._lacking import LACKING
from roboopt.sysid._parameters import MIN_SHARE, Parameter, number, percent
from roboopt.sysid._smoothing import MAX_NOISE_RATIO
from roboopt.sysid._suspicions import suspicion_sentence

MODELS = ("fitted", "URDF", "constant velocity")
NAMED = {
    "URDF": "those of the robot as given",
    "constant velocity": "constant velocity",
}
EQUAL_RATIO = 1.005  # of forecast errors
MIN_FRICTION = 0.01  # of the efforts: less may be an error of the model
MAX_WORSE = 3  # joints in a sentence
MAX_WHOLE_JOINTS = 3  # whose velocities a table shows
MAX_TERMS = 3  # of a sum in a table; files hold all


def combination_table(combinations: Sequence[Combination]) -> Table:
    """Return a row a combination: its largest terms, its value and 95 % interval."""
    rows = [
        [c.text(MAX_TERMS), number(c.value), f"± {number(c.half_width, 2)}"]
        for c in combinations
    ]
    return Table(("determined combination [SI]", "estimate", "95 % interval"), rows)


def coordinates(model: ParametricTwin) -> list[tuple[str, str]]:
    """Return the name and the unit of every coordinate of the state."""
    robot = model.robot
    return [
        (f"{joint} {quantity}", getattr(JointUnits.of(revolute), quantity))
        for quantity in ("position", "velocity")
        for joint, revolute in zip(robot.joint_names, robot.revolute, strict=True)
    ]


def forecast_table(made: Forecasts, model: ParametricTwin) -> Table:
    """Return a table of the forecasts' errors, three rows a coordinate.

    A robot of many joints has rows for positions alone.
    """
    times = ["one step", *(f"{s:.3g} s" for s in made.seconds[1:])]
    rows, shown = [], coordinates(model)
    if model.joints > MAX_WHOLE_JOINTS:
        shown = shown[: model.joints]
    for i, (name, unit) in enumerate(shown):
        for label in MODELS:
            first = f"{name} [{unit}]" if label == MODELS[0] else ""
            found = made.rmse[label][:, i]
            errors = (f"{e:.3g}" if not e <= NO_ERROR else "0" for e in found)
            rows.append([first, label, *errors])
    middle = tuple(range(3, 1 + len(times)))
    return Table(("RMSE of forecasts", "", *times), rows, text=(0, 1), optional=middle)


def forecast_sentence(made: Forecasts, joints: int, *, held_out: bool) -> str:
    """Return how much better the fitted robot forecasts than the others."""
    kind = "Held-out forecasts" if held_out else "Forecasts"
    when = "one step" if len(made.seconds) == 1 else f"{made.seconds[-1]:.3g} s"
    urdf, still = (
        comparison(float(made.ratio("fitted", other, joints)[-1]))
        for other in MODELS[1:]
    )
    return (
        f"{kind} after {when} are {urdf} those of the robot as given, and {still} "
        "those of constant velocities."
    )


def exact_sentence(made: Forecasts, model: ParametricTwin) -> str:
    """Return which errors a logarithmic axis cannot show, as they are 0; "" for none.

    The sentence begins with a space.
    """
    said = []
    for i, (name, _) in enumerate(coordinates(model)):
        exact = [m for m in MODELS if (made.rmse[m][:, i] <= NO_ERROR).all()]
        if exact:
            said.append(f"{name} of {' and '.join(exact)}")
    return f" Errors of 0 are not drawn: {', '.join(said)}." if said else ""


def _effort_rows(made: EffortErrors, model: ParametricTwin) -> list[tuple]:
    """Return the name, the unit and the errors of every driven joint."""
    robot, best = model.robot, made.unconstrained
    columns = made.recorded, made.before, made.fitted, best
    return [
        (
            robot.joint_names[joint],
            JointUnits.of(robot.revolute[joint]).effort,
            *(math.nan if c is None else float(c[k]) for c in columns),
        )
        for k, joint in enumerate(made.joints)
    ]


def effort_table(made: EffortErrors, model: ParametricTwin) -> Table:
    """Return a row a joint, with the fit's error over the effort in percent."""
    header = ("RMSE of efforts", "effort", "URDF", "fitted", "of the effort")
    cells = []
    for name, unit, effort, before, fitted, best in _effort_rows(made, model):
        share = f"{100 * fitted / effort:.3g} %" if effort > 0 else "–"
        errors = (f"{x:.3g}" for x in (effort, before, fitted))
        cells.append([f"{name} [{unit}]", *errors, share])
        if made.unconstrained is not None:
            cells[-1].append(f"{best:.3g}")
    if made.unconstrained is None:
        return Table(header, cells, text=(0,), optional=(1,))
    return Table((*header, "unconstrained"), cells, text=(0,), optional=(1,))


def base_table(rows: Sequence[BaseParameter]) -> Table:
    """Return a row a base parameter, known ones first: their largest terms alone."""
    header = ("base parameter", "URDF", "fitted", "least squares ± σ", "known to")
    cells = [
        [
            f"{row.combination.text(MAX_TERMS)} [{row.unit}]",
            number(row.start),
            number(row.estimate),
            f"{number(row.least_squares)} ± {number(row.deviation, 2)}",
            _known_to(row),
        ]
        for row in known_first(rows)
    ]
    return Table(header, cells, text=(0,), optional=(1,))


def _known_to(row: BaseParameter) -> str:
    if not row.known:
        return "0 inside"
    if row.impossible:
        return "impossible"
    share = row.combination.half_width / abs(row.least_squares)
    return "rounding" if share < MIN_SHARE else f"± {percent(share)}"


def known_first(rows: Sequence[BaseParameter]) -> list[BaseParameter]:
    """Return the base parameters, those that least squares know best first."""

    def order(row: BaseParameter) -> tuple[bool, float]:
        return not row.known, abs(row.deviation / (row.least_squares or 1.0))

    return sorted(rows, key=order)


def base_sentence(rows: Sequence[BaseParameter]) -> str:
    """Return how many base parameters there are, and are known."""
    known = sum(row.known for row in rows)
    told = f"The efforts determine {len(rows)} base parameters: least squares tell "
    if known == len(rows):
        return f"{told}all of them from 0."
    return (
        f"{told}{known} from 0, and of the other {len(rows) - known} zero is within "
        "the interval."
    )


def write_base_parameters(path: Path, rows: Sequence[BaseParameter]) -> None:
    """Write one row a base parameter, the whole sum as its name."""
    names = ("least_squares", "standard_deviation", "half_width")
    lines = [
        [
            *(row.name, row.unit, row.start, row.estimate, row.least_squares),
            *(row.deviation, row.combination.half_width),
        ]
        for row in rows
    ]
    write_csv(path, ["name", "unit", "URDF", "fitted", *names], lines)


def write_combinations(path: Path, rows: Sequence[Combination]) -> None:
    """Write one row a combination, the whole sum as its name."""
    lines = [[str(row), row.value, row.half_width] for row in rows]
    write_csv(path, ["name", "estimate", "half_width"], lines)


def suspicion_sentences(suspicions: tuple[str, ...]) -> list[str]:
    """Return what is likely wrong with the robot or the columns, and what follows."""
    if not suspicions:
        return []
    said = suspicion_sentence(suspicions)
    return [
        f"{said[0].upper()}{said[1:]} If that is so, the estimates, intervals and "
        "verdicts here do not hold."
    ]


def effort_sentences(
    made: EffortErrors, joints: Sequence[str], trusted: bool = True
) -> list[str]:
    """Return how well the efforts are met, and what is wrong with them or the model.

    Where the robot is not `trusted`, what its numbers tell of the cause is left out.
    """
    said = [effort_sentence(made)]
    sizes = dict(zip((joints[k] for k in made.joints), made.recorded, strict=True))
    reversed_joints = [
        j for j in joints if trusted and speeds_up(made.base, j, sizes.get(j, 0.0))
    ]
    if reversed_joints:
        said.append(
            f"By least squares the efforts of {', '.join(reversed_joints)} speed the "
            "motion up where friction would slow it: their sign, or that of the "
            "positions, is likely reversed."
        )
    if made.geared and trusted:
        said.append(
            "Rotor inertia, as a gear multiplies it, explains the efforts of "
            f"{', '.join(made.geared)} better: add armature to `free`."
        )
    excess = [] if made.excess is None else zip(joints, made.excess, strict=True)
    if ratios := [f"{j} {x:.3g}" for j, x in excess if x > MAX_NOISE_RATIO]:
        left = f"{', '.join(ratios)} times as much: {LACKING}"
        said.append(f"Least squares leave more of the efforts than noise, {left}")
    if made.without_offsets:
        said.append(
            "Offsets of the efforts are left out: the robot forecasts the recordings "
            "no better with them."
        )
    return said


def speeds_up(base: Sequence[BaseParameter], joint: str, effort: float = 0.0) -> bool:
    """Return whether least squares make a joint's friction drive it.

    A friction of less than `MIN_FRICTION` of the `effort` [N·m or N] is none.
    """
    known = [row for row in base if row.name == f"damping[{joint}]"]
    known += [
        row
        for row in base
        if row.name == f"friction[{joint}]"
        and abs(row.least_squares) > MIN_FRICTION * effort
    ]
    signs = [np.sign(row.least_squares) for row in known if row.known]
    return bool(signs) and max(signs) < 0


def missing_sentences(made: EffortErrors) -> list[str]:
    """Return which kinds of friction the fit lacks, or may lack."""
    said = []
    if made.falling:
        said.append(
            f"The friction of {', '.join(made.falling)} falls with speed near rest, as "
            "that of the fit does not: `free` stribeck_friction and stribeck_velocity, "
            "too."
        )
    if made.asymmetric:
        said.append(
            f"The effort_offset of {', '.join(made.asymmetric)} may be friction that "
            "depends on the direction, which explains the efforts as well: for that, "
            "`free` friction_asymmetry instead of effort_offset."
        )
    return said


def effort_sentence(made: EffortErrors) -> str:
    """Return how well the efforts are met, beside the yardstick and the robot given."""
    kind = "held-out efforts" if made.held_out else "efforts"
    error, given = (made.share(errors) for errors in (made.fitted, made.before))
    below = made.cutoff and f", smoothed above {made.cutoff:.3g} Hz,"
    said = f"The error of the {kind}{below or ''} is {100 * error:.3g} % of their RMS"
    if made.unconstrained is not None:
        best = 100 * made.share(made.unconstrained)
        said += f", that of least squares without physical limits {best:.3g} %"
    if made.failed:
        said += (
            f". That of the robot as given is less, {100 * given:.3g} %: the fit has "
            "failed, or the recordings contradict themselves. Do not use it"
        )
    return f"{said}."


def friction_sentences(
    before: Multibody,
    after: Multibody,
    rows: Sequence[Parameter],
    cutoff: float | None = None,
) -> list[str]:
    """Return what the velocity scales of friction are, where the fit changed them.

    Those that are parameters are left to their `rows` in the table.
    """
    joints, free = after.joint_names, {row.name for row in rows}
    scales = (
        np.broadcast_to(r.friction_velocity, len(joints)) for r in (before, after)
    )
    changed = [
        f"{joint} {number(new, 2)} {JointUnits.of(revolute).velocity}"
        for joint, revolute, old, new in zip(
            joints, after.revolute, *scales, strict=True
        )
        if not math.isclose(old, new, rel_tol=1e-6)
        and f"friction_velocity[{joint}]" not in free
    ]
    if not changed:
        return []
    filtered = "" if cutoff is None else f", smoothed above {cutoff:.3g} Hz,"
    return [
        f"By the recordings{filtered} friction is smooth below these velocities: "
        f"{', '.join(changed)}."
    ]


def write_efforts(path: Path, made: EffortErrors, model: ParametricTwin) -> None:
    """Write one row a joint; the column of least squares is empty without them."""
    header = ["joint", "unit", "effort", "URDF", "fitted", "unconstrained"]
    rows = [["" if x != x else x for x in row] for row in _effort_rows(made, model)]
    write_csv(path, header, rows)


def comparison(ratio: float) -> str:
    """Return how many times better one error is than another, as text."""
    if not math.isfinite(ratio) or ratio == 0:
        return "not comparable with"
    times = max(ratio, 1 / ratio)
    if times < EQUAL_RATIO:
        return "as good as"
    said = f"{times:.3g}" if times < 1000 else f"{times:,.0f}"
    if times > 1e6:  # exact but for rounding
        said = "over a million"
    return f"{said} times {'better' if ratio >= 1 else 'worse'} than"


def worse_forecasts(made: Forecasts, model: ParametricTwin) -> list[str]:
    """Return where forecasts of positions are worse than without the fit, or a model.

    Each other model that is better than the fitted one is named with its error.
    """
    errors = made.beyond_rounding()
    when = ["one step", *(f"{s:.3g} s" for s in made.seconds[1:])]
    said = []
    for other in MODELS[1:]:
        worse = errors["fitted"] > WORSE_RATIO * errors[other]
        found = []
        for i, (name, unit) in enumerate(coordinates(model)[: model.joints]):
            times = [
                f"{when[k]} ({errors['fitted'][k, i]:.3g} against "
                f"{errors[other][k, i]:.3g} {unit})"
                for k in np.flatnonzero(worse[:, i])
            ]
            if times:
                found.append(
                    f"{name.removesuffix(' position')} after {', '.join(times)}"
                )
        if found:
            rest = len(found) - MAX_WORSE
            more = f"; and of {rest} more joints" if rest > 0 else ""
            said.append(
                f"Forecasts are worse than {NAMED[other]}: of "
                f"{'; of '.join(found[:MAX_WORSE])}{more}."
            )
    return said


def write_forecasts(path: Path, made: Forecasts, model: ParametricTwin) -> None:
    """Write one row for each model and time, one column for each coordinate."""
    named = [f"{name} [{unit}]" for name, unit in coordinates(model)]
    rows = [
        [label, seconds, *row.tolist()]
        for label, errors in made.rmse.items()
        for seconds, row in zip(made.seconds, errors, strict=True)
    ]
    write_csv(path, ["model", "seconds", *named], rows)
