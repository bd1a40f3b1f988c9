"""Replay buffers in Zarr, as diffusion policy lays them out.

`data/` holds arrays laid end to end, such as `state` and `action`, and
`meta/episode_ends` counts the rows up to the end of each episode.
"""

import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import (
    MAX_RATIO,
    MIN_LIMIT,
    expansion_limit,
    optional_package,
    read_as,
)
from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._customary_names import OTHER_NAMES, RATES, STEPS
from roboopt.data.io._join_observations import join_observations

CODECS = {
    *("bytes", "gzip", "zlib", "zstd", "lz4", "bz2", "blosc", "delta", "shuffle"),
    *("transpose", "sharding_indexed", "crc32", "crc32c", "adler32", "fletcher32"),
    *("astype", "bitround", "quantize", "fixedscaleoffset", "packbits"),
}


def is_zarr_folder(path: Path) -> bool:
    """Return whether `path` is a group of Zarr."""
    return (path / ".zgroup").is_file() or (path / "zarr.json").is_file()


def _expansion_limit(path: Path) -> int:
    """Return the bytes that the arrays of a store may take."""
    if not path.is_file():
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return max(MAX_RATIO * size, MIN_LIMIT)
    with zipfile.ZipFile(path) as archive:
        if sum(m.file_size for m in archive.infolist()) > expansion_limit(path):
            raise RobooptError(
                f"`path` must be of its size, but {path} expands too far."
            )
    return expansion_limit(path)


def _check_codecs(array: Any, path: Path) -> None:
    """Raise unless an array is encoded by what runs no code: one codec is pickle."""
    described = array.metadata.to_dict()
    waiting = [described.get(key) for key in ("filters", "compressor", "codecs")]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list | tuple):
            waiting += part
        elif isinstance(part, Mapping):
            name = str(part.get("id", part.get("name")))
            if name.removeprefix("numcodecs.") not in CODECS:
                raise RobooptError(
                    f"`path` must be encoded by {', '.join(sorted(CODECS))}, but "
                    f"{array.name} of {path} needs {name}."
                )
            inner = part.get("configuration")
            inner = inner if isinstance(inner, Mapping) else {}
            waiting += [inner.get("codecs"), inner.get("index_codecs")]


def read_zarr(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of a replay buffer, a folder or a `.zarr.zip`."""
    with read_as("be a replay buffer in Zarr", path):
        arrays = _arrays(path, options)
    yield str(path), arrays


def _arrays(path: Path, options: ReadOptions) -> dict[str, Any]:
    zarr = optional_package("zarr", "Zarr", "zarr")
    zipped = path.is_file()
    store = zarr.storage.ZipStore(path, mode="r") if zipped else str(path)
    left = _expansion_limit(path)
    root: Any = zarr.open_group(store, mode="r")
    group: Any = root["data"] if "data" in root else root
    members = {name: array for name, array in group.arrays()}
    last = root["meta/episode_ends"] if "meta" in root else None
    for array in (*members.values(), *([] if last is None else [last])):
        _check_codecs(array, path)
        left -= max(array.nbytes, math.prod(array.chunks) * array.dtype.itemsize)
    if left < 0:
        raise RobooptError(f"`path` must be of its size, but {path} expands too far.")
    ends = None if last is None else np.asarray(last)
    read = {
        name: np.asarray(array)
        for name, array in members.items()
        if array.ndim <= 2 and array.dtype.kind in "fiub"
    }
    arrays: dict[str, Any] = {} if ends is None else {"episode_ends": ends}
    told = {**root.attrs, **group.attrs}
    arrays |= {n: np.asarray(told[n]) for n in (*STEPS, *RATES) if n in told}
    names = {OTHER_NAMES.get(name, name): name for name in read}
    if "actions" not in names:
        raise RobooptError(
            f"`path` must hold data/action, but {path} holds {', '.join(members)}."
        )
    arrays["actions"] = read.pop(names["actions"])
    keys = options.observation_keys
    if "times" in names and names["times"] not in (keys or ()):
        arrays["times"] = read.pop(names["times"])
    if keys is None and "observations" in names:
        keys = [names["observations"]]
        if rest := sorted({*members} - {*keys, names["actions"], names.get("times")}):
            options.note(
                f"{path.name}: {', '.join(rest)} left out: the observations are "
                f"`{keys[0]}` alone, and `observation_keys` joins several."
            )
    arrays["observations"] = join_observations(
        {n: members[n] for n in members if n in read or members[n].ndim > 2},
        keys,
        str(path),
        options,
    )
    return arrays
