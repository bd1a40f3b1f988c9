"""A `Multibody` from a URDF file and back.

The file is read by `roboopt.urdf.read_urdf`, which decides what it means: a link
without `<inertial>` is a massless frame, the root is fixed to the world and its inertia
dropped, and inertias are the file's, as with PyBullet's `URDF_USE_INERTIA_FROM_FILE`. A
joint's frame is the frame of its child link. Joints with `<mimic>` follow exactly.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError, require, three_numbers
from roboopt.data import atomic_write
from roboopt.dynamics._assembly import JointRow, LinkRow, assemble
from roboopt.dynamics._bullet import BULLET_DAMPING
from roboopt.dynamics._friction import PARTS
from roboopt.dynamics._multibody import Multibody
from roboopt.urdf import (
    EARTH_GRAVITY,
    FRICTION_VELOCITY,
    PRISMATIC,
    SideFile,
    edit_urdf,
    read_urdf,
    side_path,
)
from roboopt.urdf.drive import Drive
from roboopt.urdf.friction import STRIBECK_VELOCITY


def load_urdf(
    path: str | PathLike,
    *,
    locked: Iterable[str] | Mapping[str, float] = (),
    actuated: Iterable[str] | None = None,
    effort_limits: Any = None,
    repair: bool = False,
    bullet_defaults: bool = False,
    xacro_args: Mapping[str, str] | None = None,
    gravity: Sequence[float] | None = None,
    linear_damping: float = BULLET_DAMPING,
    angular_damping: float = BULLET_DAMPING,
) -> Multibody:
    """Load a robot on a fixed base from a URDF file, or from a .xacro file.

    Numbers that a URDF has no place for are read from the file beside it, if there is
    one: see `save_urdf`.

    Args:
        path: the file.
        locked: names of joints to be held at zero, or a mapping from names to the
            positions [rad or m] at which joints are held, such as those of a gripper.
            Joints that follow a held joint by `<mimic>` are held, too.
        actuated: names of the joints that motors drive, or "all", instead of those
            that the file says: a `Twin` of the robot takes an effort for each.
        effort_limits: limits instead of the file's [N·m or N]: one for all driven
            joints, one for each, or a mapping from the names of some to their limits.
            A `Twin` clips actions to them if it is told so.
        repair: replace physically inconsistent inertias by the nearest possible ones;
            changes up to 5 % of the inertia of the body are made in any case.
        bullet_defaults: give links without `<inertial>`, which are massless frames,
            PyBullet's 1 kg and 1 kg·m².
        xacro_args: values of the arguments of a .xacro file, by name.
        gravity: (3,) [m/s²], in the axes of the root link; by default that of the file
            beside the URDF, or (0, 0, −9.81).
        linear_damping: damping of each body's linear velocity [1/s], by default
            PyBullet's.
        angular_damping: damping of each body's angular velocity [1/s].

    Raises:
        RobooptError: if there is no such file, it is no URDF of a possible fixed-base
            robot, a joint moves no mass, or an argument is out of range.

    Warns:
        UserWarning: once, about everything that is read differently from the file.
    """
    if gravity is not None:
        three_numbers("gravity", gravity)
    dampings = {"linear_damping": linear_damping, "angular_damping": angular_damping}
    for name, damping in dampings.items():
        require(0 <= damping < np.inf, name, "be finite and not negative", damping)
    model = read_urdf(
        path,
        locked=locked,
        actuated=actuated,
        effort_limits=effort_limits,
        repair=repair,
        bullet_defaults=bullet_defaults,
        xacro_args=xacro_args,
    )
    limits = dict(zip(model.joint_names, model.position_limits.T.tolist(), strict=True))
    joints = []
    for joint, pose in zip(model.moving, model.joint_poses, strict=True):
        lower, upper = limits.get(joint.name, (-np.inf, np.inf))
        # Bullet, too, marks "no limits" by a lower limit above the upper one.
        lower, upper = (0.0, -1.0) if np.isinf(lower) else (lower, upper)
        row = JointRow(
            name=joint.name,
            revolute=joint.kind != PRISMATIC,
            pose=pose,
            axis=joint.axis,
            damping=joint.damping,
            lower=lower,
            upper=upper,
            effort_limit=joint.effort_limit,
            friction=joint.friction,
            friction_velocity=joint.friction_velocity,
            friction_law=joint.friction_law,
            armature=joint.armature,
            mimic=joint.mimic,
            driven=joint.driven,
        )
        joints.append(row)
    links = []
    for name, pose in model.link_poses.items():
        inertial = model.inertials.get(name)
        if inertial is not None:
            inertial = inertial.to_parent(pose.rotation, pose.offset)
        links.append(LinkRow(name, pose, inertial))
    if gravity is None:
        gravity = EARTH_GRAVITY if model.gravity is None else model.gravity.tolist()
    return assemble(joints, links, gravity=gravity, **dampings)


def save_urdf(
    robot: Multibody,
    template: str | PathLike,
    path: str | PathLike,
    *,
    xacro_args: Mapping[str, str] | None = None,
    drive: Drive | None = None,
) -> None:
    """Save the masses, inertias and joint frictions of `robot` in a copy of `template`.

    Everything else in the file stays, comments included, except that the relative paths
    of meshes and textures are rewritten to lead to the same files from the new folder;
    package:// is left alone. If bodies were merged and their composite inertia has
    changed, the first link gets all of it, and the others get no mass.

    Armatures that are not 0, velocity scales of friction other than 0.01, the other
    parts of friction laws, a `drive`, and a gravity other than (0, 0, −9.81), for which
    a URDF has no place, go into a file beside it that `load_urdf` reads with it and
    programs other than roboopt ignore: `arm.urdf.json` beside `arm.urdf`, such as
    `{"armature": {"elbow": 0.02}, "load_friction": {"elbow": 0.1}, "gravity": [0, 0,
    -9.8]}` in SI units. An older file of this name is replaced, or deleted where
    nothing is to be said.

    Args:
        robot: a robot whose joints and links are the file's; joints of the file that
            the robot lacks count as locked.
        template: the URDF that the robot was read from, by `load_urdf` or PyBullet.
        path: the file to be written, which may be `template`.
        xacro_args: values of the arguments of a .xacro file, by name.
        drive: the motors of the driven joints, which every `drive` argument finds by
            the path of the URDF.

    Raises:
        RobooptError: if `template` is not the robot's, or a number is impossible.
    """
    data = edit_urdf(robot, template, Path(path).parent, xacro_args=xacro_args)
    armature = dict(zip(robot.joint_names, robot.armature.tolist(), strict=True))
    numbers = (*armature.values(), *robot.gravity.tolist())
    if not np.isfinite(numbers).all() or min(armature.values()) < 0:
        raise RobooptError(
            "`robot` must have finite gravity and finite armatures that are not "
            f"negative, got {robot.gravity} and {armature}."
        )
    declared = b"rotor_inertia" in data  # A rotor without inertia is said, too.
    earth = np.allclose(robot.gravity, EARTH_GRAVITY, rtol=1e-6, atol=0)
    slow = np.broadcast_to(robot.friction_velocity, len(armature)).tolist()
    rule = "have finite and positive velocity scales of friction"
    require(np.isfinite(slow).all() and min(slow) > 0, "robot", rule, slow)
    scales = zip(armature, slow, strict=True)
    text = SideFile(
        armature={n: value for n, value in armature.items() if value or declared},
        friction_velocity={
            name: value
            for name, value in scales
            if not np.isclose(value, FRICTION_VELOCITY, rtol=1e-6)
        },
        drive=_drive_numbers(drive),
        gravity=None if earth else tuple(robot.gravity.tolist()),
        **_friction_parts(robot),
    ).text()
    with atomic_write(path) as out:
        out.write(data)
    if text is None:
        side_path(path).unlink(missing_ok=True)
        return
    with atomic_write(side_path(path)) as out:
        out.write(text.encode())


def _drive_numbers(drive: Drive | None) -> dict[str, Any]:
    """Return the numbers that a drive has, by name."""
    names = [] if drive is None else [field.name for field in fields(drive)]
    values = {name: getattr(drive, name) for name in names}
    return {n: np.asarray(x).tolist() for n, x in values.items() if x is not None}


def _friction_parts(robot: Multibody) -> dict[str, dict[str, float]]:
    """Return the parts of friction beside Coulomb's by their names, then by joint."""
    if robot.friction_law is None:
        return {}
    parts = {}
    for name, field in PARTS.items():
        values = np.broadcast_to(getattr(robot.friction_law, field), len(robot.damping))
        named = zip(robot.joint_names, values.tolist(), strict=True)
        plain = STRIBECK_VELOCITY if name == "stribeck_velocity" else 0.0
        parts[name] = {joint: value for joint, value in named if value != plain}
    finite = [np.isfinite(x) for part in parts.values() for x in part.values()]
    require(all(finite), "robot", "have finite friction laws", parts)
    return parts
