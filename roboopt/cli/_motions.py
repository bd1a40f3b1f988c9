"""What the episodes of policies look like: every observation and action over time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import roboopt as ro
from roboopt import report
from roboopt.data import Trajectory
from roboopt.report import Figure, Panel, Section

MOST_PANELS = 24


def motions(
    env: Any, shown: Mapping[str, Sequence[Trajectory]], legend: Mapping[str, str]
) -> Section:
    """Return the section of the report with the motions of each who acted.

    Args:
        env: what they acted in.
        shown: by name, some episodes of each, in the order they are drawn in.
        legend: from each name to its color.
    """
    names = [*observation_names(env), *action_names(env)]
    seen = len(observation_names(env))
    panels = []
    for k, (name, unit) in enumerate(names[:MOST_PANELS]):
        runs = {
            who: padded(
                [
                    np.asarray(t.observations)[:, k]
                    if k < seen
                    else np.asarray(t.actions, float)[:, k - seen]
                    for t in episodes
                ]
            )
            for who, episodes in shown.items()
        }
        panels.append(Panel(name, unit, runs))
    *_, last = shown.values()
    caption = (
        f"Observations and actions in {len(last)} of the episodes, the first in bold."
    )
    if len(names) > MOST_PANELS:
        caption += f" The first {MOST_PANELS} of {len(names)} are drawn."
    drawn = report.traces(panels, last[0].time_step)
    return Section("Motions", [Figure(drawn, caption, legend)])


def padded(values: list[np.ndarray]) -> np.ndarray:
    """Return rows of different lengths as one array, with NaN where one has ended."""
    rows = np.full((len(values), max(map(len, values))), np.nan)
    for row, some in zip(rows, values, strict=True):
        row[: len(some)] = some
    return rows


def observation_names(env: Any) -> list[tuple[str, str]]:
    """Return what each axis of an observation is, and its unit."""
    size = env.observation_space.shape[0]
    joints = _joints(env)
    if not joints:
        return [(f"observation {k}", "1") for k in range(size)]
    named = [(f"{name}: position", unit) for name, unit in joints]
    named += [(f"{name}: velocity", f"{unit}/s") for name, unit in joints]
    goals = [(f"{name}: goal", unit) for name, unit in joints]
    return [*named, *goals][:size]


def action_names(env: Any) -> list[tuple[str, str]]:
    """Return what each axis of an action is, and its unit."""
    joints, world = _joints(env), env.unwrapped
    if joints:
        driven = [joints[k] for k in world.actuated]
        return [
            (f"{n}: torque", "N·m") if unit == "rad" else (f"{n}: force", "N")
            for n, unit in driven
        ]
    shape = env.action_space.shape or (1,)
    return [(f"action {k}", "1") for k in range(shape[0])]


def _joints(env: Any) -> list[tuple[str, str]]:
    """Return the joints of one of the library's robots, with their unit."""
    world = env.unwrapped
    if not type(world).__module__.startswith("roboopt_envs"):
        return []
    turns = ro.Twin.from_env(world).robot.revolute
    return [
        (name, "rad" if revolute else "m")
        for name, revolute in zip(world.joint_names, turns, strict=True)
    ]
