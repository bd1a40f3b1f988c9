"""Arms that reach: from one random configuration to another, and stop there.

Observations are (q, q̇, g) with the goal configuration g; every joint is driven. Start
and goal are in the central 60 % of every joint's range, at rest, where holding still
takes at most 60 % of what the motors can give.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pybullet_data

from ._actuators import Actuators
from ._bullet import VectorEnv
from ._camera import View
from ._chain_reading import read_tool_chain
from ._fitted_robot import read_fitted_robot
from ._fixed_base import FixedBaseEnv, randomization_margin
from ._sizing import assumed_efforts, check_inertia, largest_time_step
from .tasks import Reach

CENTRAL = 0.6  # of a joint's range, where starts and goals are
HOLDING = 0.6  # of the effort limit, that gravity may take there
TRIES = 1000
RELAXATION = 5.0  # 1/s: speed scale over position scale


class ArmReach(FixedBaseEnv):
    """Bring an arm's tool, and its joints, to a goal and stop there.

    Args:
        robot: "two-link" in a vertical plane, "iiwa" (KUKA), "panda" (Franka, with its
            two fingers), or the path of a URDF; its base is fixed to the world.
        tool: the link that must arrive; by default the deepest of the tree, the last.
        effort_limits: of every joint, instead of the URDF's [N·m or N].
        duration: of an episode [s].
        time_step: [s]; by default the first of 1/240, 1/480, … at which the joint
            damping is far from diverging.
        actuators: the motors of all joints; by default 1 Ω and 10 A at the limit.
        model: a fitted model of the robot, as `apply` takes it; given here, the time
            step suits its damping.
        randomize: how far every mass and joint damping may be off, as a fraction.
        render_mode: None, "rgb_array" or "human".
        width: of a picture in pixels.
        height: of a picture in pixels.

    Raises:
        ValueError: if an argument is out of its range, the URDF or `model` is not one
            that Bullet can simulate, or its motors can hold it hardly anywhere.
        RuntimeError: if "human" is asked for where there is no display.

    Attributes:
        tool: the link that must arrive.

    Warns:
        UserWarning: if the URDF has no effort limit for a joint, and which is assumed.
    """

    def __init__(
        self,
        robot: str | Path = "two-link",
        *,
        tool: str | None = None,
        effort_limits: Sequence[float] | np.ndarray | None = None,
        duration: float = 3.0,
        time_step: float | None = None,
        actuators: Actuators | None = None,
        model: Any = None,
        randomize: float = 0.0,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 360,
    ):
        """Load the robot."""
        path, known = _find(robot)
        margin = randomization_margin(randomize)
        world = VectorEnv(path, mimic=known, gui=render_mode == "human")
        if model is not None:
            fitted = read_fitted_robot(model, world.joint_names, world.link_names)
            with world.replaced(fitted):
                pass
        check_inertia(world)
        if time_step is None:
            time_step = largest_time_step(world, margin=margin)
        self.tool, chain = read_tool_chain(world, tool)
        self._range = world.sampling_range(CENTRAL)
        widest = world.sampling_range(1.0)
        half = np.where(world.revolute, 1.0, (widest[1] - widest[0]) / 2)
        super().__init__(
            world,
            task=Reach(
                chain, tuple(half.tolist()), tuple((RELAXATION * half).tolist())
            ),
            actuated=range(len(world.joint_names)),
            effort_limits=_effort_limits(world, effort_limits),
            start_range=widest,
            goal_range=widest,
            duration=duration,
            time_step=time_step,
            actuators=actuators,
            randomize=randomize,
            view=View(
                render_mode, width, height, 20.0, 15.0, goal_position=chain.position
            ),
        )
        self._draw_start(np.random.default_rng(0))

    def _draw_start(self, random: np.random.Generator) -> np.ndarray:
        start, goal = self._draw_configuration(random), self._draw_configuration(random)
        return np.concatenate([start, 0 * start, goal])

    def _draw_configuration(self, random: np.random.Generator) -> np.ndarray:
        """Return a configuration that the motors can hold, (n,) [rad or m]."""
        for _ in range(TRIES):
            q = random.uniform(*self._range)
            gravity = np.abs(self._world.gravity_effort(q))
            if (gravity <= HOLDING * self.effort_limits).all():
                return q
        raise ValueError(
            "`effort_limits` must leave configurations that take at most "
            f"{HOLDING:.0%} of them to hold: among {TRIES} there was none with "
            f"{self.effort_limits} for joints {list(self.joint_names)}."
        )


def _find(robot: str | Path) -> tuple[Path, bool]:
    """Return the robot's URDF, and whether it is one of ours or PyBullet's."""
    data = Path(pybullet_data.getDataPath())
    robots = {
        "two-link": Path(__file__).parent / "assets" / "two_link.urdf",
        "iiwa": data / "kuka_iiwa" / "model.urdf",
        "panda": data / "franka_panda" / "panda.urdf",
    }
    if robot in robots:
        return robots[str(robot)], True
    if not Path(robot).is_file():
        raise ValueError(
            f"`robot` must be one of {list(robots)} or the path of a URDF, got "
            f"{str(robot)!r}."
        )
    return Path(robot), False


def _effort_limits(world: VectorEnv, given: Sequence[float] | np.ndarray | None):
    """Return the effort limit of every joint, (n,) [N·m or N]."""
    n = len(world.joint_names)
    if given is not None:
        limits = np.array(given, np.float64)
        if limits.shape != (n,) or not ((limits > 0) & np.isfinite(limits)).all():
            raise ValueError(
                "`effort_limits` must hold a positive, finite one for each of the "
                f"joints {list(world.joint_names)}, got {given}."
            )
        return limits
    missing = world.urdf_efforts <= 0
    if not missing.any():
        return world.urdf_efforts
    limits = np.where(missing, assumed_efforts(world), world.urdf_efforts)
    assumed = {
        name: float(f"{limit:.4g}")
        for name, limit, m in zip(world.joint_names, limits, missing, strict=True)
        if m
    }
    warnings.warn(
        "the URDF has no effort limit for these joints, assumed [N·m or N]: "
        f"{assumed}. Give `effort_limits` for others.",
        UserWarning,
        stacklevel=3,
    )
    return limits
