"""Numbers of a robot that a URDF has no place for, in a JSON file beside it.

The side file of `arm.urdf` is `arm.urdf.json`, an object with the keys

    "armature"           the rotor inertia of joints, reflected to the joint, by the
                         joint's name [kg·m² or kg]: rotor inertia times gear ratio
                         squared
    "friction_velocity"  the velocity below which the Coulomb friction of joints is
                         smooth, by the joint's name [rad/s or m/s]
    "friction_asymmetry", "stribeck_friction", "stribeck_velocity", "load_friction"
                         the other parts of `roboopt.urdf.friction`, likewise [N·m or
                         N, the same, rad/s or m/s, 1]
    "drive"              the numbers of `roboopt.urdf.drive.Drive`, each a number for
                         all driven joints or a list of one for each
    "gravity"            three numbers [m/s²], in the axes of the root link

each of which may be missing. Readers of URDF files other than roboopt ignore it.
"""

import json
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from roboopt._errors import RobooptError
from roboopt._reading import read_json
from roboopt.urdf._notes import Fault
from roboopt.urdf.friction import STRIBECK_VELOCITY, FrictionLaw

BY_JOINT = {
    "armature": ("are not negative", lambda x: x >= 0),
    "friction_velocity": ("are positive", lambda x: x > 0),
    "friction_asymmetry": ("are finite", lambda _: True),
    "stribeck_friction": ("are not negative", lambda x: x >= 0),
    "stribeck_velocity": ("are positive", lambda x: x > 0),
    "load_friction": ("are not negative", lambda x: x >= 0),
}
"""What numbers of joints must hold."""
KEYS = (*BY_JOINT, "drive", "gravity")


class SideFile(NamedTuple):
    """The content of a side file."""

    armature: dict[str, float] = {}
    friction_velocity: dict[str, float] = {}
    friction_asymmetry: dict[str, float] = {}
    stribeck_friction: dict[str, float] = {}
    stribeck_velocity: dict[str, float] = {}
    load_friction: dict[str, float] = {}
    drive: dict[str, Any] = {}
    gravity: tuple[float, ...] | None = None

    def friction_law(self, joint: str) -> FrictionLaw | None:
        """Return the parts of a joint's friction beside Coulomb's, None without any."""
        asymmetry = self.friction_asymmetry.get(joint, 0.0)
        stribeck = self.stribeck_friction.get(joint, 0.0)
        load = self.load_friction.get(joint, 0.0)
        if not (asymmetry or stribeck or load):
            return None
        slow = self.stribeck_velocity.get(joint, STRIBECK_VELOCITY)
        return FrictionLaw(asymmetry, stribeck, slow, load)

    def text(self) -> str | None:
        """Return the text of the file, None if there is nothing to say."""
        content = {key: value for key, value in self._asdict().items() if value}
        if not content:
            return None
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def side_path(path: str | PathLike) -> Path:
    """Return the path of a URDF's side file."""
    return Path(f"{path}.json")


def read_side_file(path: str | PathLike, joints: list[str]) -> SideFile:
    """Return what a URDF's side file says, if there is one.

    Args:
        path: the URDF.
        joints: the names of the URDF's joints.
    """
    file = side_path(path)
    if not file.is_file():
        return SideFile()
    content = read_json(file)
    if not isinstance(content, dict) or not set(content) <= set(KEYS):
        raise Fault(f"{file} must hold an object with the keys {KEYS}, got {content}.")
    by_joint = {}
    for name, (rule, holds) in BY_JOINT.items():
        values = by_joint[name] = content.get(name, {})
        if not isinstance(values, dict) or not set(values) <= set(joints):
            raise Fault(
                f"`{name}` in {file} must name joints of {joints}, got {values}."
            )
        if not all(_is_finite(x) and holds(x) for x in values.values()):
            raise Fault(
                f"`{name}` in {file} must hold finite numbers that {rule}, got "
                f"{values}."
            )
    gravity = content.get("gravity")
    if gravity is None:
        return SideFile(**by_joint)
    if not isinstance(gravity, list) or not (
        len(gravity) == 3 and all(map(_is_finite, gravity))
    ):
        raise Fault(f"`gravity` in {file} must be three finite numbers, got {gravity}.")
    return SideFile(**by_joint, gravity=tuple(map(float, gravity)))


def drive_numbers(path: str | PathLike) -> dict[str, Any]:
    """Return the numbers of the drive in the side file of a URDF.

    Raises:
        RobooptError: if there are none.
    """
    file = side_path(path)
    content = read_json(file) if file.is_file() else {}
    drive = content.get("drive") if isinstance(content, dict) else None
    if not isinstance(drive, dict):
        raise RobooptError(
            "`drive` must be a `Drive`, its numbers, or a URDF with those of a drive "
            f"in the file beside it, got {path}, and {file} has none."
        )
    return drive


def _is_finite(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and bool(np.isfinite(value))
