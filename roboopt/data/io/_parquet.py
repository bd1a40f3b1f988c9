"""Episodes in Parquet files, as LeRobot lays them out (versions 2.1 and 3).

`meta/info.json` tells the frame rate, and `data/` holds files of one or of many
episodes, with columns such as `observation.state`, `action` and `episode_index`.
"""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt._reading import read_json
from roboopt.data._files import expansion_limit, optional_package, read_as
from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._boundaries import BOUNDARIES
from roboopt.data.io._columns import is_time
from roboopt.data.io._customary_names import NEXT
from roboopt.data.io._demonstration_table import TASK
from roboopt.data.io._frame import table_of_vectors
from roboopt.data.io._join_observations import join_observations
from roboopt.data.io._named_arrays import are_episodes, read_arrays
from roboopt.data.io._read_table import read_table

BYTES_PER_CELL = 8
INDEX = "__index_level_0__"  # of pandas, where it has no name
OBSERVATION = "observation"
NUMBERED = (("episode_index", "frame_index"), ("index",))
"""Columns that number the rows, as LeRobot's do."""
USED = ("action", "actions", "next.reward", *BOUNDARIES)


def is_lerobot_folder(path: Path) -> bool:
    """Return whether `path` is a dataset of LeRobot."""
    return (path / "meta" / "info.json").is_file()


def read_lerobot(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of each file of a dataset of LeRobot."""
    try:
        told = read_json(path / "meta" / "info.json")
        rate = float(told["fps"])
        if not 0 < rate < float("inf"):
            raise ValueError(f"`fps` is {rate}")
    except (LookupError, TypeError, ValueError) as error:
        raise RobooptError(
            f"`path` must hold meta/info.json with `fps`, but that of {path}: {error}"
        ) from error
    files = sorted((path / "data").rglob("*.parquet"))
    if not files:
        raise RobooptError(
            f"`path` must hold data/**/*.parquet, but {path} holds none."
        )
    parts = [part for file in files for part in read_parquet(file, options)]
    found: set[int] = set()
    for where, arrays in _joined(parts, path):
        here = set(np.unique(arrays.get("episode_index", ())).tolist())
        if again := found & here:
            options.note(
                f"{where} holds episode {min(again)} of another file again: each is "
                "read as an episode of its own."
            )
        found |= here
        _name_axes(told.get("features"), arrays, options)
        yield where, {**arrays, "time_step": 1 / rate}
    if found and len(found) != (count := told.get("total_episodes", len(found))):
        options.note(
            f"{path} holds {len(found)} episodes, but meta/info.json counts {count}: "
            "files are missing, or were added."
        )


def _joined(parts: list[tuple[str, Arrays]], path: Path) -> list[tuple[str, Arrays]]:
    """Return the parts of files as one where an episode goes on in another file.

    It goes on if its times do, where they are known.
    """
    alike = len({frozenset(arrays) for _, arrays in parts}) == 1
    if not alike or "episode_index" not in parts[0][1]:
        return parts
    numbers = [np.unique(arrays["episode_index"]) for _, arrays in parts]
    if len(np.unique(np.concatenate(numbers))) == sum(map(len, numbers)):
        return parts
    rows = {n: np.concatenate([arrays[n] for _, arrays in parts]) for n in parts[0][1]}
    order = np.argsort(rows["episode_index"], kind="stable")
    rows = {name: value[order] for name, value in rows.items()}
    same = np.diff(rows["episode_index"]) == 0
    later = np.diff(rows.get("times", np.arange(len(order)))) > 0
    return [(str(path), rows)] if later[same].all() else parts


def _name_axes(features: Any, arrays: Arrays, options: ReadOptions) -> None:
    """Name axes as meta/info.json does: by a list, or by lists of groups of them.

    Names that are not one for each axis are left.
    """
    known = {}
    for key, feature in features.items() if isinstance(features, dict) else ():
        names = feature.get("names") if isinstance(feature, dict) else None
        groups = [*names.values()] if isinstance(names, dict) else [names]
        lists = [group for group in groups if isinstance(group, list)]
        known[key] = [str(name) for group in lists for name in group]
    own, new = options.names.get("observations", []), {}
    for key, names in known.items():
        short = key.removeprefix("observation.")
        axes = [axis for axis in own if axis.partition("[")[0] == short]
        new |= dict(zip(axes, names, strict=True)) if len(axes) == len(names) else {}
    options.names["observations"] = [new.get(axis, axis) for axis in own]
    acted, size = known.get("action", []), np.shape(arrays.get("action", ()))[1:]
    if size == (len(acted),):
        options.names.setdefault("actions", acted)


def read_parquet(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of a file: images and texts are left out."""
    parquet = optional_package("pyarrow.parquet", "Parquet files", "pyarrow")
    with read_as("be a Parquet file", path):
        told = parquet.read_metadata(path)
        size = max(
            told.num_rows * told.num_columns * BYTES_PER_CELL,
            sum(told.row_group(k).total_byte_size for k in range(told.num_row_groups)),
        )
        if size > expansion_limit(path):
            raise RobooptError(
                f"`path` must be of its size, but {path} claims to expand to "
                f"{size / 2**30:.3g} GiB."
            )
        table = parquet.read_table(path, page_checksum_verification=True)
    if (order := _order(table)) is not None:
        options.note(f"the rows of {path.name} are out of order: read by {order}.")
        table = table.sort_by([(name, "ascending") for name in order.split(", ")])
    arrays: dict[str, Any] = {}
    left_out = []
    for name in table.column_names:
        if (values := column_numbers(table.column(name))) is None:
            left_out.append(name)
        else:
            arrays[name] = values
    observed = {n: v for n, v in arrays.items() if n.split(".")[0] == OBSERVATION}
    if not observed and are_episodes(table.column_names):
        yield from read_arrays(arrays, str(path), options, left_out)
        return
    if not observed:
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
        if INDEX in columns and columns[INDEX].dtype.kind == "M":
            columns["time"] = columns.pop(INDEX)
        yield from read_table(table_of_vectors(str(path), columns), options)
        return
    after = f"next.{OBSERVATION}"
    following = {n[5:]: v for n, v in arrays.items() if n.startswith(after)}
    read = {*observed, *(f"next.{n}" for n in following), *USED, TASK, "timestamp"}
    if left_out:
        options.note(f"{path.name}: {', '.join(left_out)} left out: no vectors.")
    if unread := [name for name in arrays if name not in read]:
        options.note(
            f"{path.name}: {', '.join(unread)} left out: neither `{OBSERVATION}.…` nor "
            "`action`."
        )
    found = {name: arrays[name] for name in USED if name in arrays}
    found["observations"] = join_observations(
        observed, options.observation_keys, str(path), options
    )
    if "timestamp" in arrays:
        found["times"] = arrays["timestamp"].astype(float)
    if following:
        found[NEXT] = join_observations(following, None, str(path), options)
    yield str(path), found


def _order(table: Any) -> str | None:
    """Return the columns that number rows that are out of order; None of others.

    The numbers of one column, or of two, must be whole and each there once. Their rows
    are out of order where their numbers in an episode go back, and times do, too.
    """
    times = [column_numbers(table.column(n)) for n in table.column_names if is_time(n)]
    if any(t is not None and t.ndim == 1 and (t[1:] > t[:-1]).all() for t in times):
        return None
    for names in NUMBERED:
        if not {*names} <= {*table.column_names}:
            continue
        columns = [column_numbers(table.column(name)) for name in names]
        found = [c for c in columns if c is not None and c.dtype.kind in "iu"]
        if len(found) < len(names) or any(c.ndim > 1 for c in found):
            continue
        rows = np.stack(found, axis=1).astype(np.int64)
        if len(np.unique(rows, axis=0)) < len(rows):
            continue
        same = (rows[1:, :-1] == rows[:-1, :-1]).all(1)
        if (same & (rows[1:, -1] < rows[:-1, -1])).any():
            return ", ".join(names)
        return None
    return None


def column_numbers(column: Any) -> np.ndarray | None:
    """Return a column of numbers, or of vectors of one size; None for others."""
    import pyarrow as pa

    compute = importlib.import_module("pyarrow.compute")

    kind = column.type
    if (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
    ):
        inner = kind.value_type
        if not (pa.types.is_floating(inner) or pa.types.is_integer(inner)):
            return None
        whole = column.combine_chunks() if hasattr(column, "chunks") else column
        sizes = set(compute.list_value_length(whole).to_pylist())
        if len(sizes) != 1 or None in sizes:
            return None
        return np.asarray(whole.flatten()).reshape(len(column), -1)
    numeric = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    if not (numeric or pa.types.is_boolean(kind)) or column.null_count:
        return None
    return np.asarray(column)
