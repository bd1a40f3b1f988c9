"""Efforts of whole recordings in a few rows.

The efforts are linear in the numbers φ of `linear_parameters`: τ = Y φ. The QR
decomposition of [Y, τ] holds, in as many rows as there are numbers, all that a least
squares fit needs: a fit of an hour takes no longer than that of a second.
"""

from collections.abc import Iterator
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
        factors: Any = np.zeros((model.joints, 0, 0))
        instants = 0
        for _, rows in effort_rows(error, model, data, shapes):
            instants += rows.shape[1]
            rows = np.concatenate([factors, rows], 1) if factors.size else rows
            factors = np.linalg.qr(rows, mode="r")
        # Fewer instants than numbers leave fewer rows: zeros keep the shape.
        short = factors.shape[2] - factors.shape[1]
        rows = np.pad(factors, ((0, 0), (0, max(short, 0)), (0, 0)))
        return cls(rows, instants)

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


def effort_rows(
    error: InverseDynamicsError,
    model: ParametricTwin,
    data: Trajectory,
    shapes: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, Float[np.ndarray, "joint instant column"]]]:
    """Yield instants, and [Y, τ] there, as `Condensed.of` decomposes them."""
    shapes = np.zeros((model.joints, 0, 3)) if shapes is None else shapes
    *motion, recorded = map(np.asarray, error.motions(model, data))
    recorded = recorded.reshape(-1, model.joints)
    columns, joint = dry_columns(model), np.arange(model.joints)[:, None]
    own = columns.shape[1]
    all_shapes = np.hstack([own_shapes(model), shapes])
    filtering = _filterings(error, model, data, all_shapes)
    whole, missed = (x.reshape(len(recorded), *x.shape[-2:]) for x in filtering)
    for at, smooth in _smooth_rows(model, motion, np.asarray(error.weights())):
        left = recorded[at] - smooth[..., -1]
        parts = smooth[..., :-1], whole[at][..., own:], left[..., None]
        rows = np.concatenate(parts, -1)
        rows[:, joint, columns] += missed[at][..., :own]
        yield at, np.swapaxes(rows, 0, 1)


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


def dry(
    velocity: Float[np.ndarray, "*batch joint"],
    shapes: Float[np.ndarray, "joint shape 3"],
) -> Float[np.ndarray, "*batch joint shape"]:
    """Return shapes of dry friction, tanhⁿ(q̇ / v_s) exp(−(q̇ / v_b)²).

    Args:
        velocity: [rad/s or m/s].
        shapes: v_s, v_b and n, 1 or 2.
    """
    slow, fast, power = (shapes[..., i] for i in range(3))
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        turning = np.tanh(velocity[..., None] / slow)
        turning = np.where(power == 2, turning**2, turning)
        return turning * np.exp(-((velocity[..., None] / fast) ** 2))


def dry_columns(model: ParametricTwin) -> np.ndarray:
    """Return the columns of Y that are each joint's dry friction, (joint, shape)."""
    first = linear_parameters(model).size - len(joint_numbers(model)) * model.joints
    kinds = [joint_numbers(model).index(kind) for kind in _dry_numbers(model)]
    return first + model.joints * np.array(kinds) + np.arange(model.joints)[:, None]


def _dry_numbers(model: ParametricTwin) -> list[str]:
    return [kind for kind in DRY_NUMBERS if kind in joint_numbers(model)]


def _smooth_rows(
    model: ParametricTwin, motion: list[np.ndarray], weights: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield instants, and [Y, what is not linear] there, filtered by the `weights`.

    `motion` is what `InverseDynamicsError.motions` returns but for the efforts.
    """
    from scipy.ndimage import correlate1d  # Slow to import.

    given = motion[-1].shape[-1]
    motion = [x.reshape(-1, given, *x.shape[motion[-1].ndim :]) for x in motion]
    count = given - weights.size + 1  # of instants in each window
    size = min(given, max(CHUNK, 2 * weights.size))
    new = size - weights.size + 1
    least = np.arange(0, count, new)
    windows = np.repeat(np.arange(len(motion[-1])), len(least))
    least = np.tile(least, len(motion[-1]))
    together = max(1, CHUNK // size)
    for first in range(0, len(windows), together):
        window, begin = (x[first : first + together, None] for x in (windows, least))
        at = np.minimum(begin, given - size) + np.arange(size)
        taken = [x[window, at].reshape(-1, *x.shape[2:]) for x in motion]
        missing = max(CHUNK, size) - at.size  # One shape is compiled once.
        padded = [np.concatenate([x, np.repeat(x[-1:], missing, 0)]) for x in taken]
        made = np.asarray(_matrices(model, *padded))[: at.size]
        made = made.reshape(*at.shape, *made.shape[1:])
        made = correlate1d(made, weights, 1)[:, weights.size // 2 :]
        at = at[:, :new]
        yield (window * count + at)[at >= begin], made[:, :new][at >= begin]


@filter_jit
def _matrices(model: ParametricTwin, *motion: AnyArray) -> Array:
    """Return Y, and beside it the efforts that are not linear, at each instant."""
    numbers = linear_parameters(model)

    def one(*instant: Any) -> Array:
        matrix = effort_matrix(model, *instant)
        rest = model.inverse_dynamics(*instant) - matrix @ numbers
        return jnp.column_stack([matrix, rest])

    return jax.vmap(one)(*motion)


def _filterings(
    error: InverseDynamicsError, model: ParametricTwin, data: Trajectory, shapes: Any
) -> Iterator[np.ndarray]:
    """Yield the `filtering` of shapes of dry friction, (…, time, joint, shape)."""
    velocity = np.asarray(error.rubbing_velocity(model, data))
    made = [error.filtering(x) for x in np.moveaxis(dry(velocity, shapes), -1, 0)]
    for parts in zip(*made, strict=True):
        yield np.stack(parts, -1)
