"""The sections of the report of `reinforce`."""

from typing import Any

import numpy as np

from roboopt.diagnose import HISTORY_TITLES as TITLES
from roboopt.report import COLORS, Figure, Notes, Panel, Section, Table, spread, traces
from roboopt.rl._result import ReinforceResult, health_sentences

MAX_MOTIONS, MAX_PANELS = 9, 24
MAX_SUCCESS_POINTS, MIN_SUCCESS_GROUP = 60, 20
UNITS = {"approximate_kl": "nat", "entropy": "nat", "negative_entropy": "nat"}
REUSE_ONLY = "approximate_kl", "clip_fraction"
"""Distances from the policy that acted, which are 0 on the first gradient step."""
MEDIAN_AND_BAND = "the median, and the band that 80 % of neighboring {} lie in"


def sections(result: ReinforceResult, video: bool) -> list[Section]:
    """Return the sections of the report in order."""
    made = [
        _evaluation(result),
        _learning(result),
        _health(result),
        _loss(result),
        _motions(result),
    ]
    return [section for section in made if section is not None]


def _evaluation(result: ReinforceResult) -> Section:
    notes = [f"{name.capitalize()}: {text}." for name, text in result.choice.items()]
    if result.evaluation is not None:
        notes.insert(
            0,
            f"{len(result.evaluation.returns)} fresh episodes without exploration, "
            "from the same starts for both.",
        )
    tables = [x for x in result.summary().tables if isinstance(x, Table)]
    return Section("Evaluation", [*tables, Notes(notes)])


def _learning(result: ReinforceResult) -> Section:
    returns = result.returns
    text = (
        f"{result.message[0].upper()}{result.message[1:].rstrip('.')}. "
        f"{result.timesteps} environment steps, {len(returns)} episodes and "
        f"{result.steps} gradient steps took {result.seconds:.1f} s, of which the "
        f"first gradient step took {result.compile_seconds:.1f} s."
    )
    if not len(returns):
        return Section("Learning", [Notes([text, "No episode ended."])])
    steps, axis = returns.timesteps.astype(float), "environment step"
    over_time = {"axis": "time [s]", "level": result.target, "logs": False}
    panels = [
        spread(
            "Return",
            steps,
            returns.returns,
            axis=axis,
            level=result.target,
            logs=False,
        ),
        spread("Return over time", returns.seconds, returns.returns, **over_time),
    ]
    if len(np.unique(returns.lengths)) > 1:
        title = "Steps an episode"
        panels.append(
            spread(title, steps, returns.lengths.astype(float), axis=axis, logs=False)
        )
    if np.isfinite(returns.successes).any():
        panels.append(_success(steps, returns.successes, axis))
    caption = "Each episode of the learning, exploration included: "
    caption += f"{MEDIAN_AND_BAND.format('episodes')}."
    if result.target is not None:
        caption += " Dashed, the target."
    return Section("Learning", [Notes([text]), Figure(panels, caption)])


def _success(steps: np.ndarray, success: np.ndarray, axis: str) -> str:
    """Draw the share of successes among neighbors: single ones have no quantiles."""
    count = max(1, min(MAX_SUCCESS_POINTS, len(success) // MIN_SUCCESS_GROUP))
    groups = np.array_split(np.arange(len(success)), count)
    places = np.array([steps[g].mean() for g in groups])
    shares = np.array([np.nanmean(success[g]) for g in groups])
    return spread("Success", places, shares, axis=axis, logs=False)


def _health(result: ReinforceResult) -> Section | None:
    names = [
        name
        for name in TITLES
        if name in result.history and (result.reused > 1 or name not in REUSE_ONLY)
    ]
    panels = [_over_steps(result, name, TITLES[name]) for name in names]
    notes = health_sentences(result.health) or ["No finding about the gradients."]
    caption = f"Over the gradient steps: {MEDIAN_AND_BAND.format('steps')}."
    norms = result.gradient_by_horizon
    if norms is not None:
        for title, values in (
            ("Norm by horizon", norms.norms),
            ("Signal to noise by horizon", norms.signal_to_noise),
        ):
            axis = "steps of simulation"
            panels.append(
                spread(
                    title, norms.horizons.astype(float), values, axis=axis, logs=True
                )
            )
        caption += (
            " By horizon: the exact gradient through the twin at the start, over "
            f"{norms.starts} starts."
        )
    if not panels:
        return None
    return Section("Gradient health", [Notes(notes), Figure(panels, caption)])


def _over_steps(result: ReinforceResult, name: str, title: str) -> str:
    values = np.asarray(result.history[name])
    title, unit = title[0].upper() + title[1:], UNITS.get(name, "1")
    places = np.arange(float(len(values)))
    return spread(title, places, values, axis="gradient step", unit=unit)


def _loss(result: ReinforceResult) -> Section | None:
    names = [name for name in result.history if name not in TITLES and name != "loss"]
    panels = [_over_steps(result, name, name.replace("_", " ")) for name in names]
    return Section("Loss", [Figure(panels)]) if panels else None


def _motions(result: ReinforceResult) -> Section | None:
    if result.evaluation is None:
        return None
    shown = {
        name: found.trajectories[:MAX_MOTIONS]
        for name, found in result.evaluations.items()
    }
    first = shown["learned"][0]
    panels = []
    for kind in ("observation", "action"):
        size = np.shape(getattr(first, f"{kind}s"))[-1]
        for axis in range(size):
            runs = {
                name: _padded(
                    [np.asarray(getattr(x, f"{kind}s"), float)[:, axis] for x in found]
                )
                for name, found in shown.items()
            }
            panels.append(Panel(f"{kind} {axis}", "1", runs))
    caption = f"{len(shown['learned'])} of the episodes, the first in bold."
    if len(panels) > MAX_PANELS:
        caption += f" The first {MAX_PANELS} of {len(panels)} axes are drawn."
    legend = {name: COLORS.get(name, COLORS["started from"]) for name in shown}
    drawn = traces(panels[:MAX_PANELS], first.time_step)
    return Section("Motions", [Figure(drawn, caption, legend)])


def _padded(values: list[np.ndarray]) -> Any:
    """Return rows of different lengths as one array, NaN where one has ended."""
    rows = np.full((len(values), max(map(len, values))), np.nan)
    for row, some in zip(rows, values, strict=True):
        row[: len(some)] = some
    return rows
