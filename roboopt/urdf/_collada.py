"""COLLADA files that PyBullet can read.

PyBullet takes attributes and numbers for granted: one that is missing, and an index of
a vertex that is not there, end the process. So everything that it looks at is checked.
"""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

import numpy as np

from roboopt._reading import parse_xml

NEEDED = {"asset", "library_geometries", "mesh", "instance_geometry"}
ATTRIBUTES = {
    **dict.fromkeys(("geometry", "vertices", "visual_scene"), ("id",)),
    **dict.fromkeys(("instance_geometry", "instance_visual_scene"), ("url",)),
    "input": ("semantic", "source"),
    "accessor": ("source", "count"),
    "unit": ("meter",),
}
"""What PyBullet reads without asking whether it is there."""
COUNTS = {"matrix": 16, "translate": 3, "scale": 3, "rotate": 4}
PRIMITIVES = ("triangles", "polylist")


def is_collada(data: bytes, max_length: float) -> bool:
    """Return whether a file has triangles in a scene, and what PyBullet needs there.

    Args:
        data: the file.
        max_length: of a coordinate.
    """
    try:
        root = parse_xml(data)
        if root.tag != "COLLADA":
            return False
        tags = {element.tag for element in root.iter()}
        if not NEEDED <= tags or not tags & set(PRIMITIVES):
            return False
        return all(_is_whole(each, max_length) for each in root.iter()) and all(
            _is_geometry(each) for each in root.iter("geometry")
        )
    except (ValueError, LookupError, OverflowError):
        return False  # no XML, text in place of numbers, an attribute that is missing


def _is_whole(element: Element, max_length: float) -> bool:
    """Return whether an element has its attributes, and as many numbers as it needs."""
    if not all(element.get(name) for name in ATTRIBUTES.get(element.tag, ())):
        return False
    if element.tag == "unit":
        return 0 < float(element.attrib["meter"]) < max_length
    if element.tag == "up_axis":
        return bool((element.text or "").strip())
    if element.tag == "float_array":
        # An empty one, such as that of unused normals, is not looked at.
        return bool((np.abs(_numbers(element)) < max_length).all())
    if element.tag in COUNTS:
        found = _numbers(element)
        return found.size == COUNTS[element.tag] and bool(np.isfinite(found).all())
    return True


def _numbers(element: Element) -> np.ndarray:
    return np.array((element.text or "").split(), float)


def _is_geometry(geometry: Element) -> bool:
    """Return whether a geometry has a mesh whose triangles refer to what is there.

    Raises:
        LookupError: if a source has no id, or an input names none.
        ValueError: if a text is no number.
    """
    mesh = geometry.find("mesh")
    if mesh is None:
        return False
    sizes = {f"#{source.attrib['id']}": _size(source) for source in mesh.iter("source")}
    for vertices in mesh.iter("vertices"):
        inputs = {each.attrib["semantic"]: each for each in vertices.iter("input")}
        sizes[f"#{vertices.attrib['id']}"] = sizes[inputs["POSITION"].attrib["source"]]
    found = [each for tag in PRIMITIVES for each in mesh.iter(tag)]
    return all(_refers(primitive, sizes) for primitive in found)


def _size(source: Element) -> int:
    """Return how many elements a source has, by its accessor and by its numbers."""
    accessors, arrays = list(source.iter("accessor")), list(source.iter("float_array"))
    if len(accessors) != 1 or len(arrays) != 1:
        raise ValueError("a source has one accessor of one array")
    count, stride = (int(accessors[0].get(name, "1")) for name in ("count", "stride"))
    if not (0 < stride <= 16 and count >= 0):
        raise ValueError("a source has a size")
    return min(count, _numbers(arrays[0]).size // stride)


def _refers(primitive: Element, sizes: dict[str, int]) -> bool:
    """Return whether all indices of a primitive are those of elements."""
    inputs = [(int(e.attrib["offset"]), e) for e in primitive.findall("input")]
    if not any(each.attrib["semantic"] == "VERTEX" for _, each in inputs):
        return False
    width = 1 + max(offset for offset, _ in inputs)
    corners = list(_corners(primitive))
    if min(offset for offset, _ in inputs) < 0 or width > 16 or not corners:
        return False
    indices = np.concatenate(corners)
    if not indices.size or indices.size % width:
        return False
    rows = indices.reshape(-1, width)
    return len(rows) >= 3 and all(
        rows[:, offset].min() >= 0
        and rows[:, offset].max() < sizes[each.attrib["source"]]
        for offset, each in inputs
    )


def _corners(primitive: Element) -> Iterator[np.ndarray]:
    for element in primitive.findall("p"):
        yield np.array((element.text or "").split(), np.int64)
