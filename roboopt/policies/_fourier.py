"""A periodic motion of all joints within their limits that begins at rest.

    q(t) = m + h s(t) / √(1 + T²),   s(t) = o + Σ_k α_k sin(kωt) + β_k cos(kωt)

the finite Fourier series of Swevers et al. (1997, Optimal robot excitation and
identification), whose derivatives are exact and whose band is known. The coordinates
are ours: m ± h is the joint's range and T = |o| + Σ_k √(α_k² + β_k²) bounds |s|, so
that any o, α and β stay inside; and Σ k α_k = Σ k² β_k = 0 by projection, so that q̇ and
q̈ are 0 at time 0.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Jittable, compiled
from roboopt._errors import RobooptError, require, require_at_least, require_positive
from roboopt.dynamics import Multibody

RANGE_MARGIN = 0.05  # of the range at each end, for tracking errors
MAX_ANGLE = math.pi / 2  # of a revolute joint without limits, each way [rad]
MAX_LENGTH = 1.0  # of a prismatic joint without limits, each way [m]
FAR = 100.0  # beyond it a limit of a prismatic joint counts as none [m]
SMOOTHING = 1e-12  # of T², which is not differentiable at 0 otherwise


class FourierReference(Jittable):
    """A motion `reference(time) -> (q, q̇, q̈)` of period `period`, at rest at time 0.

    The motion is within `lower` and `upper` for any values of the arrays.
    """

    offset: Float[Array, " joint"]
    sine: Float[Array, "joint harmonic"]
    cosine: Float[Array, "joint harmonic"]
    lower: tuple[float, ...] = eqx.field(static=True)
    upper: tuple[float, ...] = eqx.field(static=True)
    period: float = eqx.field(static=True)

    def __init__(
        self,
        offset: Any,
        sine: Any,
        cosine: Any,
        *,
        lower: Any,
        upper: Any,
        period: float,
    ):
        """Build a motion from the dimensionless coefficients of the series.

        Args:
            offset: o of each joint.
            sine: α of each joint and harmonic, of which there are at least 2.
            cosine: β of each joint and harmonic.
            lower: lower ends of the joints' ranges [rad or m].
            upper: upper ends of the joints' ranges [rad or m].
            period: 2π/ω [s].
        """
        joints, shape = np.shape(offset), np.shape(sine)
        if len(shape) != 2 or shape[:1] != joints or np.shape(cosine) != shape:
            raise RobooptError(
                "`sine` and `cosine` must have shape (joints, harmonics) and `offset` "
                f"(joints,), got {shape}, {np.shape(cosine)} and {joints}."
            )
        require_at_least(2, harmonics=shape[1])
        require_positive(period=period)
        low, high = np.asarray(lower, float), np.asarray(upper, float)
        if not low.shape == high.shape == joints or not np.all(
            (-np.inf < low) & (low <= high) & (high < np.inf)
        ):
            raise RobooptError(
                "`lower` and `upper` must be finite and in this order at each of the "
                f"{joints[0]} joints, got {low} and {high}."
            )
        self.offset = jnp.asarray(offset, float)
        self.sine = jnp.asarray(sine, float)
        self.cosine = jnp.asarray(cosine, float)
        self.lower, self.upper = tuple(low.tolist()), tuple(high.tolist())
        self.period = float(period)

    @classmethod
    def random(
        cls,
        robot: Multibody,
        period: float,
        harmonics: int,
        key: PRNGKeyArray,
        *,
        range_share: float = 0.5,
    ) -> "FourierReference":
        """Draw a motion within the limits of `robot`, less 5 % at each end.

        Revolute joints without limits, or with limits beyond ±2π, get ±π/2, prismatic
        joints without limits, or with limits beyond ±100 m, ±1 m. A joint locked by its
        limits stays there.

        Args:
            robot: the robot whose joints move.
            period: 2π/ω [s].
            harmonics: number of harmonics of 1/period, at least 2.
            key: random key of the coefficients.
            range_share: greatest distance of a joint from the middle of its range, as
                a share of half the range, T/√(1 + T²): above 0 and below 1.
        """
        require_at_least(2, harmonics=harmonics)
        require(0 < range_share < 1, "range_share", "be between 0 and 1", range_share)
        lower, upper = _ranges(robot)
        drawn = jax.random.normal(key, (len(lower), 2 * harmonics + 1))
        # Divided by their order, all harmonics weigh the same in the velocity.
        order = jnp.arange(1, harmonics + 1)[None]
        reference = cls(
            drawn[:, 0],
            drawn[:, 1 : harmonics + 1] / order,
            drawn[:, harmonics + 1 :] / order,
            lower=lower,
            upper=upper,
            period=period,
        )
        wanted = range_share / math.sqrt(1 - range_share**2)
        offset, sine, cosine, reach = reference._series()
        factor = wanted / reach
        scaled = factor * offset, factor[:, None] * sine, factor[:, None] * cosine
        return eqx.tree_at(lambda r: (r.offset, r.sine, r.cosine), reference, scaled)

    @compiled
    def _series(self) -> tuple[Array, Array, Array, Array]:
        """Return o, α and β projected for a start at rest, and T."""
        order = jnp.arange(1, self.sine.shape[1] + 1, dtype=self.sine.dtype)
        sine = _orthogonal(self.sine, order)
        cosine = _orthogonal(self.cosine, order**2)
        strays = jnp.sqrt(sine**2 + cosine**2 + SMOOTHING).sum(-1)
        return self.offset, sine, cosine, strays + jnp.sqrt(self.offset**2 + SMOOTHING)

    def __call__(
        self, time: float | Float[AnyArray, ""]
    ) -> tuple[Float[Array, " joint"], Float[Array, " joint"], Float[Array, " joint"]]:
        """Return positions [rad or m], velocities and accelerations at `time` [s]."""
        return self._at(jnp.asarray(time))

    @compiled
    def _at(self, time: Array) -> tuple[Array, Array, Array]:
        offset, sine, cosine, reach = self._series()
        lower, upper = (jnp.asarray(x, offset.dtype) for x in (self.lower, self.upper))
        scale = (upper - lower) / 2 / jnp.sqrt(1 + reach**2)
        rate = 2 * np.pi / self.period * jnp.arange(1, self.sine.shape[1] + 1)
        rate = rate.astype(offset.dtype)
        s, c = jnp.sin(rate * time), jnp.cos(rate * time)
        position = offset + sine @ s + cosine @ c
        velocity = sine @ (rate * c) - cosine @ (rate * s)
        acceleration = -(sine @ (rate**2 * s) + cosine @ (rate**2 * c))
        middle = (lower + upper) / 2
        return middle + scale * position, scale * velocity, scale * acceleration


def _orthogonal(rows: Array, normal: Array) -> Array:
    """Return the rows less their part along `normal`."""
    return rows - jnp.outer(rows @ normal, normal) / (normal @ normal)


def _ranges(robot: Multibody) -> tuple[np.ndarray, np.ndarray]:
    """Return the ranges that a motion may use."""
    lower, upper = np.asarray(robot.lower), np.asarray(robot.upper)
    revolute = np.array(robot.revolute)
    free = ~np.array(robot.limited) | ~np.isfinite(lower) | ~np.isfinite(upper)
    far = np.where(revolute, 2 * np.pi, FAR)
    free |= np.maximum(np.abs(lower), np.abs(upper)) > far
    wide = np.where(revolute, MAX_ANGLE, MAX_LENGTH)
    spare = np.where(free, 0.0, RANGE_MARGIN * (upper - lower))
    return np.where(free, -wide, lower + spare), np.where(free, wide, upper - spare)
