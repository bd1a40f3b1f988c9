"""Proportional-integral-derivative control of each joint.

    τ = K_p e + I + K_d f        e = r − q
    İ = K_i e + (K_i / K_p)·(sat(τ) − τ)
    ḟ = ((ṙ − q̇) − f) / T_f

The derivative is the error of the measured velocity, behind a first-order filter of
time T_f. Back-calculation keeps the integral I from winding up where the effort limits
cut τ: the excess flows out of I in the time K_p/K_i (Åström and Hägglund, 1995, PID
controllers, sections 3.4 and 3.5). Integral and filter advance by the time that has
passed since the last action, whatever the rate of the control is.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Frozen, per_joint
from roboopt.dynamics import Multibody
from roboopt.policies._joint_control import (
    Aim,
    JointGains,
    PDGravityCompensation,
    effort_units,
)
from roboopt.policies._protocol import Observation, StatefulPolicy, Time

INTEGRAL_TIME_S = 1.0  # K_p/K_i of the guessed gains
FILTER_RATIO = 10.0  # K_d/K_p over T_f of the guessed gains


class PID(JointGains, StatefulPolicy):
    """PID control with anti-windup and a derivative filter, of each joint by itself.

    Observations are [q, q̇, r, ṙ, r̈], or [q, q̇, r] for a goal. The robot's model names
    the joints and enters nowhere else. The carry is [time, I, f].
    """

    log_integral: Float[Array, " joint"]
    log_filter_time: Float[Array, " joint"]
    effort_limits: Frozen[Float[Array, " joint"]]

    def __init__(
        self,
        robot: Multibody,
        stiffness: AnyArray,
        damping: AnyArray,
        integral: AnyArray,
        filter_time: AnyArray,
        effort_limits: AnyArray,
    ):
        """Set positive gains, one of each kind for each joint.

        Args:
            robot: the robot.
            stiffness: K_p [N·m/rad or N/m].
            damping: K_d [N·m·s/rad or N·s/m].
            integral: K_i [N·m/(rad·s) or N/(m·s)].
            filter_time: T_f [s].
            effort_limits: beyond which the effort is cut [N·m or N]; may be infinite.

        Raises:
            RobooptError: if there is not one positive number for each joint.
        """
        super().__init__(robot, stiffness, damping)
        joints = len(robot.joint_names)
        integral = per_joint("integral", integral, joints)
        filter_time = per_joint("filter_time", filter_time, joints)
        limits = per_joint("effort_limits", effort_limits, joints, infinite=True)
        self.log_integral = jnp.log(jnp.asarray(integral, float))
        self.log_filter_time = jnp.log(jnp.asarray(filter_time, float))
        self.effort_limits = Frozen(jnp.asarray(limits, float))

    @classmethod
    def from_limits(
        cls, robot: Multibody, effort_limits: Any, time_step: float, **options: Any
    ) -> "PID":
        """Guess gains from the motors' limits: a start for tuning any robot.

        K_p and K_d are those of `PDGravityCompensation.from_limits`, with its
        `options`; K_i restores an error in a second, and T_f is a tenth of K_d/K_p.
        """
        guess = PDGravityCompensation.from_limits(
            robot, effort_limits, time_step, **options
        )
        stiffness, damping = guess.stiffness, guess.damping
        filter_time = damping / stiffness / FILTER_RATIO
        limits = jnp.asarray(effort_limits, float)
        limits = jnp.broadcast_to(limits, stiffness.shape)
        integral = stiffness / INTEGRAL_TIME_S
        return cls(robot, stiffness, damping, integral, filter_time, limits)

    @property
    def integral(self) -> Float[Array, " joint"]:
        """K_i [N·m/(rad·s) or N/(m·s)]."""
        return jnp.exp(self.log_integral)

    @property
    def filter_time(self) -> Float[Array, " joint"]:
        """T_f [s]."""
        return jnp.exp(self.log_filter_time)

    @property
    def gain_units(self) -> dict[str, tuple[str, ...]]:
        """The unit of each number of each gain, by the gain's name."""
        robot = self.robot.value
        return {
            **super().gain_units,
            "integral": effort_units(robot, "/s"),
            "filter_time": ("s",) * len(robot.joint_names),
        }

    def init(self, key: PRNGKeyArray | None) -> Any:
        """Return the carry before the first action, at a time of -1."""
        return jnp.full((1 + 2 * self.log_stiffness.shape[0],), -1.0)

    def __call__(
        self, carry: Any, observation: Observation, time: Time
    ) -> tuple[Any, Float[Array, " act"]]:
        """Return the next carry, and the effort [N·m or N] on every joint."""
        joints = self.log_stiffness.shape[0]
        first = carry[0] < 0
        passed = jnp.where(first, 0.0, jnp.asarray(time, carry.dtype) - carry[0])
        error, rate = Aim.of(observation, joints).errors
        stored = jnp.where(first, 0.0, carry[1 : 1 + joints])
        kept = jnp.where(first, 0.0, jnp.exp(-passed / self.filter_time))
        slow = rate + kept * (carry[1 + joints :] - rate)
        wanted = self.stiffness * error + stored + self.damping * slow
        limits = self.effort_limits()
        excess = wanted - jnp.clip(wanted, -limits, limits)
        # A step that is long beside K_p/K_i must not take out more than there is.
        drained = -jnp.expm1(-passed * self.integral / self.stiffness) * excess
        stored = stored + passed * self.integral * error - drained
        carry = jnp.concatenate([jnp.atleast_1d(time), stored, slow]).astype(
            carry.dtype
        )
        return carry, wanted
