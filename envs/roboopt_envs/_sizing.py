"""Effort limits that suit a robot, and checks of its mass matrix and time step."""

import math
import warnings

import numpy as np

from roboopt._errors import RobooptError, require
from roboopt.urdf import RigidBodies

from ._world import PybulletWorld

SHORTEST_TIME_STEP = 1 / 5000  # s
# benchmarks/time_steps.py: the longest that leaves some of 13 robots what they do at
# 240 Hz.
LONGEST_TIME_STEP = 1 / 10  # s
SINGULAR = 1e-12  # of the mass matrix with a diagonal of ones: its least eigenvalue


def assumed_efforts(world: PybulletWorld) -> np.ndarray:
    """Return effort limits for a robot whose URDF has none, (n,) [N·m or N].

    The limit is three times the largest effort against gravity over 200 random
    configurations, plus the effort that accelerates the joint alone, its inertia at its
    largest, by 10 rad/s² or m/s².
    """
    bodies, configurations = RigidBodies(world.model), _configurations(world, 200)
    gravity = [bodies.gravity_effort(q, world.gravity) for q in configurations]
    inertia = [np.diag(bodies.mass_matrix(q)) for q in configurations]
    return 3.0 * np.abs(gravity).max(axis=0) + 10.0 * np.max(inertia, axis=0)


def motor_limits(world: PybulletWorld) -> np.ndarray:
    """Return the effort limits of the driven joints, those missing assumed, (m,).

    Warns:
        UserWarning: if the URDF has no effort limit for a driven joint.
    """
    model = world.model
    names, stated = np.array(model.joint_names), model.effort_limits
    missing = np.isinf(stated) & model.driven
    if missing.any():
        stated = np.where(missing, assumed_efforts(world), stated)
        pairs = zip(names[missing].tolist(), stated[missing].tolist(), strict=True)
        assumed = {name: float(f"{limit:.4g}") for name, limit in pairs}
        warnings.warn(
            "the URDF has no effort limit for these joints, assumed [N·m or N]: "
            f"{assumed}. Give `effort_limits` for others.",
            UserWarning,
            stacklevel=3,
        )
    return stated[model.driven]


def travel_times(
    world: PybulletWorld, efforts: np.ndarray, way: np.ndarray
) -> np.ndarray:
    """Return the times [s] in which joints come to rest `way` from where they rest.

    Every joint moves alone, its inertia m at its smallest, and nothing but inertia
    takes any of its effort e: half of the way is (e/m) (t/2)²/2.
    """
    bodies = RigidBodies(world.model)
    inertia = [np.diag(bodies.mass_matrix(q)) for q in _configurations(world, 32)]
    return 2 * np.sqrt(way * (np.min(inertia, axis=0) + world.armature) / efforts)


def check_time_step(time_step: float, joint_names: tuple[str, ...]) -> None:
    """Refuse a time step [s] outside of 10 Hz to 5 kHz."""
    require(0 < time_step < math.inf, "time_step", "be positive and finite", time_step)
    if time_step < SHORTEST_TIME_STEP:
        raise RobooptError(
            f"`time_step` must be at least {SHORTEST_TIME_STEP:g} s (5 kHz), got "
            f"{time_step:g} s. Damping and friction of the joints "
            f"{list(joint_names)} are stable at any step."
        )
    if time_step > LONGEST_TIME_STEP:
        raise RobooptError(
            f"`time_step` must be at most {LONGEST_TIME_STEP:g} s (10 Hz), got "
            f"{time_step:g} s: an effort is held for a whole step, and "
            "feedback by efforts held that long is too late to steady a robot."
        )


def check_inertia(world: PybulletWorld) -> None:
    """Refuse a robot with a joint that moves no inertia: M(q) must not be singular."""
    bodies = RigidBodies(world.model)
    for q in _configurations(world, 32):
        inertia = bodies.mass_matrix(q) + np.diag(world.armature)
        diagonal = np.diag(inertia)
        bad = ~(diagonal > 0)
        if not bad.any():
            scale = np.sqrt(diagonal)
            moments, modes = np.linalg.eigh(inertia / np.outer(scale, scale))
            if moments[0] > SINGULAR:
                continue
            bad = np.abs(modes[:, 0]) == np.abs(modes[:, 0]).max()
        names = zip(world.model.joint_names, bad, strict=True)
        raise RobooptError(
            "`robot`: every joint must move some inertia, got a singular mass matrix "
            f"at joint(s) {[name for name, is_bad in names if is_bad]}."
        )


def _configurations(world: PybulletWorld, count: int) -> np.ndarray:
    """Return random configurations with a fixed seed, (count, n) [rad or m]."""
    lower, upper = world.sampling_range(1.0)
    return np.random.default_rng(0).uniform(lower, upper, (count, len(lower)))
