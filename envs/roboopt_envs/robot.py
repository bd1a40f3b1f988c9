"""Any robot with a task of one's own: pendulums, passive joints, balancing.

The observation is [q, q̇], and only the joints with a motor are driven. A task is an
object with `cost_rate(observation, action)` and `success(observations, time_step)`, as
those of `roboopt_envs.tasks`; a dataclass of ten lines will do.
"""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.urdf import read_urdf

from ._actuators import Actuators
from ._camera import View
from ._fixed_base import FixedBaseEnv
from ._sizing import check_inertia, motor_limits
from ._world import PybulletWorld


class RobotTask(FixedBaseEnv):
    """Do a task with the robot of a URDF, from starts in a box around one state.

    Args:
        robot: path of a URDF, whose base is fixed to the world.
        task: its cost is the negative reward.
        start: center of the starts [q, q̇], one number for all or (2n,) [SI units]; by
            default all zero.
        start_half_width: half the sides of the box of starts, one for all or (2n,).
        actuated: names of the driven joints, instead of those that the URDF says.
        locked: names of joints that are held at 0, or a mapping to the positions
            [rad or m] at which they are held.
        effort_limits: limit of every driven joint, or one for all, instead of the
            URDF's [N·m or N].
        packages: folders of ROS packages by name, for meshes of package://NAME/….
        repair: replace inertias that no body can have by the nearest possible ones.
        bullet_defaults: give links without `<inertial>`, which are massless frames,
            PyBullet's 1 kg and 1 kg·m².
        duration: length of an episode [s].
        time_step: [s].
        actuators: the motors of all joints; by default 1 Ω and 10 A at the limit.
        randomize: largest relative change of every mass and joint damping at a reset.
        render_mode: None, "rgb_array" or "human".
        width: picture width [pixels].
        height: picture height [pixels].

    Raises:
        RobooptError: if an argument is out of its range, or the URDF is no robot that
            can be simulated.
        RuntimeError: if "human" is asked for and there is no display.

    Warns:
        UserWarning: if the URDF has no effort limit for a driven joint, and one is
            assumed; or about everything else that is taken otherwise than written.
    """

    def __init__(
        self,
        robot: str | Path,
        task: Any,
        *,
        start: Sequence[float] | np.ndarray | None = None,
        start_half_width: Sequence[float] | np.ndarray | float = 0.1,
        actuated: Iterable[str] | None = None,
        locked: Iterable[str] | Mapping[str, float] = (),
        effort_limits: Sequence[float] | np.ndarray | float | None = None,
        packages: Mapping[str, str | PathLike] | None = None,
        repair: bool = False,
        bullet_defaults: bool = False,
        duration: float = 4.0,
        time_step: float = 1 / 240,
        actuators: Actuators | None = None,
        randomize: float = 0.0,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 360,
    ):
        """Load the robot."""
        urdf = read_urdf(
            robot,
            locked=locked,
            actuated=actuated,
            effort_limits=effort_limits,
            repair=repair,
            bullet_defaults=bullet_defaults,
            argument="robot",
        )
        gui = render_mode == "human"
        world = PybulletWorld(urdf, robot, packages=packages, gui=gui)
        check_inertia(world)
        n = len(urdf.joint_names)
        box = np.zeros((2, 2 * n))
        given = {"start": start, "start_half_width": start_half_width}
        for row, (name, value) in zip(box, given.items(), strict=True):
            numbers = np.asarray(0.0 if value is None else value, float)
            if numbers.shape not in ((), row.shape) or not np.isfinite(numbers).all():
                raise RobooptError(
                    f"`{name}` must be one finite number or hold q and q̇ of joints "
                    f"{list(urdf.joint_names)}, got {value}."
                )
            row[:] = numbers
        self._lower, self._upper = box[0] - np.abs(box[1]), box[0] + np.abs(box[1])
        super().__init__(
            world,
            task=task,
            actuated=np.flatnonzero(urdf.driven).tolist(),
            effort_limits=motor_limits(world),
            start_range=(self._lower[:n], self._upper[:n]),
            goal_range=(np.empty(0), np.empty(0)),
            duration=duration,
            time_step=time_step,
            actuators=actuators,
            randomize=randomize,
            view=View(render_mode, width, height, yaw=20.0, pitch=12.0),
        )

    def _draw_start(self, random: np.random.Generator) -> np.ndarray:
        return random.uniform(self._lower, self._upper)
