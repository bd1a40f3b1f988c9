"""Numbers of a robot that a URDF has no place for, in a JSON file beside it.

The side file of `arm.urdf` is `arm.urdf.json`, an object with the keys

    "armature"  the rotor inertia of joints, reflected to the joint, by the joint's name
                [kg·m² or kg]: rotor inertia times gear ratio squared
    "gravity"   three numbers [m/s²], in the axes of the root link

both of which may be missing. Readers of URDF files other than roboopt ignore it.
"""

import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._reading import read_json
from roboopt.urdf._notes import Fault

KEYS = ("armature", "gravity")


def side_path(path: str | PathLike) -> Path:
    """Return the path of a URDF's side file."""
    return Path(f"{path}.json")


def side_text(
    armature: dict[str, float], gravity: tuple[float, ...] | None
) -> str | None:
    """Return the text of a side file, None if there is nothing to say."""
    content = {"armature": armature} if armature else {}
    content |= {} if gravity is None else {"gravity": list(gravity)}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n" if content else None


def read_side_file(
    path: str | PathLike, joints: list[str]
) -> tuple[dict[str, float], np.ndarray | None]:
    """Return the armature of joints and the gravity (3,) in a URDF's side file, if any.

    Args:
        path: the URDF.
        joints: the names of the URDF's joints.
    """
    file = side_path(path)
    if not file.is_file():
        return {}, None
    content = read_json(file)
    if not isinstance(content, dict) or not set(content) <= set(KEYS):
        raise Fault(f"{file} must hold an object with the keys {KEYS}, got {content}.")
    armature = content.get("armature", {})
    if not isinstance(armature, dict) or not set(armature) <= set(joints):
        raise Fault(
            f"`armature` in {file} must name joints of {joints}, got {armature}."
        )
    values = list(armature.values())
    if not all(_is_finite(x) and x >= 0 for x in values):
        raise Fault(
            f"`armature` in {file} must hold finite numbers that are not negative, got "
            f"{armature}."
        )
    gravity = content.get("gravity")
    if gravity is None:
        return armature, None
    if not isinstance(gravity, list) or not (
        len(gravity) == 3 and all(map(_is_finite, gravity))
    ):
        raise Fault(f"`gravity` in {file} must be three finite numbers, got {gravity}.")
    return armature, np.array(gravity, float)


def _is_finite(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and bool(np.isfinite(value))
