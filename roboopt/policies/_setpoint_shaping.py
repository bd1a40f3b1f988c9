"""Setpoints of a position or velocity loop, for goals and along trajectories.

    s = L (r − q) + T (ṙ − q̇) + A ṙ + C h(q),          q* = r + s,          q̇* = ṙ + s

with the reference r, a goal where ṙ = 0, and the effort h(q) against gravity. A
proportional loop of stiffness k droops by h/k under a load, which C = 1/k makes up for,
and lags behind a motion by its damping over k, which A does; L and T shape the way.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen, Jittable, compiled
from roboopt._errors import require
from roboopt.dynamics import Multibody
from roboopt.policies._joint_control import Aim
from roboopt.policies._linear import checked_finite

LEADS = {"position": 0.0, "velocity": 3.0}
"""By default [1, 1/s]: the goal as the position, and velocities that lead to it."""


class SetpointShaping(Jittable):
    """Positions or velocities to command, for [q, q̇, goal] or [q, q̇, r, ṙ, r̈]."""

    lead: Float[Array, " joint"]
    """L: a share of what is left to go, [1/s] for velocities."""
    damping: Float[Array, " joint"]
    """T [s], 1 for velocities."""
    droop: Float[Array, " joint"]
    """C [rad/(N·m) or m/N], by second for velocities."""
    advance: Float[Array, " joint"]
    """A [s], 1 for velocities: without effect for goals."""
    robot: Frozen[Multibody]
    interface: str = eqx.field(static=True)

    def __init__(
        self,
        robot: Multibody,
        *,
        lead: Any = None,
        damping: Any = 0.0,
        droop: Any = 0.0,
        advance: Any = 0.0,
        interface: str = "position",
    ):
        """Shape the setpoints of `robot`, by one number for all joints or one for each.

        Args:
            robot: actuated at every joint.
            lead: L; by default 0 for positions and 3/s for velocities.
            damping: T.
            droop: C.
            advance: A.
            interface: "position" or "velocity", what a setpoint is.

        Raises:
            RobooptError: if a number is not finite, or the interface is another.
        """
        known = interface in ("position", "velocity")
        require(known, "interface", "be position or velocity", interface)
        lead = LEADS[interface] if lead is None else lead
        joints = jnp.zeros(len(robot.joint_names))
        self.lead = joints + checked_finite("lead", lead)
        self.damping = joints + checked_finite("damping", damping)
        self.droop = joints + checked_finite("droop", droop)
        self.advance = joints + checked_finite("advance", advance)
        self.robot, self.interface = Frozen(robot), interface

    @compiled
    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the setpoint of every joint."""
        aim = Aim.of(observation, self.lead.shape[0])
        behind, slower = aim.errors
        shaped = self.lead * behind + self.damping * slower
        shaped += self.advance * aim.desired_velocity
        shaped += self.droop * self.robot().gravity_effort(aim.q)
        first = aim.desired if self.interface == "position" else aim.desired_velocity
        return first + shaped
