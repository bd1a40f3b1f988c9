"""Effort limits and time steps that suit a robot.

Bullet integrates joint damping d explicitly, so that velocities follow
q̇′ = (I − Δt·M⁻¹D)·q̇. They grow at each step, with alternating sign, once an eigenvalue
of M⁻¹D exceeds 2/Δt.
"""

import math

import numpy as np

from roboopt._errors import RobooptError

from ._world import PybulletWorld

STABILITY_BOUND = 2.0  # on λ·Δt, λ the largest eigenvalue of M⁻¹D
CHOSEN_BOUND = 1.5  # on λ·Δt, for time steps chosen here
LONGEST_TIME_STEP = 1 / 240  # s


def assumed_efforts(world: PybulletWorld) -> np.ndarray:
    """Return effort limits for a robot whose URDF has none, (n,) [N·m or N].

    The limit is three times the largest effort against gravity over 200 random
    configurations, plus the effort that accelerates the joint alone, its inertia at its
    largest, by 10 rad/s² or m/s².
    """
    configurations = _configurations(world, 200)
    gravity = np.abs([world.gravity_effort(q) for q in configurations]).max(axis=0)
    inertia = np.max([np.diag(world.mass_matrix(q)) for q in configurations], axis=0)
    return 3.0 * gravity + 10.0 * inertia


def largest_time_step(world: PybulletWorld, *, margin: float) -> float:
    """Return the first of 1/240, 1/480, 1/960, … s that satisfies `CHOSEN_BOUND`.

    Damping over inertia may exceed the URDF's by the factor `margin`.
    """
    rate, joint = _damping_rate(world)
    shortening = rate * margin * LONGEST_TIME_STEP / CHOSEN_BOUND
    halvings = max(0, math.ceil(math.log2(max(shortening, 1.0))))
    time_step = LONGEST_TIME_STEP / 2**halvings
    if time_step < 1e-6:
        raise RobooptError(
            f"`robot`: damping of joint {world.model.joint_names[joint]!r}, "
            f"{world.damping[joint]:g}, is too large for what it moves: a stable time "
            f"step would be {time_step:g} s."
        )
    return time_step


def check_time_step(world: PybulletWorld, time_step: float, *, margin: float) -> None:
    """Refuse a time step [s] at which joint damping would diverge."""
    if not 0 < time_step < math.inf:
        raise RobooptError(f"`time_step` must be positive and finite, got {time_step}.")
    rate, joint = _damping_rate(world)
    if rate * margin * time_step >= STABILITY_BOUND:
        raise RobooptError(
            f"`time_step` must be below {STABILITY_BOUND / (rate * margin):.3g} s, or "
            f"damping of joint {world.model.joint_names[joint]!r}, "
            f"{world.damping[joint]:g}, makes it diverge, got {time_step:.6g}."
        )


def check_inertia(world: PybulletWorld) -> None:
    """Refuse a robot with a joint that moves no inertia: M(q) must not be singular."""
    for q in _configurations(world, 32):
        inertia = world.mass_matrix(q)
        diagonal = np.diag(inertia)
        bad = ~(diagonal > 0)
        if not bad.any():
            scale = np.sqrt(diagonal)
            moments, modes = np.linalg.eigh(inertia / np.outer(scale, scale))
            if moments[0] > 1e-12:
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


def _damping_rate(world: PybulletWorld) -> tuple[float, int]:
    """Return the largest eigenvalue of M⁻¹D [1/s], and its mode's largest joint."""
    root = np.sqrt(world.damping)
    worst, joint = 0.0, 0
    for q in _configurations(world, 32):
        # √D·M⁻¹·√D is symmetric and has the eigenvalues of M⁻¹D.
        rates, modes = np.linalg.eigh(
            root[:, None] * np.linalg.inv(world.mass_matrix(q)) * root
        )
        if rates[-1] > worst:
            worst, joint = float(rates[-1]), int(np.argmax(np.abs(modes[:, -1])))
    return worst, joint
