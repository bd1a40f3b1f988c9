"""The report of a tuning run, put together from what was measured."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from roboopt import report
from roboopt.cli import _parameters
from roboopt.cli._comparison import GAP_HEADER, GROUPS, HEADER, Comparison, readable
from roboopt.cli._judge import Runs
from roboopt.data import Trajectory
from roboopt.report import BEFORE_AFTER, Details, Figure, Notes, Panel, Section, Table

SHOWN = 9  # motions, of all that were made
LEGEND = dict(BEFORE_AFTER)
GOAL = {"goal": "currentColor dashed"}
LIMIT = {"limit": "currentColor dotted"}


@dataclass(frozen=True)
class Run:
    """Everything that a tuning run knows when it is over."""

    title: str
    recipe: Any
    result: Any
    runs: dict[str, Runs]
    comparison: Comparison
    settings: dict[str, Any]
    film: bytes | None

    @property
    def revolute(self) -> np.ndarray:
        """Return whether each joint turns."""
        return np.array(self.recipe.twin.robot.revolute)

    @property
    def shown(self) -> list[int]:
        """Return which of the motions are drawn, first the one filmed."""
        count = self.comparison.episodes
        others = (i for i in range(count) if i != self.comparison.filmed)
        return [self.comparison.filmed, *others][:SHOWN]

    @property
    def pybullet(self) -> dict[str, Trajectory]:
        """Return the motions in PyBullet by label."""
        return {label: run.pybullet for label, run in self.runs.items()}


def write(path: Any, run: Run) -> None:
    """Write `report.html`."""
    made = [
        _results(run),
        _film(run),
        _descent(run),
        _motions(run),
        _energy(run),
        _controller(run),
        _settings(run),
    ]
    report.write_report(
        path,
        title=run.title,
        verdict=run.comparison.verdict(),
        sections=[section for section in made if section is not None],
    )


def _results(run: Run) -> Section:
    comparison = run.comparison
    summary = [f"{k.capitalize()}: {v}." for k, v in run.recipe.summary.items()]
    said = (
        f"Means over {comparison.episodes} random starts that the tuning did not use; "
        "peaks are the largest of all. Both controllers ran from the same starts in "
        "PyBullet and in the twin."
    )
    return Section(
        "Before and after",
        [
            Table(HEADER, comparison.table(), GROUPS),
            Notes([said, *summary]),
            Table(GAP_HEADER, comparison.gap_table()),
        ],
    )


def _film(run: Run) -> Section | None:
    if run.film is None:
        return None
    which = "The first of the random starts"
    if run.comparison.telling is not None:
        which += " from which only one of the two succeeds"
    said = (
        f"{which}, in PyBullet and in real time: on the left the starting controller, "
        "on the right the tuned one."
    )
    return Section("Video", [report.Video(run.film, said)])


def _descent(run: Run) -> Section:
    result = run.result
    units = {
        name: term.unit
        for name, term in run.recipe.objective.measure(run.pybullet["after"]).items()
    }
    titles = {"loss": "objective"} | {name: readable(name) for name in units}
    history = {name: result.history[name] for name in titles}
    # The round that did best on fresh starts need not hold the lowest loss.
    best = int(np.nanargmin(np.abs(history["loss"] - result.loss)))
    panels = report.curves(history, units, best=best, titles=titles)
    caption = (
        "Means over the starts that the tuning used, in the twin. The dot marks the "
        f"controller that was kept, of step {best}."
    )
    said = (
        f"{_sentence(result.message)} {result.steps} steps took "
        f"{result.seconds:.1f} s, of which the first, with the compilation, took "
        f"{result.compile_seconds:.1f} s."
    )
    return Section("The descent", [Notes([said]), Figure(panels, caption, columns=2)])


def _motions(run: Run) -> Section:
    n = len(run.revolute)
    goals = run.pybullet["after"].observations[:, :, 2 * n :]
    aimed = goals.shape[-1] == n
    panels = [panel for joint in range(n) for panel in _joint(run, joint, aimed)]
    said = "Position relative to the goal" if aimed else "Position"
    caption = (
        f"{said}, velocity and effort in PyBullet from {len(run.shown)} of the starts, "
        "in bold the one filmed."
    )
    figures = [
        Figure(
            report.traces(panels, run.recipe.env.time_step),
            caption,
            LEGEND | GOAL | LIMIT,
        )
    ]
    if hasattr(run.recipe.env.task, "chain"):
        figures.insert(0, _tool(run))
    return Section("Motions before and after", figures)


def _joint(run: Run, joint: int, aimed: bool) -> list[Panel]:
    """Return a joint's position, velocity, and effort if it is driven."""
    env, n = run.recipe.env, len(run.revolute)
    unit, effort = ("rad", "N·m") if run.revolute[joint] else ("m", "N")
    name = env.joint_names[joint]
    seen = {k: np.asarray(t.observations)[run.shown] for k, t in run.pybullet.items()}
    positions = {k: o[..., joint] for k, o in seen.items()}
    if aimed:
        positions = {k: q - seen[k][..., 2 * n + joint] for k, q in positions.items()}
    rail = getattr(env.task, "rail", None) if unit == "m" else None
    panels = [
        Panel(
            f"{name}: {'error' if aimed else 'position'}",
            unit,
            positions,
            goals=_upright(env.task, positions) if unit == "rad" else [0.0],
            limits=[-rail, rail] if rail else [],
        ),
        Panel(
            f"{name}: velocity",
            f"{unit}/s",
            {k: o[..., n + joint] for k, o in seen.items()},
        ),
    ]
    if joint in env.actuated:
        limit = float(env.effort_limits[env.actuated.index(joint)])
        efforts = {
            k: np.asarray(t.efforts)[run.shown, :, joint]
            for k, t in run.pybullet.items()
        }
        kind = "torque" if run.revolute[joint] else "force"
        panels.append(Panel(f"{name}: {kind}", effort, efforts, limits=[-limit, limit]))
    return panels


def _upright(task: Any, angles: dict[str, np.ndarray]) -> list[float]:
    """Return the goal, or where the task does not count turns every one in sight."""
    if type(task).__name__ != "SwingUp":
        return [0.0]
    seen = np.concatenate([a.ravel() for a in angles.values()]) / (2 * np.pi)
    turns = range(int(np.floor(seen.min())), int(np.ceil(seen.max())) + 1)
    near = [k for k in turns if seen.min() - 0.1 <= k <= seen.max() + 0.1]
    return [2 * np.pi * k for k in near]


def _tool(run: Run) -> Figure:
    n, task = len(run.revolute), run.recipe.env.task
    distances = {}
    for label, trajectory in run.pybullet.items():
        observations = np.asarray(trajectory.observations)[run.shown]
        here = task.chain.coordinates(observations[..., :n])
        there = task.chain.coordinates(observations[..., 2 * n : 3 * n])
        gaps = [np.square(a - b) for a, b in zip(here, there, strict=True)]
        distances[label] = np.sqrt(sum(gaps))
    panel = Panel(
        "tool: distance to the goal", "m", distances, limits=[task.tool_tolerance]
    )
    panels = report.traces([panel], run.recipe.env.time_step)
    return Figure(panels, "", LEGEND | {"tolerance": "currentColor dotted"}, columns=2)


def _energy(run: Run) -> Section:
    found = {
        label: run.recipe.objective.energy_by_joint(trajectory)
        for label, trajectory in run.pybullet.items()
    }
    env = run.recipe.env
    driven = list(env.actuated)
    panels = [
        report.bars(
            readable(term),
            "J",
            {
                label: np.asarray(joules[term])[driven]
                for label, joules in found.items()
            },
            [env.joint_names[joint] for joint in driven],
        )
        for term in found["after"]
    ]
    caption = "Mean energy of a motion by joint, in PyBullet."
    return Section("Energy by joint", [Figure(panels, caption, LEGEND, columns=2)])


def _controller(run: Run) -> Section:
    rows = _parameters.table(run.recipe.controller, run.result.model, run.recipe.env)
    said = 'It loads back, ready to be called, with roboopt.load("controller.npz").'
    table = Table(_parameters.HEADER, rows)
    return Section("The controller", [table, Notes([said])])


def _settings(run: Run) -> Section:
    text = json.dumps(run.settings, indent=2, ensure_ascii=False)
    return Section("Settings", [Details("The exact settings of this run", text)])


def _sentence(text: str) -> str:
    text = text.strip() or "It stopped."
    return text[0].upper() + text[1:].rstrip(".") + "."
