"""Episodes in a folder of .npy files, which are memory-mapped.

A dataset may be larger than memory: only the rows that are used are read. The folder
also holds the size and the CRC-32 of each file, in manifest.json. Files of less than
256 MiB are compared with both, larger ones, which would take seconds, with their size.
"""

import glob
import json
import os
import shutil
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from roboopt._errors import RobooptError
from roboopt._reading import read_json
from roboopt.data._files import (
    exchange,
    is_running,
    partial_path,
    read_array,
    sweep,
)
from roboopt.data._trajectory import PER_EPISODE
from roboopt.data.io._arrays import NAMES, REQUIRED, Arrays, ReadOptions

MANIFEST = "manifest.json"
MAX_CHECKED = 2**28  # bytes
BLOCK = 2**20  # bytes
FORMER = ".former"  # of a folder while another takes its place


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
        if file.is_file():
            small = name in ("lengths", "time_step", *PER_EPISODE)
            arrays[name] = read_array(file, None if small else mode)
    if (path / MANIFEST).is_file():
        _check_manifest(path)
    return arrays


def _check_manifest(path: Path) -> None:
    """Raise a `RobooptError` unless the files are those that were written."""
    told = read_json(path / MANIFEST)
    for name in NAMES:
        file = path / f"{name}.npy"
        known: Any = told.get(file.name) if isinstance(told, dict) else None
        if not file.is_file() and known is None:
            continue
        same = isinstance(known, dict) and file.is_file()
        size = file.stat().st_size if same else 0
        same = same and known.get("bytes") == size
        if same and size < MAX_CHECKED:
            same = known.get("crc32") == _checksum(file)
        if not same:
            raise RobooptError(
                f"`path` must hold the files that were written, but {file} is not what "
                f"{MANIFEST} says; where you changed the file on purpose, remove "
                f"{MANIFEST}."
            )


def _checksum(path: Path) -> int:
    found = 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            found = zlib.crc32(block, found)
    return found


def write_folder(path: Path, parts: dict[str, list[np.ndarray]]) -> None:
    """Write arrays laid end to end; the folder is complete or unchanged."""
    known = {f"{name}.npy" for name in NAMES} | {MANIFEST}
    if path.exists() and not (
        is_episode_folder(path) and {file.name for file in path.iterdir()} <= known
    ):
        raise RobooptError(
            f"`path` must be new, or a folder of episodes and nothing else, got {path}."
        )
    partial = partial_path(path)
    replaced = partial.with_name(partial.name + FORMER)
    _recover(path)
    sweep(path.parent, path.name)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        manifest = {}
        for name, part in parts.items():
            with open(partial / f"{name}.npy", "wb") as file:
                checksum = _write(file, part)
                manifest[f"{name}.npy"] = {"bytes": file.tell(), "crc32": checksum}
                file.flush()
                os.fsync(file.fileno())
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2), "utf-8")
        if not path.exists():
            partial.rename(path)
        elif not exchange(partial, path):
            path.rename(replaced)
            partial.rename(path)
    finally:
        if not path.exists() and replaced.exists():
            replaced.rename(path)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def _recover(path: Path) -> None:
    """Put back, or remove, the former folders that processes left as they ended."""
    own = os.getpid()
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{FORMER}"):
        process = left.name.removesuffix(FORMER).rpartition(".")[2]
        if not process.isdigit() or int(process) != own and is_running(int(process)):
            continue
        if path.exists():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.rename(path)


def _write(file: BinaryIO, parts: list[np.ndarray]) -> int:
    """Write `parts` end to end as one .npy file, without joining them in memory.

    Returns:
        The CRC-32 of the file.
    """
    dtype = np.result_type(*parts)
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (sum(len(part) for part in parts), *parts[0].shape[1:]),
    }
    begin = BytesIO()
    np.lib.format.write_array_header_2_0(begin, header)
    checksum = 0
    arrays = (np.ascontiguousarray(part, dtype).reshape(-1) for part in parts)
    for data in (begin.getvalue(), *(a.view(np.uint8).data for a in arrays)):
        file.write(data)
        checksum = zlib.crc32(data, checksum)
    return checksum
