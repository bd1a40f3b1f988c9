"""Cart-poles: a pole hinged to a cart that a force drives along a rail.

The state is (x, θ, ẋ, θ̇), θ = 0 upright and positive towards positive x, not wrapped;
the observation is the state. The cart weighs 1 kg; the pole is a uniform rod of 0.1 kg
and 1 m; the force is at most 10 N and the rail reaches to ±2.4 m.
"""

from pathlib import Path

import numpy as np

from ._actuators import Actuators
from ._bullet import VectorEnv
from ._camera import View
from ._fixed_base import FixedBaseEnv
from .tasks import Balance, SwingUp

URDF = Path(__file__).parent / "assets" / "cart_pole.urdf"


class _CartPole(FixedBaseEnv):
    """A cart-pole that starts anywhere in a box of states."""

    def __init__(
        self,
        task: Balance | SwingUp,
        middle: tuple[float, ...],
        spread: tuple[float, ...],
        *,
        duration: float,
        time_step: float,
        actuators: Actuators | None,
        randomize: float,
        render_mode: str | None,
        width: int,
        height: int,
    ):
        self._middle, self._spread = np.array(middle), np.array(spread)
        world = VectorEnv(URDF, gui=render_mode == "human")
        lower, upper = self._middle - self._spread, self._middle + self._spread
        super().__init__(
            world,
            task=task,
            actuated=(0,),
            effort_limits=world.urdf_efforts[:1],
            start_range=(lower[:2], upper[:2]),
            goal_range=(np.empty(0), np.empty(0)),
            duration=duration,
            time_step=time_step,
            actuators=actuators,
            randomize=randomize,
            view=View(render_mode, width, height, yaw=0.0, pitch=8.0),
        )

    def _draw_start(self, random: np.random.Generator) -> np.ndarray:
        return random.uniform(self._middle - self._spread, self._middle + self._spread)


class CartPoleBalance(_CartPole):
    """Keep the pole upright, from x within ±0.5 m and θ, ẋ, θ̇ within ±0.2.

    Args:
        task: what the reward is the negative of.
        duration: of an episode [s].
        time_step: [s].
        actuators: the motors of cart and pole; by default 1 Ω and 10 A at the limit.
        randomize: how far every mass and joint damping may be off, as a fraction.
        render_mode: None, "rgb_array" or "human".
        width: of a picture in pixels.
        height: of a picture in pixels.

    Raises:
        ValueError: if an argument is out of its range.
        RuntimeError: if "human" is asked for where there is no display.
    """

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
            middle=(0.0, 0.0, 0.0, 0.0),
            spread=(0.5, 0.2, 0.2, 0.2),
            duration=duration,
            time_step=time_step,
            actuators=actuators,
            randomize=randomize,
            render_mode=render_mode,
            width=width,
            height=height,
        )


class CartPoleSwingUp(_CartPole):
    """Swing the pole up, from x and θ − π within ±0.1 and ẋ, θ̇ within ±0.05.

    Args:
        task: what the reward is the negative of.
        duration: of an episode [s].
        time_step: [s].
        actuators: the motors of cart and pole; by default 1 Ω and 10 A at the limit.
        randomize: how far every mass and joint damping may be off, as a fraction.
        render_mode: None, "rgb_array" or "human".
        width: of a picture in pixels.
        height: of a picture in pixels.

    Raises:
        ValueError: if an argument is out of its range.
        RuntimeError: if "human" is asked for where there is no display.
    """

    angles = (1,)
    """Axes of the observation that are angles and wrap around."""

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
            middle=(0.0, np.pi, 0.0, 0.0),
            spread=(0.1, 0.1, 0.05, 0.05),
            duration=duration,
            time_step=time_step,
            actuators=actuators,
            randomize=randomize,
            render_mode=render_mode,
            width=width,
            height=height,
        )
