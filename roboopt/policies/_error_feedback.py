"""Linear feedback of all joints' errors, with gravity compensation.

    τ = g(q) + K [r − q; ṙ − q̇]

Unlike gains of each joint by itself, the matrix K takes into account that the joints
are coupled; by default K is that of the linear-quadratic regulator about one posture.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen, Jittable, check_shape, compiled
from roboopt.dynamics import Multibody
from roboopt.policies._joint_control import Aim
from roboopt.policies._linear import LinearFeedback, checked_finite


class ErrorFeedback(Jittable):
    """τ = g(q) + K [r − q; ṙ − q̇], on [q, q̇, r, ṙ, r̈] or a goal [q, q̇, r]."""

    gains: Float[Array, "joint state"]
    """K: [N·m/rad, N/m] for positions, [N·m·s/rad, N·s/m] for velocities."""
    robot: Frozen[Multibody]

    def __init__(self, robot: Multibody, gains: AnyArray):
        """Set the matrix K of shape (joints, 2 joints).

        Raises:
            RobooptError: if `gains` are not finite, or have another shape.
        """
        joints = len(robot.joint_names)
        self.gains = checked_finite("gains", gains)
        check_shape("gains", self.gains.shape, (joints, 2 * joints))
        self.robot = Frozen(robot)

    @classmethod
    def regulator(
        cls,
        dynamics: Any,
        cost_rate: Any,
        posture: Float[AnyArray, " joint"],
        *,
        moving: bool = False,
        effort_cost: float = 100.0,
    ) -> "ErrorFeedback":
        """Return the linear-quadratic regulator of a task's cost about one posture.

        A task's cost of errors alone asks for gains that only the shortest time step
        bounds, and that suit no other posture; so efforts cost something here.

        Args:
            dynamics: a `Twin` with a motor at every joint, or a `Held` one.
            cost_rate: of the task, on observations and actions.
            posture: q = r, (n,) [rad or m].
            moving: whether the observations are [q, q̇, r, ṙ, r̈], instead of [q, q̇, r].
            effort_cost: that of each joint's full effort [1]; by default as much as an
                error of ten scales.

        Raises:
            RobooptError: as `LinearFeedback.regulator` does.
        """
        posture = jnp.asarray(posture, float)
        still = jnp.zeros((3 if moving else 1) * posture.size)
        goal = still.at[: posture.size].set(posture)
        target = jnp.concatenate([posture, jnp.zeros_like(posture)])

        def rate(state: Array, action: Array) -> Array:
            share = action / dynamics.effort_limits
            own = cost_rate(jnp.concatenate([state, goal]), action)
            return own + effort_cost * (share**2).sum()

        gains = LinearFeedback.regulator(dynamics, rate, target).gains
        # g(q) follows q, and the regulator has counted that as a part of the robot.
        slope = jax.jit(jax.jacfwd(dynamics.robot.gravity_effort))(posture)
        gains = gains.at[:, : posture.size].add(slope)
        return cls(dynamics.robot, gains)

    @compiled
    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the effort [N·m or N] on every joint."""
        aim = Aim.of(observation, self.gains.shape[0])
        errors = jnp.concatenate(aim.errors)
        return self.robot().gravity_effort(aim.q) + self.gains @ errors
