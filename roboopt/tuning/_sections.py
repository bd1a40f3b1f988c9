"""The sections of a tuning report: results, video, descent, motions, energy, gains."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from roboopt import report
from roboopt._errors import RobooptError
from roboopt._progress import counted
from roboopt.policies import Clipped
from roboopt.report import (
    BEFORE_AFTER,
    TOLERANCE,
    Figure,
    Notes,
    Panel,
    Section,
    readable,
    replay_section,
)
from roboopt.rollouts import JointUnits
from roboopt.tuning._environment import Plant
from roboopt.tuning._parameters import gain_units, named_by_joint, parameter_table

LEGEND = dict(BEFORE_AFTER)
GOAL = {"goal": "currentColor dashed"}
REPLAYED = (
    "The robot in PyBullet from test starts{}: as the tuned controller moves it and, "
    "as a ghost, as the starting one does."
)
LIMIT = {"limit": "currentColor dotted"}
MAX_JOINTS, MAX_CURVES = 16, 400  # drawn: a page has at most 3 MB


def sections(result: Any, *, video: bool) -> list[Section]:
    """Return the sections of a `TuneResult`, in order."""
    tested = result.comparison is not None
    film = _film(result) if tested and video else None
    first = ", the filmed one first" if isinstance(film, report.Performance) else ""
    made = [
        _results(result) if tested else None,
        None if film is None else _video(result, film),
        replay_section(result.robot_motions(), REPLAYED.format(first)),
        _descent(result),
        _gradient(result),
        _motions(result, film) if tested else None,
        _energy(result) if tested else None,
        _controller(result),
        report.settings(result.record()),
    ]
    return [section for section in made if section is not None]


def _results(result: Any) -> Section:
    said = (
        f"Means over {result.comparison.episodes} random test starts, which the tuning "
        "did not use; peaks are the largest of all. Both controllers ran from the same "
        "starts in PyBullet and in the twin."
    )
    chosen = [f"{name.capitalize()}: {text}." for name, text in result.notes.items()]
    notes = Notes([said, *chosen])
    blocks = [result.comparison.table(), notes, result.comparison.gap_table()]
    return Section("Before and after", blocks)


def _video(result: Any, film: report.Performance | report.NoVideo) -> Section:
    if isinstance(film, report.NoVideo):
        return film.section()
    which = f"Test start {result.comparison.filmed}"
    if result.comparison.changed:
        which += ", the first from which only one of the two succeeds"
    caption = (
        f"{which}, in PyBullet and in real time: on the left the starting controller, "
        "on the right the tuned one. The mark says whether the criterion of success "
        "holds at the moment: whether a motion that stayed so would succeed."
    )
    return Section("Video", [report.Video(film.mp4, caption)])


def _film(result: Any) -> report.Performance | report.NoVideo:
    if result.env is None:
        return report.NoVideo("the environment was not given by its id")
    if not hasattr(result.objective.task, "success"):
        return report.NoVideo("the task does not say what succeeds")
    captions, index = {}, result.comparison.filmed
    for when, batch in result.motions.items():
        motion = np.asarray(batch.observations)[index]
        achieved = bool(result.objective.task.success(motion, batch.time_step))
        captions[when] = f"{when}: {'succeeds' if achieved else 'fails'}"
    start = np.asarray(result.motions["before"].observations)[index, 0]
    filmed = {k: motions.episodes()[index] for k, motions in result.motions.items()}
    recorded = {k: _repeated(motion.actions) for k, motion in filmed.items()}
    policies = {"before": result.before, "after": result.controller}
    plant = Plant(result.env, result.fitted)
    film = report.performance(plant, recorded, start=start, captions=captions)
    if isinstance(film, report.Performance) and not film.shows(
        filmed
    ):  # The robots were drawn at random.
        film = report.performance(plant, policies, start=start, captions=captions)
    return film


def _repeated(actions: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return recorded actions as a policy: no controller is compiled for a video."""
    rows = itertools.chain(actions, itertools.repeat(actions[-1]))
    return lambda observation: next(rows)


def _descent(result: Any) -> Section:
    found, best = result.result, result.best_step
    titles = {"loss": "objective"} | {name: readable(name) for name in result.units}
    history = {name: found.history[name] for name in titles}
    panels = report.curves(
        history,
        result.units,
        best=best,
        titles=titles,
        parts=result.rounds,
    )
    caption = (
        f"Means over the {len(result.starts)} tuning starts, in the twin. The dot is "
        f"the controller that was kept, of {result.kept_at}."
    )
    rounds = len(found.history["loss"]) - found.steps
    every = "All " if rounds > 1 else ""
    if rounds > 1:
        caption += (
            f" The axis counts the start of each of the {rounds} rounds, too: it ends "
            f"at {found.steps + rounds - 1} after {counted(found.steps, 'step')}. "
            "Starts change with the round, up to half of them to new ones from which "
            "the controller failed: means of different rounds are not compared."
        )
    said = (
        f"{report.sentence(found.message)} {every}{counted(found.steps, 'step')} took "
        f"{found.seconds:.1f} s, of which the first, with the compilation, took "
        f"{found.compile_seconds:.1f} s."
    )
    return Section("The descent", [Notes([said]), Figure(panels, caption, columns=2)])


def _gradient(result: Any) -> Section | None:
    from roboopt.diagnose import explain_descent, gradient_section  # Slow to import.

    said = "L is the objective, a mean over the tuning starts, in the twin."
    try:
        explained = result.gradients()
    except RobooptError:  # A loaded result without its task: what the descent noted.
        start = result.before
        start = start.policy if isinstance(start, Clipped) else start
        units = gain_units(start, result.joints)
        explained = {
            when: named_by_joint(found, start, result.joints)
            for when, found in explain_descent(
                start, result.result, units=units
            ).items()
        }
    history = result.result.history
    return gradient_section(explained, history, notes=[said], path=result.path())


def _motions(result: Any, film: report.Performance | report.NoVideo | None) -> Section:
    n, step = len(result.joints.names), result.motions["after"].time_step
    drawn = min(n, MAX_JOINTS)
    # Up to three panels a joint, with two curves of a start.
    shown = result.shown[: max(1, MAX_CURVES // (6 * drawn))]
    first = shown[0]
    seen = {k: np.asarray(t.observations)[shown] for k, t in result.motions.items()}
    has_goal = seen["after"].shape[-1] >= 3 * n  # A reference begins with positions.
    task, panels = result.objective.task, []
    for joint in range(drawn):
        panels += _positions(result, joint, seen, has_goal)
        panels += _efforts(result, joint, shown)
    filmed = film is not None and film.shows(
        {k: motion.episodes()[first] for k, motion in result.motions.items()}
    )
    others = ", ".join(map(str, shown[1:]))
    many = f" test start{'s' * (len(shown) > 2)} {others}"
    starts = (
        f"PyBullet, from test start {first}{' in bold' if others else ''}"
        f"{', which the video shows' if filmed else ''}"
        f"{f', and{many}' if others else ''}."
    )
    window = getattr(task, "window", 0.0)
    legend, said = LEGEND, starts
    if any(panel.tolerances for panel in panels) or hasattr(task, "chain"):
        legend = LEGEND | {"tolerance": TOLERANCE}
        said += f" {report.tolerance_sentence(window)}"
    what = "Position relative to the goal" if has_goal else "Position"
    caption = f"{what}, velocity and effort in {said}"
    if drawn < n:
        caption += f" The first {drawn} of {n} joints are drawn."
    names = [f"test start {index}" for index in shown]
    traced = report.traces(panels, step, names)
    figures = [Figure(traced, caption, legend | GOAL | LIMIT, filmed=filmed)]
    if hasattr(task, "chain"):
        traced = report.traces([_tool(task, n, seen)], step, names)
        caption = f"The tool in {said}"
        figures.insert(0, Figure(traced, caption, legend, columns=2, filmed=filmed))
    return Section("Motions before and after", figures)


def _positions(
    result: Any, joint: int, seen: dict[str, np.ndarray], has_goal: bool
) -> list[Panel]:
    """Return a joint's position, relative to the goal if it has one, and velocity."""
    joints, task = result.joints, result.objective.task
    n, name = len(joints.names), joints.names[joint]
    units = JointUnits.of(joints.revolute[joint])
    positions = {k: o[..., joint] for k, o in seen.items()}
    rail = getattr(task, "rail", None) if units.position == "m" else 0
    limits, title = [-rail, rail] if rail else [], "position"
    target = getattr(task, "target", ())
    goals = [target[joint]] if np.shape(target) == (n,) else []
    if has_goal:
        positions = {k: q - seen[k][..., 2 * n + joint] for k, q in positions.items()}
        title, goals = "error", [0.0]
    velocities = {k: o[..., n + joint] for k, o in seen.items()}
    known, window = getattr(task, "tolerances", {}), getattr(task, "window", 0.0)
    near = () if has_goal else known.get(joint, ())  # An error has another origin.
    slow = known.get(n + joint, ())
    where, speed = (f"{name}: {kind}" for kind in (title, "velocity"))
    return [
        Panel(where, units.position, positions, goals, limits, near, window),
        Panel(speed, units.velocity, velocities, (), (), slow, window),
    ]


def _efforts(result: Any, joint: int, shown: list[int]) -> list[Panel]:
    """Return the effort on a joint, if it is driven."""
    joints = result.joints
    if joint not in joints.driven:
        return []
    units = JointUnits.of(joints.revolute[joint])
    limit = joints.effort_limits[joints.driven.index(joint)]
    efforts = {
        k: np.asarray(t.efforts)[shown, :, joint] for k, t in result.motions.items()
    }
    title = f"{joints.names[joint]}: {units.effort_name}"
    return [Panel(title, units.effort, efforts, limits=[-limit, limit])]


def _tool(task: Any, n: int, seen: dict[str, np.ndarray]) -> Panel:
    distances = {}
    for label, observations in seen.items():
        here = task.chain.coordinates(observations[..., :n])
        there = task.chain.coordinates(observations[..., 2 * n : 3 * n])
        gaps = [np.square(a - b) for a, b in zip(here, there, strict=True)]
        distances[label] = np.sqrt(sum(gaps))
    title, within = "tool: distance to the goal", [(0.0, task.tool_tolerance)]
    window = getattr(task, "window", 0.0)
    return Panel(title, "m", distances, tolerances=within, window=window)


def _energy(result: Any) -> Section:
    driven, names = list(result.joints.driven), list(result.joints.driven_names)
    found = {
        label: result.objective.energy_by_joint(trajectory)
        for label, trajectory in result.motions.items()
    }
    panels = []
    for term in found["after"]:
        heights = {k: np.asarray(joules[term])[driven] for k, joules in found.items()}
        panels.append(report.bars(readable(term), "J", heights, names))
    caption = (
        f"Mean energy of a motion by joint, in PyBullet from all "
        f"{result.comparison.episodes} test starts."
    )
    return Section("Energy by joint", [Figure(panels, caption, LEGEND, columns=2)])


def _controller(result: Any) -> Section:
    table = parameter_table(result.before, result.controller, result.joints)
    said = ['The controller loads with roboopt.load("controller.npz") and is called.']
    if any(cell.startswith("−") for row in table.rows for cell in row[1:3]):
        said.insert(0, "A change is that of a number's size, whatever its sign is.")
    return Section("The controller", [table, Notes(said)])
