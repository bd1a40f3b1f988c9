"""Episodes in an .npz file: arrays by their names."""

from pathlib import Path

import numpy as np

from roboopt.data._files import atomic_write, read_archive
from roboopt.data.io._arrays import Arrays, ReadOptions


def read_npz(path: Path, options: ReadOptions) -> list[tuple[str, Arrays]]:
    """Return what `save_episodes` or `Trajectory.save` wrote, or arrays of the user."""
    return [(str(path), read_archive(path))]


def write_npz(path: Path, parts: dict[str, list[np.ndarray]]) -> None:
    """Write arrays laid end to end."""
    arrays = {name: np.concatenate(part) for name, part in parts.items()}
    with atomic_write(path) as file:
        np.savez(file, **arrays)  # type: ignore
