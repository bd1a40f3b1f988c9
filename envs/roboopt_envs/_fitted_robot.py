"""A robot with fitted numbers, as a file that Bullet loads.

`changeDynamics` moves no center of mass and turns no principal axes, so fitted numbers
reach Bullet through a URDF: that of the robot, with inertias and dampings replaced.
Inertias are written as principal moments and the rotation to their axes, which Bullet
takes as they are: from other axes it finds these only to about 1e-9.
"""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

INERTIA = ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")
ROUNDING = 1e-9  # of the largest moment, by which the triangle inequality may be missed


class Body(NamedTuple):
    """What one link weighs, in its own frame."""

    mass: float  # kg
    center: np.ndarray  # (3,) m
    inertia: np.ndarray  # (3, 3) kg·m² about the center


NOTHING = Body(0.0, np.zeros(3), np.zeros((3, 3)))


class FittedRobot(NamedTuple):
    """The numbers of a fitted model that Bullet, or an environment, can take."""

    bodies: dict[str, Body]  # of every link that moves
    damping: dict[str, float]  # of every joint, N·m·s/rad or N·s/m
    friction: np.ndarray  # (n,) N·m or N
    gravity: np.ndarray  # (3,) m/s²
    linear_damping: float  # of every link, 1/s
    angular_damping: float


def read_fitted_robot(
    model: Any, joint_names: tuple[str, ...], link_names: tuple[str, ...]
) -> FittedRobot:
    """Read the robot of a model, whoever's class it is.

    Args:
        model: a `roboopt.dynamics.Multibody`, or what has one as its `robot`.
        joint_names: that it must have.
        link_names: that it must know.

    Raises:
        ValueError: if it is no such model, its joints or links are others, a number is
            not finite, a friction is negative, or an armature not 0: Bullet has none.
    """
    robot = getattr(model, "robot", model)
    try:
        found = tuple(robot.joint_names)
    except AttributeError:
        raise ValueError(
            "`model` must be a robot, or have one as its `robot`, got "
            f"{type(model).__name__}."
        ) from None
    if found != joint_names:
        raise ValueError(
            f"`model` must have the joints {list(joint_names)}, in this order, got "
            f"{list(found)}."
        )
    unknown = sorted(set(link_names) - set(robot.link_names))
    if unknown:
        raise ValueError(
            f"`model` must have the robot's links, among them {unknown}, got "
            f"{list(robot.link_names)}."
        )
    names = ("masses", "centers_of_mass", "inertias", "damping", "friction", "armature")
    for name in (*names, "gravity"):
        if not np.isfinite(np.asarray(getattr(robot, name))).all():
            raise ValueError(
                f"`model` must have finite numbers, got {name} {getattr(robot, name)}."
            )
    armature = dict(zip(found, np.asarray(robot.armature).tolist(), strict=True))
    if any(armature.values()):
        raise ValueError(
            "`model` must have no armature, for which Bullet has no place, got "
            f"{ {name: value for name, value in armature.items() if value} }."
        )
    friction = np.asarray(robot.friction, np.float64)
    if (friction < 0).any():
        raise ValueError(f"`model` must have no negative friction, got {friction}.")
    return FittedRobot(
        bodies=_bodies(robot),
        damping=dict(zip(found, np.asarray(robot.damping).tolist(), strict=True)),
        friction=friction,
        gravity=np.asarray(robot.gravity, np.float64),
        linear_damping=float(robot.linear_damping),
        angular_damping=float(robot.angular_damping),
    )


def _bodies(robot: Any) -> dict[str, Body]:
    """Return what each moving link weighs; of merged ones all but one weigh nothing."""
    given = zip(
        robot.body_names,
        np.asarray(robot.masses, np.float64),
        np.asarray(robot.centers_of_mass, np.float64),
        np.asarray(robot.inertias, np.float64),
        strict=True,
    )
    in_joint = {name: Body(float(mass), *rest) for name, mass, *rest in given}
    bodies = {}
    for name, joint, rotation, offset in zip(
        robot.link_names,
        robot.link_joints,
        np.asarray(robot.link_rotations, np.float64),
        np.asarray(robot.link_offsets, np.float64),
        strict=True,
    ):
        if joint < 0:
            continue
        if name not in in_joint:
            bodies[name] = NOTHING
            continue
        mass, center, inertia = in_joint[name]
        bodies[name] = Body(
            mass, rotation.T @ (center - offset), rotation.T @ inertia @ rotation
        )
    return bodies


def write_fitted_robot(robot: FittedRobot, template: Path, path: Path):
    """Write `template`, for Bullet's eyes alone, with the numbers of `robot`."""
    tree = ET.parse(template)
    root = tree.getroot()
    for link in root.findall("link"):
        name = link.get("name", "")
        if name in robot.bodies:
            for inertial in link.findall("inertial"):
                link.remove(inertial)
            link.append(_inertial(robot.bodies[name]))
    for joint in root.findall("joint"):
        name = joint.get("name", "")
        if name in robot.damping:
            dynamics = joint.find("dynamics")
            if dynamics is None:
                dynamics = ET.SubElement(joint, "dynamics")
            dynamics.set("damping", repr(robot.damping[name]))
    folder = template.resolve().parent
    for element in root.iter():
        filename = element.get("filename")
        if filename and element.tag in ("mesh", "texture"):
            element.set("filename", _found(filename, folder))
    tree.write(path, encoding="utf-8", xml_declaration=True)


def _inertial(body: Body) -> ET.Element:
    moments, axes = np.linalg.eigh(body.inertia)
    if np.count_nonzero(body.inertia - np.diag(np.diag(body.inertia))) == 0:
        moments, axes = np.diag(body.inertia).copy(), np.eye(3)
    elif np.linalg.det(axes) < 0:
        axes[:, 0] *= -1
    # Of a flat body the largest is the sum of the others, but for rounding.
    largest = int(np.argmax(moments))
    most = np.delete(moments, largest).sum()
    if most < moments[largest] <= most + ROUNDING * moments[largest]:
        moments[largest] = most
    inertial = ET.Element("inertial")
    pose = {"xyz": _words(body.center), "rpy": _words(_roll_pitch_yaw(axes))}
    ET.SubElement(inertial, "origin", pose)
    ET.SubElement(inertial, "mass", {"value": repr(body.mass)})
    entries = [*moments.tolist(), 0.0, 0.0, 0.0]
    tensor = {key: repr(value) for key, value in zip(INERTIA, entries, strict=True)}
    ET.SubElement(inertial, "inertia", tensor)
    return inertial


def _words(numbers: np.ndarray) -> str:
    return " ".join(map(repr, numbers.tolist()))


def _roll_pitch_yaw(rotation: np.ndarray) -> np.ndarray:
    """Return the angles of R_z(yaw) R_y(pitch) R_x(roll), precise at every pitch."""
    yaw = np.arctan2(rotation[1, 0], rotation[0, 0])
    c, s = np.cos(yaw), np.sin(yaw)
    rest = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) @ rotation
    roll = np.arctan2(-rest[1, 2], rest[1, 1])
    return np.array([roll, np.arctan2(-rest[2, 0], rest[0, 0]), yaw])


def _found(filename: str, folder: Path) -> str:
    """Return the whole path of a mesh, looked for where Bullet looks for it."""
    shorter = filename.removeprefix("package://")
    for above in (folder, *folder.parents):
        if (above / shorter).is_file():
            return str(above / shorter)
    return filename
