"""The report of an identification."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from roboopt import report
from roboopt.cli import _identify_tables as tables
from roboopt.cli._recorded import Recorded
from roboopt.data import Trajectory
from roboopt.diagnose import Finding
from roboopt.objectives import PredictionError
from roboopt.report import (
    MODELS,
    Change,
    Details,
    Figure,
    Notes,
    Section,
    Table,
    forecast_errors,
    predictions,
    whiskers,
)
from roboopt.sysid import Forecasts, IdentifyResult

WINDOW = 0.5  # s, of the predictions that are drawn
SHOWN = 4.0  # s of a run that are drawn
FITTED = {"fitted": MODELS["fitted"], "URDF": MODELS["URDF"]}
MEASURED = {"measured": "currentColor"}


@dataclass(frozen=True)
class Run:
    """Everything that an identification knows when it is over."""

    title: str
    found: IdentifyResult
    rows: list[tables.Parameter]
    forecasts: Forecasts | None
    recorded: Sequence[Recorded]
    findings: Sequence[Finding]
    split: str
    verdict: list[str]
    settings: dict[str, Any]


def write(path: Path, run: Run) -> None:
    """Write `report.html`."""
    made = [
        _parameters(run),
        _forecasts(run),
        _motions(run),
        _knowledge(run),
        _recordings(run),
        _settings(run),
    ]
    report.write_report(
        path,
        title=run.title,
        verdict=run.verdict,
        sections=[section for section in made if section is not None],
    )


def _parameters(run: Run) -> Section:
    known = any(row.true is not None for row in run.rows)
    legend = {"start": MODELS["URDF"], "estimate": MODELS["fitted"]}
    caption = (
        "How far the estimates are from the start, with their 95 % intervals. Hollow: "
        "the recordings do not tell the parameter by itself."
    )
    if known:
        caption += " Crosses: the true values of the simulated robot."
    return Section(
        "Parameters",
        [
            Figure(_changes(run.rows), caption, legend),
            Table(tables.header(run.rows), [row.cells() for row in run.rows]),
        ],
    )


def _changes(rows: Sequence[tables.Parameter]) -> list[str]:
    """Return a panel a quantity: what has a unit in common, axes together."""
    groups: dict[tuple[str, str], list[Change]] = {}
    for row in rows:
        quantity, _, where = row.name.partition(" = ")[0].partition("[")
        family, _, axis = quantity.partition(".")
        place = " ".join(part for part in (axis, where.rstrip("]")) if part)
        known = row.identified
        change = Change(
            place or family,
            row.estimate - row.start,
            row.lower - row.start if known else -np.inf,
            row.upper - row.start if known else np.inf,
            None if row.true is None else row.true - row.start,
        )
        groups.setdefault((family, row.unit), []).append(change)
    return [
        whiskers(family.replace("_", " "), unit, changes)
        for (family, unit), changes in groups.items()
    ]


def _forecasts(run: Run) -> Section | None:
    made = run.forecasts
    if made is None:
        return None
    named = tables.coordinates(run.found.model.robot)
    named = tables.coordinates(run.found.model.robot)
    head = ("RMSE", "", *tables.ahead(made.seconds))
    table = Table(head, tables.forecast_rows(made, run.found.model.robot))
    blocks: list[Any] = [table]
    which = "what the fit did not see" if run.found.held_out else "what was fitted"
    said = (
        "Root mean square errors of forecasts that begin at measured states and follow "
        f"the measured actions open loop, on {which}: {run.split}."
    )
    if len(made.seconds) > 1:
        panels = [
            forecast_errors(
                name, unit, made.seconds, {m: made.rmse[m][:, i] for m in tables.MODELS}
            )
            for i, (name, unit) in enumerate(named)
        ]
        blocks.append(Figure(panels, "", dict(MODELS)))
    return Section("Forecasts", [Notes([said]), *blocks])


def _motions(run: Run) -> Section | None:
    found = run.found
    longest = max(found.held_out or found.training, key=lambda motion: motion.steps)
    steps = max(1, round(WINDOW / longest.time_step))
    count = min(longest.steps, round(SHOWN / longest.time_step)) // steps
    if count < 1:
        return None
    states = np.asarray(longest.observations)[: count * steps + 1]
    shown = Trajectory(states, longest.actions[: count * steps], longest.time_step)
    models = {"URDF": found.before, "fitted": found.model}
    curves = {label: _windows(model, shown, steps) for label, model in models.items()}
    time = np.arange(len(states)) * longest.time_step
    panels = [
        predictions(
            name,
            unit,
            time,
            states[:, i],
            {label: windows[..., i] for label, windows in curves.items()},
        )
        for i, (name, unit) in enumerate(tables.coordinates(found.model.robot))
    ]
    what = "held out" if found.held_out else "fitted"
    smoothed = "" if found.cutoff is None else f", smoothed above {found.cutoff:.3g} Hz"
    caption = (
        f"A recording that was {what}{smoothed}, and predictions that begin anew at "
        f"the measured state every {steps * longest.time_step:.3g} s. Curves that "
        "leave the picture are cut off."
    )
    figure = Figure(panels, caption, {**MEASURED, **FITTED})
    return Section("Predicted and measured motion", [figure])


def _windows(model: Any, shown: Trajectory, steps: int) -> np.ndarray:
    """Return predicted states with those that they begin at, (window, node, state)."""
    objective = PredictionError(horizon=steps)
    apart = np.asarray(eqx.filter_jit(objective.errors)(model, shown))
    states = np.asarray(shown.observations)
    nodes = np.arange(len(apart))[:, None] * steps + np.arange(steps + 1)
    measured = states[nodes]
    return np.concatenate([measured[:, :1], measured[:, 1:] + apart], axis=1)


def _knowledge(run: Run) -> Section:
    verdict = run.found.verdict
    said = [tables.conditioning(verdict)]
    blocks: list[Any] = [Notes(said)]
    loose = [row.name for row in run.rows if row.kind == "only in combination"]
    if verdict.combinations:
        one = "Of the parameters that are known only in combination, these sums are:"
        blocks.append(Notes([one]))
        blocks.append(Notes([str(c) for c in verdict.combinations]))
    elif loose:
        blocks.append(Notes([f"Not known well by themselves: {', '.join(loose)}."]))
    still = [row.name for row in run.rows if row.kind == "not excited"]
    if still:
        blocks.append(Notes([f"The recordings do not depend on {', '.join(still)}."]))
    values = ", ".join(f"{value:.3g}" for value in verdict.singular_values)
    if values:
        blocks.append(Details("The singular values", values))
    return Section("What the recordings tell", blocks)


def _recordings(run: Run) -> Section:
    rows = [
        [
            f"{number}: {one.source}",
            f"{one.run.steps}",
            f"{one.run.steps * one.run.time_step:.4g}",
            f"{1e3 * one.run.time_step:.4g}",
        ]
        for number, one in enumerate(run.recorded)
    ]
    found = run.found
    how = {
        "motion": "of the predicted motion, through the twin",
        "effort": "of the efforts, through inverse dynamics",
        "both": "of the predicted motion and of the efforts",
    }[found.error]
    noise = "They are clean and were not smoothed."
    if found.cutoff is not None:
        noise = f"They were smoothed above {found.cutoff:.3g} Hz."
    said = [
        f"The fit minimized errors {how}. {noise} Of them {run.split}.",
        *(f"{f.severity.capitalize()}, {f.code}: {f}" for f in run.findings),
    ]
    if not run.findings:
        said.append("The checks found nothing wrong with them.")
    head = ("recording", "steps", "duration [s]", "mean step [ms]")
    return Section("The recordings", [Table(head, rows), Notes(said)])


def _settings(run: Run) -> Section:
    text = json.dumps(run.settings, indent=2, ensure_ascii=False)
    said = (
        'The model loads back, ready to predict, with roboopt.load("model.npz"), and '
        "identified.urdf is the robot's file with what was fitted."
    )
    return Section(
        "Settings", [Notes([said]), Details("The exact settings of this run", text)]
    )
