"""Reading and writing recordings and demonstrations in files of any format."""

import dataclasses
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from roboopt._errors import RobooptError, require, require_lists, require_positive
from roboopt.data._trajectory import Trajectory
from roboopt.data.io._arrays import ReadOptions, end_to_end, to_episodes
from roboopt.data.io._boundaries import tells_padding
from roboopt.data.io._columns import Columns
from roboopt.data.io._finite import BESIDE, MAX_CHECKED, not_finite
from roboopt.data.io._folder import read_folder, write_folder
from roboopt.data.io._hdf5 import write_hdf5
from roboopt.data.io._joint_motion import joint_motion
from roboopt.data.io._npz import write_npz
from roboopt.data.io._padding import without_held
from roboopt.data.io._readers import WITH_KEYS, Reader, sources

WRITERS: dict[str, Callable[[Path, dict[str, list[np.ndarray]]], None]] = {
    ".npz": write_npz,
    ".hdf5": write_hdf5,
    ".h5": write_hdf5,
    "": write_folder,
}
MAX_NAMED = 4  # files of a warning
STEP_S = 1.0  # of episodes whose file does not tell it


def load_recordings(
    path: Any,
    *,
    columns: Columns | Mapping[str, Any] | None = None,
    joints: Sequence[str] | None = None,
    actuated: Sequence[int] | None = None,
    time_step: float | None = None,
    observation_keys: Sequence[str] | None = None,
) -> list[Trajectory]:
    """Read the recordings of a robot's joints in a file, a folder, or in memory.

    They are tables of text, with or without names; `.mat`, `.npz` and JSON by the
    names of their arrays; bags of ROS; Parquet; or what `load_episodes` reads. A
    column `run`, `episode` or `trial` of a table tells its recordings apart. The
    observations are [q, q̇], and the actions the efforts that were measured, or else
    commanded, at each sample but the last. Missing velocities are estimated from the
    positions, with a warning. Times count from the beginning of a recording; evenly
    spaced ones, to a millionth or to the digits of their stamps, leave only their time
    step.

    Args:
        path: a file; a folder of files; or what `load_episodes` reads.
        columns: which columns of a table to read, `Columns` or a dict of its fields;
            recognized by name where None.
        joints: the robot's joints, in whose order named columns are put. Of files of
            episodes only the positions and velocities, which must come first in an
            observation, and the efforts are kept.
        actuated: the numbers of the joints that a motor drives: others need no
            efforts. None for all.
        time_step: [s], in place of the files'.
        observation_keys: as in `load_episodes`.

    Raises:
        RobooptError: if there is nothing to read, a column or array is missing or
            ambiguous, a file is broken, nothing tells the time step, or the recordings
            do not fit `joints`.
        ImportError: if a package that reads the format is not installed.
    """
    (runs,) = recordings_by_source(
        [path],
        columns=columns,
        joints=joints,
        actuated=actuated,
        time_step=time_step,
        observation_keys=observation_keys,
    )
    return runs


def recordings_by_source(
    paths: Sequence[Any],
    *,
    columns: Columns | Mapping[str, Any] | None = None,
    joints: Sequence[str] | None = None,
    actuated: Sequence[int] | None = None,
    time_step: float | None = None,
    observation_keys: Sequence[str] | None = None,
    advice: str = "which amplifies noise; `smooth` the recordings",
) -> list[list[Trajectory]]:
    """Return the recordings of each source, as `load_recordings`; warn once.

    Args:
        paths: the sources.
        columns: as in `load_recordings`, like those that follow.
        joints: likewise.
        actuated: likewise.
        time_step: likewise.
        observation_keys: likewise.
        advice: what to do about velocities that were not recorded.
    """
    require_positive(time_step=time_step)
    require_lists(joints=joints, actuated=actuated)
    named = all(isinstance(joint, str) for joint in joints or ())
    require(named, "joints", "hold names", joints)
    columns = Columns.of(columns)
    recorded = columns and columns.joints
    if columns is not None and recorded is not None:
        if joints is None or len(recorded) != len(joints):
            raise RobooptError(
                f"`joints` must name the {len(joints or ())} joints of the robot "
                f"({', '.join(joints or ())}) in its order, got {list(recorded)}."
            )
        columns = dataclasses.replace(columns, joints=None)
        columns = None if columns == Columns() else columns
    options = ReadOptions(
        columns=columns,
        joints=joints,
        recorded_joints=recorded,
        driven=actuated,
        time_step=time_step,
        observation_keys=observation_keys,
    )
    found = [_load(path, options) for path in paths]
    _warn(options, advice)
    return found


def load_episodes(
    path: Any,
    *,
    time_step: float | None = None,
    observation_keys: Sequence[str] | None = None,
    default_time_step: float | None = None,
    names: dict[str, list[str]] | None = None,
) -> list[Trajectory]:
    """Read the episodes in a file, a folder, a Minari dataset or a data frame.

    These are what `save_episodes` or `Trajectory.save` wrote; `.npz`, `.mat`, JSON and
    tables with observations and actions under customary names, and flags or counts that
    tell where episodes end; HDF5 of robomimic, D4RL and ALOHA; LeRobot's datasets;
    replay buffers in Zarr; and Minari. Where an episode has as many observations as
    actions, and none follows the last, that action, but not its reward, is dropped.

    Args:
        path: a file; a folder of files, or of `save_episodes`, whose arrays are mapped
            to memory; `minari:` and a dataset's id or folder; a data frame; a dict of
            arrays, or an object with such attributes, as of imitation; or several.
        time_step: [s], in place of the files'.
        observation_keys: observations of HDF5, Parquet, Zarr and Minari to join to one
            vector, in that order; all vectors, sorted by name, where None.
        default_time_step: [s], assumed with a warning where nothing tells it (1 s).
        names: a dictionary for what the source calls the axes of "observations" and
            "actions": columns of tables, names in LeRobot's meta/info.json, and keys of
            joined observations. Names that it has are kept.

    Raises:
        RobooptError: if there is nothing to read, arrays are missing, contradict each
            other or are of no numbers, observations or actions are not finite, or a
            file is broken.
        ImportError: if a package that reads the format is not installed.
    """
    require_positive(time_step=time_step, default_time_step=default_time_step)
    given = {"time_step": time_step, "observation_keys": observation_keys}
    named = {} if names is None else names
    options = ReadOptions(**given, untold=default_time_step or STEP_S, names=named)
    runs = _load(path, options)
    _warn(options)
    return runs


def _load(path: Any, options: ReadOptions) -> list[Trajectory]:
    found: list[_Read] = []
    for source, read in sources(path):
        if options.observation_keys is not None and read not in WITH_KEYS:
            raise RobooptError(
                "`observation_keys` must be None except for HDF5, Parquet, Zarr and "
                f"Minari, got {list(options.observation_keys)} for {source}."
            )
        parts = [
            _Read(where, run, tells_padding(arrays), source, read)
            for where, arrays in read(source, options)
            for run in to_episodes(arrays, where, options)
        ]
        found += _without_held(parts, source, options) if len(parts) > 1 else parts
    if len({id(one.source) for one in found}) == len(found):
        found = _without_held(found, path, options)
    runs = []
    by_place: dict[str, list[_Read]] = {}
    for one in found:
        by_place.setdefault(one.where, []).append(one)
    for where, parts in by_place.items():
        episodes = [part.run for part in parts]
        if (joints := options.joints) is not None:
            every = [joint_motion(x, joints, options.driven, where) for x in episodes]
            episodes = [part for parts in every for part in parts]
        # Checking a folder that is memory-mapped would read all of it.
        elif parts[0].read is not read_folder or _is_small(parts[0].source):
            _check_finite(episodes, where, options)
        runs += episodes
    if not runs:
        raise RobooptError(
            f"`path` must hold samples, but each episode of {path} has a single "
            "observation and no action."
        )
    return runs


class _Read(NamedTuple):
    """One episode, and where it was read."""

    where: str
    run: Trajectory
    told: bool
    """Whether the file tells which steps are padding."""
    source: Any
    read: Reader


def _without_held(parts: list[_Read], source: Any, options: ReadOptions) -> list[_Read]:
    """Return the episodes of a file or folder without held steps at their ends."""
    if any(part.told for part in parts):
        return parts
    where = source if isinstance(source, str | PathLike) else "the source"
    runs, note = without_held([part.run for part in parts], str(where))
    if note:
        options.note(note)
    return [part._replace(run=run) for part, run in zip(parts, runs, strict=True)]


def _is_small(folder: Path) -> bool:
    return sum(file.stat().st_size for file in folder.glob("*.npy")) <= MAX_CHECKED


def _check_finite(runs: list[Trajectory], where: str, options: ReadOptions) -> None:
    """Raise a `RobooptError` for demonstrations with numbers that are not finite.

    Of recordings, `identify` leaves such samples out.
    """
    for said in not_finite(runs, where, names=options.names):
        if options.untold is not None:
            raise RobooptError(
                f"`path` must hold finite numbers, but {said}: leave the episode out, "
                "or cut it there."
            )
        options.note(f"{said}: `identify` leaves such samples out.")
    for said in not_finite(runs, where, BESIDE):
        options.note(f"{said}.")


def _warn(options: ReadOptions, advice: str = "") -> None:
    """Warn of what was assumed in reading."""
    for note in merged(options.notes):
        warnings.warn(note, stacklevel=4)
    if options.estimated:
        names = options.estimated[:MAX_NAMED]
        more = len(options.estimated) - len(names)
        warnings.warn(
            f"no velocities were recorded in {', '.join(names)}"
            f"{f' and {more} more' * bool(more)}: they are estimated by "
            f"differentiating the positions, {advice}.",
            stacklevel=4,
        )


def merged(notes: Sequence[str]) -> list[str]:
    """Return the notes, one for those that differ by numbers alone."""
    alike: dict[str, list[str]] = {}
    for note in notes:
        alike.setdefault(re.sub(r"\d+", "#", note), []).append(note)
    return [
        first
        + (f" So it is in {len(others)} other{'s' * (len(others) > 1)}." * bool(others))
        for first, *others in alike.values()
    ]


def save_episodes(
    path: str | PathLike, episodes: Sequence[Trajectory] | Trajectory
) -> None:
    """Write `episodes` to `path`, which is complete afterwards or unchanged.

    The suffix names the format: .npz; .hdf5 or .h5, as robomimic lays it out, put
    together in memory; none, for a folder of .npy files that `StreamedDemonstrations`
    reads. Rewards, efforts and how an episode ended are written if all episodes have
    them, and left out with a warning if only some do.

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
