"""MATLAB files: arrays by their names, those in structures by `structure.field`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._named_arrays import read_arrays


def read_mat(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of each recording; files of version 7.3 are HDF5."""
    from scipy.io import loadmat

    from roboopt.data.io._hdf5 import read_hdf5

    try:
        found = loadmat(path, simplify_cells=True)
    except NotImplementedError:
        yield from read_hdf5(path, options)
        return
    except Exception as error:  # A broken file may fail in any way.
        raise RobooptError(
            f"`path` must be a MATLAB file, but {path} is empty, truncated or another "
            f"kind of file: {error}"
        ) from error
    arrays, left_out = {}, []
    for name, value in _flat(found):
        numbers = isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
        if numbers or isinstance(value, int | float):
            arrays[name] = np.asarray(value)
        else:
            left_out.append(name)
    yield from read_arrays(arrays, str(path), options, left_out)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif not name.startswith("__"):
            yield prefix + name, value
