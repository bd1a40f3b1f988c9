"""The shapes of links whose sizes or places are no numbers that a shape can have."""

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

import numpy as np

from roboopt.urdf._elements import numbers, origin
from roboopt.urdf._meshes import Mesh
from roboopt.urdf._model import UrdfModel
from roboopt.urdf._notes import Fault

SHAPES = ("visual", "collision")
SIZES = {
    "box": {"size": 3},
    "sphere": {"radius": 1},
    "cylinder": {"radius": 1, "length": 1},
    "capsule": {"radius": 1, "length": 1},
}
"""How many numbers each attribute of a shape has [m]."""


def shape_fault(shape: Element, link: str, meshes: Mapping[str, Mesh]) -> str:
    """Return why a `<visual>` or `<collision>` cannot be used, "" where it can."""
    where = f"a <{shape.tag}> of link {link!r}"
    try:
        origin(shape, where)
        for form in shape.findall("geometry/*"):
            for attribute, count in SIZES.get(form.tag, {}).items():
                sizes = numbers(form, attribute, (np.nan,) * count, where)
                if not (sizes >= 0).all():
                    shown = repr(form.get(attribute) or "")
                    return f"`{attribute}` of <{form.tag}> in {where} is {shown}"
            if form.tag == "mesh":
                words = (form.get("scale") or "1").split()
                # PyBullet takes one number for all axes.
                count = 1 if len(words) == 1 else 3
                numbers(form, "scale", (1.0,) * count, where)
                if fault := meshes[form.get("filename") or ""].fault:
                    return f"{fault}: {form.get('filename') or 'no name'}"
    except Fault as fault:
        return str(fault).removesuffix(".")
    return ""


def unusable_shapes(
    model: UrdfModel, meshes: Mapping[str, Mesh], tags: Sequence[str] = SHAPES
) -> str:
    """Return a warning of the shapes that capsules stand in for, "" for none.

    Args:
        model: the robot.
        meshes: the files of its meshes, as `find_meshes` returns them.
        tags: the elements that are used, "visual" and "collision".
    """
    faults = [
        shape_fault(shape, str(link.get("name")), meshes)
        for link in model.element.findall("link")
        for tag in tags
        for shape in link.findall(tag)
    ]
    kinds = list(dict.fromkeys(fault for fault in faults if fault))
    if not kinds:
        return ""
    shown = "; ".join(kinds[:3]) + ("; …" if len(kinds) > 3 else "")
    lost = sorted({mesh.package for mesh in meshes.values()} - {""})
    return (
        f"{len(kinds)} mesh(es) or shape(s) of the robot cannot be used ({shown}): "
        "capsules from joint to joint stand in for them."
        + (
            f" Name the folders of the ROS packages {lost} by `packages`."
            if lost
            else ""
        )
    )
