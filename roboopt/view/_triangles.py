"""Triangles of the shapes of links: of solids, and of mesh files.

Files are read by trimesh, and large meshes made coarser by fast-simplification, by the
quadric errors of Garland and Heckbert (1997): both are in the extra `view`.
"""

import io
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from roboopt.urdf import Shape

MAX_TRIANGLES = 6000  # of a robot
MIN_TRIANGLES = 40  # of a mesh that is made coarser
SIDES = 20  # of a circle
GRAY = (0.75, 0.75, 0.75, 1.0)  # of shapes without a color
READERS = {"stl": "trimesh", "obj": "trimesh", "dae": "collada"}
"""The packages that read mesh files, by the end of the file's name."""


class Triangles(NamedTuple):
    """Triangles of one color."""

    color: tuple[float, ...]
    """Red, green, blue and opacity from 0 to 1."""
    vertices: Float[np.ndarray, "vertex 3"]
    """[m]"""
    faces: Int[np.ndarray, "face 3"]
    """Numbers of the vertices."""


def triangles(shape: Shape) -> list[Triangles]:
    """Return the triangles of a shape in its link's frame.

    Raises:
        Exception: of whatever kind, if a mesh file cannot be read.
    """
    if shape.kind == "mesh":
        made = _read(shape)
    else:
        made = [Triangles(shape.color or GRAY, *SOLIDS[shape.kind](*shape.sizes))]
    turn = shape.rotation.T
    return [x._replace(vertices=x.vertices @ turn + shape.offset) for x in made]


def missing_reader(shape: Shape) -> str:
    """Return the package without which a mesh cannot be read, "" where there is one."""
    if shape.kind != "mesh" or shape.mesh is None or shape.mesh.path is None:
        return ""
    reader = READERS.get(shape.mesh.path.suffix[1:].lower(), "trimesh")
    needed = "trimesh", "fast_simplification", reader
    return next((name for name in needed if find_spec(name) is None), "")


def joined(pieces: Sequence[Triangles]) -> Triangles:
    """Return pieces of one color as one, with equal vertices merged."""
    counts = np.cumsum([0, *(len(x.vertices) for x in pieces)])
    corners = [x.faces + n for x, n in zip(pieces, counts, strict=False)]
    points = np.concatenate([x.vertices for x in pieces]).astype(np.float32)
    points, index = np.unique(points, axis=0, return_inverse=True)
    faces = index.reshape(-1)[np.concatenate(corners)]
    flat = (faces == np.roll(faces, 1, axis=1)).any(axis=1)
    return Triangles(pieces[0].color, points, faces[~flat].astype(np.int32))


def coarser(parts: Sequence[Triangles]) -> list[Triangles]:
    """Return parts of at most about `MAX_TRIANGLES`, each made coarser alike."""
    total = sum(len(x.faces) for x in parts)
    if total <= MAX_TRIANGLES or find_spec("fast_simplification") is None:
        return list(parts)  # Shapes without meshes are small.
    from fast_simplification import simplify

    found = []
    for x in parts:
        count = max(MIN_TRIANGLES, MAX_TRIANGLES * len(x.faces) // total)
        if count < len(x.faces):
            points, faces = simplify(x.vertices, x.faces, target_count=count)[:2]
            points, faces = points.astype(np.float32), faces.astype(np.int32)
            if len(faces) > 2 * count:  # Loose triangles have no edge to collapse.
                a, b, c = points[faces].swapaxes(0, 1)
                areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
                faces = faces[np.argsort(-areas)[:count]]
                used, index = np.unique(faces, return_inverse=True)
                points, faces = points[used], index.reshape(-1, 3).astype(np.int32)
            x = Triangles(x.color, points, faces)
        found.append(x)
    return found


def _read(shape: Shape) -> list[Triangles]:
    """Return the triangles of a mesh file, a piece for each of its materials."""
    import trimesh

    assert shape.mesh is not None and shape.mesh.path is not None
    scene: Any
    if shape.mesh.data:
        scene = trimesh.load_scene(io.BytesIO(shape.mesh.data), file_type="stl")
    else:
        scene = trimesh.load_scene(shape.mesh.path)
    sizes = np.array(shape.sizes)
    if shape.mesh.path.suffix.lower() == ".dae" and scene.units:
        sizes = sizes * trimesh.units.unit_conversion(scene.units, "meters")
    pieces = []
    for piece in scene.dump():
        color = shape.color
        look: Any = getattr(piece.visual, "material", None)
        if color is None and hasattr(look, "main_color"):
            color = tuple((look.main_color / 255).round(3).tolist())
        faces = getattr(piece, "faces", ())  # A file may hold lines as well.
        if len(faces):
            points = np.asarray(piece.vertices, float) * sizes
            pieces.append(Triangles(color or GRAY, points, np.asarray(faces)))
    return pieces


def _box(*sides: float) -> tuple[np.ndarray, np.ndarray]:
    corners = np.indices((2, 2, 2)).reshape(3, -1).T - 0.5
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6)]
    quads += [(0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [(q[0], *q[i : i + 2]) for q in quads for i in (1, 2)]
    return corners * sides, np.array(faces)


def _turned(radii: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the surface of revolution of a profile about z, from below upwards."""
    angle = 2 * np.pi * np.arange(SIDES) / SIDES
    circle = np.stack([np.cos(angle), np.sin(angle)], -1)
    points = radii[:, None, None] * circle
    levels = np.broadcast_to(heights[:, None, None], (len(heights), SIDES, 1))
    here = np.arange(SIDES) + SIDES * np.arange(len(heights) - 1)[:, None]
    beside = np.roll(here, -1, axis=1)
    lower = np.stack([here, beside, beside + SIDES], -1)
    upper = np.stack([here, beside + SIDES, here + SIDES], -1)
    faces = np.concatenate([lower, upper]).reshape(-1, 3)
    return np.concatenate([points, levels], -1).reshape(-1, 3), faces


def _cylinder(radius: float, length: float) -> tuple[np.ndarray, np.ndarray]:
    ends = np.array([-0.5, -0.5, 0.5, 0.5]) * length
    return _turned(np.array([0.0, radius, radius, 0.0]), ends)


def _capsule(radius: float, length: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    angle = np.linspace(-np.pi / 2, np.pi / 2, SIDES // 2)
    half = np.copysign(length / 2, angle)
    return _turned(radius * np.cos(angle), radius * np.sin(angle) + half)


SOLIDS = {"box": _box, "sphere": _capsule, "cylinder": _cylinder, "capsule": _capsule}
