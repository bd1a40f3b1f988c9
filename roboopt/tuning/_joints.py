"""The joints of a robot as data: names, kinds and limits, with their units."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from roboopt.rollouts import JointUnits


@dataclass(frozen=True)
class Joints:
    """Names, kinds and limits of joints, for tables and figures."""

    names: tuple[str, ...]
    revolute: tuple[bool, ...]
    driven: tuple[int, ...]
    effort_limits: tuple[float, ...]
    """Of the driven joints [N·m or N]."""
    lower: tuple[float, ...]
    """Position limits [rad or m]; above `upper` where there are none."""
    upper: tuple[float, ...]

    @classmethod
    def of(cls, env: Any, dynamics: Any) -> "Joints":
        """Return the joints of an environment and its twin, within any wrappers."""
        env = env.unwrapped
        while not hasattr(dynamics, "robot"):
            dynamics = dynamics.dynamics
        robot = dynamics.robot

        def numbers(values: Any) -> tuple[float, ...]:
            return tuple(np.asarray(values, float).tolist())

        return cls(
            names=tuple(env.joint_names),
            revolute=tuple(bool(turns) for turns in robot.revolute),
            driven=tuple(int(joint) for joint in env.actuated),
            effort_limits=numbers(env.effort_limits),
            lower=numbers(robot.lower),
            upper=numbers(robot.upper),
        )

    @property
    def state_units(self) -> tuple[str, ...]:
        """Return the unit of every entry of a state [q, q̇]."""
        units = [JointUnits.of(turns) for turns in self.revolute]
        return tuple([*(u.position for u in units), *(u.velocity for u in units)])

    @property
    def gain_units(self) -> tuple[tuple[str, ...], ...]:
        """Return the units of gains from a state to efforts, (driven, state)."""
        units = [JointUnits.of(turns) for turns in self.revolute]
        return tuple(
            tuple(
                f"{units[joint].effort}{second}/{unit.position}"
                for second in ("", "·s")
                for unit in units
            )
            for joint in self.driven
        )

    @property
    def driven_names(self) -> tuple[str, ...]:
        """Return the names of the driven joints."""
        return tuple(self.names[joint] for joint in self.driven)
