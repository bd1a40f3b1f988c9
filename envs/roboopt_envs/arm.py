"""Arms, and those that reach from one configuration to another, and stop there.

Observations of `ArmReach` are (q, q̇, g) with the goal configuration g; every joint is
driven. Start and goal are in the central 60 % of every joint's range, at rest, and
holding still there takes at most 60 % of the effort limits and touches neither floor
nor robot. The tool must come within 1 cm of its goal, or within a tenth of the way that
it can move if this is less.
"""

import abc
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pybullet_data

from roboopt._errors import RobooptError, three_numbers
from roboopt.urdf import UrdfModel, read_urdf
from roboopt.urdf.drive import AnyDrive

from ._actuators import Actuators
from ._camera import View
from ._checked_arguments import checked_arguments
from ._clearance import Clearance
from ._fitted_robot import load_world
from ._fixed_base import FixedBaseEnv
from ._sizing import motor_limits, travel_times
from ._tool import checked_tool, find_tool, tool_choice, tool_point
from ._tool_chain import ToolChain
from .tasks import Reach

CENTRAL_FRACTION = 0.6  # of a joint's range, for starts and goals
HOLDING_FRACTION = 0.6  # of the effort limit, for gravity at starts and goals
MAX_DRAWS = 1000
TYPICAL_SHARE = 0.5  # of the range of starts and goals
SAMPLES = 64
RELAXATION_RATE = 5.0  # 1/s: speed scale over position scale
TOLERANCE, TOLERANCE_SHARE = 0.01, 0.1  # of the tool: in m, and of its way
STILL = 1e-9  # m: a shorter way of the tool is none
MOTIONLESS = ", on the axes of all joints: it never moves, and every start succeeds"
OTHER = "; another point is set by `tool` and `tool_offset`"


class Arm(FixedBaseEnv):
    """A robot with a tool, and a motor at every joint.

    Attributes:
        tool: the link that must arrive.
        tool_offset: x, y and z of its point that must arrive, in its frame [m].
        tool_point: where that is, in words.
        tool_choice: why this link is the tool, in words.

    Args:
        robot: "two-link" in a vertical plane, "iiwa" (KUKA), "panda" (Franka, with its
            two fingers), or the path of a URDF, whose base is fixed to the world.
        tool: the link that must arrive; by default the one behind the most joints that
            is named like a tool (tool0, tcp, flange, ee_link, hand), or else the last
            link of the longest chain, fingers and sensors left out.
        tool_offset: x, y and z [m] of the point that must arrive, such as the tip of a
            foot, in the frame of that link; by default the link's origin.
        actuated: names of the driven joints, instead of those that the URDF says; every
            joint must be driven.
        locked: names of joints that are held at 0, or a mapping to the positions
            [rad or m] at which they are held.
        effort_limits: limits instead of the URDF's [N·m or N]: one for all joints, one
            for each, or a mapping from the names of some to their limits.
        packages: folders of ROS packages by name, for meshes of package://NAME/….
        repair: replace physically inconsistent inertias by the nearest possible ones.
        bullet_defaults: give links without `<inertial>`, which are massless frames,
            PyBullet's 1 kg and 1 kg·m².
        xacro_args: values of the arguments of a .xacro file, by name.
        duration: length of an episode [s].
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
            robot that can be simulated, a joint is passive, or the motors can hold the
            arm hardly anywhere.
        RuntimeError: if "human" is asked for and there is no display.

    Warns:
        UserWarning: if the URDF has no effort limit for a joint, and one is assumed; or
            about everything else that is read differently from the URDF.
    """

    @checked_arguments
    def __init__(
        self,
        robot: str | Path = "two-link",
        *,
        tool: str | None = None,
        tool_offset: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0),
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
        duration: float = 3.0,
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
        path = _find(robot)
        urdf = read_urdf(
            path,
            locked=locked,
            actuated=actuated,
            effort_limits=effort_limits,
            repair=repair,
            bullet_defaults=bullet_defaults,
            xacro_args=xacro_args,
            argument="robot",
        )
        _require_motors(urdf, named=actuated is not None)
        gui = render_mode == "human"
        world = load_world(urdf, path, packages=packages, gui=gui, model=model)
        if np.isinf([urdf.effort_limits[i] for i in _given(urdf, effort_limits)]).any():
            raise RobooptError(f"`effort_limits` must be finite, got {effort_limits}.")
        self.tool = find_tool(urdf) if tool is None else checked_tool(urdf, tool)
        self.tool_choice = tool_choice(urdf, self.tool, told=tool is not None)
        self.tool_offset = tuple(three_numbers("tool_offset", tool_offset).tolist())
        self.tool_point = tool_point(self.tool, self.tool_offset)
        chain = ToolChain.from_urdf(urdf, self.tool, self.tool_offset)
        limits = motor_limits(world)
        self._range = world.sampling_range(CENTRAL_FRACTION)
        widest = world.sampling_range(1.0)
        half = np.where(urdf.revolute, 1.0, (widest[1] - widest[0]) / 2)
        scales = tuple(half.tolist()), tuple((RELAXATION_RATE * half).tolist())
        way, tolerance = _way(chain, self._range), TOLERANCE
        if way > STILL:
            tolerance = min(TOLERANCE, float(f"{TOLERANCE_SHARE * way:.1g}"))
        else:
            self.tool_choice += MOTIONLESS
        self.tool_choice += OTHER * (tool is None)
        super().__init__(
            world,
            task=self._make_task(
                urdf, chain, *scales, tool_scale=2 * tolerance, tool_tolerance=tolerance
            ),
            actuated=range(len(half)),
            effort_limits=limits,
            start_range=widest,
            goal_range=widest,
            duration=duration,
            time_step=time_step,
            control_period=control_period,
            interface=interface,
            drive=drive,
            actuators=actuators,
            randomize=randomize,
            view=View(
                render_mode, width, height, 20.0, 15.0, goal_position=chain.position
            ),
        )
        self._prepare_starts()

    @abc.abstractmethod
    def _make_task(
        self, urdf: UrdfModel, chain: ToolChain, *scales: Any, **tool: float
    ) -> Any:
        """Return the task, given the scales of positions, speeds and the tool."""

    def _prepare_starts(self) -> None:
        """Compute what drawing starts needs: which links must not touch."""
        random = np.random.default_rng(0)
        held = [self._draw_held(random) for _ in range(SAMPLES)]
        self._clearance = Clearance(self._world, np.array(held))

    def _draw_held(self, random: np.random.Generator) -> np.ndarray:
        """Return a configuration that the motors can hold, (n,) [rad or m]."""
        tried = []
        for _ in range(MAX_DRAWS):
            q = random.uniform(*self._range)
            gravity = np.abs(self._world.gravity_effort(q))
            if (gravity <= HOLDING_FRACTION * self.effort_limits).all():
                return q
            tried.append(gravity)
        low, high = np.min(tried, axis=0), np.max(tried, axis=0)
        failed = (np.array(tried) > HOLDING_FRACTION * self.effort_limits).sum(axis=0)
        rows = zip(self.joint_names, self.effort_limits, low, high, strict=True)
        weak = [
            f"{name} (limit {limit:.4g}, gravity {least:.4g} to {most:.4g})"
            for (name, limit, least, most), count in zip(rows, failed, strict=True)
            if 2 * count > failed.max()
        ]
        raise RobooptError(
            "`effort_limits` must leave configurations that take at most "
            f"{HOLDING_FRACTION:.0%} of them to hold: among {MAX_DRAWS} there was "
            f"none. Too weak [N·m or N]: {', '.join(weak)}. Give larger limits by "
            "`effort_limits`, or hold these joints by `locked`."
        )

    def touches(self, configurations: np.ndarray) -> np.ndarray:
        """Return where links overlap the floor or each other, (k,) bool.

        Nothing in a simulation stops them there: neither the twin nor this environment
        has contact between links.

        Args:
            configurations: (k, n) [rad or m].

        Raises:
            ClosedEnvironmentError: after `close`.
        """
        self._require_open("touches")
        return np.array([not self._clearance.is_free(q) for q in configurations], bool)


class ArmReach(Arm):
    """Bring an arm's tool, and its joints, to a goal and stop there.

    Arguments and errors are those of `Arm`.

    Attributes:
        too_short: why an episode is too short for most goals, or "".
    """

    def _make_task(
        self, urdf: UrdfModel, chain: ToolChain, *scales: Any, **tool: float
    ) -> Reach:
        return Reach(chain, *scales, **tool)

    def _prepare_starts(self) -> None:
        self.too_short = self._why_too_short(self.effort_limits)
        super()._prepare_starts()

    def _why_too_short(self, limits: np.ndarray) -> str:
        way = TYPICAL_SHARE * np.ptp(self._range, axis=0)
        times = travel_times(self._world, limits, way)
        slowest = int(np.argmax(times))
        if times[slowest] <= self.duration:
            return ""
        return (
            f"{self.duration:g} s, and joint {self.joint_names[slowest]} takes about "
            f"{times[slowest]:.2g} s at full effort for half of its way: many goals "
            "are too far"
        )

    def _draw_start(self, random: np.random.Generator) -> np.ndarray:
        start, goal = self._draw_configuration(random), self._draw_configuration(random)
        return np.concatenate([start, 0 * start, goal])

    def _draw_configuration(self, random: np.random.Generator) -> np.ndarray:
        """Return a configuration that touches nothing, (n,) [rad or m]."""
        for _ in range(MAX_DRAWS):
            q = self._draw_held(random)
            if self._clearance.is_free(q):
                return q
        raise RobooptError(
            "`robot` must have configurations that touch neither the floor nor the "
            f"robot itself: among {MAX_DRAWS} there was none."
        )


def _way(chain: ToolChain, positions: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the size [m] of the box in which joint `positions` move the tool."""
    random, size = np.random.default_rng(0), (SAMPLES, len(positions[0]))
    places = chain.position(random.uniform(*positions, size))
    return float(np.linalg.norm(np.ptp(places, axis=0)))


def _given(model: UrdfModel, effort_limits: Any) -> list[int]:
    """Return the joints whose effort limits the caller gives."""
    if isinstance(effort_limits, Mapping):
        return [model.joint_names.index(name) for name in effort_limits]
    return [] if effort_limits is None else [*range(len(model.joint_names))]


def _require_motors(model: UrdfModel, *, named: bool) -> None:
    """Refuse a robot with a passive joint: it cannot reach configurations at will.

    Args:
        model: the robot.
        named: whether the caller has named the driven joints.
    """
    names = np.array(model.joint_names)
    if not model.driven.all():
        raise RobooptError(
            "`robot` must have a motor at every joint to reach a configuration, got "
            f"passive joints {names[~model.driven].tolist()}. "
            + ("" if named else "Drive them by `actuated='all'`. ")
            + "Hold them by `locked`, or give a task for which passive joints may "
            "swing, such as balance."
        )


def _find(robot: str | Path) -> Path:
    """Return the robot's URDF."""
    data = Path(pybullet_data.getDataPath())
    robots = {
        "two-link": Path(__file__).parent / "assets" / "two_link.urdf",
        "iiwa": data / "kuka_iiwa" / "model.urdf",
        "panda": data / "franka_panda" / "panda.urdf",
    }
    if robot in robots:
        return robots[str(robot)]
    if not Path(robot).is_file():
        raise RobooptError(
            f"`robot` must be one of {list(robots)} or the path of a URDF, got "
            f"{str(robot)!r}."
        )
    return Path(robot)
