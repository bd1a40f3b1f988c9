"""Any robot with a task of one's own: pendulums, passive joints, balancing.

The observation is [q, q̇], and only the joints with a motor are driven. Without a task
the robot is to balance: every joint holds its position of the highest equilibrium. A
task is an object with `cost_rate(observation, action)`, or `cost_rate(observation,
action, time)`, and `success(observations, time_step)`, as those of
`roboopt_envs.tasks`; a dataclass of ten lines will do.
"""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import require
from roboopt.urdf import UrdfModel, reach, read_urdf
from roboopt.urdf.drive import AnyDrive

from ._actuators import Actuators
from ._camera import View
from ._checked_arguments import checked_arguments
from ._fitted_robot import load_world
from ._fixed_base import FixedBaseEnv
from ._named_task import named_task
from ._sizing import assumed_efforts, motor_limits
from ._upright import balancing_time, find_upright
from ._world import PybulletWorld
from .tasks import Hold

TURNED_SCALE = 0.2  # rad, of joints that gravity turns
OTHER_SCALE = 0.5  # rad, and m on a robot of at least 1 m
RELAXATION_RATE = 5.0  # 1/s: speed scale over position scale
SEEN_SCALES = 2.0  # position scales to either side that a picture has room for
START_WIDTHS = 0.5, 0.1  # half the sides of the box of starts over these scales


class RobotTask(FixedBaseEnv):
    """Do a task with the robot of a URDF, from starts in a box around one state.

    Attributes:
        upright: the configuration at which the robot balances, (n,) [rad or m].

    Args:
        robot: path of a URDF, whose base is fixed to the world.
        task: its cost is the negative reward; an object, its name as "module:NAME" or
            "file.py:NAME", or None for a `roboopt_envs.tasks.Hold` of `upright`.
        upright: positions by joint [rad or m] at which the robot balances; joints left
            out are where gravity's potential is highest and has no slope, or at 0.
        start: center of the starts [q, q̇], one number for all or (2n,) [SI units]; by
            default `upright` at rest.
        start_half_width: half the sides of the box of starts, one for all or (2n,); by
            default 0.1 rad and rad/s for joints that gravity turns, and up to 0.25 rad
            or m and 0.25 rad/s or m/s for others.
        actuated: names of the driven joints, instead of those that the URDF says.
        locked: names of joints that are held at 0, or a mapping to the positions
            [rad or m] at which they are held.
        effort_limits: limits instead of the URDF's [N·m or N]: one for all driven
            joints, one for each, or a mapping from the names of some to their limits.
        packages: folders of ROS packages by name, for meshes of package://NAME/….
        repair: replace physically inconsistent inertias by the nearest possible ones.
        bullet_defaults: give links without `<inertial>`, which are massless frames,
            PyBullet's 1 kg and 1 kg·m².
        xacro_args: values of the arguments of a .xacro file, by name.
        duration: length of an episode [s]; by default 4 s, or longer where passive
            joints fall slowly.
        time_step: of the simulation [s].
        control_period: of a step, for which an action is held [s]; a whole number of
            time steps, one by default.
        interface: what an action is: "torque", for efforts, "position" or "velocity" of
            the driven joints, or with a DC motor "voltage" or "duty".
        drive: the actuators between commands and efforts: a `roboopt.dynamics.Drive`, a
            mapping from the names of its numbers, or a URDF with one beside it.
        actuators: the motors of all joints; by default 1 Ω and 10 A at the limit.
        model: a fitted model of the robot, as in `apply`.
        randomize: largest relative change of masses, damping and friction at a reset.
        render_mode: None, "rgb_array" or "human".
        width: picture width [pixels].
        height: picture height [pixels].

    Raises:
        RobooptError: if an argument is out of its range, the URDF or `model` is no
            robot that can be simulated, or `upright` is no equilibrium.
        RuntimeError: if "human" is asked for and there is no display.

    Warns:
        UserWarning: if the URDF has no effort limit for a driven joint, and one is
            assumed; or about everything else that is read differently from the file.
    """

    has_twin = True  # It replaces what a picture shows, and nothing that moves.

    @checked_arguments
    def __init__(
        self,
        robot: str | Path,
        task: Any = None,
        *,
        upright: Mapping[str, float] | None = None,
        start: Sequence[float] | np.ndarray | float | None = None,
        start_half_width: Sequence[float] | np.ndarray | float | None = None,
        actuated: Iterable[str] | None = None,
        locked: Iterable[str] | Mapping[str, float] = (),
        effort_limits: Mapping[str, float]
        | Sequence[float]
        | np.ndarray
        | float
        | None = None,
        packages: Mapping[str, str | PathLike] | None = None,
        repair: bool = False,
        bullet_defaults: bool = False,
        xacro_args: Mapping[str, str] | None = None,
        duration: float | None = None,
        time_step: float = 1 / 240,
        control_period: float | None = None,
        interface: str = "torque",
        drive: AnyDrive = None,
        actuators: Actuators | None = None,
        model: Any = None,
        randomize: float = 0.0,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 360,
    ):
        """Load the robot."""
        own = None if task is None else named_task(task)
        urdf = read_urdf(
            robot,
            locked=locked,
            actuated=actuated,
            effort_limits=effort_limits,
            repair=repair,
            bullet_defaults=bullet_defaults,
            xacro_args=xacro_args,
            argument="robot",
        )
        gui = render_mode == "human"
        world = load_world(urdf, robot, packages=packages, gui=gui, model=model)
        limits = motor_limits(world)
        self.upright, turned = find_upright(world, upright)
        n, positions = len(self.upright), _position_scales(world, turned)
        speeds = RELAXATION_RATE * positions
        at_rest = np.concatenate([self.upright, np.zeros(n)])
        center = _box_row("start", start, at_rest, urdf)
        widths = np.concatenate([START_WIDTHS[0] * positions, START_WIDTHS[1] * speeds])
        half = np.abs(_box_row("start_half_width", start_half_width, widths, urdf))
        self._lower, self._upper = center - half, center + half
        # Links may fall all the way round; a cart does not leave for the rail's end.
        near = np.where(turned, np.pi, SEEN_SCALES * positions)
        self._seen = np.clip(
            [self.upright - near, self.upright + near], *urdf.position_limits
        )
        if own is None:
            efforts = np.minimum(limits, assumed_efforts(world)[urdf.driven])
            own = Hold(
                target=tuple(self.upright.tolist()),
                position_scale=tuple(positions.tolist()),
                speed_scale=tuple(speeds.tolist()),
                effort_scale=tuple(efforts.tolist()),
            )
        super().__init__(
            world,
            task=own,
            actuated=np.flatnonzero(urdf.driven).tolist(),
            effort_limits=limits,
            start_range=(self._lower[:n], self._upper[:n]),
            goal_range=(np.empty(0), np.empty(0)),
            duration=balancing_time(world, self.upright)
            if duration is None
            else duration,
            time_step=time_step,
            control_period=control_period,
            interface=interface,
            drive=drive,
            actuators=actuators,
            randomize=randomize,
            view=View(render_mode, width, height, yaw=20.0, pitch=12.0),
        )

    def _framed(self, start: np.ndarray) -> np.ndarray:
        n, (lower, upper) = len(self.upright), self._seen
        random = np.random.default_rng(0).uniform(lower, upper, (64, n))
        return np.array([start[:n], lower, upper, *random])

    def _draw_start(self, random: np.random.Generator) -> np.ndarray:
        return random.uniform(self._lower, self._upper)


def _box_row(
    name: str, given: Any, default: np.ndarray, model: UrdfModel
) -> np.ndarray:
    """Return a number for each entry of a state."""
    if given is None:
        return default
    numbers = np.asarray(given, float)
    rule = f"be one finite number or hold q and q̇ of joints {list(model.joint_names)}"
    valid = numbers.shape in ((), default.shape) and np.isfinite(numbers).all()
    require(valid, name, rule, given)
    return np.broadcast_to(numbers, default.shape)


def _position_scales(world: PybulletWorld, turned: np.ndarray) -> np.ndarray:
    """Return scales of the positions that suit the robot's size, (n,) [rad or m]."""
    model = world.model
    lower, upper = model.position_limits
    length = min(1.0, reach(model))
    room = np.minimum(np.where(model.revolute, 1.0, length), (upper - lower) / 4)
    return np.where(turned, TURNED_SCALE, OTHER_SCALE) * room
