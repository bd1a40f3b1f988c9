"""Episodes of any lengths in one file, or in a folder that can be memory-mapped.

All observations are laid end to end, all actions likewise, and `lengths` tells how many
actions each episode has; each has one observation more. An .npz file holds these arrays
by name. A folder holds each as an .npy file, read without loading it: of a dataset that
is larger than memory, only what is looked at is read.
"""

import os
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import atomic_write
from roboopt.data._trajectory import Trajectory
from roboopt.data._windows import sample_times, single_recordings
from roboopt.data.io._hdf5 import write_hdf5

HDF5 = (".hdf5", ".h5")
PER_STEP = ("rewards", "efforts")
PER_EPISODE = ("terminated", "success")
REQUIRED = ("lengths", "time_step", "observations", "actions")
NAMES = (*REQUIRED, "times", *PER_STEP, *PER_EPISODE)
CUSTOMARY = {
    "observations": ("obs", "observation", "states", "state", "s"),
    "actions": ("acts", "action", "act", "controls", "u", "a"),
    "rewards": ("reward", "rews", "r"),
    "time_step": ("dt", "timestep"),
}
"""What others call the same; not read, since their lengths may follow other rules."""


def save_episodes(
    path: str | PathLike, episodes: Sequence[Trajectory] | Trajectory
) -> None:
    """Write `episodes` to `path`, which is whole afterwards or what it was before.

    The suffix tells the form: .npz; .hdf5 or .h5 as robomimic lays it out; and without
    one, a folder of .npy files, for `MemmapDemonstrations`. Rewards, efforts and how an
    episode ended are written where all episodes have them, and left out with a warning
    where only some do.

    Args:
        path: where to write; a folder that is there is replaced only if it holds
            nothing but episodes.
        episodes: of any lengths; batches are taken apart.

    Raises:
        RobooptError: if there are no episodes, the sizes or kinds of their observations
            or actions differ, or `path` has another suffix or is somebody's folder.
        ImportError: if .hdf5 is asked for and h5py is not installed.
    """
    path = Path(path)
    runs = single_recordings(episodes)
    _check_alike(runs)
    kept = _kept(runs)
    if path.suffix in HDF5:
        write_hdf5(path, runs, kept)
    elif path.suffix == ".npz":
        arrays = {name: np.concatenate(_pieces(name, runs)) for name in kept}
        with atomic_write(path) as file:
            np.savez(file, **arrays)  # type: ignore
    elif not path.suffix:
        _save_folder(path, runs, kept)
    else:
        raise RobooptError(
            f"`path` must end in .npz, {', '.join(HDF5)} or, for a folder, have no "
            f"suffix, got {path}."
        )


def is_episode_folder(path: Path) -> bool:
    """Return whether `path` is a folder that `save_episodes` wrote."""
    return all((path / f"{name}.npy").is_file() for name in REQUIRED)


def read_episode_folder(path: Path, time_step: float | None) -> list[Trajectory]:
    """Return the episodes in a folder, mapped: only what is used is read.

    What is written to their arrays does not reach the files.

    Raises:
        RobooptError: if the files do not hold whole episodes.
    """
    arrays = map_arrays(path, "c")
    return _cut(arrays, str(path), time_step)


def map_arrays(path: Path, mode: Any = "r") -> dict[str, np.ndarray]:
    """Return the arrays of a folder by name, mapped.

    Raises:
        RobooptError: if one is missing, broken, or of a length that does not fit.
    """
    arrays = {}
    for name in NAMES:
        file = path / f"{name}.npy"
        if not file.is_file():
            continue
        try:
            # What is one number an episode is small, and shapes are checked by it.
            small = name in ("lengths", "time_step", *PER_EPISODE)
            arrays[name] = np.load(file, mmap_mode=None if small else mode)
        except (ValueError, EOFError, OSError) as error:
            raise RobooptError(
                f"`path` must hold whole arrays, but {file} is empty, cut off or no "
                f"array: {error}"
            ) from error
    missing = set(REQUIRED) - set(arrays)
    if missing:
        raise RobooptError(
            f"`path` must be a folder that `save_episodes` wrote, but {path} lacks "
            f"{', '.join(f'{name}.npy' for name in sorted(missing))}."
        )
    _check_lengths(arrays, str(path))
    return arrays


def read_npz(path: Path, time_step: float | None) -> list[Trajectory]:
    """Return the episodes of `save_episodes` or `Trajectory.save`, or a plain one.

    A plain file is one episode, `observations` (T + 1, obs) and `actions` (T, act).

    Raises:
        RobooptError: if the file is empty, cut off or no archive, lacks an array, or
        its
            arrays do not fit each other.
    """
    arrays = _open(path)
    missing = [name for name in ("observations", "actions") if name not in arrays]
    if missing:
        raise RobooptError(_other_names(path, missing, list(arrays)))
    if "lengths" in arrays:
        if time_step is None and "time_step" not in arrays:
            raise RobooptError(_untimed(path))
        _check_lengths(arrays, str(path))
        return _cut(arrays, str(path), time_step)
    if time_step is None:
        if "time_step" not in arrays:
            raise RobooptError(_untimed(path))
        time_step = float(arrays["time_step"])
    else:
        arrays.pop("times", None)
    observations, actions = arrays["observations"], arrays["actions"]
    if observations.ndim == 1 or actions.ndim == 1:
        # One number a sample: without the axis that a single one has here.
        arrays["observations"] = observations = observations.reshape(
            len(observations), -1
        )
        arrays["actions"] = actions = actions.reshape(len(actions), -1)
    if observations.ndim > 1 and actions.shape[:-1] == observations.shape[:-1]:
        raise RobooptError(_as_many(path, actions.shape[-2]))
    one = {k: arrays[k] for k in arrays if k in Trajectory.__dataclass_fields__}
    return single_recordings(
        _trajectory({**one, "time_step": time_step}, f"{path}"),
    )


def _check_alike(runs: list[Trajectory]) -> None:
    if not runs:
        raise RobooptError("`episodes` must hold at least one, got none.")
    for name in ("observations", "actions"):
        arrays = [getattr(run, name) for run in runs]
        if len(sizes := {array.shape[-1] for array in arrays}) > 1:
            raise RobooptError(
                f"`episodes` must have {name} of one size, got {sorted(sizes)}."
            )
        # Choices that become floating-point numbers would be choices no more.
        if len(types := {str(array.dtype) for array in arrays}) > 1:
            raise RobooptError(
                f"`episodes` must have {name} of one data type, got {sorted(types)}."
            )


def _kept(runs: list[Trajectory]) -> list[str]:
    """Return which fields are written: those that all of `runs` have."""
    kept: list[str] = list(REQUIRED)
    if any(run.times is not None for run in runs):
        kept.append("times")
    partly = []
    for name in (*PER_STEP, *PER_EPISODE):
        have = sum(getattr(run, name) is not None for run in runs)
        if have == len(runs):
            kept.append(name)
        elif have:
            partly.append(f"{name}, in {have} of {len(runs)}")
    if partly:
        warnings.warn(
            f"not all episodes have {'; '.join(partly)}: left out.", stacklevel=3
        )
    return kept


def _pieces(name: str, runs: list[Trajectory]) -> list[np.ndarray]:
    if name == "lengths":
        return [np.array([run.steps for run in runs])]
    if name == "time_step":
        return [np.array([run.time_step for run in runs])]
    if name == "times":
        return [sample_times(run) for run in runs]
    return [np.atleast_1d(getattr(run, name)) for run in runs]


def _save_folder(path: Path, runs: list[Trajectory], kept: list[str]) -> None:
    if path.exists() and not (
        path.is_dir()
        and is_episode_folder(path)
        and {file.name for file in path.iterdir()} <= {f"{name}.npy" for name in NAMES}
    ):
        raise RobooptError(
            f"`path` must be new, or a folder of episodes and nothing else, got {path}."
        )
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    replaced = partial.with_name(partial.name + ".old")
    try:
        partial.mkdir()
        for name in kept:
            with open(partial / f"{name}.npy", "wb") as file:
                _write(file, _pieces(name, runs))
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


def _write(file: BinaryIO, pieces: list[np.ndarray]) -> None:
    """Write `pieces` end to end as one .npy file, without joining them in memory."""
    shape = (sum(len(piece) for piece in pieces), *pieces[0].shape[1:])
    dtype = np.result_type(*pieces)
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_2_0(file, header)
    for piece in pieces:
        file.write(np.ascontiguousarray(piece, dtype).data)


def _open(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here: of a broken archive NumPy would leave it open.
        with open(path, "rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise RobooptError("it holds a single array without a name")
            with archive:
                return {name: np.asarray(archive[name]) for name in archive.files}
    except EOFError as error:
        raise RobooptError(
            f"`path` must hold recordings, but {path} is empty or cut off."
        ) from error
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError) as error:
        raise RobooptError(
            f"`path` must be a whole .npz archive of numbers, but {path} is cut off, "
            f"broken or something else: {error}"
        ) from error


def _other_names(path: Path, missing: list[str], found: list[str]) -> str:
    known = {other: name for name, others in CUSTOMARY.items() for other in others}
    hints = [f"`{name}` to `{known[name]}`" for name in found if name in known]
    return (
        "`path` must hold arrays named `observations` (one more than actions in each "
        "episode), `actions`, `time_step` [s] and, of several episodes, `lengths`, how "
        f"many actions each has; {path} lacks {', '.join(missing)} and holds "
        f"{', '.join(sorted(found)) or 'nothing'}."
        + (f" Rename {', '.join(hints)}." if hints else "")
    )


def _untimed(path: Path) -> str:
    return f"`time_step` must be given: {path} holds no `time_step` [s]."


def _as_many(path: Path | str, count: int) -> str:
    return (
        f"`path` must hold one observation more than actions in each episode, but "
        f"{path} holds {count} actions with {count} observations: the last action of "
        "each episode must be dropped, or the observation after it added."
    )


def _check_lengths(arrays: Mapping[str, np.ndarray], where: str) -> None:
    lengths = arrays["lengths"]
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 0).any():
        raise RobooptError(
            "`path` must hold `lengths` that count the actions of each episode, but "
            f"those of {where} are {lengths.dtype} of shape {lengths.shape}."
        )
    count, steps = len(lengths), int(lengths.sum())
    rows = len(arrays["actions"])
    if rows == len(arrays["observations"]) and rows in (steps, steps + count):
        raise RobooptError(_as_many(where, rows))
    expected = {"observations": steps + count, "times": steps + count}
    expected |= dict.fromkeys(("actions", *PER_STEP), steps)
    expected |= dict.fromkeys(PER_EPISODE, count)
    for name, rows in expected.items():
        if name in arrays and arrays[name].shape[:1] != (rows,):
            raise RobooptError(
                f"`path` must hold {rows} rows of `{name}`, as `lengths` says, but "
                f"those of {where} have shape {arrays[name].shape}."
            )
    if "time_step" in arrays and arrays["time_step"].shape not in ((), (count,)):
        raise RobooptError(
            f"`path` must hold one `time_step`, or one for each of {count} episodes, "
            f"but {where} holds {arrays['time_step'].shape}."
        )


def _cut(
    arrays: Mapping[str, np.ndarray], where: str, time_step: float | None
) -> list[Trajectory]:
    lengths = arrays["lengths"]
    steps = (
        np.broadcast_to(arrays["time_step"], lengths.shape)
        if time_step is None
        else np.full(lengths.shape, time_step)
    )
    ends = np.cumsum(lengths)
    runs = []
    for k, (end, length) in enumerate(
        zip(ends.tolist(), lengths.tolist(), strict=True)
    ):
        acted = slice(end - length, end)
        seen = slice(end - length + k, end + k + 1)
        one: dict[str, Any] = {"time_step": float(steps[k])}
        for name in ("observations", "times"):
            if name in arrays and (name != "times" or time_step is None):
                one[name] = arrays[name][seen]
        for name in ("actions", *PER_STEP):
            if name in arrays:
                one[name] = arrays[name][acted]
        for name in PER_EPISODE:
            if name in arrays:
                one[name] = arrays[name][k]
        runs.append(_trajectory(one, f"episode {k} of {where}"))
    return runs


def _trajectory(values: dict[str, Any], where: str) -> Trajectory:
    arrays: dict[str, Any] = {}
    for name, value in values.items():
        if name == "time_step":
            arrays[name] = value
            continue
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise RobooptError(
                f"`path` must hold numbers, but `{name}` of {where} is of type "
                f"{array.dtype}."
            )
        if name in PER_EPISODE:
            array = array.astype(bool)
        elif name != "actions" and array.dtype.kind != "f":
            array = array.astype(float)
        arrays[name] = array
    if arrays["actions"].ndim == 1:
        arrays["actions"] = arrays["actions"][:, None]
    try:
        return Trajectory(**arrays)
    except (ValueError, IndexError) as error:
        raise RobooptError(
            f"`path` must hold whole recordings; {where}: {error}"
        ) from (error)
