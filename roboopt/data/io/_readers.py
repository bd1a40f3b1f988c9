"""Which file of this package reads which format.

A format is a function `read(path, options)` that returns, for each part of a file, its
place in words and its arrays by the names of `_arrays`, and an entry in `READERS`.
"""

import contextlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError
from roboopt.data._files import as_path
from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._arrow import is_arrow_folder, read_arrow
from roboopt.data.io._csv import read_csv
from roboopt.data.io._folder import is_episode_folder, read_folder
from roboopt.data.io._frame import is_frame, read_frame
from roboopt.data.io._hdf5 import read_hdf5
from roboopt.data.io._json import read_json
from roboopt.data.io._mat import read_mat
from roboopt.data.io._minari import read_minari
from roboopt.data.io._npz import (
    is_array_folder,
    is_replay_folder,
    read_array_folder,
    read_npy,
    read_npz,
    read_replay_folder,
)
from roboopt.data.io._parquet import is_lerobot_folder, read_lerobot, read_parquet
from roboopt.data.io._rosbag import is_bag_folder, read_rosbag
from roboopt.data.io._steps import with_steps
from roboopt.data.io._zarr import is_zarr_folder, read_zarr

Reader = Callable[[Any, ReadOptions], Iterable[tuple[str, Arrays]]]

PICKLED = (
    "Pickles could run code: write arrays by `np.savez('x.npz', observations=..., "
    "actions=...)`, and a data frame by `frame.to_parquet('x.parquet')`."
)
PACKED = "Unpack it, and name the file or folder inside."
PACKED_TEXTS = ("gz", "bz2", "xz", "zip")
TEXTS: dict[str, Reader] = {
    **dict.fromkeys((".txt", ".dat", ".log", ".txt.gz", ".yaml"), read_csv),
    **dict.fromkeys((".json", ".jsonl"), read_json),
}
"""Suffixes of notes and settings, too: of a folder, read where it has no others."""
READERS: dict[str, Reader] = {
    ".npz": read_npz,
    ".npy": read_npy,
    ".mat": read_mat,
    **dict.fromkeys((".hdf5", ".h5"), read_hdf5),
    **dict.fromkeys((".csv", *(f".csv.{x}" for x in PACKED_TEXTS), ".tsv"), read_csv),
    **TEXTS,
    ".parquet": read_parquet,
    ".zarr.zip": read_zarr,
    **dict.fromkeys((".bag", ".db3", ".mcap"), read_rosbag),
}
FOLDERS: tuple[tuple[Callable[[Path], bool], Reader], ...] = (
    (is_episode_folder, read_folder),
    (is_lerobot_folder, read_lerobot),
    (is_arrow_folder, read_arrow),
    (is_zarr_folder, read_zarr),
    (is_bag_folder, read_rosbag),
    (is_replay_folder, read_replay_folder),
    (is_array_folder, read_array_folder),
)
OTHERS = {
    **dict.fromkeys((".pkl", ".pickle", ".p", ".joblib", ".pt", ".pth"), PICKLED),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "Save the sheet as CSV."),
    **dict.fromkeys((".zip", ".gz", ".bz2", ".xz", ".zst", ".tar", ".7z"), PACKED),
    ".tfrecord": "Write the arrays of each episode by `np.savez`.",
}
"""What turns files of other formats into one to read, by their suffix."""
WITH_KEYS = (read_hdf5, read_minari, read_parquet, read_lerobot, read_zarr)
SETTINGS = ".json", ".yaml"
"""Texts that beside folders of data are of settings."""
MINARI = "minari:"
MAX_DEPTH = 2  # of folders in a folder


class NothingToRead(RobooptError):
    """A folder holds no file of a known format."""


def recording_files(path: Any) -> list[Any]:
    """Return the files that `load_recordings` reads of a folder, or what else it is."""
    whole = is_frame(path) or str(path).startswith(MINARI)
    return [path] if whole else [source for source, _ in sources(path)]


def sources(path: Any, depth: int = 0) -> list[tuple[Any, Reader]]:
    """Return the files that `path` names, and the reader of each.

    A folder without files to read may hold folders of them, as one for each episode.
    """
    path = with_steps(path)
    held = path if isinstance(path, list) else [path]
    if all(map(is_frame, held)) and held:
        return [(one, read_frame) for one in held]
    if str(path).startswith(MINARI):
        return [(str(path).removeprefix(MINARI), read_minari)]
    path = as_path(path)

    def readers(file: Path) -> list[tuple[Path, Reader]]:
        # A hidden file may be one that is being written.
        hidden = file.name.startswith(".")
        fit = [read for end, read in READERS.items() if file.name.lower().endswith(end)]
        return [(file, read) for read in fit if not hidden]

    if path.is_dir():
        for fits, read in FOLDERS:
            if fits(path):
                return [(path, read)]
        files = sorted(path.iterdir(), key=by_number)
        plain = [f for f in files if not f.name.lower().endswith(tuple(TEXTS))]
        found = [one for file in plain for one in readers(file)]
        texts = [] if _advice(files) else [f for f in files if f not in plain]
        settings = all(file.suffix.lower() in SETTINGS for file in texts)
        if not found and not settings:
            found = [one for file in texts for one in readers(file)]
        if not found and depth < MAX_DEPTH:
            for folder in (file for file in files if file.is_dir()):
                with contextlib.suppress(NothingToRead):
                    found += sources(folder, depth + 1)
        if not found:
            found = [one for file in texts for one in readers(file)]
        if not found:
            raise NothingToRead(
                f"`path` must hold files of {', '.join(READERS)}, but {path} holds "
                f"none.{_advice(files)}"
            )
        return found
    if not path.is_file():
        what = "neither" if path.exists() else "missing"
        raise RobooptError(f"`path` must be a file or folder, but {path} is {what}.")
    if not readers(path):
        raise RobooptError(
            f"`path` must end in {', '.join(READERS)} or begin with {MINARI}, got "
            f"{path}.{_advice([path])}"
        )
    return [*readers(path)]


def _advice(files: Iterable[Path]) -> str:
    """Return what to do with files of other formats, after a blank."""
    ends = {f.suffix.lower().partition("-")[0] for f in files}
    found = [text for end, text in OTHERS.items() if end in ends]
    return f" {found[0]}" if found else ""


def by_number(path: Path) -> list[tuple[bool, int, str]]:
    """Return the key that sorts `run_10` after `run_2`."""
    parts = re.split(r"(\d+)", str(path))
    return [(p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts]
