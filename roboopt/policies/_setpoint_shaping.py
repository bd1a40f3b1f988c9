"""Setpoints of a position or velocity loop that bring an arm to its goal.

    q* = g + L (g − q) − T q̇ + C h(q)          q̇* = L (g − q) − T q̇ + C h(q)

with the goal g and the effort h(q) against gravity. A proportional loop of stiffness k
droops by h/k under a load, which C = 1/k makes up for; L and T shape the way there.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen, Jittable, compiled
from roboopt._errors import require
from roboopt.dynamics import Multibody
from roboopt.policies._linear import checked_finite, leading


class SetpointShaping(Jittable):
    """Positions or velocities to command, for observations [q, q̇, goal]."""

    lead: Float[Array, " joint"]
    """L: a share of what is left to go, [1/s] for velocities."""
    damping: Float[Array, " joint"]
    """T [s], 1 for velocities."""
    droop: Float[Array, " joint"]
    """C [rad/(N·m) or m/N], by second for velocities."""
    robot: Frozen[Multibody]
    interface: str = eqx.field(static=True)

    def __init__(
        self,
        robot: Multibody,
        *,
        lead: Any = 0.0,
        damping: Any = 0.0,
        droop: Any = 0.0,
        interface: str = "position",
    ):
        """Shape the setpoints of `robot`, by one number for all joints or one for each.

        Args:
            robot: actuated at every joint.
            lead: L.
            damping: T.
            droop: C.
            interface: "position" or "velocity", what a setpoint is.

        Raises:
            RobooptError: if a number is not finite, or the interface is another.
        """
        known = interface in ("position", "velocity")
        require(known, "interface", "be position or velocity", interface)
        joints = jnp.zeros(len(robot.joint_names))
        self.lead = joints + checked_finite("lead", lead)
        self.damping = joints + checked_finite("damping", damping)
        self.droop = joints + checked_finite("droop", droop)
        self.robot, self.interface = Frozen(robot), interface

    @compiled
    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the setpoint of every joint."""
        joints = self.lead.shape[0]
        q, velocity, goal = jnp.split(leading(observation, 3 * joints), 3)
        setpoint = self.lead * (goal - q) - self.damping * velocity
        setpoint += self.droop * self.robot().gravity_effort(q)
        return setpoint if self.interface == "velocity" else goal + setpoint
