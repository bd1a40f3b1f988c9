"""What a motor draws: mechanical power and Joule loss of each joint.

A torque motor with constant k [N·m/A] (force: [N/A]) and winding resistance R [Ω]
that gives the effort τ carries the current τ/k, hence

    mechanical power  P = τ·(q̇ + q̇′)/2      Joule loss  R·(τ/k)²      [W]

with q̇, q̇′ the velocities before and after the step. Over Bullet's semi-implicit
step the mean of both is what makes Σ P·Δt the change of mechanical energy up to the
integrator's own error; with either velocity alone the work is off by percents.
"""

import math
from dataclasses import dataclass
from typing import Any

Array = Any  # of NumPy, JAX, or whatever else has `__array_namespace__`


@dataclass(frozen=True)
class Actuators:
    """The motors of all joints of a robot.

    Args:
        resistance: of each joint's winding [Ω].
        torque_constant: of each joint [N·m/A], or [N/A] where it is prismatic.
        regenerative: whether braking is free, power counting as max(P, 0). Without it
            braking costs what driving does: |P|.

    Raises:
        ValueError: if the two differ in length, are empty, or are not positive and
            finite (a resistance may be 0).
    """

    resistance: tuple[float, ...]
    torque_constant: tuple[float, ...]
    regenerative: bool = False

    def __post_init__(self):
        """Refuse what no motor is."""
        if len(self.resistance) != len(self.torque_constant) or not self.resistance:
            raise ValueError(
                "`resistance` and `torque_constant` must hold one value for each joint,"
                f" got {len(self.resistance)} and {len(self.torque_constant)}."
            )
        if not all(0 <= r < math.inf for r in self.resistance):
            raise ValueError(
                f"`resistance` must not be negative or infinite, got {self.resistance}."
            )
        if not all(0 < k < math.inf for k in self.torque_constant):
            raise ValueError(
                "`torque_constant` must be positive and finite, got "
                f"{self.torque_constant}."
            )

    def mechanical_power(
        self, effort: Array, velocity: Array, next_velocity: Array
    ) -> Array:
        """Return the mechanical power of each joint over a step [W].

        Args:
            effort: of each joint during the step, (..., n) [N·m or N].
            velocity: before the step, (..., n) [rad/s or m/s].
            next_velocity: after it, (..., n) [rad/s or m/s].

        Raises:
            ValueError: if the last axis does not hold one value for each joint.
        """
        self._check(effort)
        xp = effort.__array_namespace__()
        power = effort * (0.5 * (velocity + next_velocity))
        # Either has gradient 0 at P = 0; `maximum` has 1/2, and JAX gives |P| there 1.
        if self.regenerative:
            return xp.where(power > 0, power, 0.0)
        return power * xp.sign(power)

    def joule_power(self, effort: Array) -> Array:
        """Return the heat in each winding [W] at `effort` (..., n) [N·m or N].

        Raises:
            ValueError: if the last axis does not hold one value for each joint.
        """
        self._check(effort)
        xp = effort.__array_namespace__()
        watts_per_square = xp.asarray(
            [
                r / k**2
                for r, k in zip(self.resistance, self.torque_constant, strict=True)
            ],
            dtype=effort.dtype,
        )
        shape = (1,) * (effort.ndim - 1) + watts_per_square.shape
        return effort * effort * xp.reshape(watts_per_square, shape)

    def _check(self, effort: Array):
        if effort.shape[-1] != len(self.resistance):
            raise ValueError(
                f"`effort` must hold {len(self.resistance)} joints on its last axis, "
                f"got shape {effort.shape}."
            )
