"""The files of a robot's meshes, without those that PyBullet cannot read.

PyBullet ends the process on some broken files and shows nothing for others: an .obj
without vertices, a COLLADA file without geometry, a pointer of Git LFS. A text .stl,
and one with bytes after its triangles, are written for PyBullet as it reads them.
"""

import os
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np

from roboopt.urdf._collada import is_collada
from roboopt.urdf._elements import LFS_POINTER
from roboopt.urdf._model import UrdfModel
from roboopt.urdf._textures import texture_fault

STL_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", 9), ("_", "<u2")])
MAX_LENGTH = 1e6  # of a coordinate, in the mesh's unit
MAX_SIZE = 2**28  # bytes
STL_HEADER_BYTES, STL_TRIANGLE_BYTES = 84, 50


class Mesh(NamedTuple):
    """The file of a mesh, None with the fault of what is found instead."""

    path: Path | None
    fault: str = ""
    package: str = ""
    """The package that is not found."""
    data: bytes = b""
    """The binary .stl that says the same, where PyBullet cannot read the file."""


def find_meshes(
    model: UrdfModel,
    folder: str | os.PathLike,
    packages: Mapping[str, str | os.PathLike] | None = None,
) -> dict[str, Mesh]:
    """Return the meshes of a robot by the names that its URDF gives them.

    A relative name is looked for in `folder` and the folders above it. The package of
    package://NAME/… is looked for in `packages`, in the folders of ROS_PACKAGE_PATH,
    and around `folder`. Backslashes, characters written as %20, and letters of the
    other case lead to a file where the name as it is leads to none.

    Args:
        model: the robot.
        folder: the folder of its URDF.
        packages: folders of packages, by the packages' names.
    """
    names = [e.get("filename") or "" for e in model.element.iter("mesh")]
    places = [Path(folder).resolve(), *Path(folder).resolve().parents]
    return {name: _find(name, places, packages or {}) for name in names}


def written_meshes(
    meshes: Mapping[str, Mesh], folder: str | os.PathLike
) -> dict[str, Mesh]:
    """Return the meshes with those that have `data` written to files in `folder`."""
    made = dict(meshes)
    for number, (name, mesh) in enumerate(meshes.items()):
        if mesh.data:
            path = Path(folder) / f"mesh_{number}.stl"
            path.write_bytes(mesh.data)
            made[name] = Mesh(path)
    return made


def _find(
    name: str, places: list[Path], packages: Mapping[str, str | os.PathLike]
) -> Mesh:
    if not name.strip():
        return Mesh(None, "a <mesh> without `filename`")
    scheme, _, rest = name.strip().replace("\\", "/").rpartition("://")
    missing, place = "", places[0]
    if scheme in ("", "file"):
        tried = [(place, rest) for place in places]  # `rest` may be absolute.
        where = "" if Path(rest).is_absolute() else f" in {place} or above it"
    else:
        package, _, inside = rest.partition("/")
        known = [Path(packages[package])] if package in packages else []
        for entry in os.environ.get("ROS_PACKAGE_PATH", "").split(os.pathsep):
            if entry:
                known += [Path(entry) / package]
                known += [Path(entry)] if Path(entry).name == package else []
        known += [place / package for place in places]
        missing = "" if any(place.is_dir() for place in known) else package
        known += places  # A package whose folder has another name.
        tried = [(place, inside) for place in known]
        where = f" around {place} or in ROS_PACKAGE_PATH"
    forms = (_exact, str), (_exact, unquote), (_in_any_case, unquote)
    for lookup, form in forms:
        for place, inside in tried:
            path = lookup(place / form(inside))
            if path is not None:
                stat = path.stat()
                mesh = _judged(path.resolve(), stat.st_size, stat.st_mtime_ns)
                if mesh.path is None or path.suffix.lower() != ".obj":
                    return mesh
                fault = texture_fault(mesh.path, mesh.path.read_bytes())
                return Mesh(None, fault) if fault else mesh
    return Mesh(None, f"not found{where}", missing)


def _exact(path: Path) -> Path | None:
    return path if path.is_file() else None


def _in_any_case(path: Path) -> Path | None:
    """Return the first file whose name differs in nothing but the case of letters."""
    found = Path(path.anchor)
    for part in path.parts[1:]:
        if part != ".." and not (found / part).exists():
            entries = sorted(os.listdir(found)) if found.is_dir() else []
            same = (entry for entry in entries if entry.lower() == part.lower())
            part = next(same, part)
        found = found / part
    return _exact(found)


@lru_cache(maxsize=4096)
def _judged(path: Path, size: int, modified: int) -> Mesh:
    """Return a mesh with what keeps PyBullet from reading it, or what it can read.

    Args:
        path: the file.
        size: [bytes].
        modified: when; with the size, the key under which a file is judged once.
    """
    check = CHECKS.get(path.suffix.lower())
    if check is None:
        return Mesh(None, f"not {', '.join(CHECKS)}")
    if size > MAX_SIZE:
        return Mesh(None, f"larger than {MAX_SIZE >> 20} MiB")
    data = path.read_bytes()
    if data.startswith(LFS_POINTER.encode()):
        return Mesh(None, "a pointer of Git LFS (`git lfs pull` brings the file)")
    if check(data):
        return Mesh(path)
    if check is _is_stl and _is_stl(binary := _binary_stl(data)):
        return Mesh(path, data=binary)
    return Mesh(None, f"no valid {path.suffix.lower()}")


def _is_stl(data: bytes) -> bool:
    """Return whether a file is a binary .stl; PyBullet reads no other."""
    count = _triangles(data)
    if not count or len(data) != STL_HEADER_BYTES + STL_TRIANGLE_BYTES * count:
        return False
    triangles = np.frombuffer(data, STL_TRIANGLE, count, STL_HEADER_BYTES)
    return _are_lengths(triangles["corners"])


def _are_lengths(numbers: np.ndarray) -> bool:
    """Return whether PyBullet can compute with coordinates: on some it never ends."""
    with np.errstate(invalid="ignore"):
        return bool((np.abs(numbers) < MAX_LENGTH).all())


def _triangles(data: bytes) -> int:
    """Return the number of triangles of a binary .stl."""
    return int.from_bytes(data[80:STL_HEADER_BYTES], "little")


def _binary_stl(data: bytes) -> bytes:
    """Return a text .stl, or one with more bytes than triangles, as PyBullet reads it.

    The result is empty for a file that holds no triangles.
    """
    end = STL_HEADER_BYTES + STL_TRIANGLE_BYTES * _triangles(data)
    if STL_HEADER_BYTES < end < len(data):
        return data[:end]
    words = re.findall(rb"\bvertex\s+(\S+)\s+(\S+)\s+(\S+)", data, re.IGNORECASE)
    try:
        corners = np.array(words, dtype=float).reshape(-1, 3, 3)
    except ValueError:
        return b""
    if not len(corners) or not np.isfinite(corners).all():
        return b""
    sides = corners[:, 1:] - corners[:, :1]
    normals = np.cross(sides[:, 0], sides[:, 1])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals /= np.where(lengths > 0, lengths, 1.0)
    rows = np.zeros(len(corners), np.dtype([("numbers", "<f4", 12), ("rest", "<u2")]))
    rows["numbers"] = np.column_stack([normals, corners.reshape(-1, 9)])
    return bytes(80) + len(corners).to_bytes(4, "little") + rows.tobytes()


def _is_obj(data: bytes) -> bool:
    """Return whether faces of at least three corners refer to vertices that exist."""
    points = [b.split()[:3] for b in _lines(b"v", data)]
    others = [b.split() for name in (b"vn", b"vt") for b in _lines(name, data)]
    corners = [b.split() for b in _lines(b"f", data)]
    if not points or not any(len(each) > 2 for each in corners):
        return False
    try:
        if not _are_lengths(np.array(points, float)):
            return False
        np.array([x for each in others for x in each], float)
        numbers = {c.partition(b"/")[0] for each in corners for c in each}
        rest = {x for each in corners for c in each for x in c.split(b"/")[1:] if x}
        indices = np.array([int(x) for x in numbers])
        others_index = {int(x) for x in rest}
    except (ValueError, OverflowError):
        return False
    valid = (indices != 0).all() and (np.abs(indices) <= len(points)).all()
    return bool(valid) and 0 not in others_index


def _lines(name: bytes, data: bytes) -> list[bytes]:
    """Return what follows a name in the lines that begin with it."""
    return re.findall(rb"^[ \t]*" + name + rb"[ \t]+(.*)$", data, re.MULTILINE)


def _is_dae(data: bytes) -> bool:
    return is_collada(data, MAX_LENGTH)


CHECKS: dict[str, Callable[[bytes], bool]] = {
    ".obj": _is_obj,
    ".stl": _is_stl,
    ".dae": _is_dae,
}
"""Checks of the formats that PyBullet reads."""
