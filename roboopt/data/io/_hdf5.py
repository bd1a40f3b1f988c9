"""Episodes in HDF5: robomimic's layout, and flat ones such as D4RL's and ALOHA's.

Group `data/demo_k` is episode k: `actions`, `obs/<key>`, `next_obs/<key>`, `rewards`,
`dones`. `next_obs` holds the observations after the actions; its last row is the one
that `obs` lacks. Files written here also keep `efforts`, sub-steps, `times`, the time
step and how each episode ended, which robomimic ignores. In other files the arrays lie
side by side, all episodes end to end, or one episode a file.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt._reading import read_json
from roboopt.data._files import atomic_write, optional_package, read_as
from roboopt.data._trajectory import PER_EPISODE, PER_STEP
from roboopt.data.io._arrays import Arrays, ReadOptions, without_last
from roboopt.data.io._boundaries import BOUNDARIES
from roboopt.data.io._customary_names import (
    NAMES,
    NEXT,
    RATES,
    STEPS,
    meaning,
)
from roboopt.data.io._hdf5_guard import Guard
from roboopt.data.io._join_observations import join_observations
from roboopt.data.io._named_arrays import read_arrays

KEY = "observation"
GYM_TYPE = 2  # robomimic's number for Gym environments
UNTOLD = KeyError, TypeError, ValueError, ArithmeticError, AttributeError
READ = {*PER_STEP, "times", "obs", "next_obs", "dones"}
"""What is read of a group of robomimic's, or says only that it ends."""
SEEN = "observations", NEXT
SUCCESS = ".infos.success", ".infos.is_success"
MINARI = "main_data.hdf5", "metadata.json"
MAX_CHUNK = 2**20  # bytes; HDF5 keeps chunks of one size in memory


def read_hdf5(path: Path, options: ReadOptions) -> list[tuple[str, Arrays]]:
    """Return the arrays of each episode, in the order of their numbers."""
    h5py = optional_package("h5py", "HDF5", "h5py")
    with read_as("be an HDF5 file", path), h5py.File(path, "r") as file:
        return _episodes(file, Guard(path), options)


def _episodes(
    file: Any, guard: Guard, options: ReadOptions
) -> list[tuple[str, Arrays]]:
    path, found, without_last = guard.path, [], 0
    groups = demonstrations(file, guard)
    shared = {**_told_steps(file, guard), **_control_step(file, guard)}
    if not groups:  # Files that lack `obs`, as robosuite records them, among others.
        flat = _flat(file, guard, options, shared)
        return [(where, {**shared, **arrays}) for where, arrays in flat]
    for group in groups:
        where = f"{group.name.removeprefix('/')} of {path}"
        arrays = _episode(group, guard, options, where)
        found.append((where, {**shared, **arrays}))
        if unread := sorted({*group} - READ):
            options.note(f"{where}: {', '.join(unread)} left out.")
        without_last += "next_obs" not in group
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
        guard = Guard(path)
        names = [group.name.split("/")[-1] for group in demonstrations(file, guard)]
        masks = guard.member(file, "mask") if names and "mask" in file else {}
        found = {}
        for mask, members in guard.members(masks):
            texts = [str(np.char.decode(x)) for x in np.asarray(members, "S")]
            if unknown := set(texts) - set(names):
                raise RobooptError(
                    f"`path` must hold the episodes of its masks, but mask/{mask} of "
                    f"{path} names {', '.join(sorted(unknown))}."
                )
            found[mask] = sorted(names.index(text) for text in texts)
        return found


def _flat(
    file: Any, guard: Guard, options: ReadOptions, shared: dict[str, Any]
) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of a file without groups of episodes.

    Time steps that a group tells of others are added to those that are `shared`.
    """
    where, arrays, groups = str(guard.path), {}, []
    for name, item in guard.members(file):
        own = meaning(name)
        if hasattr(item, "keys") and own in SEEN:
            members = _members(item, guard)
            keys = options.observation_keys
            arrays[own] = join_observations(members, keys, where, options)
        elif hasattr(item, "keys") and own == "actions":
            arrays[own] = _only_action(item, guard)
        elif hasattr(item, "keys"):
            groups.append((name, item))
        elif item.dtype.kind in "fiubVSO":
            arrays[name] = item
    names = {meaning(name): name for name in arrays}
    if {"observations", "actions"} <= names.keys():
        used = {*NAMES, NEXT, *BOUNDARIES, *RATES}
        read = {n: arrays[n][()] for k, n in names.items() if {k, n} & used}
        unread = [n for n in arrays if n not in read and arrays[n].shape]
        for _, group in groups:
            shared |= _told_steps(group, guard)
        if unread := [*unread, *(f"{name}/…" for name, _ in groups)]:
            rule = "neither observations nor actions"
            options.note(f"{where}: {', '.join(unread)} left out: {rule}.")
        arrays = read
    else:
        # The motion of joints may lie in groups.
        images = [name for name, item in arrays.items() if item.ndim > 2]
        arrays = {n: item[()] for n, item in arrays.items() if n not in images}
        while groups:
            place, group = groups.pop()
            steps, held = _told_steps(group, guard), dict(guard.members(group))
            if all(
                hasattr(x, "keys") and meaning(n) != "actions" for n, x in held.items()
            ):
                shared |= steps
            elif not {*SEEN} & {*map(meaning, place.split("."))}:
                arrays |= {f"{place}.{n}": np.asarray(x) for n, x in steps.items()}
            for name, item in held.items():
                inner = f"{place}.{name}"
                if hasattr(item, "keys"):
                    groups.append((inner, item))
                elif item.dtype.kind in "fiubVSO" and item.ndim < 3:
                    arrays[inner] = item[()]
                elif item.ndim > 2:
                    images.append(inner)
        for name in images:  # Those of many groups become one note.
            options.note(f"{where}: {name} left out: images or groups, no vectors.")
        # Minari has whether an episode succeeded in what the environment tells.
        for name in [name for name in arrays if name.endswith(SUCCESS)]:
            own = name.partition(".infos.")[0]
            arrays[f"{own}.success"] = arrays.pop(name)[-1:]
    yield from read_arrays(arrays, where, options, shared=shared)


def _told_steps(owner: Any, guard: Guard) -> dict[str, Any]:
    """Return the time steps and rates that attributes of a group tell as numbers."""
    told = {name: guard.attribute(owner, name) for name in (*STEPS, *RATES)}
    return {
        name: np.reshape(value, ())
        for name, value in told.items()
        if np.size(value) == 1 and np.asarray(value).dtype.kind in "fiu"
    }


def _members(group: Any, guard: Guard, place: str = "") -> dict[str, Any]:
    """Return the datasets of a group, those of groups inside behind a slash."""
    found = {}
    for name, item in guard.members(group):
        inner = (
            _members(item, guard, f"{place}{name}/") if hasattr(item, "keys") else {}
        )
        found |= inner or {f"{place}{name}": item}
    return found


def _only_action(group: Any, guard: Guard) -> Any:
    """Return the only array of a group of actions."""
    members = _members(group, guard)
    if len(members) != 1:
        raise RobooptError(
            f"`path` must hold one array of actions, but {group.name} of {guard.path} "
            f"holds {', '.join(members) or 'none'}: write the one to learn as "
            "`actions`."
        )
    return next(iter(members.values()))


def write_hdf5(path: Path, parts: dict[str, list[np.ndarray]]) -> None:
    """Write the episodes; the file is complete or unchanged.

    HDF5 writes to memory: after a disk has failed it, it ends the process later on.
    """
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

    def checked(values: Any) -> dict[str, Any]:
        """Return the data in one chunk, whose checksum is compared when it is read."""
        values = np.asarray(values)
        if not values.size or values.nbytes > MAX_CHUNK:
            return {"data": values, "fletcher32": bool(values.size)}
        return {"data": values, "fletcher32": True, "chunks": values.shape}

    with (
        atomic_write(path) as out,
        # Of this version on, HDF5 has a checksum of everything but the data.
        h5py.File(
            path, "w", "core", backing_store=False, libver=("v110", "v110")
        ) as file,
    ):
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(described)
        data.attrs["total"] = lengths.sum()
        for k, steps in enumerate(lengths):
            demonstration = data.create_group(f"demo_{k}")
            demonstration.attrs["num_samples"] = steps
            demonstration.attrs["time_step"] = time_steps[k]
            written = {
                f"obs/{KEY}": parts["observations"][k][:-1],
                f"next_obs/{KEY}": parts["observations"][k][1:],
                "dones": np.arange(1, steps + 1) == steps,
            }
            for name in {*PER_STEP, "times"} & set(parts):
                written[name] = parts[name][k]
            for name, values in written.items():
                demonstration.create_dataset(name, **checked(values))
            for name in set(PER_EPISODE) & set(parts):
                demonstration.attrs[name] = bool(parts[name][k][0])
        file.flush()
        out.write(file.id.get_file_image())


def demonstrations(file: Any, guard: Guard) -> list[Any]:
    """Return the groups of episodes, sorted by number; none in other layouts."""
    data = guard.member(file, "data") if "data" in file else {}
    found = {
        name: group
        for name, group in (guard.members(data) if hasattr(data, "keys") else ())
        if hasattr(group, "keys") and "actions" in group and "obs" in group
    }

    def number(name: str) -> tuple[int, str]:
        return int((re.findall(r"\d+", name) or [0])[-1]), name

    return [found[name] for name in sorted(found, key=number)]


def _control_step(file: Any, guard: Guard) -> dict[str, float]:
    """Return the time step that robomimic's `env_args` or robosuite's `env_info` has.

    Either is a text in JSON beside the demonstrations. A file of a Minari dataset may
    have it in the metadata beside.
    """
    beside = guard.path.with_name(MINARI[1])
    if guard.path.name == MINARI[0] and beside.is_file():
        try:
            return {"time_step": float(read_json(beside)["time_step"])}
        except (*UNTOLD, RecursionError):
            return {}
    data = guard.member(file, "data") if "data" in file else None
    for name in ("env_args", "env_info") if hasattr(data, "keys") else ():
        try:
            told = json.loads(guard.attribute(data, name))
            told = told.get("env_kwargs", told)
            return {"time_step": 1 / float(told["control_freq"])}
        except (*UNTOLD, RecursionError):
            continue
    return {}


def _episode(
    group: Any, guard: Guard, options: ReadOptions, where: str
) -> dict[str, Any]:
    before = _observations(group, "obs", guard, options, where)
    arrays = {}
    for name in {*PER_STEP, "times"} & set(group):
        values = guard.member(group, name)
        if getattr(values, "dtype", np.dtype(object)).kind not in "fiub":
            raise guard.error(f"holds no numbers in {group.name}/{name}")
        arrays[name] = values[()]
    if len(arrays["actions"]) != len(before):
        raise RobooptError(
            f"`path` must hold as many `actions` as `obs` in each group, but {where} "
            f"holds {len(arrays['actions'])} and {len(before)}."
        )
    after = None
    if "next_obs" in group:
        after = _observations(group, "next_obs", guard, options, where)
        if after.shape != before.shape:
            raise RobooptError(
                f"`path` must hold `next_obs` of the shape of `obs`, but {where} holds "
                f"{after.shape} and {before.shape}."
            )
    seen_and_acted = before, arrays["actions"]
    if (rows := told_rows(group, guard, seen_and_acted, where)) is not None:
        every = len(before)
        before, after = before[:rows], None if after is None else after[:rows]
        arrays = {n: x[:rows] if len(x) == every else x for n, x in arrays.items()}
    told = {name: guard.attribute(group, name) for name in PER_EPISODE}
    told = {name: value for name, value in told.items() if value is not None}
    told |= _told_steps(group, guard)
    if "time_step" in told:  # `write_hdf5` pads no episode.
        told["valid"] = np.ones(len(before), bool)
    if after is not None:
        if not np.array_equal(after[:-1], before[1:], equal_nan=True):
            options.note(
                f"the `next_obs` of {where} are not its `obs` one step later: only the "
                "last of them is read."
            )
        return {**arrays, **told, "observations": np.concatenate([before, after[-1:]])}
    if not len(before):
        raise RobooptError(f"`path` must hold observations, but {where} holds none.")
    return {**arrays, **without_last(arrays), **told, "observations": before}


def told_rows(
    group: Any, guard: Guard, arrays: Sequence[Any], where: str
) -> int | None:
    """Return how many rows robomimic's `num_samples` tells, None for all.

    Raises:
        RobooptError: if the `arrays` of observations and actions have others, and those
            beyond are no padding.
    """
    told, rows = guard.attribute(group, "num_samples"), len(arrays[0])
    if told is None or np.size(told) != 1 or int(np.ravel(told)[0]) == rows:
        return None
    count = int(np.ravel(told)[0])
    ends = (x[max(count - 1, 0) :] for x in arrays)
    if 0 < count < rows and all(not x[1:].any() or (x == x[:1]).all() for x in ends):
        return count
    raise RobooptError(
        f"`path` must hold `num_samples` rows in each group, but {where} holds {rows}, "
        f"and its `num_samples` is {count}: write the one that is right, or delete the "
        "attribute."
    )


def _observations(
    episode: Any, name: str, guard: Guard, options: ReadOptions, where: str
) -> np.ndarray:
    group = guard.member(episode, name)
    # Some files keep a single array where robomimic has a group of arrays.
    arrays = dict(guard.members(group)) if hasattr(group, "keys") else {KEY: group}
    return join_observations(arrays, options.observation_keys, where, options)
