"""Episodes in an .npz file: arrays by their names."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from roboopt.data._files import atomic_write, read_archive
from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._named_arrays import read_arrays


def read_npz(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield what `save_episodes` or `Trajectory.save` wrote, or arrays of the user."""
    left_out: list[str] = []
    arrays = read_archive(path, left_out=left_out)
    return read_arrays(arrays, str(path), options, left_out)


def write_npz(path: Path, parts: dict[str, list[np.ndarray]]) -> None:
    """Write arrays laid end to end."""
    arrays = {name: np.concatenate(part) for name, part in parts.items()}
    with atomic_write(path) as file:
        np.savez(file, **arrays)  # type: ignore
