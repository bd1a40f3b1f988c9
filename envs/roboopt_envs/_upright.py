"""The configuration at which a robot balances: its highest equilibrium.

Gravity's potential U has no slope there: dU/dq = 0 at the joints that turn links up and
down. Motors and passive joints then rest without effort, and links that could fall are
above the joints that they would fall from.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from roboopt._errors import RobooptError, require
from roboopt.urdf import RigidBodies

from ._world import PybulletWorld

TRIALS = 24  # random starts of the climb
NEAR = 1e-6  # rad: angles so close to 0 or π are taken for these
MAX_REFINEMENT = 0.01  # rad: a root that is farther off is of another equilibrium
BALANCED = 0.02  # of the largest gravity effort on a joint: what counts as none

DURATION, MAX_DURATION = 4.0, 30.0  # s, of an episode by default
FALLING_TIMES = 5.0  # 1/λ that a return takes
HOLDING_TIME = 1.0  # s, after the return
NUDGE = 1e-6  # rad or m


def find_upright(
    world: PybulletWorld, given: Mapping[str, float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest equilibrium (n,) [rad or m], and which joints gravity turns.

    Some positions are `given`, by joint; joints that gravity does not turn are at 0, or
    at the nearest limit. A passive joint that moves from there, or a motor that cannot
    hold it, is refused.
    """
    model, bodies = world.model, RigidBodies(world.model)
    names, (lower, upper) = model.joint_names, model.position_limits
    given = dict(given or {})
    for name, position in given.items():
        require(name in names, "upright", f"name joints of {list(names)}", name)
        joint = names.index(name)
        if not lower[joint] <= position <= upper[joint]:
            raise RobooptError(
                f"`upright` must be within the limits of joint {name!r}, "
                f"{lower[joint]:g} to {upper[joint]:g}, got {position}."
            )
    q = np.clip(np.zeros(len(names)), lower, upper)
    for name, position in given.items():
        q[names.index(name)] = position
    pulls = _largest_pulls(world, bodies)
    told = np.array([name in given for name in names])
    turned = model.revolute & (pulls > NEAR * pulls.max())
    free = np.flatnonzero(turned & ~told)
    while len(free):
        found = _highest(world, bodies, q, free, 1 / pulls.max())
        slope = np.abs(bodies.gravity_effort(found, world.gravity))
        stopped = free[slope[free] > BALANCED * pulls[free]]
        if not len(stopped):
            q = found
            break
        free = np.setdiff1d(free, stopped)  # The highest point is at a limit.
    _check(world, q, np.abs(bodies.gravity_effort(q, world.gravity)), pulls)
    return q, turned


def balancing_time(world: PybulletWorld, upright: np.ndarray) -> float:
    """Return the length of an episode [s] in which a robot can return to `upright`.

    Passive joints fall by q̈ = λ² q with −M⁻¹ dg/dq of eigenvalues λ², and no motor
    brings them back much faster: a pole whose inertia is large for its weight takes
    long.
    """
    bodies, passive = RigidBodies(world.model), np.flatnonzero(~world.model.driven)
    if not len(passive):
        return DURATION
    matrix = bodies.mass_matrix(upright) + np.diag(world.armature)
    nudges = NUDGE * np.eye(len(upright))[passive]
    slopes = [
        bodies.gravity_effort(upright + nudge, world.gravity)
        - bodies.gravity_effort(upright - nudge, world.gravity)
        for nudge in nudges
    ]
    slope = np.array(slopes)[:, passive].T / (2 * NUDGE)
    squares = np.linalg.eigvals(
        -np.linalg.solve(matrix[np.ix_(passive, passive)], slope)
    )
    slowest = (FALLING_TIMES / (MAX_DURATION - HOLDING_TIME)) ** 2
    falling = np.clip(squares.real[squares.real > NUDGE], slowest, None)
    if not len(falling):
        return DURATION
    longest = np.ceil(FALLING_TIMES / np.sqrt(falling.min()) + HOLDING_TIME)
    return max(DURATION, float(longest))


def _largest_pulls(world: PybulletWorld, bodies: RigidBodies) -> np.ndarray:
    """Return the largest effort of gravity on each joint, (n,) [N·m or N]."""
    random, limits = np.random.default_rng(0), world.sampling_range(1.0)
    drawn = random.uniform(*limits, (64, len(limits[0])))
    return np.abs([bodies.gravity_effort(q, world.gravity) for q in drawn]).max(axis=0)


def _highest(
    world: PybulletWorld,
    bodies: RigidBodies,
    q: np.ndarray,
    free: np.ndarray,
    scale: float,
) -> np.ndarray:
    """Return `q` with the joints `free` where the potential energy is highest."""
    from scipy.optimize import minimize, root  # Slow to import.

    lower, upper = world.model.position_limits[:, free]

    def at(angles: np.ndarray) -> np.ndarray:
        full = q.copy()
        full[free] = angles
        return full

    def slope(angles: np.ndarray) -> np.ndarray:
        return scale * bodies.gravity_effort(at(angles), world.gravity)[free]

    def downhill(angles: np.ndarray) -> tuple[float, np.ndarray]:
        height = scale * bodies.potential_energy(at(angles), world.gravity)
        return -height, -slope(angles)

    drawn = np.random.default_rng(0).uniform(-np.pi, np.pi, (TRIALS, len(free)))
    best: Any = None
    for start in [q[free], *drawn]:
        bounds = list(zip(lower, upper, strict=True))
        start = np.clip(start, lower, upper)
        climbed = minimize(downhill, start, jac=True, bounds=bounds)
        angles = climbed.x
        turns = np.round(angles / (2 * np.pi)) * 2 * np.pi
        angles = np.where(np.isinf(lower) & np.isinf(upper), angles - turns, angles)
        rank = (-climbed.fun, -np.abs(angles).sum())
        tied = best is not None and abs(rank[0] - best[0][0]) <= NEAR
        if best is None or (rank[1] > best[0][1] + NEAR if tied else rank > best[0]):
            best = rank, angles
    refined = root(slope, best[1], tol=1e-13)
    angles = best[1]
    if np.abs(refined.x - angles).max() < MAX_REFINEMENT:
        angles = np.clip(refined.x, lower, upper)
    for exact in (0.0, np.pi, -np.pi):
        angles = np.where(np.abs(angles - exact) < NEAR, abs(exact), angles)
    return at(angles)


def _check(
    world: PybulletWorld, q: np.ndarray, slope: np.ndarray, pulls: np.ndarray
) -> None:
    """Refuse a configuration that the robot cannot rest in."""
    model = world.model
    for name, driven, effort, largest, limit in zip(
        model.joint_names, model.driven, slope, pulls, model.effort_limits, strict=True
    ):
        if not driven and effort > BALANCED * largest:
            raise RobooptError(
                "`upright` must be an equilibrium: gravity turns or moves the passive "
                f"joint {name!r} with {effort:.3g} N·m or N at {q.round(4).tolist()}."
            )
        if driven and effort > limit:
            raise RobooptError(
                f"`upright` must be held by the motors: joint {name!r} needs "
                f"{effort:.3g} N·m or N of {limit:g} at {q.round(4).tolist()}."
            )
