"""The sections of a tuning report: results, video, descent, motions, energy, gains."""

from typing import Any

import numpy as np

from roboopt import report
from roboopt.report import BEFORE_AFTER, Figure, Notes, Panel, Section, readable
from roboopt.rollouts import JointUnits
from roboopt.tuning._environment import Plant
from roboopt.tuning._parameters import parameter_table

MAX_MOTIONS = 9  # drawn, of all that were made
LEGEND = dict(BEFORE_AFTER)
GOAL = {"goal": "currentColor dashed"}
LIMIT = {"limit": "currentColor dotted"}


def sections(result: Any, *, video: bool) -> list[Section]:
    """Return the sections of a `TuneResult`.

    Args:
        result: a `TuneResult`.
        video: whether to render one, where the environment can be made again.
    """
    if result.comparison is None:
        return [_descent(result), _controller(result), report.settings(result.record())]
    made = [
        _results(result),
        _video(result) if video else None,
        _descent(result),
        _motions(result),
        _energy(result),
        _controller(result),
        report.settings(result.record()),
    ]
    return [section for section in made if section is not None]


def _shown(result: Any) -> list[int]:
    """Return which of the motions are drawn, first the one filmed."""
    first = result.comparison.filmed
    others = (i for i in range(result.comparison.episodes) if i != first)
    return [first, *others][:MAX_MOTIONS]


def _results(result: Any) -> Section:
    said = (
        f"Means over {result.comparison.episodes} random test starts, which the tuning "
        "did not use; peaks are the largest of all. Both controllers ran from the same "
        "starts in PyBullet and in the twin."
    )
    chosen = [f"{name.capitalize()}: {text}." for name, text in result.notes.items()]
    notes = Notes([said, *chosen, *result.task_sentences()])
    tables = result.comparison.table(), result.comparison.gap_table()
    return Section("Before and after", [tables[0], notes, tables[1]])


def _video(result: Any) -> Section | None:
    if result.env is None:
        return None
    which = "The first of the test starts"
    if result.comparison.changed:
        which += " from which only one of the two succeeds"
    caption = (
        f"{which}, in PyBullet and in real time: on the left the starting controller, "
        "on the right the tuned one."
    )
    captions, index = {}, result.comparison.filmed
    for when, batch in result.motions.items():
        motion = np.asarray(batch.observations)[index]
        achieved = bool(result.objective.task.success(motion, batch.time_step))
        captions[when] = f"{when}: {'succeeds' if achieved else 'does not succeed'}"
    mp4 = report.performance(
        Plant(result.env, result.fitted),
        {"before": result.before, "after": result.controller},
        start=np.asarray(result.motions["before"].observations)[index, 0],
        captions=captions,
    )
    return None if mp4 is None else Section("Video", [report.Video(mp4, caption)])


def _descent(result: Any) -> Section:
    found, best = result.result, result.best_step
    titles = {"loss": "objective"} | {name: readable(name) for name in result.units}
    history = {name: found.history[name] for name in titles}
    panels = report.curves(history, result.units, best=best, titles=titles)
    caption = (
        "Means over the tuning starts, in the twin. The dot marks the controller that "
        f"was kept, of step {best}."
    )
    said = (
        f"{report.sentence(found.message)} {found.steps} steps took "
        f"{found.seconds:.1f} s, of which the first, with the compilation, took "
        f"{found.compile_seconds:.1f} s."
    )
    return Section("The descent", [Notes([said]), Figure(panels, caption, columns=2)])


def _motions(result: Any) -> Section:
    joints, shown = result.joints, _shown(result)
    n = len(joints.names)
    goals = result.motions["after"].observations[:, :, 2 * n :]
    has_goal = goals.shape[-1] == n
    panels = [p for joint in range(n) for p in _joint(result, joint, has_goal, shown)]
    said = "Position relative to the goal" if has_goal else "Position"
    caption = (
        f"{said}, velocity and effort in PyBullet from {len(shown)} of the test "
        "starts, in bold the one filmed."
    )
    step = result.motions["after"].time_step
    legend = LEGEND | GOAL | LIMIT
    figures = [Figure(report.traces(panels, step), caption, legend)]
    if hasattr(result.objective.task, "chain"):
        figures.insert(0, _tool(result, shown))
    return Section("Motions before and after", figures)


def _joint(result: Any, joint: int, has_goal: bool, shown: list[int]) -> list[Panel]:
    """Return a joint's position, velocity, and effort if it is driven."""
    joints, task = result.joints, result.objective.task
    n, name = len(joints.names), joints.names[joint]
    units = JointUnits.of(joints.revolute[joint])
    unit = units.position
    seen = {k: np.asarray(t.observations)[shown] for k, t in result.motions.items()}
    positions = {k: o[..., joint] for k, o in seen.items()}
    if has_goal:
        positions = {k: q - seen[k][..., 2 * n + joint] for k, q in positions.items()}
    rail = getattr(task, "rail", None) if unit == "m" else None
    goals = _full_turns(positions) if unit == "rad" and not has_goal else [0.0]
    velocities = {k: o[..., n + joint] for k, o in seen.items()}
    title = f"{name}: {'error' if has_goal else 'position'}"
    panels = [
        Panel(title, unit, positions, goals, [-rail, rail] if rail else []),
        Panel(f"{name}: velocity", units.velocity, velocities),
    ]
    if joint in joints.driven:
        limit = joints.effort_limits[joints.driven.index(joint)]
        efforts = {
            k: np.asarray(t.efforts)[shown, :, joint] for k, t in result.motions.items()
        }
        title = f"{name}: {units.effort_name}"
        panels.append(Panel(title, units.effort, efforts, limits=[-limit, limit]))
    return panels


def _full_turns(angles: dict[str, np.ndarray]) -> list[float]:
    """Return upright at every full turn in sight, always that at zero."""
    seen = np.concatenate([a.ravel() for a in angles.values()]) / (2 * np.pi)
    near = {0.0}
    if seen.max() - seen.min() > 0.25:  # The pole swings; it does not only balance.
        turns = range(int(np.floor(seen.min())), int(np.ceil(seen.max())) + 1)
        near = {k for k in turns if seen.min() - 0.1 <= k <= seen.max() + 0.1} or near
    return [2 * np.pi * k for k in sorted(near)]


def _tool(result: Any, shown: list[int]) -> Figure:
    n, task = len(result.joints.names), result.objective.task
    distances = {}
    for label, trajectory in result.motions.items():
        observations = np.asarray(trajectory.observations)[shown]
        here = task.chain.coordinates(observations[..., :n])
        there = task.chain.coordinates(observations[..., 2 * n : 3 * n])
        gaps = [np.square(a - b) for a, b in zip(here, there, strict=True)]
        distances[label] = np.sqrt(sum(gaps))
    title, limits = "tool: distance to the goal", [task.tool_tolerance]
    panel = Panel(title, "m", distances, limits=limits)
    panels = report.traces([panel], result.motions["after"].time_step)
    return Figure(panels, "", LEGEND | {"tolerance": "currentColor dotted"}, columns=2)


def _energy(result: Any) -> Section:
    driven = list(result.joints.driven)
    found = {
        label: result.objective.energy_by_joint(trajectory)
        for label, trajectory in result.motions.items()
    }
    panels = [
        report.bars(
            readable(term),
            "J",
            {
                label: np.asarray(joules[term])[driven]
                for label, joules in found.items()
            },
            list(result.joints.driven_names),
        )
        for term in found["after"]
    ]
    caption = "Mean energy of a motion by joint, in PyBullet."
    return Section("Energy by joint", [Figure(panels, caption, LEGEND, columns=2)])


def _controller(result: Any) -> Section:
    table = parameter_table(result.before, result.controller, result.joints)
    said = 'The controller loads with roboopt.load("controller.npz") and is called.'
    return Section("The controller", [table, Notes([said])])
