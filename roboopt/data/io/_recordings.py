"""Recordings: runs of a robot from files, each as a trajectory of its own."""

import dataclasses
import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._trajectory import Trajectory
from roboopt.data.io._columns import Columns
from roboopt.data.io._csv import read_csv
from roboopt.data.io._episodes import (
    HDF5,
    is_episode_folder,
    read_episode_folder,
    read_npz,
)
from roboopt.data.io._hdf5 import read_hdf5
from roboopt.data.io._minari import read_minari

KINDS = (".npz", *HDF5, ".csv", ".csv.gz")
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

    A file is what `save_episodes` or `Trajectory.save` wrote; an .npz of one episode,
    `observations` (T + 1, obs) and `actions` (T, act); an .hdf5 or .h5 of robomimic; or
    a table, .csv or .csv.gz, whose first row names its columns and whose column `run`,
    `episode` or `trial`, if there is one, tells its recordings apart. A folder of
    `save_episodes` is mapped, so that only what is used is read.

    Tables give observations [q, q̇] and as actions the efforts that were measured, or
    else commanded, at each sample but the last. Where they hold no velocities, these
    are estimated from the positions, with a warning. Times count from each recording's
    beginning; evenly spaced ones (to a millionth) leave only their time step.

    Args:
        path: of the file or folder; or `minari:` and a dataset's id or folder.
        columns: which columns of a table to read; recognized by name where None.
        joints: the robot's joints. Columns with names are put in their order. From
            other files only their positions and velocities are kept, which must come
            first in an observation, and as actions the efforts.
        time_step: [s], in place of what the files say.
        observation_keys: which observations of .hdf5 and Minari files to lay side by
            side, in that order; all, in the order of their names, where None.

    Raises:
        RobooptError: if there is nothing to read, a column or array is missing or
            ambiguous, the files do not hold whole recordings, or these do not fit
            `joints` or have no `observation_keys`.
        ImportError: if Minari or h5py is needed and not installed.
    """
    if time_step is not None and not 0 < time_step < float("inf"):
        raise RobooptError(f"`time_step` must be positive and finite, got {time_step}.")
    if str(path).startswith(MINARI):
        name = str(path).removeprefix(MINARI)
        runs = read_minari(name, time_step, observation_keys)
        return [_of_joints(run, joints, str(path)) for run in runs]
    runs, estimated = [], []
    for file in _files(Path(path)):
        if observation_keys is not None and file.suffix not in HDF5:
            raise RobooptError(
                "`observation_keys` must be None except for .hdf5, .h5 and Minari, got "
                f"{list(observation_keys)} for {file}."
            )
        if file.suffix in HDF5:
            saved = read_hdf5(file, observation_keys, time_step)
        elif file.suffix == ".npz":
            saved = read_npz(file, time_step)
        elif file.is_dir():
            saved = read_episode_folder(file, time_step)
        else:
            read, without = read_csv(file, columns, joints, time_step)
            runs += read
            estimated += [file.name] * without
            continue
        runs += [_of_joints(run, joints, str(file)) for run in saved]
    if estimated:
        warnings.warn(
            "no velocities were recorded: they are estimated by differentiating the "
            "positions, which multiplies their noise; `smooth` the recordings of "
            f"{', '.join(estimated)}.",
            stacklevel=2,
        )
    return runs


def _files(path: Path) -> list[Path]:
    if path.is_dir() and is_episode_folder(path):
        return [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if _is_recording(file))
        if not files:
            raise RobooptError(
                f"`path` must hold files of {', '.join(KINDS)}, but there is none in "
                f"{path}."
            )
        return files
    if not path.is_file():
        raise RobooptError(f"`path` must be a file or folder, but {path} is not there.")
    if not _is_recording(path):
        raise RobooptError(
            f"`path` must end in {', '.join(KINDS)} or begin with {MINARI}, got {path}."
        )
    return [path]


def _is_recording(file: Path) -> bool:
    # A hidden file may be one that is being written.
    return file.name.endswith(KINDS) and not file.name.startswith(".")


def _of_joints(run: Trajectory, joints: Sequence[str] | None, where: str) -> Trajectory:
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
