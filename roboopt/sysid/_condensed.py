"""Efforts of whole recordings in a few rows.

The efforts are linear in the numbers φ of `linear_parameters`: τ = Y φ. The QR
decomposition of [Y, τ] holds, in as many rows as there are numbers, all that a least
squares fit needs: a fit of an hour takes no longer than that of a second.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray
from roboopt._programs import filter_jit
from roboopt.data import Trajectory
from roboopt.dynamics import (
    ParametricTwin,
    effort_matrix,
    efforts_are_linear,
    friction_law,
    joint_numbers,
    linear_parameters,
)
from roboopt.losses import L2
from roboopt.objectives import InverseDynamicsError, ResidualObjective

UNCONSTRAINED_FITS = 3  # each weighted by the noise that the one before leaves
MIN_SINGULAR = 1e-10  # relative
MIN_NOISE_SHARE = 1e-9  # of the noise before
DRY_NUMBERS = "friction", "friction_asymmetry", "stribeck_friction"
CHUNK = 1024  # instants whose matrices are made at once


class CondensedEffortError(ResidualObjective):
    """The value of an `InverseDynamicsError`, from `Condensed.batch()`."""

    scale: Float[AnyArray, " joint"]

    def residuals(self, model: Any, batch: Any) -> Float[Array, "joint row"]:
        """Return the residuals, whose mean square is that of the recordings'."""
        numbers = jnp.append(linear_parameters(model), -1.0)
        return jnp.asarray(batch) @ numbers / jnp.asarray(self.scale)[:, None]


@dataclass(frozen=True)
class Condensed:
    """The factors of the efforts of each joint, and how many instants they hold."""

    factors: np.ndarray
    """(joint, number + 1, number + 1): upper triangles of the QR of [Y, τ]."""
    instants: int

    @classmethod
    def of(
        cls,
        error: InverseDynamicsError,
        model: ParametricTwin,
        data: Trajectory,
        shapes: np.ndarray | None = None,
    ) -> "Condensed":
        """Condense recordings of one length.

        What is not linear, such as Bullet's damping of bodies, counts as the robot
        `model` has it. With `shapes` of dry friction, (joint, shape, 3) as `dry` takes
        them, columns of each joint's stand between those of the numbers and τ.
        """
        shapes = np.zeros((model.joints, 0, 3)) if shapes is None else shapes
        motions: list[Any] = [np.asarray(x) for x in error.motions(model, data)]
        joints = motions[0].shape[-1]
        *full, duration, recorded = motions
        full = [x.reshape(-1, joints) for x in (*full, recorded)]
        motions = [*full[:3], duration.reshape(-1), full[3]]
        own = own_shapes(model)
        filtering = _filterings(error, model, data, np.hstack([own, shapes]))
        columns = own.shape[1] + shapes.shape[1]
        motions.append(np.asarray(filtering).reshape(-1, joints, columns))
        instants = len(motions[3])
        factors: Any = None
        for first in range(0, instants, CHUNK):
            chunk = [x[first : first + CHUNK] for x in motions]
            missing = CHUNK - len(chunk[3])
            padded: list[Any] = [
                np.concatenate([x, np.repeat(x[-1:], missing, 0)]) for x in chunk
            ]
            made = _matrices(model, shapes, *padded)
            rows = np.asarray(made)[: CHUNK - missing]
            rows = np.swapaxes(rows, 0, 1)
            rows = rows if factors is None else np.concatenate([factors, rows], 1)
            factors = np.linalg.qr(rows, mode="r")
        # Fewer instants than numbers leave fewer rows: zeros keep the shape.
        short = factors.shape[2] - factors.shape[1]
        return cls(np.pad(factors, ((0, 0), (0, max(short, 0)), (0, 0))), instants)

    def rms(self, numbers: np.ndarray) -> np.ndarray:
        """Return the root mean square of each joint's error with these φ [N·m or N]."""
        left = self.factors @ np.append(numbers, -1.0)
        return np.sqrt((left**2).sum(1) / self.instants)

    def unconstrained(self, given: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Return the φ of least squares, possible or not, by the noise of each joint.

        Only the `free` numbers change, and of the combinations that the recordings do
        not determine none does.
        """
        found = given.copy()
        noise = np.where(self.rms(given) > 0, self.rms(given), 1.0)
        for _ in range(UNCONSTRAINED_FITS):
            rows = (self.factors / noise[:, None, None]).reshape(-1, len(given) + 1)
            right = rows @ np.append(-given, 1.0)
            slopes = rows[:, :-1][:, free]
            size = np.linalg.norm(slopes, axis=0)
            size[size == 0] = 1.0
            change = np.linalg.lstsq(slopes / size, right, rcond=MIN_SINGULAR)[0]
            found[free] = given[free] + change / size
            left = self.rms(found)
            noise = np.maximum(left, MIN_NOISE_SHARE * noise)
        return found

    def batch(self) -> np.ndarray:
        """Return the batch of `CondensedEffortError`."""
        return self.factors * np.sqrt(self.factors.shape[1] / self.instants)


def is_condensable(error: Any, model: ParametricTwin) -> bool:
    """Return whether a `CondensedEffortError` has the value of `error`."""
    squares = isinstance(error, InverseDynamicsError) and isinstance(error.loss, L2)
    robot = model.inner.robot
    damped = np.any(robot.linear_damping) or np.any(robot.angular_damping)
    return squares and not damped and efforts_are_linear(model)


def own_shapes(model: ParametricTwin) -> np.ndarray:
    """Return the shapes of the dry friction that is among a model's numbers."""
    robot, law = model.inner.robot, friction_law(model.inner.robot)
    slow = np.broadcast_to(robot.friction_velocity, model.joints)
    fast, never = np.asarray(law.stribeck_velocity), np.full(model.joints, np.inf)
    shapes = [(slow, never, 1), (slow, never, 2), (slow, fast, 1)]
    count = len(_dry_numbers(model))
    return np.array(
        [np.stack(np.broadcast_arrays(*one), 1) for one in shapes[:count]]
    ).swapaxes(0, 1)


def dry(velocity: Array, shapes: Array) -> Array:
    """Return shapes of dry friction, tanhⁿ(q̇ / v_s) exp(−(q̇ / v_b)²).

    Args:
        velocity: (…, joint) [rad/s or m/s].
        shapes: (joint, shape, 3): v_s, v_b and n, 1 or 2.
    """
    leading = velocity.ndim - 1
    shapes = shapes.reshape((1,) * leading + shapes.shape)
    slow, fast, power = (shapes[..., i] for i in range(3))
    turning = jnp.tanh(velocity[..., None] / slow)
    turning = jnp.where(power == 2, turning**2, turning)
    return turning * jnp.exp(-((velocity[..., None] / fast) ** 2))


def dry_columns(model: ParametricTwin) -> np.ndarray:
    """Return the columns of Y that are each joint's dry friction, (joint, shape)."""
    first = linear_parameters(model).size - len(joint_numbers(model)) * model.joints
    kinds = [joint_numbers(model).index(kind) for kind in _dry_numbers(model)]
    return first + model.joints * np.array(kinds) + np.arange(model.joints)[:, None]


def _dry_numbers(model: ParametricTwin) -> list[str]:
    return [kind for kind in DRY_NUMBERS if kind in joint_numbers(model)]


@filter_jit
def _matrices(
    model: ParametricTwin, shapes: AnyArray, q: Array, velocity: Array,
    acceleration: Array, duration: Array, recorded: Array, filtering: Array,
) -> Array:  # fmt: skip
    """Return [Y, other shapes of friction, τ less what is not linear], each instant."""
    numbers = linear_parameters(model)
    columns = dry_columns(model)
    rows, own = np.arange(model.joints)[:, None], columns.shape[1]

    def one(*instant: Array) -> Array:
        *motion, effort, filtering = instant
        matrix = effort_matrix(model, *motion)
        rest = model.inverse_dynamics(*motion) - matrix @ numbers
        matrix = matrix.at[rows, columns].add(filtering[:, :own])
        rubbed = dry(motion[1], jnp.asarray(shapes)) + filtering[:, own:]
        return jnp.concatenate([matrix, rubbed, (effort - rest)[:, None]], 1)

    return jax.vmap(one)(q, velocity, acceleration, duration, recorded, filtering)


@filter_jit
def _filterings(
    error: InverseDynamicsError, model: ParametricTwin, data: Trajectory, shapes: Any
) -> Array:
    """Return what a filter changes of shapes of friction, (…, time, joint, shape)."""
    if error.filter is None:
        return jnp.zeros((*error.motions(model, data)[0].shape, shapes.shape[1]))

    def change(one: Array) -> Array:
        return error.filtering(lambda v: dry(v, one[:, None])[..., 0], model, data)

    changes = jax.lax.map(change, jnp.asarray(shapes).swapaxes(0, 1))
    return jnp.moveaxis(changes, 0, -1)
