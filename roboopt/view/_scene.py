"""A robot as it is drawn: triangles on the frames of its joints, and their motion.

A scene holds data alone, so that a result that is saved shows its robot wherever it is
loaded, without the URDF, its meshes or the environment.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from roboopt._programs import called
from roboopt.dynamics import Multibody, load_env, load_urdf
from roboopt.urdf import (
    Shape,
    find_meshes,
    quaternion_from_rotation,
    read_urdf,
    rotation_from_quaternion,
    shown_shapes,
    unusable_shapes,
)
from roboopt.view._triangles import (
    Triangles,
    coarser,
    joined,
    missing_reader,
    triangles,
)

MAX_NAMED = 3  # meshes in a warning


@dataclass(frozen=True)
class Scene:
    """The shapes of a robot by the joint that carries them, and its goal."""

    robot: Multibody
    joints: tuple[int, ...]
    """The moving joint of each part, −1 for the world."""
    parts: tuple[Triangles, ...]
    """In the frame of that joint."""
    tool: Any = None
    """The `ToolChain` of the task, where observations hold a goal after [q, q̇]."""
    tool_point: str = ""
    """Which point of the robot that is, in words."""
    path: Float[np.ndarray, "point 3"] | None = None
    """The reference path of the tool [m], where the task has one."""
    faults: tuple[str, ...] = ()
    """What is not shown as the URDF says, such as meshes that are missing."""

    @classmethod
    def of(cls, robot: Multibody, shapes: Sequence[Shape], fault: str = "") -> "Scene":
        """Return the scene of a robot and the shapes of its links.

        Args:
            robot: the robot.
            shapes: those that can be used.
            fault: what is said of others, which the page says too; "" for none.

        Warns:
            UserWarning: if mesh files cannot be read, which are then left out.
        """
        links = {name: index for index, name in enumerate(robot.link_names)}
        pieces: dict[tuple[int, tuple[float, ...]], list[Triangles]] = {}
        faults = []
        for shape in shapes:
            link = links[shape.link]
            rotation, offset = robot.link_rotations[link], robot.link_offsets[link]
            try:
                if package := missing_reader(shape):
                    raise ImportError(f"{package} is not installed")
                found = triangles(shape)
            except Exception as error:  # A reader of files may raise anything.
                faults.append(f"{_name(shape)}: {' '.join(str(error).split())}")
                continue
            for x in found:
                vertices = x.vertices @ np.asarray(rotation).T + np.asarray(offset)
                key = robot.link_joints[link], x.color
                pieces.setdefault(key, []).append(x._replace(vertices=vertices))
        unread = ""
        if faults:
            shown = "; ".join(dict.fromkeys(faults[:MAX_NAMED]))
            unread = (
                f"{len(faults)} mesh(es) of the robot are not shown in 3D ({shown}). "
                "Meshes are read with: pip install 'roboopt[view]'"
            )
            warnings.warn(unread, stacklevel=3)
        parts = coarser([joined(each) for each in pieces.values()])
        bare, others = [*dict.fromkeys(s.link for s in shapes if s.stand_in)], ""
        if bare:
            more = ", …" * (len(bare) > MAX_NAMED)
            others = (
                "Links without a <visual> are drawn by their <collision>, or as rods "
                "to the next joints or the center of mass: "
                f"{', '.join(bare[:MAX_NAMED])}{more}."
            )
        said = tuple(filter(None, (fault, unread, others)))
        joints = tuple(joint for joint, _ in pieces)
        return cls(robot, joints, tuple(parts), faults=said)

    @classmethod
    def of_urdf(
        cls, path: str | PathLike, *, robot: Multibody | None = None, **options: Any
    ) -> "Scene":
        """Return the scene of a robot on a fixed base from its URDF or .xacro file.

        Args:
            path: the file.
            robot: as it was read from the file; None to read it.
            **options: as of `dynamics.load_urdf`; and `packages`, folders of ROS
                packages by name.

        Raises:
            RobooptError: as `load_urdf` does.

        Warns:
            UserWarning: about meshes that are not found, or cannot be read.
        """
        packages = options.pop("packages", None)
        if robot is None:
            robot = load_urdf(path, **options)
        for name in ("gravity", "linear_damping", "angular_damping"):
            options.pop(name, None)  # They change no shape.
        return cls.of(robot, *_shapes(path, packages, **options))

    def poses(
        self, q: Float[np.ndarray, "time joint"]
    ) -> Float[np.ndarray, "time moving 7"]:
        """Return the pose of each moving joint's frame over time.

        Args:
            q: positions of the joints that move independently [rad or m].

        Returns:
            Position [m], then the unit quaternion (x, y, z, w).
        """
        rotations, origins = called(jax.vmap(self.robot.frames), jnp.asarray(q))
        turns = quaternion_from_rotation(np.asarray(rotations, float))
        return np.concatenate([np.asarray(origins), turns], axis=-1)

    def corners(
        self, poses: Float[np.ndarray, "time moving 7"], *, moving: bool = False
    ) -> Float[np.ndarray, "corner 3"]:
        """Return the corners of boxes around all parts over time [m].

        Args:
            poses: of the moving joints, as `poses` returns them.
            moving: whether to leave out what stands still, where anything moves.
        """
        found, still = [], not moving or max(self.joints, default=-1) < 0
        for joint, part in zip(self.joints, self.parts, strict=True):
            if joint < 0 and not still:
                continue
            ends = np.array([part.vertices.min(0), part.vertices.max(0)])
            box = np.stack(np.meshgrid(*ends.T), -1).reshape(-1, 3)
            if joint >= 0:
                turns = rotation_from_quaternion(poses[:, joint, 3:])
                box = box @ turns.swapaxes(-1, -2) + poses[:, joint, None, :3]
            found.append(box.reshape(-1, 3))
        return np.concatenate(found)

    def goal(self, start: Float[np.ndarray, " obs"]) -> Float[np.ndarray, "point 3"]:
        """Return the goal of an episode, one point or those of a path [m], or none."""
        joints = len(self.robot.joint_names)
        if self.path is not None:
            return self.path
        if self.tool is None or len(start) < 3 * joints:
            return np.zeros((0, 3))
        return np.asarray(self.tool.position(start[2 * joints : 3 * joints]))[None]


def env_scene(env: Any) -> Scene | None:
    """Return the scene of an environment, None for one that has no robot to show.

    A PyBullet environment has one whose `shapes()` are those of its links, as
    roboopt's own, or whose `urdf` is the path of its file and which promises
    `has_twin`; and whose observations begin with the joints' positions: no wrapper
    changes them.
    """
    world = env.unwrapped
    known = all(hasattr(world, name) for name in ("physics_client", "body"))
    file = getattr(world, "urdf", None) if getattr(world, "has_twin", False) else None
    if not known or _is_rewritten(env):
        return None
    if hasattr(world, "shapes"):
        shapes, fault = world.shapes(), getattr(world, "shape_fault", "")
    elif file is not None:
        shapes, fault = _shapes(file)
    else:
        return None
    scene = Scene.of(load_env(env), shapes, fault)
    tool = getattr(getattr(world, "task", None), "chain", None)
    reference = getattr(world, "reference", None)
    path, n = None, len(scene.robot.joint_names)
    point = getattr(world, "tool_point", "")
    if tool is not None and reference is not None:
        path = np.asarray(tool.position(reference[:, :n]))
    return replace(scene, tool=tool, tool_point=point, path=path)


def scene_or_none(make: Callable[..., Scene | None], *args: Any) -> Scene | None:
    """Return `make(*args)`, or None with a warning where it fails.

    A verb's result is complete by then: it is not lost for a picture.
    """
    try:
        return make(*args)
    except Exception as error:  # of files that have changed, or an environment's code
        reason = " ".join(str(error).split())
        warnings.warn(f"the robot is not shown in 3D: {reason}", stacklevel=2)
        return None


def _shapes(
    path: str | PathLike, packages: Any = None, **options: Any
) -> tuple[list[Shape], str]:
    """Return the shapes of a file, and what is said of those that cannot be used.

    What is said of the robot was said before.
    """
    with warnings.catch_warnings(action="ignore"):
        model = read_urdf(path, **options)
    meshes = find_meshes(model, Path(path).parent, packages)
    if said := unusable_shapes(model, meshes, ["visual"]):
        warnings.warn(said, stacklevel=4)
    return shown_shapes(model, meshes), said


def _is_rewritten(env: Any) -> bool:
    """Return whether a wrapper changes what is observed."""
    while env is not env.unwrapped:
        if hasattr(env, "observation") or env.observation_space != (
            env.env.observation_space
        ):
            return True
        env = env.env
    return False


def _name(shape: Shape) -> str:
    path = None if shape.mesh is None else shape.mesh.path
    return shape.kind if path is None else path.name
