"""The shapes that a robot shows, in numbers: its own, or others in their place."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from roboopt.urdf._bullet_file import bullet_urdf
from roboopt.urdf._elements import numbers, origin
from roboopt.urdf._meshes import Mesh
from roboopt.urdf._model import UrdfModel
from roboopt.urdf._notes import Fault
from roboopt.urdf._shapes import SIZES


class Shape(NamedTuple):
    """A shape of a link, and its pose in the link's frame."""

    link: str
    kind: str
    """"box", "sphere", "cylinder", "capsule" or "mesh"."""
    sizes: tuple[float, ...]
    """Sides, radius, or radius and length [m]; of a mesh the scale along its axes."""
    rotation: np.ndarray
    offset: np.ndarray
    """(3,) [m]"""
    color: tuple[float, ...] | None
    """Red, green, blue and opacity from 0 to 1; None where the URDF says none."""
    mesh: Mesh | None = None
    """The file of a mesh."""
    stand_in: bool = False
    """Whether the link has no `<visual>` of its own."""


def shown_shapes(
    model: UrdfModel, meshes: Mapping[str, Mesh], *, shapes: bool = True
) -> list[Shape]:
    """Return the shapes of a robot's `<visual>` elements, as PyBullet is given them.

    Args:
        model: the robot.
        meshes: the files of its meshes, as `find_meshes` returns them.
        shapes: whether the robot has its own shapes, or capsules alone.
    """
    robot = ElementTree.fromstring(bullet_urdf(model, meshes, shapes=shapes))
    materials = reversed(list(robot.iter("material")))  # The first of a name counts.
    colors = {e.get("name"): rgba for e in materials if (rgba := _color([e]))}
    files = {str(mesh.path): mesh for mesh in meshes.values()}
    links = model.element.findall("link")
    bare = {x.get("name") for x in links if x.find("visual") is None}
    found = []
    for link in robot.findall("link"):
        for visual in link.findall("visual"):
            own = visual.findall("material")
            named = colors.get(own[0].get("name")) if own else None
            pose, color = origin(visual, "a visual"), _color(own) or named
            for form in visual.findall("geometry/*"):
                if form.tag == "mesh":
                    words = (form.get("scale") or "1").split()
                    sizes = np.broadcast_to(np.array(words, float), 3)
                elif form.tag in SIZES:
                    counts = SIZES[form.tag].items()
                    sizes = [numbers(form, a, (0.0,) * n, "") for a, n in counts]
                    sizes = np.concatenate(sizes)
                else:
                    continue
                mesh = files.get(form.get("filename") or "")
                name, scale = str(link.get("name")), tuple(map(float, sizes))
                where = *pose, color, mesh, name in bare
                found.append(Shape(name, form.tag, scale, *where))
    return found


def _color(materials: Iterable[Element]) -> tuple[float, ...] | None:
    """Return the first color of the materials that have a valid one."""
    for material in materials:
        for color in material.findall("color"):
            try:
                rgba = numbers(color, "rgba", (1.0,) * 4, "a material")
            except Fault:
                continue
            return tuple(np.clip(rgba, 0.0, 1.0).tolist())
    return None
