"""Control by a robot's model: computed torque.

    τ = M(q) (r̈ + K_p (r − q) + K_d (ṙ − q̇)) + h(q, q̇) + friction

makes the error of an exactly known robot that of a linear oscillator, ë = −K_p e − K_d
ė, at every configuration (Luh, Walker and Paul, 1980, Resolved-acceleration control of
mechanical manipulators).
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen, Jittable, compiled, per_joint
from roboopt.dynamics import Multibody
from roboopt.policies._joint_control import Aim, GainsPerJoint

FREQUENCY, DAMPING_RATIO = 10.0, 0.7  # rad/s: of the errors under guessed gains


class ComputedTorque(GainsPerJoint, Jittable):
    """Feedback linearization, on [q, q̇, r, ṙ, r̈] or a goal [q, q̇, r].

    The parameters are the logarithms of the gains, which therefore stay positive.
    """

    log_position_gain: Float[Array, " joint"]
    log_velocity_gain: Float[Array, " joint"]
    robot: Frozen[Multibody]

    def __init__(
        self,
        robot: Multibody,
        position_gain: AnyArray | None = None,
        velocity_gain: AnyArray | None = None,
    ):
        """Set positive gains.

        Args:
            robot: as far as it is known; a motor at every joint.
            position_gain: K_p of each joint [1/s²]; by default (10 rad/s)².
            velocity_gain: K_d of each joint [1/s]; by default that of a damping ratio
                of 0.7.

        Raises:
            RobooptError: if there is not one positive number for each joint.
        """
        joints = len(robot.joint_names)
        if position_gain is None:
            position_gain = jnp.full(joints, FREQUENCY**2)
        stiff = per_joint("position_gain", position_gain, joints)
        if velocity_gain is None:
            velocity_gain = 2 * DAMPING_RATIO * jnp.sqrt(jnp.asarray(stiff))
        damped = per_joint("velocity_gain", velocity_gain, joints)
        self.log_position_gain = jnp.log(jnp.asarray(stiff, float))
        self.log_velocity_gain = jnp.log(jnp.asarray(damped, float))
        self.robot = Frozen(robot)

    @property
    def gain_units(self) -> dict[str, Any]:
        """The unit of each number of each gain, by the gain's name."""
        joints = len(self.robot.value.joint_names)
        return {"position_gain": ("1/s²",) * joints, "velocity_gain": ("1/s",) * joints}

    @compiled
    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the effort [N·m or N] on every joint."""
        aim = Aim.of(observation, self.log_position_gain.shape[0])
        error, rate = aim.errors
        wanted = aim.desired_acceleration + jnp.exp(self.log_position_gain) * error
        wanted = wanted + jnp.exp(self.log_velocity_gain) * rate
        return self.robot().inverse_dynamics(aim.q, aim.velocity, wanted)
