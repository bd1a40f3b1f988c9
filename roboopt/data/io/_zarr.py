"""Replay buffers in Zarr, as diffusion policy lays them out.

`data/` holds arrays laid end to end, such as `state` and `action`, and
`meta/episode_ends` counts the rows up to the end of each episode.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import optional_package
from roboopt.data.io._arrays import (
    OTHER_NAMES,
    Arrays,
    ReadOptions,
    join_observations,
)


def is_zarr_folder(path: Path) -> bool:
    """Return whether `path` is a group of Zarr."""
    return (path / ".zgroup").is_file() or (path / "zarr.json").is_file()


def read_zarr(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of a replay buffer, a folder or a `.zarr.zip`."""
    zarr = optional_package("zarr", "Zarr", "zarr")
    try:
        zipped = path.is_file()
        store = zarr.storage.ZipStore(path, mode="r") if zipped else str(path)
        root: Any = zarr.open_group(store, mode="r")
        group: Any = root["data"] if "data" in root else root
        members = {name: array for name, array in group.arrays()}
        ends = np.asarray(root["meta/episode_ends"]) if "meta" in root else None
        read = {
            name: np.asarray(array)
            for name, array in members.items()
            if array.ndim <= 2 and array.dtype.kind in "fiub"
        }
    except Exception as error:  # A broken store may fail in any way.
        raise RobooptError(
            f"`path` must be a replay buffer in Zarr, but {path}: {error}"
        ) from error
    arrays: dict[str, Any] = {} if ends is None else {"episode_ends": ends}
    names = {OTHER_NAMES.get(name, name): name for name in read}
    if "actions" not in names:
        raise RobooptError(
            f"`path` must hold data/action, but {path} holds {', '.join(members)}."
        )
    arrays["actions"] = read.pop(names["actions"])
    keys = options.observation_keys
    if keys is None and "observations" in names:
        keys = [names["observations"]]
    arrays["observations"] = join_observations(
        {n: members[n] for n in members if n != names["actions"]},
        keys,
        str(path),
        options,
    )
    yield str(path), arrays
