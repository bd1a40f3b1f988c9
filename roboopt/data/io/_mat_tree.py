"""MATLAB files of version 7.3, which are HDF5: the same values as of version 5.

Axes are in the opposite order, texts are of numbers, and cells and arrays of structures
are references to members of the group `#refs#`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roboopt.data._files import optional_package
from roboopt.data.io._customary_names import OTHER_NAMES
from roboopt.data.io._hdf5_guard import Guard

CLASS, OBJECT, EMPTY = "MATLAB_class", "MATLAB_object_decode", "MATLAB_empty"
REFERENCED = "#refs#"
MAX_DEPTH = 8


@dataclass(frozen=True)
class MatlabObject:
    """An object of a class, which only MATLAB reads."""

    kind: str
    """The name of the class."""


def read_tree(path: Path) -> dict[str, Any] | None:
    """Return the variables: arrays, texts, and structures as dictionaries.

    Axes of length 1 are left out, as SciPy does. None if MATLAB did not write the file.
    """
    h5py = optional_package("h5py", "MATLAB files of version 7.3", "h5py")
    with h5py.File(path, "r") as file:
        guard = Guard(path)
        names = [name for name in file if not name.startswith("#")]
        members = {name: guard.member(file, name) for name in names}
        if not any(CLASS in member.attrs for member in members.values()):
            return None
        found = {n: _value(member, file, guard, 0) for n, member in members.items()}

        def whole(names: list[str]) -> dict[str, np.ndarray]:
            return {n: members[n][()].T for n in names if hasattr(members[n], "shape")}

        return found | single_step(found, whole)


def single_step(
    found: Mapping[str, Any], read: Callable[[list[str]], Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    """Return observations and actions of one step, whose axis of time is squeezed.

    Args:
        found: the variables without axes of length 1.
        read: returns variables with all their axes, by their names.
    """
    names = {OTHER_NAMES.get(name, name): name for name in found}
    pair = [names[name] for name in ("observations", "actions") if name in names]
    whole = read(pair) if len(pair) == 2 else {}
    shapes = [np.shape(whole.get(name, ())) for name in pair]
    if [shape[:1] for shape in shapes] not in ([(1,), (1,)], [(2,), (1,)]):
        return {}
    return {name: whole[name] for name in pair}


def _value(member: Any, file: Any, guard: Guard, depth: int) -> Any:
    kind = guard.attribute(member, CLASS)
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if depth > MAX_DEPTH:
        raise guard.error("has structures within structures without end")
    if OBJECT in member.attrs:
        return MatlabObject(kind)
    if hasattr(member, "keys"):
        found = {n: _value(m, file, guard, depth + 1) for n, m in guard.members(member)}
        # An array of structures has a list for each of its fields.
        sizes = {len(v) if isinstance(v, list) else -1 for v in found.values()}
        if len(sizes) == 1 and (count := sizes.pop()) > 0:
            return [{n: v[k] for n, v in found.items()} for k in range(count)]
        return found
    if EMPTY in member.attrs:
        return "" if kind == "char" else np.zeros(0)
    if member.dtype.hasobject:
        inside = guard.member(file, REFERENCED)
        places = [file[one].name.split("/")[-1] for one in np.ravel(member[()])]
        found = [guard.member(inside, place) for place in places]
        return [_value(one, file, guard, depth + 1) for one in found]
    values = np.squeeze(member[()].T)
    if kind == "char":
        return "".join(map(chr, np.ravel(values)))
    return values if values.ndim else values.item()
