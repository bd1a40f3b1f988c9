"""Judging a controller: the same random starts in the twin and in PyBullet."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt.data import Trajectory
from roboopt.dynamics import Twin
from roboopt.rollouts import Rollout, collect


@dataclass(frozen=True)
class Runs:
    """The motions of one controller, (starts, …), from the same starts in each."""

    twin: Trajectory
    pybullet: Trajectory


def judge(
    recipe: Any,
    controllers: dict[str, Any],
    starts: np.ndarray,
    *,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, Runs]:
    """Run each controller from `starts`, through the twin and in PyBullet.

    Args:
        recipe: with the environment and its twin.
        controllers: by label; compiled once where they are of one structure.
        starts: observations, (starts, obs).
        progress: called after each start in PyBullet, and after each twin's batch.
    """
    # The descent does without joint limits, which PyBullet's arms run into.
    twin = Twin.from_env(recipe.env, joint_limits=True)
    rollout = eqx.filter_jit(Rollout(twin, recipe.env.horizon))
    runs = {}
    for label, controller in controllers.items():
        made = jax.tree.map(np.asarray, rollout(controller, jnp.asarray(starts)))
        progress()
        pybullet = collect(
            recipe.env, controller, starts=starts, progress=lambda _: progress()
        )
        runs[label] = Runs(made, pybullet)
    return runs


def disagreement(runs: Runs, revolute: np.ndarray) -> dict[str, float]:
    """Return by unit how far twin and PyBullet are apart at most, at any time.

    Args:
        runs: of one controller.
        revolute: whether each joint turns, (joints,).
    """
    n = len(revolute)
    states = [
        np.asarray(trajectory.observations)[..., : 2 * n]
        for trajectory in (runs.twin, runs.pybullet)
    ]
    gaps = np.abs(states[0] - states[1]).max(tuple(range(states[0].ndim - 1)))
    units = state_units(revolute)
    return {
        unit: float(max(gap for gap, u in zip(gaps, units, strict=True) if u == unit))
        for unit in dict.fromkeys(units)
    }


def state_units(revolute: np.ndarray) -> list[str]:
    """Return the unit of every entry of a state [q, q̇]."""
    positions = ["rad" if turns else "m" for turns in revolute]
    return positions + [f"{unit}/s" for unit in positions]


def peak_efforts(
    trajectory: Trajectory, revolute: np.ndarray, driven: list[int]
) -> dict[str, float]:
    """Return the largest force [N] and torque [N·m] on any driven joint at any time."""
    efforts = np.abs(np.asarray(trajectory.efforts)).max((0, 1))[driven]
    kinds = {"N": ~revolute[driven], "N·m": revolute[driven]}
    return {
        unit: float(efforts[which].max())
        for unit, which in kinds.items()
        if which.any()
    }
