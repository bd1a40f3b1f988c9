"""Arms that reach from one random configuration to another, and stop there.

Observations are (q, q̇, g) with the goal configuration g; every joint is driven. Start
and goal are in the central 60 % of every joint's range, at rest, and holding still
there takes at most 60 % of the effort limits.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pybullet_data

from roboopt._errors import RobooptError
from roboopt.urdf import UrdfModel

from ._actuators import Actuators
from ._camera import View
from ._fitted_robot import fitted_robot
from ._fixed_base import FixedBaseEnv, randomization_margin
from ._sizing import assumed_efforts, check_inertia, largest_time_step
from ._tool_chain import ToolChain
from ._world import PybulletWorld
from .tasks import Reach

CENTRAL_FRACTION = 0.6  # of a joint's range, for starts and goals
HOLDING_FRACTION = 0.6  # of the effort limit, for gravity at starts and goals
MAX_DRAWS = 1000
RELAXATION_RATE = 5.0  # 1/s: speed scale over position scale


class ArmReach(FixedBaseEnv):
    """Bring an arm's tool, and its joints, to a goal and stop there.

    Attributes:
        tool: the link that must arrive.

    Args:
        robot: "two-link" in a vertical plane, "iiwa" (KUKA), "panda" (Franka, with its
            two fingers), or the path of a URDF, whose base is fixed to the world.
        tool: the link that must arrive; by default the deepest link of the tree, the
            last of several.
        effort_limits: limit of every joint, instead of the URDF's [N·m or N].
        duration: length of an episode [s].
        time_step: [s]; by default the first of 1/240, 1/480, … at which the joint
            damping is far from diverging.
        actuators: the motors of all joints; by default 1 Ω and 10 A at the limit.
        model: a fitted model of the robot, as in `apply`; given here, the time step
            suits its damping.
        randomize: largest relative change of every mass and joint damping at a reset.
        render_mode: None, "rgb_array" or "human".
        width: picture width [pixels].
        height: picture height [pixels].

    Raises:
        RobooptError: if an argument is out of its range, PyBullet cannot simulate the
            URDF or `model`, or the motors can hold the arm hardly anywhere.
        RuntimeError: if "human" is asked for and there is no display.

    Warns:
        UserWarning: if the URDF has no effort limit for a joint, and one is assumed.
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
        world = PybulletWorld(path, mimic=known, gui=render_mode == "human")
        if model is not None:
            fitted = fitted_robot(
                model, world.model.joint_names, world.model.link_names[1:]
            )
            with world.replaced(fitted):
                pass
        check_inertia(world)
        if time_step is None:
            time_step = largest_time_step(world, margin=margin)
        self.tool = _tool(world.model, tool)
        chain = ToolChain.from_urdf(world.model, self.tool)
        self._range = world.sampling_range(CENTRAL_FRACTION)
        widest = world.sampling_range(1.0)
        half = np.where(world.model.revolute, 1.0, (widest[1] - widest[0]) / 2)
        scales = tuple(half.tolist()), tuple((RELAXATION_RATE * half).tolist())
        super().__init__(
            world,
            task=Reach(chain, *scales),
            actuated=range(len(half)),
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
        for _ in range(MAX_DRAWS):
            q = random.uniform(*self._range)
            gravity = np.abs(self._world.gravity_effort(q))
            if (gravity <= HOLDING_FRACTION * self.effort_limits).all():
                return q
        raise RobooptError(
            "`effort_limits` must leave configurations that take at most "
            f"{HOLDING_FRACTION:.0%} of them to hold: among {MAX_DRAWS} there was none "
            f"with {self.effort_limits} for joints {list(self.joint_names)}."
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
        raise RobooptError(
            f"`robot` must be one of {list(robots)} or the path of a URDF, got "
            f"{str(robot)!r}."
        )
    return Path(robot), False


def _tool(model: UrdfModel, tool: str | None) -> str:
    """Return the tool's link, without `tool` the deepest and last."""
    depths = {model.root: 0}
    for joint in model.joints:
        depths[joint.child] = depths[joint.parent] + 1
    links = model.link_names[1:]
    if tool is None:
        tool = max(reversed(links), key=depths.__getitem__)
    if tool not in links:
        raise RobooptError(
            f"`tool` must be a link, one of {list(links)}, got {tool!r}."
        )
    if not model.chain(tool):
        raise RobooptError(f"`tool` must be on a moving link, got {tool!r}.")
    return tool


def _effort_limits(
    world: PybulletWorld, given: Sequence[float] | np.ndarray | None
) -> np.ndarray:
    """Return the effort limit of every joint, (n,) [N·m or N]."""
    names, stated = world.model.joint_names, world.model.effort_limits
    if given is not None:
        limits = np.array(given, np.float64)
        good = (limits > 0) & np.isfinite(limits)
        if limits.shape != stated.shape or not good.all():
            raise RobooptError(
                "`effort_limits` must hold a positive, finite one for each of the "
                f"joints {list(names)}, got {given}."
            )
        return limits
    missing = np.isinf(stated)
    if not missing.any():
        return stated
    limits = np.where(missing, assumed_efforts(world), stated)
    assumed = {
        name: float(f"{limit:.4g}")
        for name, limit, is_missing in zip(names, limits, missing, strict=True)
        if is_missing
    }
    warnings.warn(
        "the URDF has no effort limit for these joints, assumed [N·m or N]: "
        f"{assumed}. Give `effort_limits` for others.",
        UserWarning,
        stacklevel=3,
    )
    return limits
