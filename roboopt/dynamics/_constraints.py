"""Joint limits and position motors: Bullet's constraint solver, for joints only.

Each constraint is a row that demands a velocity change b of one joint, by an impulse λ
between bounds. With A = M⁻¹, s = ±1 the direction of row r and i its joint, one sweep
of projected Gauss-Seidel takes the rows in turn,

    λ_r ← clip(λ_r + (b_r − s_r Δq̇_i) / A_ii),   Δq̇ ← Δq̇ + A e_i s_r δλ_r,

and sweeps go backwards and forwards in turn, 50 at most, until no (A_ii δλ)² of a sweep
exceeds 1e-7 (btMultiBodyConstraintSolver). The solver does not wait for convergence, so
that agreement with Bullet requires the rows in Bullet's order.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import Jittable
from roboopt._errors import RobooptError, require
from roboopt.dynamics._rigid_bodies import invert_positive_definite
from roboopt.urdf.bullet_solver import (
    DEEP,
    LIMIT_IMPULSE,
    LOWER,
    MOTOR,
    PUSH_OUT,
    RESIDUAL,
    SWEEP_PAIRS,
    UPPER,
    constraint_row_order,
)


class PositionMotors(Jittable):
    """PyBullet's POSITION_CONTROL on each actuated joint, with target velocity 0.

    A motor demands the velocity q̇ + kp (q_target − q)/Δt − kd q̇; where a command is a
    velocity, PyBullet's VELOCITY_CONTROL demands q̇ + kd (q̇_target − q̇).
    """

    kp: Float[Array, " act"]
    """`positionGain`, dimensionless: the share of the error removed in one step."""
    kd: Float[Array, " act"]
    """`velocityGain`, dimensionless."""
    max_force: Float[Array, " act"]
    """[N·m or N]"""

    def __init__(self, kp: Any, kd: Any, max_force: Any):
        """Set gains and forces, one for each actuated joint.

        Raises:
            RobooptError: if shapes differ, a gain is negative, or a force not positive.
        """
        given = {"kp": kp, "kd": kd, "max_force": max_force}
        values = {name: np.asarray(value, float) for name, value in given.items()}
        shapes = {name: value.shape for name, value in values.items()}
        if values["kp"].ndim != 1 or len(set(shapes.values())) > 1:
            raise RobooptError(
                "`kp`, `kd` and `max_force` must each hold one number for each "
                f"actuated joint, got shapes {shapes}."
            )
        for name in ("kp", "kd"):
            valid = np.all((values[name] >= 0) & np.isfinite(values[name]))
            require(valid, name, "be finite and not negative", given[name])
        if not np.all(values["max_force"] > 0):
            raise RobooptError(
                f"`max_force` must be positive, got {max_force}: leave a joint out of "
                "`actuated` to switch its motor off."
            )
        self.kp, self.kd, self.max_force = map(jnp.asarray, values.values())

    @property
    def joints(self) -> int:
        """Return the number of motors."""
        return self.kp.shape[0]


class _Rows(NamedTuple):
    """The solver's problem, one row for each constraint."""

    direction: Array  # (row, joint): s e_i
    response: Array  # (row, joint): A e_i s
    inertia: Array  # (row,): A_ii
    change: Array  # (row,): b [rad/s or m/s]
    lowest: Array  # (row,): bounds of λ [N·m·s or N·s]
    highest: Array  # (row,)
    active: Array  # (row,): 1 where the row acts, else 0


def constrained_velocity(
    twin: Any,
    robot: Any,
    q: Float[Array, " joint"],
    free: Float[Array, " joint"],
    targets: Float[Array, " act"],
    time_step: float | Float[Array, ""],
) -> tuple[Float[Array, " joint"], Float[Array, " joint"]]:
    """Return the velocity of a `Twin` that Bullet's solver makes of `free`.

    The motors' efforts [N·m or N] are returned too. Their target positions [rad or m]
    are clipped to the robot's limits if these act, as PyBullet clips them. `robot` is
    the twin's, with the inertia that the impulses move.
    """
    motors, at = twin.motors, np.array(twin.actuated)
    to_velocity = twin.interface == "velocity"
    order = constraint_row_order(robot.limited, () if motors is None else twin.actuated)
    order = [row for row in order if twin.joint_limits or row[0] == MOTOR]
    if not order:
        return free, jnp.zeros_like(free)
    compliance = invert_positive_definite(robot.mass_matrix(q))
    impulses = {}
    if twin.joint_limits:
        impulses[LOWER] = _limit_impulses(q - robot.lower, free, time_step)
        impulses[UPPER] = _limit_impulses(robot.upper - q, -free, time_step)
        if motors is not None and not to_velocity:
            within = jnp.clip(targets, robot.lower[at], robot.upper[at])
            targets = jnp.where(np.array(robot.limited)[at], within, targets)
    if motors is not None:
        change = motors.kp * (targets - q[at]) / time_step - motors.kd * free[at]
        change = motors.kd * (targets - free[at]) if to_velocity else change
        impulse = motors.max_force * time_step
        impulses[MOTOR] = _Impulses(
            _scattered(change, at, q),
            _scattered(-impulse, at, q),
            _scattered(impulse, at, q),
            jnp.ones_like(q),
        )
    change, found = _solve(_stack(order, impulses, compliance))
    rows = [row for row, (kind, _) in enumerate(order) if kind == MOTOR]
    joints = np.array([order[row][1] for row in rows], int)
    of_motors = jnp.zeros_like(free).at[joints].set(found[np.array(rows, int)])
    return free + change, of_motors / time_step


class _Impulses(NamedTuple):
    """Constraints of one kind, one for each joint: demanded change, impulse bounds."""

    change: Array
    lowest: Array
    highest: Array
    active: Array


def _limit_impulses(
    distance: Array, speed: Array, time_step: float | Float[Array, ""]
) -> _Impulses:
    active = distance <= 0
    # Masked first: the distance to a limit at infinity has no gradient.
    distance = jnp.where(active, distance, 0.0)
    push = jnp.where(distance > -DEEP, -distance * (PUSH_OUT / time_step), 0.0)
    zero, change = jnp.zeros_like(speed), push - speed
    return _Impulses(change, zero, zero + LIMIT_IMPULSE, active.astype(speed.dtype))


def _scattered(values: Array, at: np.ndarray, like: Array) -> Array:
    return jnp.zeros_like(like).at[at].set(values)


def _stack(
    order: list[tuple[str, int]], impulses: dict[str, _Impulses], compliance: Array
) -> _Rows:
    kinds, at = [kind for kind, _ in order], np.array([joint for _, joint in order])
    sign = jnp.array([-1.0 if k == UPPER else 1.0 for k in kinds], compliance.dtype)
    columns = [
        jnp.stack([getattr(impulses[kind], field)[joint] for kind, joint in order])
        for field in _Impulses._fields
    ]
    eye = jnp.eye(compliance.shape[0], dtype=compliance.dtype)
    return _Rows(
        sign[:, None] * eye[at],
        sign[:, None] * compliance[at],
        jnp.diagonal(compliance)[at],
        *columns,
    )


_State = tuple[Array, Array, Array]  # Δq̇, λ, whether the solver has stopped


def _sweep(rows: _Rows, state: _State, *, backwards: bool) -> _State:
    """Process every row once; a solver that has stopped does not change."""
    change, impulses, stopped = state

    def take(carry, row_and_impulse):
        change, residual = carry
        row, impulse = row_and_impulse
        error = row.change - (row.direction * change).sum()
        wanted = jnp.clip(impulse + error / row.inertia, row.lowest, row.highest)
        step = jnp.where((row.active > 0) & ~stopped, wanted - impulse, 0.0)
        residual = jnp.maximum(residual, (step * row.inertia) ** 2)
        return (change + row.response * step, residual), impulse + step

    start = change, jnp.zeros((), change.dtype)
    (change, residual), impulses = jax.lax.scan(
        take, start, (rows, impulses), reverse=backwards
    )
    return change, impulses, stopped | (residual <= RESIDUAL)


def _two_sweeps(rows: _Rows, state: _State) -> _State:
    return _sweep(rows, _sweep(rows, state, backwards=True), backwards=False)


def _start(rows: _Rows) -> _State:
    zero = jnp.zeros_like(rows.direction[0])
    return zero, jnp.zeros_like(rows.change), jnp.array(False)


@jax.custom_jvp
def _solve(rows: _Rows) -> tuple[Array, Array]:
    """Return Δq̇ and λ, in as many sweeps as the rows need."""

    def unfinished(counted):
        count, (_, _, stopped) = counted
        return (count < SWEEP_PAIRS) & ~stopped

    def advance(counted):
        count, state = counted
        return count + 1, _two_sweeps(rows, state)

    _, found = jax.lax.while_loop(unfinished, advance, (0, _start(rows)))
    return found[0], found[1]


def _solve_in_full(rows: _Rows) -> tuple[Array, Array]:
    """Return both in a fixed number of sweeps, which reverse mode can differentiate."""

    def advance(state, _):
        return _two_sweeps(rows, state), None

    found, _ = jax.lax.scan(advance, _start(rows), None, length=SWEEP_PAIRS)
    return found[0], found[1]


@_solve.defjvp
def _solve_jvp(primals, tangents):
    return jax.jvp(_solve_in_full, primals, tangents)
