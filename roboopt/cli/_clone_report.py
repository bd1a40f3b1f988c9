"""The report of a cloning run, put together from what was measured."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

import roboopt as ro
from roboopt import report
from roboopt.cli._clone_recipe import Recipe
from roboopt.cli._clone_tables import HEADER, Outcome
from roboopt.cli._motions import action_names, motions, padded
from roboopt.report import (
    COLORS,
    Details,
    Figure,
    Notes,
    Panel,
    Section,
    Table,
    readable,
)

SHOWN = 9  # episodes, of all that were judged


@dataclass(frozen=True)
class Run:
    """Everything that a cloning run knows when it is over."""

    title: str
    env: Any
    plan: Recipe
    result: ro.Result
    held: list[tuple[int, float]]
    """Steps, and the mismatch there on what was held out."""
    outcome: Outcome
    findings: list[str]
    settings: dict[str, Any]
    film: bytes | None

    @property
    def legend(self) -> dict[str, str]:
        """Return the color of each who acted."""
        return {name: COLORS[name] for name in self.outcome.judged}

    @property
    def time_step(self) -> float:
        """Return what a step takes [s]."""
        return self.outcome.judged["clone"].trajectories[0].time_step


def write(path: Any, run: Run) -> None:
    """Write `report.html`."""
    made = [_results(run), _film(run), _training(run), _errors(run), _motions(run)]
    text = json.dumps(run.settings, indent=2, ensure_ascii=False)
    made.append(Section("Settings", [Details("The exact settings of this run", text)]))
    report.write_report(
        path,
        title=run.title,
        verdict=run.outcome.sentences(),
        sections=[section for section in made if section is not None],
    )


def _results(run: Run) -> Section:
    episodes = len(run.outcome.judged["clone"].returns)
    said = f"Over {episodes} random starts that no demonstration began at"
    if "demonstrator" in run.outcome.judged:
        said += f", the same for both. The demonstrator: {run.outcome.demonstrator}"
    summary = [f"{k.capitalize()}: {v}." for k, v in run.plan.summary.items()]
    checks = [f"Found in the demonstrations: {f}" for f in run.findings]
    notes = Notes([f"{said}.", *summary, *checks])
    return Section("Doing the task", [Table(HEADER, run.outcome.rows()), notes])


def _film(run: Run) -> Section | None:
    if run.film is None:
        return None
    said = "The first of the starts, in real time."
    return Section("Video", [report.Video(run.film, said)])


def _training(run: Run) -> Section:
    result = run.result
    losses = {
        readable(name): values
        for name, values in result.history.items()
        if name != "loss" or len(result.history) == 1
    }
    steps, values = np.array(run.held).T
    count = len(result.history["loss"])
    held = np.interp(np.arange(count), steps, values)
    panels = report.curves({**losses, "held out": held}, {})
    said = (
        f"{result.message[0].upper()}{result.message[1:].rstrip('.')}. {result.steps} "
        f"steps took {result.seconds:.1f} s, of which the first, with the compilation, "
        f"took {result.compile_seconds:.1f} s."
    )
    caption = (
        "The mismatch on each step's batch, and of the best policy so far on the "
        "demonstrations held out."
    )
    return Section("The training", [Notes([said]), Figure(panels, caption, columns=2)])


def _errors(run: Run) -> Section:
    errors = run.outcome.errors
    runs = padded(errors.over_time)
    unit = "1"
    if errors.choices:
        titles = "Other choice than demonstrated", "Other choice over time"
    else:
        titles = "Error by action", "Error over the actions' spread"
    bars = report.bars(
        titles[0],
        "1" if errors.choices else "actions' units",
        {"clone": errors.by_action},
        [name for name, _ in action_names(run.env)],
        axis="action",
    )
    over_time = report.traces([Panel(titles[1], unit, {"clone": runs})], run.time_step)
    caption = (
        "On demonstrations held out, what the clone would do where the demonstrator "
        f"was: {'the share of samples' if errors.choices else 'root mean squares'}, "
        "and over time for each episode."
    )
    return Section("The mismatch", [Figure([bars, *over_time], caption, columns=2)])


def _motions(run: Run) -> Section:
    shown = {
        name: found.trajectories[:SHOWN] for name, found in run.outcome.judged.items()
    }
    return motions(run.env, shown, run.legend)
