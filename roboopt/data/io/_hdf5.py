"""Episodes in HDF5: robomimic's layout, and flat ones such as D4RL's and ALOHA's.

Group `data/demo_k` is episode k: `actions`, `obs/<key>`, `next_obs/<key>`, `rewards`,
`dones`. `next_obs` holds the observations after the actions; its last row is the one
that `obs` lacks. Files written here also keep `efforts`, `times`, the time step and how
each episode ended, which robomimic ignores.
"""

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import atomic_write, optional_package
from roboopt.data._trajectory import PER_EPISODE
from roboopt.data.io._arrays import (
    NAMES,
    NEXT,
    OTHER_NAMES,
    Arrays,
    ReadOptions,
    join_observations,
)
from roboopt.data.io._boundaries import BOUNDARIES
from roboopt.data.io._named_arrays import read_arrays

KEY = "observation"
GYM_TYPE = 2  # robomimic's number for Gym environments


def read_hdf5(path: Path, options: ReadOptions) -> list[tuple[str, Arrays]]:
    """Return the arrays of each episode, in the order of their numbers."""
    h5py = optional_package("h5py", "HDF5", "h5py")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise RobooptError(
            f"`path` must be an HDF5 file, but {path} is empty, truncated or another "
            f"kind of file: {error}"
        ) from error
    found, without_last = [], 0
    with file:
        data = file.get("data")
        names = _demonstrations(data)
        if not names:
            try:
                return list(_flat(file, path, options))
            except OSError as error:
                raise RobooptError(
                    f"`path` must be a complete HDF5 file, but {path}: {error}"
                ) from error
        shared = _control_step(data.attrs)
        for name in names:
            where = f"data/{name} of {path}"
            try:
                arrays = _episode(data[name], options, where)
            except OSError as error:
                raise RobooptError(
                    f"`path` must be a complete HDF5 file, but {where}: {error}"
                ) from error
            found.append((where, {**shared, **arrays}))
            without_last += "next_obs" not in data[name]
    if without_last:
        options.note(
            f"{without_last} of the {len(found)} episodes of {path.name} lack "
            "`next_obs`, the observation after the last action: their last action is "
            "dropped."
        )
    return found


def episode_masks(path: Path) -> dict[str, list[int]]:
    """Return the numbers of the episodes that each mask of a robomimic file names."""
    if path.suffix not in (".hdf5", ".h5") or not path.is_file():
        return {}
    h5py = optional_package("h5py", "HDF5", "h5py")
    with h5py.File(path, "r") as file:
        names, masks = _demonstrations(file.get("data")), file.get("mask")
        if not names or not hasattr(masks, "items"):
            return {}
        found = {}
        for mask, members in masks.items():
            texts = [str(np.char.decode(x)) for x in np.asarray(members, "S")]
            if unknown := set(texts) - set(names):
                raise RobooptError(
                    f"`path` must hold the episodes of its masks, but mask/{mask} of "
                    f"{path} names {', '.join(sorted(unknown))}."
                )
            found[mask] = sorted(names.index(text) for text in texts)
        return found


def _flat(file: Any, path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of a file without groups of episodes."""
    if "episode_0" in file:
        raise RobooptError(
            "`path` must hold arrays, or groups data/demo_0, data/demo_1, …, but "
            f"{path} holds {', '.join(file)}. Load a Minari dataset by `minari:` and "
            "its folder."
        )
    arrays: dict[str, Any] = {}
    for name, item in file.items():
        meaning = OTHER_NAMES.get(name, name)
        if hasattr(item, "keys") and meaning in ("observations", NEXT):
            arrays[meaning] = join_observations(
                item, options.observation_keys, str(path), options
            )
        elif hasattr(item, "shape") and item.dtype.kind in "fiub":
            arrays[name] = item
    names = {OTHER_NAMES.get(name, name): name for name in arrays}
    if not {"observations", "actions"} <= names.keys():
        arrays = {}

        def visit(name: str, item: Any) -> None:
            if hasattr(item, "shape") and len(item.shape) < 3:
                arrays[name.replace("/", ".")] = item[()]

        file.visititems(visit)
    else:
        used = {*NAMES, NEXT, *BOUNDARIES}
        arrays = {n: arrays[n][()] for k, n in names.items() if {k, n} & used}
    yield from read_arrays(arrays, str(path), options)


def write_hdf5(path: Path, parts: dict[str, list[np.ndarray]]) -> None:
    """Write the episodes; the file is complete or unchanged."""
    h5py = optional_package("h5py", "HDF5", "h5py")
    (lengths,), (time_steps,) = parts["lengths"], parts["time_step"]
    if empty := np.flatnonzero(lengths == 0).tolist():
        raise RobooptError(
            "`episodes` must each have an action to be written as HDF5, but those "
            f"without are {empty}."
        )
    one_step = len(set(time_steps)) == 1
    arguments = {"control_freq": 1 / time_steps[0]} if one_step else {}
    described = {"env_name": "", "type": GYM_TYPE, "env_kwargs": arguments}
    with atomic_write(path) as partial, h5py.File(partial.name, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(described)
        data.attrs["total"] = lengths.sum()
        for k, steps in enumerate(lengths):
            demonstration = data.create_group(f"demo_{k}")
            demonstration.attrs["num_samples"] = steps
            demonstration.attrs["time_step"] = time_steps[k]
            demonstration[f"obs/{KEY}"] = parts["observations"][k][:-1]
            demonstration[f"next_obs/{KEY}"] = parts["observations"][k][1:]
            demonstration["dones"] = np.arange(1, steps + 1) == steps
            for name in {"actions", "rewards", "efforts", "times"} & set(parts):
                demonstration[name] = parts[name][k]
            for name in set(PER_EPISODE) & set(parts):
                demonstration.attrs[name] = bool(parts[name][k][0])


def _demonstrations(data: Any) -> list[str]:
    """Return the names of the groups of episodes, sorted by number."""
    if not hasattr(data, "keys"):
        return []
    names = [
        name
        for name, group in data.items()
        if hasattr(group, "keys") and "actions" in group and "obs" in group
    ]
    return sorted(names, key=lambda n: (int((re.findall(r"\d+", n) or [0])[-1]), n))


def _control_step(attributes: Any) -> dict[str, float]:
    try:
        arguments = json.loads(attributes["env_args"])["env_kwargs"]
        return {"time_step": 1 / float(arguments["control_freq"])}
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return {}


def _episode(group: Any, options: ReadOptions, where: str) -> dict[str, Any]:
    before = _observations(group["obs"], options, where)
    names = ("actions", "rewards", "efforts", "times")
    arrays = {name: group[name][()] for name in names if name in group}
    if len(arrays["actions"]) != len(before):
        raise RobooptError(
            f"`path` must hold as many `actions` as `obs` in each group, but {where} "
            f"holds {len(arrays['actions'])} and {len(before)}."
        )
    told = {k: v for k, v in group.attrs.items() if k in (*PER_EPISODE, "time_step")}
    if "next_obs" in group:
        after = _observations(group["next_obs"], options, where)
        if after.shape != before.shape:
            raise RobooptError(
                f"`path` must hold `next_obs` of the shape of `obs`, but {where} holds "
                f"{after.shape} and {before.shape}."
            )
        if not np.array_equal(after[:-1], before[1:], equal_nan=True):
            warnings.warn(
                f"the `next_obs` of {where} are not its `obs` one step later: only the "
                "last of them is read.",
                stacklevel=4,
            )
        return {**arrays, **told, "observations": np.concatenate([before, after[-1:]])}
    if not len(before):
        raise RobooptError(f"`path` must hold observations, but {where} holds none.")
    for name in {"actions", "rewards", "efforts"} & set(arrays):
        arrays[name] = arrays[name][:-1]
    return {**arrays, **told, "observations": before}


def _observations(group: Any, options: ReadOptions, where: str) -> np.ndarray:
    # Some files keep a single array where robomimic has a group of arrays.
    arrays = group if hasattr(group, "keys") else {KEY: group}
    return join_observations(arrays, options.observation_keys, where, options)
