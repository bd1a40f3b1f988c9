"""A `Multibody` from a URDF file and back.

The file is read as PyBullet reads it: a link without `<inertial>` has mass 1 and
inertia (1, 1, 1), the root is fixed to the world and its inertia dropped, and inertias
are the file's, as with `URDF_USE_INERTIA_FROM_FILE`. A joint's frame is the frame of
its child link.
"""

import warnings
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import atomic_write
from roboopt.dynamics._assembly import JointRow, LinkRow, assemble
from roboopt.dynamics._bullet import BULLET_DAMPING
from roboopt.dynamics._multibody import Multibody
from roboopt.urdf import PRISMATIC, edit_urdf, read_urdf


def load_urdf(
    path: str | PathLike,
    *,
    locked: Iterable[str] = (),
    gravity: Sequence[float] = (0.0, 0.0, -9.81),
    linear_damping: float = BULLET_DAMPING,
    angular_damping: float = BULLET_DAMPING,
) -> Multibody:
    """Load a robot on a fixed base from a URDF file.

    Args:
        path: the file.
        locked: names of joints to be treated as fixed at zero, such as the second
            finger of a gripper that mimics the first.
        gravity: (3,) [m/s²], in the axes of the root link.
        linear_damping: damping of each body's linear velocity [1/s], by default
            PyBullet's.
        angular_damping: damping of each body's angular velocity [1/s].

    Raises:
        RobooptError: if there is no such file, it is no URDF of a possible fixed-base
            robot, a joint moves no mass, or an argument is out of range.
    """
    if np.shape(gravity) != (3,) or not np.all(np.isfinite(gravity)):
        raise RobooptError(f"`gravity` must be three finite numbers, got {gravity}.")
    dampings = {"linear_damping": linear_damping, "angular_damping": angular_damping}
    for name, damping in dampings.items():
        if not 0 <= damping < np.inf:
            raise RobooptError(
                f"`{name}` must be finite and not negative, got {damping}."
            )
    model = read_urdf(path, locked=locked)
    for joint in model.moving:
        if joint.mimic is not None:
            raise RobooptError(
                f"`path`: joint {joint.name!r} must move independently, got one that "
                f"mimics joint {joint.mimic.joint!r}: fix it with "
                f"`locked=({joint.name!r},)`."
            )
    joints = [
        JointRow(
            name=joint.name,
            revolute=joint.kind != PRISMATIC,
            pose=pose,
            axis=joint.axis,
            damping=joint.damping,
            # Bullet, too, marks "no limits" by a lower limit above the upper one.
            lower=0.0 if joint.lower is None else joint.lower,
            upper=-1.0 if joint.upper is None else joint.upper,
            effort_limit=joint.effort_limit,
        )
        for joint, pose in zip(model.moving, model.joint_poses, strict=True)
    ]
    links = []
    for name, pose in model.link_poses.items():
        inertial = model.inertials.get(name)
        if inertial is not None:
            inertial = inertial.to_parent(pose.rotation, pose.offset)
        links.append(LinkRow(name, pose, inertial))
    return assemble(joints, links, gravity=gravity, **dampings)


def save_urdf(robot: Multibody, template: str | PathLike, path: str | PathLike) -> None:
    """Save the masses, inertias and joint frictions of `robot` in a copy of `template`.

    Everything else in the file stays, comments included, except that the relative paths
    of meshes and textures are rewritten to lead to the same files from the new folder;
    package:// is left alone. A `<dynamics friction>` that the robot does not have
    becomes 0. If bodies were merged and their composite inertia has changed, the first
    link gets all of it, and the others get no mass.

    Args:
        robot: a robot whose joints and links are the file's; joints of the file that
            the robot lacks count as locked at zero.
        template: the URDF that the robot was read from, by `load_urdf` or PyBullet.
        path: the file to be written, which may be `template`.

    Raises:
        RobooptError: if `template` is not the robot's, or an inertia is impossible.

    Warns:
        UserWarning: if an armature is not 0: a URDF cannot state it.
    """
    data = edit_urdf(robot, template, Path(path).parent)
    armature = zip(robot.joint_names, robot.armature.tolist(), strict=True)
    nonzero = {name: value for name, value in armature if value}
    if nonzero:
        warnings.warn(
            "a URDF has no place for the armature of a joint, which is left out "
            f"[kg·m² or kg]: {nonzero}.",
            UserWarning,
            stacklevel=2,
        )
    with atomic_write(path) as out:
        out.write(data)
