"""What a robot's own numbers demand: effort limits it can live with, a stable step.

Bullet takes joint damping d explicitly, so velocities follow q̇′ = (I − Δt·M⁻¹D)·q̇:
they grow at each step, with alternating sign, once an eigenvalue of M⁻¹D exceeds 2/Δt.
"""

import math

import numpy as np

from ._bullet import VectorEnv

STABLE = 2.0  # the bound on λ·Δt
CALM = 1.5  # what a time step chosen here keeps to
SLOWEST = 1 / 240  # s


def assumed_efforts(world: VectorEnv) -> np.ndarray:
    """Return effort limits for a robot whose URDF has none, (n,) [N·m or N].

    Three times the largest effort against gravity over 200 random configurations, and
    what accelerates the joint alone, its inertia at its largest, by 10 rad/s² or m/s².
    """
    configurations = _configurations(world, 200)
    gravity = np.abs([world.gravity_effort(q) for q in configurations]).max(axis=0)
    inertia = np.max([np.diag(world.mass_matrix(q)) for q in configurations], axis=0)
    return 3.0 * gravity + 10.0 * inertia


def largest_time_step(world: VectorEnv, *, margin: float) -> float:
    """Return the first of 1/240, 1/480, 1/960, … s at which joint damping is calm.

    Args:
        world: the robot.
        margin: by how much damping over inertia may exceed the URDF's.

    Raises:
        ValueError: if none above a microsecond is.
    """
    rate, joint = _damping_rate(world)
    halvings = max(0, math.ceil(math.log2(max(rate * margin * SLOWEST / CALM, 1.0))))
    time_step = SLOWEST / 2**halvings
    if time_step < 1e-6:
        raise ValueError(
            f"`robot`: damping of joint {world.joint_names[joint]!r}, "
            f"{world.damping[joint]:g}, is too large for what it moves: a stable time "
            f"step would be {time_step:g} s."
        )
    return time_step


def check_time_step(world: VectorEnv, time_step: float, *, margin: float):
    """Refuse a time step [s] at which joint damping would diverge.

    Args:
        world: the robot.
        time_step: to be checked [s].
        margin: by how much damping over inertia may exceed the URDF's.

    Raises:
        ValueError: if it is not positive and finite, or is too long.
    """
    if not 0 < time_step < math.inf:
        raise ValueError(f"`time_step` must be positive and finite, got {time_step}.")
    rate, joint = _damping_rate(world)
    if rate * margin * time_step >= STABLE:
        raise ValueError(
            f"`time_step` must be below {STABLE / (rate * margin):.3g} s, or damping "
            f"of joint {world.joint_names[joint]!r}, {world.damping[joint]:g}, makes "
            f"it diverge, got {time_step:.6g}."
        )


def check_inertia(world: VectorEnv):
    """Refuse a robot with a joint that moves no inertia.

    Raises:
        ValueError: if the mass matrix is singular.
    """
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
        names = [name for name, b in zip(world.joint_names, bad, strict=True) if b]
        raise ValueError(
            "`robot`: every joint must move some inertia, got a singular mass matrix "
            f"at joint(s) {names}."
        )


def _configurations(world: VectorEnv, count: int) -> np.ndarray:
    """Return random configurations, always the same, (count, n) [rad or m]."""
    lower, upper = world.sampling_range(1.0)
    return np.random.default_rng(0).uniform(lower, upper, (count, len(lower)))


def _damping_rate(world: VectorEnv) -> tuple[float, int]:
    """Return the largest eigenvalue of M⁻¹D [1/s], and the joint most in its mode."""
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
