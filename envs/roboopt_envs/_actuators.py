"""Power of electric motors: mechanical power and Joule loss of each joint.

A torque motor with constant k [N·m/A] (a linear motor: [N/A]) and winding resistance R
[Ω] that delivers the effort τ carries the current τ/k, hence

    mechanical power  P = τ·(q̇ + q̇′)/2      Joule loss  R·(τ/k)²      [W]

with q̇ and q̇′ the velocities before and after the step. With Bullet's semi-implicit
step, their mean makes Σ P·Δt equal the change of mechanical energy up to the
integrator's own error; with either velocity alone, the work is wrong by percents.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from roboopt._errors import RobooptError, require

Array = Any  # an array of NumPy, JAX or any library with `__array_namespace__`


@dataclass(frozen=True)
class Actuators:
    """The motors of all joints of a robot.

    Args:
        resistance: winding resistance of each joint's motor [Ω].
        torque_constant: motor constant of each joint [N·m/A], [N/A] if prismatic.
        regenerative: whether braking is free, so that power counts as max(P, 0).
            Otherwise braking costs as much as driving: |P|.

    Raises:
        RobooptError: if the two tuples differ in length, are empty, or hold numbers
            that are not positive and finite (a resistance may be 0).
    """

    resistance: tuple[float, ...]
    torque_constant: tuple[float, ...]
    regenerative: bool = False

    def __post_init__(self):
        """Check the numbers."""
        if len(self.resistance) != len(self.torque_constant) or not self.resistance:
            raise RobooptError(
                "`resistance` and `torque_constant` must hold one value for each joint,"
                f" got {len(self.resistance)} and {len(self.torque_constant)}."
            )
        valid = all(0 <= r < math.inf for r in self.resistance)
        require(valid, "resistance", "not be negative or infinite", self.resistance)
        given = self.torque_constant
        valid = all(0 < k < math.inf for k in given)
        require(valid, "torque_constant", "be positive and finite", given)

    def mechanical_power(
        self, effort: Array, velocity: Array, next_velocity: Array
    ) -> Array:
        """Return the mechanical power of each joint over a step (..., n) [W].

        Args:
            effort: during the step (..., n) [N·m or N].
            velocity: before the step (..., n) [rad/s or m/s].
            next_velocity: after the step (..., n) [rad/s or m/s].

        Raises:
            RobooptError: if the last axis does not hold one value for each joint.
        """
        self._check(effort)
        xp = effort.__array_namespace__()
        power = effort * (0.5 * (velocity + next_velocity))
        # Both forms have gradient 0 at P = 0; `maximum` has 1/2, and JAX's abs 1.
        if self.regenerative:
            return xp.where(power > 0, power, 0.0)
        return power * xp.sign(power)

    def joule_power(self, effort: Array) -> Array:
        """Return the heat in each winding (..., n) [W] at `effort` (..., n) [N·m or N].

        Raises:
            RobooptError: if the last axis does not hold one value for each joint.
        """
        self._check(effort)
        xp = effort.__array_namespace__()
        watts_per_square = xp.asarray(self._watts_per_square, dtype=effort.dtype)
        if effort.ndim > 1:
            shape = (1,) * (effort.ndim - 1) + watts_per_square.shape
            watts_per_square = xp.reshape(watts_per_square, shape)
        return effort * effort * watts_per_square

    @cached_property
    def _watts_per_square(self) -> tuple[float, ...]:
        """R/k² of each joint [W/(N·m)² or W/N²]."""
        pairs = zip(self.resistance, self.torque_constant, strict=True)
        return tuple(r / k**2 for r, k in pairs)

    def _check(self, effort: Array) -> None:
        if effort.shape[-1] != len(self.resistance):
            raise RobooptError(
                f"`effort` must hold {len(self.resistance)} joints on its last axis, "
                f"got shape {effort.shape}."
            )
