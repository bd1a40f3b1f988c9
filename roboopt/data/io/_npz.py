"""Arrays of NumPy: an .npz file, one .npy file, or a folder of these by their names."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import HEADERS, atomic_write, read_archive, read_array, read_as
from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._customary_names import meaning
from roboopt.data.io._named_arrays import AS_NUMBERS, EPISODES, are_named, read_arrays
from roboopt.data.io._read_table import read_table
from roboopt.data.io._table import Table


def read_npz(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield what `save_episodes` or `Trajectory.save` wrote, or arrays of the user."""
    left_out: list[str] = []
    found = read_archive(path, left_out=left_out)
    # As in HDF5, names such as `episode_0/obs` are of groups.
    arrays = {name.strip("/").replace("/", "."): found[name] for name in found}
    arrays = arrays if len(arrays) == len(found) else found
    return read_arrays(arrays, str(path), options, left_out)


def is_array_folder(path: Path) -> bool:
    """Return whether the `.npy` files of a folder are the arrays of one recording."""
    names = [file.stem for file in path.glob("*.npy")]
    return are_named(names, None) or any(meaning(name) in EPISODES for name in names)


def is_replay_folder(path: Path) -> bool:
    """Return whether a folder is a replay buffer, as in Zarr, of `.npy` files."""
    return (path / "meta" / "episode_ends.npy").is_file()


def read_replay_folder(
    path: Path, options: ReadOptions
) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of the `.npy` files in `data/`, and `meta/episode_ends.npy`."""
    files = sorted((path / "data").glob("*.npy"))
    arrays = {f"data.{file.stem}": _array(file) for file in files}
    arrays["meta.episode_ends"] = _array(path / "meta" / "episode_ends.npy")
    return read_arrays(arrays, str(path), options)


def read_array_folder(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of the `.npy` files in a folder, such as `q.npy`."""
    files = sorted(path.glob("*.npy"))
    return read_arrays({f.stem: _array(f) for f in files}, str(path), options)


def read_npy(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the recording in one array: a row a sample, or fields with names.

    The columns of rows are called by their number, from 0, as in a table without names.
    """
    array = _array(path)
    if array.dtype.names is not None:
        fields = {name: array[name] for name in array.dtype.names}
        yield from read_arrays(fields, str(path), options)
        return
    if array.ndim != 2 or len(array) < array.shape[1] or array.dtype.kind not in "fiub":
        raise RobooptError(
            "`path` must hold numbers, one row a sample and one column a quantity, or "
            f"an array with named fields, but {path} holds {array.dtype} of shape "
            f"{array.shape}."
        )
    header = tuple(str(k) for k in range(array.shape[1]))
    yield from read_table(Table(str(path), header, dict(enumerate(array.T))), options)


def _array(path: Path) -> np.ndarray:
    with read_as("be an .npy file", path), open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        if HEADERS[version](file)[2].hasobject:
            raise RobooptError(
                f"`path` must hold numbers, but {path} holds objects, such as a list "
                f"of dictionaries, which are pickled and could run code. {AS_NUMBERS}"
            )
    return read_array(path)


def write_npz(path: Path, parts: dict[str, list[np.ndarray]]) -> None:
    """Write arrays laid end to end."""
    arrays = {name: np.concatenate(part) for name, part in parts.items()}
    with atomic_write(path) as file:
        np.savez(file, **arrays)  # type: ignore
