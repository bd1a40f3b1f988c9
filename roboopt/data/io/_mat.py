"""MATLAB files: arrays by their names, those in structures by `structure.field`."""

import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import expansion_limit, read_as
from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._mat_tree import MatlabObject, read_tree, single_step
from roboopt.data.io._named_arrays import are_named, read_arrays
from roboopt.data.io._simulink import flat_signals, require_readable

HEADER_BYTES, COMPRESSED = 128, 15
BLOCK = 2**20  # bytes
UNNAMED = "None"
"""The name that SciPy gives to objects of classes."""


def read_mat(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of each recording; files of version 7.3 are HDF5."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadWarning

    from roboopt.data.io._hdf5 import read_hdf5

    with read_as("be a MATLAB file", path), warnings.catch_warnings():
        # Objects have no names that its reader knows, and seem to be one variable.
        warnings.filterwarnings("ignore", "Duplicate variable name", MatReadWarning)
        _require_size(path)
        try:
            found = loadmat(path, simplify_cells=True)
            found |= single_step(found, lambda n: loadmat(path, variable_names=n))
            found = {**found, **_objects(found, path)}
        except NotImplementedError:
            found = read_tree(path)
    if found is None:
        yield from read_hdf5(path, options)
        return
    arrays, left_out, objects = {}, [], {}
    for name, value in flat_signals(found, options.joints, str(path)).items():
        numbers = isinstance(value, np.ndarray) and value.dtype.kind in "fiubU"
        texts = isinstance(value, np.ndarray | list) and all(
            isinstance(one, str) for one in value
        )
        if isinstance(value, MatlabObject):
            objects[name] = value.kind
        elif numbers or texts or isinstance(value, int | float):
            arrays[name] = np.asarray(value)
        elif (structures := _structures(value)) is not None:
            for k, one in enumerate(structures):
                place = f"{name}_{k}"
                inside = flat_signals({place: one}, options.joints, str(path))
                for inner, array in inside.items():
                    if isinstance(array, np.ndarray) and array.dtype.kind in "fiub":
                        arrays[inner] = array
        else:
            left_out.append(name)
    if options.columns is None and not are_named(arrays, options.joints):
        require_readable(objects, [*arrays], str(path))
    yield from read_arrays(arrays, str(path), options, [*left_out, *objects])


def _objects(found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the objects of a file by their names."""
    from scipy.io import loadmat
    from scipy.io.matlab import varmats_from_mat

    if UNNAMED not in found:
        return {}
    with open(path, "rb") as file:
        parts = [part for name, part in varmats_from_mat(file) if name == UNNAMED]
    read: Any = loadmat  # also of `BytesIO`, which its annotation leaves out
    every = [one for part in parts for one in np.ravel(read(part)[UNNAMED])]
    objects = {one["s0"].decode(): MatlabObject(one["s2"].decode()) for one in every}
    return {UNNAMED: {}, **objects}  # A structure without fields holds nothing.


def _require_size(path: Path) -> None:
    """Raise a `RobooptError` if the compressed arrays of version 5 expand too far."""
    left = expansion_limit(path)
    with open(path, "rb") as file:
        little = file.read(HEADER_BYTES)[-2:] == b"IM"
        while len(tag := file.read(8)) == 8:
            kind, size = struct.unpack("<II" if little else ">II", tag)
            end = file.tell() + size
            if kind == COMPRESSED and size <= path.stat().st_size:
                unpacker = zlib.decompressobj()
                packed = file.read(size)
                while packed and left >= 0:
                    left -= len(unpacker.decompress(packed, BLOCK))
                    packed = unpacker.unconsumed_tail
                if left < 0:
                    raise RobooptError(
                        f"`path` must be of its size, but {path} expands too far."
                    )
            file.seek(end)


def _structures(value: Any) -> list[Mapping[str, Any]] | None:
    """Return the structures of an array or a cell array of nothing else."""
    whole = list(value) if isinstance(value, np.ndarray | list) else []
    return whole if whole and all(isinstance(v, Mapping) for v in whole) else None
