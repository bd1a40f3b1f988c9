"""Reading and writing recordings: which file of this package reads which format.

A format is a function `read(path, options)` that returns, for each part of a file, its
place in words and its arrays by the names of `_arrays`, and an entry in `READERS`.
"""

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError, require_positive
from roboopt.data._trajectory import Trajectory
from roboopt.data.io._arrays import Arrays, ReadOptions, end_to_end, to_episodes
from roboopt.data.io._columns import Columns
from roboopt.data.io._csv import read_csv
from roboopt.data.io._folder import is_episode_folder, read_folder, write_folder
from roboopt.data.io._hdf5 import read_hdf5, write_hdf5
from roboopt.data.io._minari import read_minari
from roboopt.data.io._npz import read_npz, write_npz

Reader = Callable[[Any, ReadOptions], Iterable[tuple[str, Arrays]]]

READERS: dict[str, Reader] = {
    ".npz": read_npz,
    ".hdf5": read_hdf5,
    ".h5": read_hdf5,
    ".csv": read_csv,
    ".csv.gz": read_csv,
}
WRITERS: dict[str, Callable[[Path, dict[str, list[np.ndarray]]], None]] = {
    ".npz": write_npz,
    ".hdf5": write_hdf5,
    ".h5": write_hdf5,
    "": write_folder,
}
WITH_KEYS = (read_hdf5, read_minari)
MINARI = "minari:"


def load_recordings(
    path: str | PathLike,
    *,
    columns: Columns | None = None,
    joints: Sequence[str] | None = None,
    time_step: float | None = None,
    observation_keys: Sequence[str] | None = None,
) -> list[Trajectory]:
    """Read the recordings in a file, a folder of files, or a Minari dataset.

    A file is what `save_episodes` or `Trajectory.save` wrote, a file of robomimic, or a
    table, .csv or .csv.gz, whose first row names its columns and whose optional column
    `run`, `episode` or `trial` tells its recordings apart. Tables give observations
    [q, q̇] and, as actions, the efforts that were measured, or else commanded, at each
    sample but the last. Missing velocities are estimated from the positions, with a
    warning. Times count from the beginning of a recording; evenly spaced ones, to a
    millionth, leave only their time step.

    Args:
        path: a file; a folder of files; a folder of `save_episodes`, whose arrays are
            memory-mapped: only the rows that are used are read; or `minari:` and the id
            or folder of a dataset.
        columns: which columns of a table to read; recognized by name where None.
        joints: the robot's joints, in whose order named columns are put. Of other files
            only the positions and velocities, which must come first in an observation,
            and the efforts are kept.
        time_step: [s], in place of the files'.
        observation_keys: which observations of HDF5 and Minari to join to one vector,
            in that order; all of them, sorted by name, where None.

    Raises:
        RobooptError: if there is nothing to read, a column or array is missing or
            ambiguous, a file is broken, nothing tells the time step, or the recordings
            do not fit `joints`.
        ImportError: if Minari or h5py is needed and not installed.
    """
    require_positive(time_step=time_step)
    options = ReadOptions(columns, joints, time_step, observation_keys)
    runs = []
    for source, read in _sources(path):
        if observation_keys is not None and read not in WITH_KEYS:
            raise RobooptError(
                "`observation_keys` must be None except for HDF5 and Minari, got "
                f"{list(observation_keys)} for {source}."
            )
        for where, arrays in read(source, options):
            found = to_episodes(arrays, where, time_step)
            runs += [_of_joints(run, joints, where) for run in found]
    if options.estimated:
        warnings.warn(
            "no velocities were recorded: they are estimated by differentiating the "
            "positions, which amplifies noise; `smooth` the recordings of "
            f"{', '.join(options.estimated)}.",
            stacklevel=2,
        )
    return runs


def save_episodes(
    path: str | PathLike, episodes: Sequence[Trajectory] | Trajectory
) -> None:
    """Write `episodes` to `path`, which is complete afterwards or unchanged.

    The suffix names the format: .npz; .hdf5 or .h5, as robomimic lays it out; none, for
    a folder of .npy files that `StreamedDemonstrations` reads. Rewards, efforts and how
    an episode ended are written if all episodes have them, and left out with a warning
    if only some do.

    Args:
        path: where to write. An existing folder is replaced only if it holds nothing
            but episodes.
        episodes: of any lengths; batches are taken apart.

    Raises:
        RobooptError: if there are no episodes, the sizes or data types of their
            observations or actions differ, `path` has another suffix, or its folder
            holds other files.
        ImportError: if `path` names HDF5 and h5py is not installed.
    """
    path = Path(path)
    if path.suffix not in WRITERS:
        raise RobooptError(
            f"`path` must end in {', '.join(filter(None, WRITERS))} or, for a folder, "
            f"have no suffix, got {path}."
        )
    WRITERS[path.suffix](path, end_to_end(episodes))


def _sources(path: str | PathLike) -> list[tuple[Any, Reader]]:
    """Return the files that `path` names, and the reader of each."""
    if str(path).startswith(MINARI):
        return [(str(path).removeprefix(MINARI), read_minari)]
    path = Path(path)

    def readers(file: Path) -> list[tuple[Path, Reader]]:
        # A hidden file may be one that is being written.
        hidden = file.name.startswith(".")
        fit = [r for end, r in READERS.items() if file.name.endswith(end)]
        return [(file, read) for read in fit if not hidden]

    if is_episode_folder(path):
        return [(path, read_folder)]
    if path.is_dir():
        found = [one for file in sorted(path.iterdir()) for one in readers(file)]
        if not found:
            raise RobooptError(
                f"`path` must hold files of {', '.join(READERS)}, but {path} holds "
                "none."
            )
        return found
    if not path.is_file():
        raise RobooptError(f"`path` must be a file or folder, but {path} is missing.")
    if not readers(path):
        raise RobooptError(
            f"`path` must end in {', '.join(READERS)} or begin with {MINARI}, got "
            f"{path}."
        )
    return [*readers(path)]


def _of_joints(run: Trajectory, joints: Sequence[str] | None, where: str) -> Trajectory:
    """Return positions and velocities as observations, and efforts as actions."""
    if joints is None:
        return run
    count = len(joints)
    efforts = run.actions if run.efforts is None else run.efforts
    size, driven = run.observations.shape[-1], efforts.shape[-1]
    if size < 2 * count or driven != count:
        raise RobooptError(
            f"`path` must hold positions, velocities and efforts of {count} joints, "
            f"but the recordings of {where} have observations of size {size} and "
            f"efforts of size {driven}."
        )
    return dataclasses.replace(
        run,
        observations=np.asarray(run.observations[:, : 2 * count], float),
        actions=np.asarray(efforts, float),
    )
