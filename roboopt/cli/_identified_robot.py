"""The robot that `roboopt identify` starts from, and where it is written down."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import roboopt as ro
from roboopt.cli._usage import UsageError


@dataclass(frozen=True)
class Subject:
    """A robot as it is thought to be."""

    robot: ro.dynamics.Multibody
    template: Path
    """The URDF that it is read from."""
    described: dict[str, str]
    """What it is, in the words of the command line."""
    effort_limits: np.ndarray
    """(joint,) [N·m or N], infinite where there is none."""
    env: Any = None
    """The simulated one, where there is one."""


def subject(arguments: Any) -> Subject:
    """Return the robot that the arguments name.

    Raises:
        UsageError: if its URDF cannot be used.
    """
    try:
        if arguments.simulated:
            return _simulated(arguments)
        return _read(arguments.urdf, arguments.free)
    except (ValueError, OSError) as error:
        raise UsageError(" ".join(str(error).split())) from error


def rigid(robot: ro.dynamics.Multibody, free: tuple[str, ...]) -> ro.dynamics.Multibody:
    """Return the robot with bodies that are joined rigidly as one, if all may change.

    To every measurement they are one; but where masses alone are fitted, the one may be
    heavier than its file says and the other not.
    """
    shapes = ("center_of_mass", "extent", "shear", "*")
    return robot.merge_fixed() if any(p.startswith(shapes) for p in free) else robot


def _read(urdf: Path, free: tuple[str, ...]) -> Subject:
    # No damping of the links: air is thin.
    robot = ro.load_urdf(urdf, linear_damping=0.0, angular_damping=0.0)
    robot = rigid(robot, free)
    return Subject(
        robot=robot,
        template=urdf,
        described={"urdf": str(urdf.resolve())},
        effort_limits=np.array(robot.effort_limits),
    )


def _simulated(arguments: Any) -> Subject:
    settings: dict[str, Any] = {}
    if arguments.collect:
        from roboopt.cli._identify import DURATION

        settings["duration"] = arguments.duration or DURATION
        settings["randomize"] = arguments.randomize or 0.0
        if arguments.time_step is not None:
            settings["time_step"] = arguments.time_step
    described = {"environment": arguments.kind}
    if arguments.kind == "cart-pole":
        from roboopt_envs.cart_pole import CartPoleSwingUp

        env = CartPoleSwingUp(**settings)
    else:
        from roboopt_envs.arm import ArmReach

        robot = str(arguments.urdf) if arguments.urdf else arguments.subject
        env = ArmReach(robot, **settings)
        if arguments.urdf:
            described = {"urdf": str(arguments.urdf.resolve())}
        else:
            described["robot"] = arguments.subject
    limits = np.full(len(env.joint_names), np.inf)
    limits[list(env.actuated)] = env.effort_limits
    return Subject(
        robot=rigid(loaded(env), arguments.free),
        template=env.urdf,
        described=described,
        effort_limits=limits,
        env=env,
    )


def loaded(env: Any) -> ro.dynamics.Multibody:
    """Return the robot in an environment, with each of its links."""
    return ro.dynamics.load_bullet(
        env.physics_client, env.body, linear_damping=0.0, angular_damping=0.0
    )
