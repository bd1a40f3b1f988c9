"""MATLAB files: arrays by their names, those in structures by `structure.field`."""

import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import expansion_limit, read_as
from roboopt.data.io._arrays import OTHER_NAMES, Arrays, ReadOptions
from roboopt.data.io._named_arrays import read_arrays

HEADER_BYTES, COMPRESSED = 128, 15
BLOCK = 2**20  # bytes


def read_mat(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of each recording; files of version 7.3 are HDF5."""
    from scipy.io import loadmat, whosmat

    from roboopt.data.io._hdf5 import read_hdf5

    with read_as("be a MATLAB file", path):
        _require_size(path)
        try:
            found = loadmat(path, simplify_cells=True)
            found |= _single_step(found, whosmat(path))
        except NotImplementedError:
            found = None
    if found is None:
        yield from read_hdf5(path, options)
        return
    arrays, left_out = {}, []
    for name, value in _flat(found):
        numbers = isinstance(value, np.ndarray) and value.dtype.kind in "fiubU"
        texts = isinstance(value, np.ndarray | list) and all(
            isinstance(one, str) for one in value
        )
        if numbers or texts or isinstance(value, int | float):
            arrays[name] = np.asarray(value)
        elif (structures := _structures(value)) is not None:
            for k, one in enumerate(structures):
                for inner, array in _flat(one, f"{name}_{k}."):
                    if isinstance(array, np.ndarray) and array.dtype.kind in "fiub":
                        arrays[inner] = array
        else:
            left_out.append(name)
    yield from read_arrays(arrays, str(path), options, left_out)


def _single_step(
    found: Mapping[str, Any], whole: list[tuple[str, tuple[int, ...], str]]
) -> dict[str, np.ndarray]:
    """Return observations and actions of one step, whose axis of time is squeezed."""
    shapes = {OTHER_NAMES.get(n, n): (n, shape) for n, shape, _ in whole}
    pair = [shapes.get(name, ("", (0,))) for name in ("observations", "actions")]
    if [shape[0] for _, shape in pair] not in ([1, 1], [2, 1]):
        return {}
    return {name: np.reshape(found[name], shape) for name, shape in pair}


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


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif not name.startswith("__"):
            yield prefix + name, value
