"""Recordings of a robot, in any of the formats that roboopt reads."""

import dataclasses
import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._trajectory import Trajectory
from roboopt.data.io._columns import Columns
from roboopt.data.io._csv import load_csv
from roboopt.data.io._episodes import HDF5, load_episodes
from roboopt.data.io._folder import is_episode_folder
from roboopt.data.io._minari import load_minari

TABLES = (".csv", ".csv.gz")
SUFFIXES = (".npz", *HDF5, *TABLES)
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

    A file is one of `load_episodes`, or a table, .csv or .csv.gz, whose first row names
    its columns and whose optional column `run`, `episode` or `trial` tells its
    recordings apart. Tables give observations [q, q̇] and, as actions, the efforts that
    were measured, or else commanded, at each sample but the last. Missing velocities
    are estimated from the positions, with a warning. Times count from the beginning of
    a recording; evenly spaced ones, to a millionth, leave only their time step.

    Args:
        path: a file or folder, or `minari:` and the id or folder of a dataset.
        columns: which columns of a table to read; recognized by name where None.
        joints: the robot's joints, in whose order named columns are put. Of other files
            only the positions and velocities, which must come first in an observation,
            and the efforts are kept.
        time_step: [s], in place of the files'.
        observation_keys: as in `load_episodes`.

    Raises:
        RobooptError: if there is nothing to read, a column or array is missing or
            ambiguous, a file is broken, or the recordings do not fit `joints`.
        ImportError: if Minari or h5py is needed and not installed.
    """
    if time_step is not None and not 0 < time_step < float("inf"):
        raise RobooptError(f"`time_step` must be positive and finite, got {time_step}.")
    if str(path).startswith(MINARI):
        name = str(path).removeprefix(MINARI)
        runs = load_minari(name, time_step, observation_keys)
        return [_of_joints(run, joints, str(path)) for run in runs]
    runs, estimated = [], []
    for file in _files(Path(path)):
        if not file.name.endswith(TABLES):
            found = load_episodes(
                file, time_step=time_step, observation_keys=observation_keys
            )
            runs += [_of_joints(run, joints, str(file)) for run in found]
            continue
        if observation_keys is not None:
            raise RobooptError(
                f"`observation_keys` must be None for a table, got {file}."
            )
        read, without = load_csv(file, columns, joints, time_step)
        runs += read
        estimated += [file.name] * without
    if estimated:
        warnings.warn(
            "no velocities were recorded: they are estimated by differentiating the "
            "positions, which amplifies noise; `smooth` the recordings of "
            f"{', '.join(estimated)}.",
            stacklevel=2,
        )
    return runs


def _files(path: Path) -> list[Path]:
    """Return the files of recordings that `path` names."""

    def readable(file: Path) -> bool:
        # A hidden file may be one that is being written.
        return file.name.endswith(SUFFIXES) and not file.name.startswith(".")

    if path.is_dir() and is_episode_folder(path):
        return [path]
    if path.is_dir():
        files = sorted(filter(readable, path.iterdir()))
        if not files:
            raise RobooptError(
                f"`path` must hold files of {', '.join(SUFFIXES)}, but {path} holds "
                "none."
            )
        return files
    if not path.is_file():
        raise RobooptError(f"`path` must be a file or folder, but {path} is missing.")
    if not readable(path):
        raise RobooptError(
            f"`path` must end in {', '.join(SUFFIXES)} or begin with {MINARI}, got "
            f"{path}."
        )
    return [path]


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
