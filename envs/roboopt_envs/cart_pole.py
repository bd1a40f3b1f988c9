"""Cart-poles: a pole hinged to a cart that a force drives along a rail.

The state is (x, θ, ẋ, θ̇), θ = 0 upright and positive towards positive x, not wrapped;
the observation is the state. The cart weighs 1 kg; the pole is a uniform rod of 0.1 kg
and 1 m; the force is at most 10 N and the rail reaches to ±2.4 m.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np

from ._actuators import Actuators
from ._camera import View
from ._fixed_base import FixedBaseEnv
from ._world import PybulletWorld
from .tasks import Balance, SwingUp

URDF = Path(__file__).parent / "assets" / "cart_pole.urdf"


class _CartPole(FixedBaseEnv):
    """A cart-pole whose episodes start anywhere in a box of states."""

    start_center: ClassVar[np.ndarray]
    start_half_width: ClassVar[np.ndarray]

    def __init__(
        self,
        task: Balance | SwingUp,
        *,
        duration: float,
        time_step: float,
        actuators: Actuators | None,
        randomize: float,
        view: View,
    ):
        world = PybulletWorld(URDF, gui=view.mode == "human")
        lower = self.start_center - self.start_half_width
        upper = self.start_center + self.start_half_width
        super().__init__(
            world,
            task=task,
            actuated=(0,),
            effort_limits=world.model.effort_limits[:1],
            start_range=(lower[:2], upper[:2]),
            goal_range=(np.empty(0), np.empty(0)),
            duration=duration,
            time_step=time_step,
            actuators=actuators,
            randomize=randomize,
            view=view,
        )

    def _draw_start(self, random: np.random.Generator) -> np.ndarray:
        lower = self.start_center - self.start_half_width
        return random.uniform(lower, self.start_center + self.start_half_width)


def _view(render_mode: str | None, width: int, height: int) -> View:
    return View(render_mode, width, height, yaw=0.0, pitch=8.0)


class CartPoleBalance(_CartPole):
    """Keep the pole upright, from x within ±0.5 m and θ, ẋ, θ̇ within ±0.2.

    Args:
        task: the task, whose cost is the negative reward.
        duration: length of an episode [s].
        time_step: [s].
        actuators: the motors of cart and pole; by default 1 Ω and 10 A at the limit.
        randomize: largest relative change of every mass and joint damping at a reset.
        render_mode: None, "rgb_array" or "human".
        width: picture width [pixels].
        height: picture height [pixels].

    Raises:
        RobooptError: if an argument is out of its range.
        RuntimeError: if "human" is asked for and there is no display.
    """

    start_center = np.zeros(4)
    start_half_width = np.array([0.5, 0.2, 0.2, 0.2])

    def __init__(
        self,
        *,
        task: Balance | None = None,
        duration: float = 4.0,
        time_step: float = 1 / 240,
        actuators: Actuators | None = None,
        randomize: float = 0.0,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 360,
    ):
        """Load the robot."""
        super().__init__(
            task or Balance(),
            duration=duration,
            time_step=time_step,
            actuators=actuators,
            randomize=randomize,
            view=_view(render_mode, width, height),
        )


class CartPoleSwingUp(_CartPole):
    """Swing the pole up, from x and θ − π within ±0.1 and ẋ, θ̇ within ±0.05.

    Arguments and errors are those of `CartPoleBalance`.
    """

    start_center = np.array([0.0, np.pi, 0.0, 0.0])
    start_half_width = np.array([0.1, 0.1, 0.05, 0.05])

    def __init__(
        self,
        *,
        task: SwingUp | None = None,
        duration: float = 6.0,
        time_step: float = 1 / 240,
        actuators: Actuators | None = None,
        randomize: float = 0.0,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 360,
    ):
        """Load the robot."""
        super().__init__(
            task or SwingUp(),
            duration=duration,
            time_step=time_step,
            actuators=actuators,
            randomize=randomize,
            view=_view(render_mode, width, height),
        )
