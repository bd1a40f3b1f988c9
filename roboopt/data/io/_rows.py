"""Rows of demonstrations that stay on disk, for `StreamedDemonstrations`.

A kind of file has `lengths`, the actions of each episode; `extra`, how many more
observations than actions of an episode lie there; `limited`, which of "low" and "high"
there are for every action; and `read(name, rows)`, which returns rows of these, of
"observations" or of "actions", counted through all episodes.
"""

import contextlib
import os
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import (
    HEADERS,
    optional_package,
    read_archive_header,
    read_as,
)
from roboopt.data._trajectory import LIMITS, PER_STEP, Trajectory
from roboopt.data.io._boundaries import check_lengths
from roboopt.data.io._customary_names import REQUIRED
from roboopt.data.io._folder import is_episode_folder, map_arrays
from roboopt.data.io._hdf5 import demonstrations, told_rows
from roboopt.data.io._hdf5_guard import Guard
from roboopt.data.io._join_observations import join_observations
from roboopt.data.io._padding import MIN_HELD, HeldEnd, held_end, unheld_lengths

SEEN = "observations"
LOCAL_HEADER = 30  # bytes of a member of a zip archive before its name


def open_rows(path: Path, keys: Sequence[str] | None) -> "FileRows | HDF5Rows":
    """Return the rows of a folder or file; `keys` are observations of HDF5.

    Raises:
        RobooptError: if the file cannot be read in parts, or is broken.
    """
    if path.suffix in (".hdf5", ".h5") and path.is_file():
        return HDF5Rows(path, keys)
    if keys is not None:
        raise RobooptError(
            f"`observation_keys` must be None except for HDF5, got {list(keys)}."
        )
    if is_episode_folder(path):
        arrays = map_arrays(path)
        names = ("observations", "actions", *(n for n in LIMITS if n in arrays))
        places = {n: _place(path / f"{n}.npy", 0) for n in names}
        return FileRows(path, places, arrays)
    if path.suffix == ".npz" and path.is_file():
        return _stored_rows(path)
    raise RobooptError(
        "`path` must be a folder, or a file .npz, .hdf5 or .h5, that `save_episodes` "
        f"wrote, or a file of robomimic, got {path}."
    )


class _Place(NamedTuple):
    """Where an array lies in a file."""

    path: Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]


class FileRows:
    """Arrays that lie in files as they do in memory."""

    extra = 1

    def __init__(
        self, path: Path, places: dict[str, _Place], arrays: Mapping[str, np.ndarray]
    ):
        """Keep the places of the arrays, after a look at the forms of `arrays`."""
        check_lengths(arrays, str(path))
        self._places, self.lengths = places, np.array(arrays["lengths"])
        self.limited = [name for name in LIMITS if name in places]

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return the rows of an array, neighbors in one piece."""
        place, cut = self._places[name], _pieces(rows)
        found = np.empty((len(cut.rows), *place.shape[1:]), place.dtype)
        size = found.nbytes // max(len(found), 1)
        view, filled = found.reshape(-1).view(np.uint8).data, 0
        # Through a mapping, pages would count as memory, and take longer.
        with open(place.path, "rb", buffering=0) as file:
            begins = [place.offset + begin * size for begin, _ in cut.pieces]
            sizes = [(end - begin) * size for begin, end in cut.pieces]
            _announce(file, begins, sizes)
            for begin, count in zip(begins, sizes, strict=True):
                file.seek(begin)
                last = filled + count
                while filled < last:
                    read = file.readinto(view[filled:last])
                    if not read:
                        raise RobooptError(
                            f"`path` must be whole, but {place.path} is truncated."
                        )
                    filled += read
        return cut.arrange(found)


def _announce(file: Any, begins: list[int], sizes: list[int]) -> None:
    """Let the kernel fetch pieces side by side, where one by one each read waits."""
    advise = getattr(os, "posix_fadvise", None)
    if advise is None:  # macOS, Windows
        return
    with contextlib.suppress(OSError):  # a file system without advice
        for begin, size in zip(begins, sizes, strict=True):
            advise(file.fileno(), begin, size, os.POSIX_FADV_WILLNEED)


class _Pieces(NamedTuple):
    """Rows of an array as parts of neighbors."""

    shape: tuple[int, ...]
    rows: np.ndarray
    """The rows to read, ascending and each once."""
    back: np.ndarray | None
    """Where each wanted row is among those read; None if they are the same."""
    pieces: list[tuple[int, int]]
    """The first row of each part, and the row after its last."""

    def arrange(self, found: np.ndarray) -> np.ndarray:
        """Return what was read in the order and shape of the wanted rows."""
        found = found if self.back is None else found[self.back]
        return found.reshape(*self.shape, *found.shape[1:])


def _pieces(rows: np.ndarray, cuts: Any = ()) -> _Pieces:
    """Return the parts that `rows` consist of; none goes across a row of `cuts`."""
    flat = rows.ravel()
    ascending = len(flat) < 2 or bool((np.diff(flat) > 0).all())
    wanted, back = (flat, None) if ascending else np.unique(flat, return_inverse=True)
    apart = np.diff(wanted) > 1
    if len(cuts):
        groups = np.searchsorted(cuts, wanted, side="right")
        apart |= np.diff(groups) != 0
    edges = [0, *(np.flatnonzero(apart) + 1).tolist(), len(wanted)]
    pieces = [
        (int(wanted[a]), int(wanted[b - 1]) + 1)
        for a, b in zip(edges, edges[1:], strict=False)
    ]
    return _Pieces(rows.shape, wanted, back, pieces)


def _stored_rows(path: Path) -> FileRows:
    """Return the rows of an archive whose arrays are not compressed."""
    places = {}
    for member in read_archive_header(path):
        name = member.filename.removesuffix(".npy")
        if name not in (*REQUIRED, *LIMITS):
            continue
        if member.compress_type != zipfile.ZIP_STORED:
            raise RobooptError(
                f"`path` must not be compressed to be read in parts, but {path} is: "
                "`save_episodes` writes what `load_recordings` has read to a folder."
            )
        with open(path, "rb") as file:
            file.seek(member.header_offset)
            lengths = struct.unpack("<HH", file.read(LOCAL_HEADER)[-4:])
        begin = member.header_offset + LOCAL_HEADER + sum(lengths)
        places[name] = _place(path, begin)
    if missing := set(REQUIRED) - set(places):
        raise RobooptError(
            "`path` must hold episodes as `save_episodes` writes them, but "
            f"{path} lacks {', '.join(sorted(missing))}."
        )
    arrays = {
        name: np.memmap(path, place.dtype, "r", place.offset, place.shape)
        for name, place in places.items()
    }
    return FileRows(path, places, arrays)


def _place(path: Path, begin: int) -> _Place:
    """Read the header of an array that begins at a byte of a file."""
    with open(path, "rb") as file:
        file.seek(begin)
        shape, by_column, dtype = HEADERS[np.lib.format.read_magic(file)](file)
        if by_column and len(shape) > 1:
            raise RobooptError(
                f"`path` must hold arrays row by row to be read in parts, but {path} "
                "holds one by columns."
            )
        return _Place(path, file.tell(), dtype, shape)


class HDF5Rows:
    """Episodes in the groups of an HDF5 file of `save_episodes` or robomimic."""

    extra = 0

    def __init__(self, path: Path, keys: Sequence[str] | None):
        """Open the file, and look at the form of each episode."""
        h5py = optional_package("h5py", "HDF5", "h5py")
        self._path, self._keys = path, keys
        with read_as("be an HDF5 file", path):
            self._file = h5py.File(path, "r")
            guard = Guard(path)
            groups = demonstrations(self._file, guard)
            if not groups:
                raise RobooptError(
                    "`path` must hold groups data/demo_0, data/demo_1, … with "
                    f"`actions` and `obs`, but {path} holds "
                    f"{', '.join(self._file) or 'nothing'}."
                )
            self.limited = [n for n in LIMITS if all(n in group for group in groups)]
            self._episodes = [_parts(group, guard, self.limited) for group in groups]
            # Without what it saw last, `load_recordings` drops the last action.
            self.lengths = np.array(
                [
                    _rows_of(group, guard, parts) - ("next_obs" not in group)
                    for parts, group in zip(self._episodes, groups, strict=True)
                ]
            )
        if (self.lengths < 0).any():
            raise RobooptError(f"`path` must hold actions, but a group of {path} none.")
        if not any(guard.attribute(group, "time_step") for group in groups):
            self._leave_out_held(groups)
        self._first = np.cumsum(self.lengths) - self.lengths

    def _leave_out_held(self, groups: Sequence[Any]) -> None:
        """Leave out padding that nothing tells, as `load_episodes` does.

        Of episodes whose last rows differ these alone are read.
        """
        steps = int(self.lengths[0])
        if steps < 2 or len(groups) < MIN_HELD or (self.lengths != steps).any():
            return
        ends = [self._end(k, group, steps) for k, group in enumerate(groups)]
        lengths, note = unheld_lengths(ends, str(self._path))
        if note:
            warnings.warn(note, stacklevel=4)
        if lengths is not None:
            self.lengths = lengths

    def _end(self, episode: int, group: Any, steps: int) -> HeldEnd:
        """Return how an episode of so many steps ends."""
        rows = min(steps + 1, len(self._episodes[episode]["actions"]))
        few = self._slice(SEEN, episode, rows - 2, rows)
        if not (few == few[-1]).all():
            return HeldEnd(steps, steps, False)
        seen = self._slice(SEEN, episode, 0, rows)
        held = np.concatenate([seen, np.repeat(seen[-1:], steps + 1 - len(seen), 0)])
        told = {n: group[n][:steps] for n in {*PER_STEP} - {*LIMITS} if n in group}
        told["actions"] = self._slice("actions", episode, 0, steps)
        return held_end(Trajectory(held, time_step=1.0, **told))

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return the rows of an array, each part of an episode in one piece."""

        def piece(begin: int, end: int) -> np.ndarray:
            episode = int(np.searchsorted(self._first, begin, side="right")) - 1
            first = int(self._first[episode])
            return self._slice(name, episode, begin - first, end - first)

        cut = _pieces(rows, self._first)
        return cut.arrange(np.concatenate([piece(*ends) for ends in cut.pieces]))

    def _slice(self, name: str, episode: int, begin: int, end: int) -> np.ndarray:
        parts = self._episodes[episode]
        try:
            if name != SEEN:
                acted = parts[name][begin:end]
                return acted if acted.ndim > 1 else acted[:, None]
            seen = {key: part[begin:end] for key, part in parts["obs"].items()}
        except OSError as error:
            where = f"episode {episode} of {self._path}"
            raise RobooptError(f"`path` must be whole, but {where}: {error}") from error
        return join_observations(seen, self._keys, str(self._path))


def _rows_of(group: Any, guard: Guard, parts: Mapping[str, Any]) -> int:
    """Return how many rows of an episode are no padding."""
    arrays = *parts["obs"].values(), parts["actions"]
    told = told_rows(group, guard, arrays, f"{group.name} of {guard.path}")
    return len(parts["actions"]) if told is None else told


def _parts(group: Any, guard: Guard, limited: Sequence[str]) -> dict[str, Any]:
    """Return the datasets of an episode, each looked at."""
    seen, acted = guard.member(group, "obs"), guard.member(group, "actions")
    if not hasattr(seen, "keys"):
        seen = {"observation": seen}
    else:
        seen = dict(guard.members(seen))
    if {len(part) for part in seen.values()} != {len(acted)}:
        raise guard.error(f"holds another number of obs than of actions in {group}")
    limits = {name: guard.member(group, name) for name in limited}
    if any(limit.shape != acted.shape for limit in limits.values()):
        raise guard.error(f"holds limits of another shape than actions in {group}")
    return {"actions": acted, "obs": seen, **limits}
