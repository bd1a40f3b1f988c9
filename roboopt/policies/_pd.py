"""Proportional-derivative control of the joints with gravity compensation.

    τ = g(q) + K_p (q* − q) − K_d q̇

which makes q* a globally attractive equilibrium for any positive gains in continuous
time (Takegaki and Arimoto, 1981, A new feedback method for dynamic control of
manipulators). In steps of Δt that holds while max eig(M⁻¹ K_d) Δt < 2: so the gains
that are guessed here are sized by the joints' inertias.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen, Jittable, check_positive, per_joint
from roboopt._readable import Readable, readable
from roboopt.dynamics import Multibody
from roboopt.policies._linear import leading

MAX_STEP_ANGLE = 0.2  # ω Δt of a joint's own oscillation [rad]
MAX_STEP_DAMPING = 0.5  # d Δt / m: share of the velocity damped in a step


class JointGains(Readable, eqx.Module):
    """Stiffness and damping of each joint of a robot.

    The parameters are the logarithms of the gains, which therefore stay positive.
    """

    log_stiffness: Float[Array, " joint"]
    log_damping: Float[Array, " joint"]
    robot: Frozen[Multibody]

    def __init__(self, robot: Multibody, stiffness: AnyArray, damping: AnyArray):
        """Set positive gains, K_p [N·m/rad or N/m] and K_d [N·m·s/rad or N·s/m]."""
        joints = len(robot.joint_names)
        stiffness = per_joint("stiffness", stiffness, joints)
        damping = per_joint("damping", damping, joints)
        self.log_stiffness = jnp.log(jnp.asarray(stiffness, float))
        self.log_damping = jnp.log(jnp.asarray(damping, float))
        self.robot = Frozen(robot)

    @property
    def stiffness(self) -> Float[Array, " joint"]:
        """K_p [N·m/rad or N/m]."""
        return jnp.exp(self.log_stiffness)

    @property
    def damping(self) -> Float[Array, " joint"]:
        """K_d [N·m·s/rad or N·s/m]."""
        return jnp.exp(self.log_damping)

    def _shown(self) -> dict[str, Any]:
        robot, texts = self.robot.value, {}
        for name, turns, stiffness, damping in zip(
            robot.joint_names, robot.revolute, self.stiffness, self.damping, strict=True
        ):
            force, length = ("N·m", "rad") if turns else ("N", "m")
            texts[name] = (
                f"{readable(stiffness)} {force}/{length}, "
                f"{readable(damping)} {force}·s/{length}"
            )
        return {"gains": texts}


class PDGravityCompensation(JointGains, Jittable):
    """τ = g(q) + K_p (q* − q) − K_d q̇, for observations [q, q̇, q*]."""

    @classmethod
    def from_limits(
        cls,
        robot: Multibody,
        effort_limits: Any,
        time_step: float,
        *,
        saturation: float = 0.25,
        damping_ratio: float = 0.6,
    ) -> "PDGravityCompensation":
        """Guess gains from the motors' limits: a start for tuning any robot.

        K_p gives full effort at an error of `saturation` times half the joint's range,
        and K_d = 2 ζ √(K_p m), with m = 1 / (M⁻¹)_jj the inertia that the joint feels
        at the middle of its range while the others are free. Gains of light joints are
        reduced: in a step of Δt a joint's own oscillation turns by at most 0.2 rad, and
        damping takes at most half of its velocity.

        Args:
            robot: the robot.
            effort_limits: of every joint [N·m or N].
            time_step: Δt [s].
            saturation: a fraction; smaller values give stiffer gains.
            damping_ratio: ζ; 1 is critical for a joint that moves alone.
        """
        check_positive("effort_limits", effort_limits)
        check_positive("time_step", time_step)
        check_positive("saturation", saturation)
        check_positive("damping_ratio", damping_ratio)
        span = robot.upper - robot.lower
        limited = (span >= 0) & (span < 4 * np.pi)
        half = jnp.where(limited & (span > 0), span / 2, np.pi)
        middle = jnp.where(limited, robot.lower + span / 2, 0.0)
        inertia = 1 / jnp.diag(jnp.linalg.inv(robot.mass_matrix(middle)))
        stiffness = jnp.minimum(
            jnp.asarray(effort_limits) / (saturation * half),
            inertia * (MAX_STEP_ANGLE / time_step) ** 2,
        )
        damping = jnp.minimum(
            2 * damping_ratio * jnp.sqrt(stiffness * inertia),
            inertia * (MAX_STEP_DAMPING / time_step),
        )
        return cls(robot, stiffness, damping)

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the effort [N·m or N] on every joint."""
        joints = self.log_stiffness.shape[0]
        q, velocity, goal = jnp.split(leading(observation, 3 * joints), 3)
        feedback = self.stiffness * (goal - q) - self.damping * velocity
        return self.robot().gravity_effort(q) + feedback
