"""The report of learning from reward, put together from what was measured."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

import roboopt as ro
from roboopt import report
from roboopt.cli._clone_tables import HEADER
from roboopt.cli._comparison import readable
from roboopt.cli._motions import motions
from roboopt.cli._reinforce_tables import LEARNED, START, Outcome
from roboopt.diagnose import HISTORY_TITLES
from roboopt.report import COLORS, Details, Figure, Notes, Section, Table

SHOWN = 9  # episodes, of all that were judged
UNITS = {"approximate_kl": "nat", "entropy": "nat", "negative_entropy": "nat"}
SHARES = 60  # of successes at most, each of 20 neighboring episodes or more
HIDDEN = ("loss",)
FROM_SAMPLES = "approximate_kl", "clip_fraction"
"""How far the policy is from the one that acted: not at all on the first step."""


@dataclass(frozen=True)
class Run:
    """Everything that a run knows when it is over."""

    title: str
    env: Any
    outcome: Outcome
    settings: dict[str, Any]
    film: bytes | None
    target: float | None

    @property
    def learned(self) -> ro.rl.ReinforceResult:
        """Return what was learned, and how."""
        return self.outcome.learned


def write(path: Any, run: Run) -> None:
    """Write `report.html`."""
    made = [
        _results(run),
        _film(run),
        _returns(run),
        _health(run),
        _terms(run),
        _motions(run),
        _settings(run),
    ]
    report.write_report(
        path,
        title=run.title,
        verdict=run.outcome.sentences(),
        sections=[section for section in made if section is not None],
    )


def _results(run: Run) -> Section:
    episodes = len(run.outcome.judged[LEARNED].returns)
    said = f"Over {episodes} episodes that it did not learn from"
    if START in run.outcome.judged:
        said += ", from the same starts for both"
    said += "; nothing was left to chance in its actions."
    chosen = [f"{k.capitalize()}: {v}." for k, v in run.learned.choice.items()]
    return Section(
        "Doing the task", [Table(HEADER, run.outcome.rows()), Notes([said, *chosen])]
    )


def _film(run: Run) -> Section | None:
    if run.film is None:
        return None
    said = "The first of the fresh episodes, in real time."
    return Section("Video", [report.Video(run.film, said)])


def _returns(run: Run) -> Section:
    learned, result = run.learned, run.learned.result
    returns = learned.returns
    taken = (
        f"{learned.message[0].upper()}{learned.message[1:].rstrip('.')}. "
        f"{learned.timesteps} steps of the environment, {len(returns)} episodes and "
        f"{result.steps} gradient steps took {result.seconds:.1f} s, of which the "
        f"first gradient step, with the compilation, took {result.compile_seconds:.1f} "
        "s."
    )
    if not len(returns):
        return Section(
            "The learning", [Notes([taken, "No episode ended while it learned."])]
        )
    steps, over = returns.column("timestep"), "environment step"
    drawn = [
        _over(run, "Return", steps, over),
        _over(run, "Return over time", returns.column("seconds"), "time [s]"),
    ]
    if len(set(lengths := returns.column("length"))) > 1:
        drawn.append(
            report.spread("Steps an episode", steps, lengths, axis=over, logs=False)
        )
    success = returns.column("success")
    if np.isfinite(success).any():
        drawn.append(_success(steps, success))
    caption = (
        "Each episode while it learned, chance in its actions included where there is "
        "some: the median, and the band that 80 % of neighboring episodes lie in."
    )
    if run.target is not None:
        caption += " Dashed, the target."
    return Section("The learning", [Notes([taken]), Figure(drawn, caption)])


def _over(run: Run, title: str, places: np.ndarray, axis: str) -> str:
    earned = run.learned.returns.column("return")
    return report.spread(title, places, earned, axis=axis, level=run.target, logs=False)


def _success(steps: np.ndarray, success: np.ndarray) -> str:
    """Draw the share of successes; single ones are 0 or 1, and have no quantiles."""
    count = max(1, min(SHARES, len(success) // 20))
    groups = np.array_split(np.arange(len(success)), count)
    places = np.array([steps[g].mean() for g in groups])
    shares = np.array([np.nanmean(success[g]) for g in groups])
    axis = "environment step"
    return report.spread("Success", places, shares, axis=axis, logs=False)


def _health(run: Run) -> Section | None:
    history = run.learned.history
    found = {
        name: history[name]
        for name in HISTORY_TITLES
        if name in history and (run.learned.reused > 1 or name not in FROM_SAMPLES)
    }
    drawn = [_over_steps(HISTORY_TITLES[name], found[name], name) for name in found]
    said = run.outcome.health() or ["Nothing is wrong with the gradients."]
    caption = "Over the gradient steps: the median, and the band of 80 % of them."
    norms = run.outcome.norms
    if norms is not None:
        places = norms.horizons
        drawn += [
            report.spread(name, places, values, axis="steps of simulation", logs=True)
            for name, values in (
                ("Norm by the horizon", norms.norms),
                ("Signal to noise by the horizon", norms.signal_to_noise),
            )
        ]
        caption += (
            " By the horizon, the exact gradient through the twin at what it began "
            f"with, over {norms.starts} starts."
        )
    if not drawn:
        return None
    return Section("The gradient's health", [Notes(said), Figure(drawn, caption)])


def _over_steps(title: str, values: np.ndarray, name: str) -> str:
    return report.spread(
        title[0].upper() + title[1:],
        np.arange(len(values)),
        values,
        axis="gradient step",
        unit=UNITS.get(name, "1"),
    )


def _terms(run: Run) -> Section | None:
    history = run.learned.result.history
    rest = [
        name for name in history if name not in HISTORY_TITLES and name not in HIDDEN
    ]
    if not rest:
        return None
    drawn = [_over_steps(readable(name), history[name], name) for name in rest]
    return Section("What was minimized", [Figure(drawn)])


def _motions(run: Run) -> Section:
    judged = run.outcome.judged
    shown = {
        name: found.trajectories.episodes()[:SHOWN] for name, found in judged.items()
    }
    return motions(run.env, shown, {name: COLORS[name] for name in judged})


def _settings(run: Run) -> Section:
    text = json.dumps(run.settings, indent=2, ensure_ascii=False)
    return Section("Settings", [Details("The exact settings of this run", text)])
