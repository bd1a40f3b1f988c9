"""Episodes in a folder of .npy files, which are memory-mapped.

A dataset may be larger than memory: only the rows that are used are read.
"""

import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._trajectory import PER_EPISODE
from roboopt.data.io._arrays import NAMES, REQUIRED, Arrays, ReadOptions


def is_episode_folder(path: Path) -> bool:
    """Return whether `path` is a folder that `save_episodes` wrote."""
    return all((path / f"{name}.npy").is_file() for name in REQUIRED)


def read_folder(path: Path, options: ReadOptions) -> list[tuple[str, Arrays]]:
    """Return the arrays; writing to them leaves the files alone."""
    return [(str(path), map_arrays(path, "c"))]


def map_arrays(path: Path, mode: Any = "r") -> dict[str, np.ndarray]:
    """Return the memory-mapped arrays of an episode folder by name."""
    arrays = {}
    for name in NAMES:
        file = path / f"{name}.npy"
        if not file.is_file():
            continue
        try:
            small = name in ("lengths", "time_step", *PER_EPISODE)
            arrays[name] = np.load(file, mmap_mode=None if small else mode)
        except (ValueError, EOFError, OSError) as error:
            raise RobooptError(
                f"`path` must hold whole arrays, but {file} is empty, truncated or not "
                f"an array: {error}"
            ) from error
    return arrays


def write_folder(path: Path, parts: dict[str, list[np.ndarray]]) -> None:
    """Write arrays laid end to end; the folder is complete or unchanged."""
    known = {f"{name}.npy" for name in NAMES}
    if path.exists() and not (
        is_episode_folder(path) and {file.name for file in path.iterdir()} <= known
    ):
        raise RobooptError(
            f"`path` must be new, or a folder of episodes and nothing else, got {path}."
        )
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    replaced = partial.with_name(partial.name + ".old")
    try:
        partial.mkdir()
        for name, part in parts.items():
            with open(partial / f"{name}.npy", "wb") as file:
                _write(file, part)
                file.flush()
                os.fsync(file.fileno())
        if path.exists():
            path.rename(replaced)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if not path.exists() and replaced.exists():
            replaced.rename(path)
        shutil.rmtree(replaced, ignore_errors=True)


def _write(file: BinaryIO, parts: list[np.ndarray]) -> None:
    """Write `parts` end to end as one .npy file, without joining them in memory."""
    dtype = np.result_type(*parts)
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (sum(len(part) for part in parts), *parts[0].shape[1:]),
    }
    np.lib.format.write_array_header_2_0(file, header)
    for part in parts:
        file.write(np.ascontiguousarray(part, dtype).data)
