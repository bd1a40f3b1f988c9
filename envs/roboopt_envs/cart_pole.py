"""Cart-poles: a pole hinged to a cart that a force drives along a rail.

The state is (x, θ, ẋ, θ̇), θ = 0 upright and positive towards positive x, not wrapped;
the observation is the state. The cart weighs 1 kg; the pole is a uniform rod of 0.1 kg
and 1 m; the force is at most 10 N and the rail reaches to ±2.4 m.
"""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from roboopt.urdf import read_urdf
from roboopt.urdf.drive import AnyDrive

from ._actuators import Actuators
from ._camera import View
from ._checked_arguments import checked_arguments
from ._fixed_base import FixedBaseEnv
from ._world import PybulletWorld
from .tasks import Balance, SwingUp

URDF = Path(__file__).parent / "assets" / "cart_pole.urdf"


class CartPole(FixedBaseEnv):
    """A cart-pole whose episodes start anywhere in a box of states.

    Args:
        task: the task, whose cost is the negative reward; by default the class' own.
        duration: length of an episode [s]; by default the class' own.
        time_step: of the simulation [s].
        control_period: of a step, for which an action is held [s]; a whole number of
            time steps, one by default.
        interface: what an action is: "torque", for efforts, "position" or "velocity" of
            the driven joints, or with a DC motor "voltage" or "duty".
        drive: the actuators between commands and efforts: a `roboopt.dynamics.Drive`, a
            mapping from the names of its numbers, or a URDF with one beside it.
        actuators: the motors of cart and pole; by default 1 Ω and 10 A at the limit.
        randomize: largest relative change of masses, damping and friction at a reset.
        render_mode: None, "rgb_array" or "human".
        width: picture width [pixels].
        height: picture height [pixels].

    Raises:
        RobooptError: if an argument is out of its range.
        RuntimeError: if "human" is asked for and there is no display.
    """

    default_task: ClassVar[type[Balance] | type[SwingUp]]
    default_duration: ClassVar[float]
    """[s]"""
    start_center: ClassVar[np.ndarray]
    start_half_width: ClassVar[np.ndarray]

    @checked_arguments
    def __init__(
        self,
        *,
        task: Any = None,
        duration: float | None = None,
        time_step: float = 1 / 240,
        control_period: float | None = None,
        interface: str = "torque",
        drive: AnyDrive = None,
        actuators: Actuators | None = None,
        randomize: float = 0.0,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 360,
    ):
        """Load the robot."""
        view = View(render_mode, width, height, yaw=0.0, pitch=8.0)
        world = PybulletWorld(read_urdf(URDF), URDF, gui=render_mode == "human")
        self._lower = self.start_center - self.start_half_width
        self._upper = self.start_center + self.start_half_width
        super().__init__(
            world,
            task=task or self.default_task(),
            actuated=(0,),
            effort_limits=world.model.effort_limits[:1],
            start_range=(self._lower[:2], self._upper[:2]),
            goal_range=(np.empty(0), np.empty(0)),
            duration=self.default_duration if duration is None else duration,
            time_step=time_step,
            control_period=control_period,
            interface=interface,
            drive=drive,
            actuators=actuators,
            randomize=randomize,
            view=view,
        )

    def _draw_start(self, random: np.random.Generator) -> np.ndarray:
        return random.uniform(self._lower, self._upper)


class CartPoleBalance(CartPole):
    """Keep the pole upright for 4 s, from x within ±0.5 m and θ, ẋ, θ̇ within ±0.2.

    Arguments and errors are those of `CartPole`.
    """

    default_task, default_duration = Balance, 4.0
    start_center = np.zeros(4)
    start_half_width = np.array([0.5, 0.2, 0.2, 0.2])


class CartPoleSwingUp(CartPole):
    """Swing the pole up in 6 s, from x and θ − π within ±0.1 and ẋ, θ̇ within ±0.05.

    Arguments and errors are those of `CartPole`.
    """

    angles = (1,)
    """Axes of the observation that are angles and wrap around."""
    default_task, default_duration = SwingUp, 6.0
    start_center = np.array([0.0, np.pi, 0.0, 0.0])
    start_half_width = np.array([0.1, 0.1, 0.05, 0.05])
