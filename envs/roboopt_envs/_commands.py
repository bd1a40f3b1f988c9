"""The commands of an environment: what an action is, and what drives the joints.

A drive computes efforts from commands. Where it has no loop for positions or
velocities, motors as PyBullet has them follow these; their impulses are solved for by
`_joint_limits` against damping, friction and rotors as well, which Bullet's joints
lack, and so are no motors of Bullet's.
"""

import gymnasium
import numpy as np

from roboopt._errors import RobooptError, require
from roboopt.urdf.drive import (
    Drive,
    command_range,
    first_memory,
    followed,
    has_loop,
    motor_effort,
)

from ._actuators import Actuators
from ._world import MAX_SPEED, PybulletWorld

RATED_CURRENT_A = 10.0  # current at the effort limit of the default motors, of 1 Ω


class Commands:
    """Commands of the driven joints of a robot.

    Attributes:
        space: of the actions.
        plain: whether an action is the effort itself.
    """

    def __init__(
        self,
        world: PybulletWorld,
        interface: str,
        drive: Drive | None,
        actuated: tuple[int, ...],
        limits: np.ndarray,
    ):
        """Prepare `world`, whose joints `actuated` have the effort `limits`."""
        loop = has_loop(interface, drive)
        self.plain = drive is None and loop
        self._interface, self._limits, self._at = interface, limits, list(actuated)
        lower, upper = world.model.position_limits
        widest = world.sampling_range(1.0)
        low, high = np.where(np.isinf([lower, upper]), widest, [lower, upper])
        positions = low[self._at], high[self._at]
        bounds = command_range(interface, drive, limits, positions, MAX_SPEED)
        self.space = gymnasium.spaces.Box(*bounds, dtype=np.float64)
        self._bounds = [x.tolist() for x in bounds]
        names, self._count = world.model.joint_names, len(lower)
        self._names = [names[joint] for joint in actuated]
        self._drive = None if drive is None else drive.arrays(len(actuated))
        self._loop = loop
        self._rotors = np.zeros(self._count)
        if self._drive is not None:
            self._rotors[self._at] = self._drive.armature
        self.prepare(world)
        self.begin(world)

    def prepare(self, world: PybulletWorld) -> None:
        """Give a robot that was loaded the rotors and the motors."""
        motors = None
        if not self._loop:
            motors = self._at, self._limits, self._interface == "velocity"
        world.set_drives(self._rotors, motors)

    def begin(self, world: PybulletWorld) -> None:
        """Forget all commands."""
        self._world, step = world, world.time_step
        self._memory = None
        if self._drive is not None and self._drive.remembers:
            self._memory = first_memory(self._drive, len(self._at), step)

    def checked(self, action: np.ndarray) -> np.ndarray:
        """Return the action, refused unless it is within the space."""
        rule = f"have shape {self.space.shape}"
        require(action.shape == self.space.shape, "action", rule, action.shape)
        rows = zip(self._names, action.tolist(), *self._bounds, strict=True)
        for name, value, low, high in rows:
            if not low <= value <= high:
                within = f"±{high}" if low == -high else f"{low} to {high}"
                raise RobooptError(
                    f"`action` on joint {name!r} must be within {within}, got {value}."
                )
        return action

    def advance(
        self, command: np.ndarray, q: np.ndarray, velocity: np.ndarray
    ) -> tuple[list[float], list[float], np.ndarray]:
        """Take one time step; return q, q̇ and the efforts that the motors applied."""
        world, drive, effort = self._world, self._drive, np.zeros(self._count)
        if self._memory is not None and drive is not None:
            self._memory, command = followed(
                drive, self._memory, command, world.time_step
            )
        if not self._loop:
            return world.advance(effort, targets=command)
        if drive is None:
            effort[self._at] = command
            return world.advance(effort)
        at, back = self._at, np.zeros(self._count)
        effort[at], back[at] = motor_effort(
            drive, self._interface, command, q[at], velocity[at], self._limits
        )
        return world.advance(effort, damping=back)

    def motors(self) -> Actuators:
        """Return the drive's motors of all joints, or else of 1 Ω and 10 A at most."""
        resistance, constants = np.ones((2, self._count))
        constants[self._at] = self._limits / RATED_CURRENT_A
        drive = self._drive
        if drive is not None and drive.resistance is not None:
            resistance[self._at] = drive.resistance
            constants[self._at] = drive.gear_ratio * drive.torque_constant
        return Actuators(tuple(resistance.tolist()), tuple(constants.tolist()))
