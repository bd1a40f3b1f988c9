"""The robot that identification starts from, whatever object describes it."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from roboopt._errors import RobooptError
from roboopt.dynamics import Multibody, Twin, load_env, load_urdf
from roboopt.view import Scene, env_scene, scene_or_none

FREE = ("mass", "center_of_mass", "extent", "shear", "damping", "friction")
"""The parameters that are fitted, if none are chosen."""
SHAPES = ("center_of_mass", "extent", "shear", "*")


def default_free(twin: Twin, *, noisy: bool) -> tuple[str, ...]:
    """Return what is fitted by default: from noisy recordings, what real robots have.

    Their efforts are measured with offsets, and gears multiply the rotors' inertia.
    """
    names = twin.robot.joint_names
    rotors = tuple(f"armature[{names[joint]}]" for joint in twin.actuated)
    return (*FREE, "effort_offset", *rotors) if noisy else FREE


@dataclass(frozen=True)
class KnownRobot:
    """A robot as it is known before identification."""

    name: str
    robot: Multibody
    effort_limits: Float[np.ndarray, " joint"]
    """[N·m or N]; infinite where there is none."""
    actuated: tuple[int, ...] | None = None
    """Driven joints, None if the source does not say."""
    urdf: Path | None = None
    twin: Twin | None = None
    """The twin, where the source is one."""
    implicit_damping: bool = False
    """Whether joint damping acts on the velocity after a step, as in `Twin`."""
    locked: tuple[str, ...] = ()
    """Names of the joints that are held."""
    xacro_args: Mapping[str, str] = field(default_factory=dict)
    """Arguments of the .xacro file, by name."""
    scene: Scene | None = None
    """The robot in 3D, where the source is an environment that shows it."""

    @classmethod
    def of(
        cls,
        source: Any,
        free: Sequence[str],
        options: Mapping[str, Any] | None = None,
    ) -> "KnownRobot":
        """Return the robot of a Twin, a Multibody, a URDF's path or an environment.

        Bodies that are joined rigidly become one where their shapes are fitted: to
        every measurement they are one. Where masses alone are fitted they stay, because
        one of them may be heavier than its file says and the other not.

        An environment gives the robot as it stands, randomized or not.

        Args:
            source: a `KnownRobot`, `Twin` or `Multibody`, the path of a URDF, or a
                PyBullet environment with `client` or `physics_client`, `body`,
                `actuated` and `effort_limits`, and with `urdf`, where there is a file.
            free: names or patterns of the fitted parameters.
            options: keywords of `load_urdf`, where `source` is a path.

        Raises:
            RobooptError: if `source` is none of these, or its URDF cannot be used.
        """
        if options and not isinstance(source, str | PathLike):
            raise RobooptError(
                f"`options` are for a `robot` that is a path, got {dict(options)}."
            )
        if isinstance(source, KnownRobot):
            return source
        if isinstance(source, Twin):
            limits = np.full(source.joints, np.inf)
            limits[list(source.actuated)] = source.effort_limits
            return cls("robot", source.robot, limits, source.actuated, twin=source)
        if isinstance(source, Multibody):
            return cls("robot", source, np.array(source.effort_limits))
        shaped = any(pattern.startswith(SHAPES) for pattern in free)
        if isinstance(source, str | PathLike):
            path = Path(source)
            # The links have no damping of their own: air is thin.
            still = {"linear_damping": 0.0, "angular_damping": 0.0}
            robot = load_urdf(path, **{**still, **(options or {})})
            robot = robot.merge_fixed() if shaped else robot
            limits = np.array(robot.effort_limits)
            return cls(
                path.stem,
                robot,
                limits,
                urdf=path,
                implicit_damping=True,
                locked=tuple((options or {}).get("locked", ())),
                xacro_args=(options or {}).get("xacro_args", {}),
            )
        if hasattr(source, "unwrapped"):
            env = source.unwrapped
            robot = robot_in(env).merge_fixed() if shaped else robot_in(env)
            limits = np.full(len(robot.joint_names), np.inf)
            limits[list(env.actuated)] = env.effort_limits
            urdf = getattr(env, "urdf", None)
            name = type(env).__name__ if urdf is None else Path(urdf).stem
            return cls(
                name,
                robot,
                limits,
                tuple(env.actuated),
                urdf=urdf,
                implicit_damping=getattr(env, "implicit_damping", False),
                locked=tuple(getattr(env, "locked", ())),
                xacro_args=getattr(env, "xacro_args", {}),
                scene=scene_or_none(_quiet, env_scene, source),
            )
        raise RobooptError(
            "`robot` must be a Twin, a Multibody, the path of a URDF or a PyBullet "
            f"environment, got {type(source).__name__}."
        )

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Return the names of the joints."""
        return self.robot.joint_names


def robot_in(env: Any) -> Multibody:
    """Return the robot in a PyBullet environment with each of its links, undamped."""
    return load_env(env, linear_damping=0.0, angular_damping=0.0)


def known_scene(
    source: Any, known: KnownRobot, options: Mapping[str, Any] | None
) -> Scene | None:
    """Return the robot in 3D, None where its shapes are not known.

    Args:
        source: what the robot was read from, as of `KnownRobot.of`.
        known: the robot as it was read.
        options: keywords of `load_urdf`, where `source` is a path.
    """
    scene = known.scene
    if isinstance(source, str | PathLike):
        read = {k: v for k, v in (options or {}).items() if k != "packages"}
        robot = _quiet(load_urdf, source, **read)
        scene = Scene.of_urdf(source, robot=robot, **(options or {}))
    same = scene is not None and scene.robot.joint_names == known.joint_names
    return scene if same else None


def _quiet(make: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Return `make(*args, **options)` without what reading the robot warned of."""
    with warnings.catch_warnings(action="ignore"):
        return make(*args, **options)
