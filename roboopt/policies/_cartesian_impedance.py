"""Cartesian impedance control: a tool on springs and dampers.

    τ = g(q) + Jᵀ (K (p(r) − p(q)) + D (J(r) ṙ − J q̇)) + K_q (r − q) + D_q (ṙ − q̇)

with the tool at p and its Jacobian J. The tool yields to a push as the springs K say,
in the axes of the world (Hogan, 1985, Impedance control); the posture gains K_q and D_q
hold the joints that the tool's position leaves free.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Jittable, compiled, per_joint
from roboopt._errors import three_numbers
from roboopt._readable import readable
from roboopt.dynamics import Multibody
from roboopt.policies._joint_control import Aim, JointGains, PDGravityCompensation

CONFIGURATIONS = 50  # at which the tool's levers are computed
POSTURE_SHARE = 0.2  # of the guessed stiffness and damping of the joints
AXES = "x", "y", "z"


class CartesianImpedance(JointGains, Jittable):
    """Springs and dampers on a tool, on [q, q̇, r, ṙ, r̈] or a goal [q, q̇, r].

    The joints' stiffness and damping are the posture gains. The parameters are the
    logarithms of all gains, which therefore stay positive.
    """

    log_tool_stiffness: Float[Array, "3"]
    log_tool_damping: Float[Array, "3"]
    tool: str
    tool_offset: tuple[float, ...] = eqx.field(static=True, default=(0.0, 0.0, 0.0))

    def __init__(
        self,
        robot: Multibody,
        tool: str,
        tool_stiffness: AnyArray,
        tool_damping: AnyArray,
        stiffness: AnyArray,
        damping: AnyArray,
        tool_offset: Sequence[float] = (0.0, 0.0, 0.0),
    ):
        """Set positive gains.

        Args:
            robot: as far as it is known; a motor at every joint.
            tool: the link that is the tool.
            tool_stiffness: K along x, y and z [N/m].
            tool_damping: D along x, y and z [N·s/m].
            stiffness: K_q of each joint [N·m/rad or N/m].
            damping: D_q of each joint [N·m·s/rad or N·s/m].
            tool_offset: x, y and z of the tool's point in the frame of the link [m].

        Raises:
            RobooptError: if a number is missing, not finite or not positive, or there
                is no such link.
        """
        super().__init__(robot, stiffness, damping)
        robot.forward_kinematics(jnp.zeros(len(robot.joint_names)), tool)
        stiff = per_joint("tool_stiffness", tool_stiffness, 3)
        damped = per_joint("tool_damping", tool_damping, 3)
        self.log_tool_stiffness = jnp.log(jnp.asarray(stiff, float))
        self.log_tool_damping = jnp.log(jnp.asarray(damped, float))
        self.tool = tool
        self.tool_offset = tuple(three_numbers("tool_offset", tool_offset).tolist())

    @classmethod
    def from_limits(
        cls,
        robot: Multibody,
        tool: str,
        effort_limits: Any,
        time_step: float,
        tool_offset: Sequence[float] = (0.0, 0.0, 0.0),
        **options: Any,
    ) -> "CartesianImpedance":
        """Guess gains from the motors' limits: a start for tuning any robot.

        The posture gains are a fifth of those of `PDGravityCompensation.from_limits`,
        with its `options`. The tool's are such that no joint gets more from them, at 50
        random configurations, than from that controller.
        """
        guess = PDGravityCompensation.from_limits(
            robot, effort_limits, time_step, **options
        )
        joints = len(robot.joint_names)
        q = np.random.default_rng(0).uniform(-np.pi, np.pi, (CONFIGURATIONS, joints))
        lever = lambda q: _jacobian(robot, q, tool, tool_offset)  # noqa: E731
        jacobian = jax.jit(jax.vmap(lever))
        jacobians = jacobian(jnp.asarray(q))
        levers = joints * jnp.maximum((jacobians**2).sum(1).max(0), 1e-12)
        stiff, damped = (
            jnp.full(3, (gain / levers).min())
            for gain in (guess.stiffness, guess.damping)
        )
        own = POSTURE_SHARE * guess.stiffness, POSTURE_SHARE * guess.damping
        return cls(robot, tool, stiff, damped, *own, tool_offset)

    def _shown(self) -> dict[str, Any]:
        gains = np.exp(self.log_tool_stiffness), np.exp(self.log_tool_damping)
        along = {
            axis: f"{readable(stiff)} N/m, {readable(damped)} N·s/m"
            for axis, stiff, damped in zip(AXES, *gains, strict=True)
        }
        at = {"tool offset": self.tool_offset} if any(self.tool_offset) else {}
        return {"tool": self.tool, **at, "along": along, **super()._shown()}

    @property
    def tool_units(self) -> dict[str, tuple[str, ...]]:
        """The units of the tool's gains, by name."""
        return {"tool_stiffness": ("N/m",) * 3, "tool_damping": ("N·s/m",) * 3}

    @compiled
    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the effort [N·m or N] on every joint."""
        robot, aim = self.robot(), Aim.of(observation, self.log_stiffness.shape[0])

        def place(q: Array, velocity: Array) -> tuple[Array, Array]:
            point = lambda q: _point(robot, q, self.tool, self.tool_offset)  # noqa: E731
            return jax.jvp(point, (q,), (velocity,))

        here, speed = place(aim.q, aim.velocity)
        there, desired = place(aim.desired, aim.desired_velocity)
        force = jnp.exp(self.log_tool_stiffness) * (there - here)
        force = force + jnp.exp(self.log_tool_damping) * (desired - speed)
        jacobian = _jacobian(robot, aim.q, self.tool, self.tool_offset)
        error, rate = aim.errors
        posture = self.stiffness * error + self.damping * rate
        effort = (jacobian * force[:, None]).sum(0)
        return robot.gravity_effort(aim.q) + effort + posture


def _point(robot: Multibody, q: Array, tool: str, offset: Sequence[float]) -> Array:
    """Return where a point of the tool is in the world, (3,) [m]."""
    rotation, origin = robot.forward_kinematics(q, tool)
    return origin + (rotation * jnp.asarray(offset, rotation.dtype)[None]).sum(1)


def _jacobian(robot: Multibody, q: Array, tool: str, offset: Sequence[float]) -> Array:
    """Return the Jacobian of `_point`, (3, joint)."""
    linear, angular = jnp.split(robot.jacobian(q, tool), 2)
    if not any(offset):
        return linear
    lever = _point(robot, q, tool, offset) - robot.forward_kinematics(q, tool)[1]
    return linear + jnp.cross(angular, lever[:, None], axis=0)
