"""Episodes in HDF5, as robomimic lays them out: https://robomimic.github.io.

Group `data/demo_k` is episode k: `actions`, `obs/<key>`, `next_obs/<key>`, `rewards`,
`dones`. `next_obs` holds the observations after the actions; its last row is the one
that `obs` lacks. Files written here also keep `efforts`, `times`, the time step and how
each episode ended, which robomimic ignores.
"""

import importlib
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import atomic_write
from roboopt.data._trajectory import Trajectory
from roboopt.data._windows import sample_times
from roboopt.data.io._flat import trajectory_of

KEY = "observation"
GYM_TYPE = 2  # robomimic's number for Gym environments


def load_hdf5(
    path: Path, observation_keys: Sequence[str] | None, time_step: float | None
) -> list[Trajectory]:
    """Return the episodes of a file, in the order of their numbers.

    Args:
        path: the file.
        observation_keys: which observations to join to one vector, in that order; all
            of them, sorted by name, where None.
        time_step: [s]; from the file's `control_freq` [Hz] where None.

    Raises:
        ImportError: if h5py is not installed.
        RobooptError: if the file is broken or has another layout, an observation is
            missing or an image, or nothing tells the time step.
    """
    h5py = optional_package("h5py", "HDF5", "h5py")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise RobooptError(
            f"`path` must be an HDF5 file, but {path} is empty, truncated or another "
            f"kind of file: {error}"
        ) from error
    runs, without_last = [], 0
    with file:
        data = file.get("data")
        names = _demonstrations(data)
        if not names:
            hint = " Load a Minari dataset by `minari:` and its folder."
            raise RobooptError(
                "`path` must hold groups data/demo_0, data/demo_1, … with `actions` "
                f"and `obs`, but {path} holds {', '.join(file) or 'nothing'}."
                f"{hint if 'episode_0' in file else ''}"
            )
        shared = _control_step(data.attrs)
        for name in names:
            where = f"data/{name} of {path}"
            step = time_step or data[name].attrs.get("time_step", shared)
            if step is None:
                raise RobooptError(
                    f"`time_step` must be given: {path} does not tell it."
                )
            try:
                arrays, complete = _episode(data[name], observation_keys, where)
            except OSError as error:
                raise RobooptError(
                    f"`path` must be a complete HDF5 file, but {where}: {error}"
                ) from error
            if time_step is not None:
                arrays.pop("times", None)
            runs.append(trajectory_of(arrays, float(step), where))
            without_last += not complete
    if without_last:
        warnings.warn(
            f"{without_last} of the {len(runs)} episodes of {path.name} lack "
            "`next_obs`, the observation after the last action: their last action is "
            "dropped.",
            stacklevel=3,
        )
    return runs


def save_hdf5(path: Path, runs: Sequence[Trajectory], kept: Sequence[str]) -> None:
    """Write the fields named in `kept`; the file is complete or unchanged.

    Raises:
        ImportError: if h5py is not installed.
        RobooptError: if an episode has no actions: its observation has no place.
    """
    h5py = optional_package("h5py", "HDF5", "h5py")
    if empty := [k for k, run in enumerate(runs) if not run.steps]:
        raise RobooptError(
            "`episodes` must each have an action to be written as HDF5, but those "
            f"without are {empty}."
        )
    steps = {run.time_step for run in runs}
    arguments = {"control_freq": 1 / steps.pop()} if len(steps) == 1 else {}
    described = {"env_name": "", "type": GYM_TYPE, "env_kwargs": arguments}
    with atomic_write(path) as partial, h5py.File(partial.name, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(described)
        data.attrs["total"] = sum(run.steps for run in runs)
        for k, run in enumerate(runs):
            demonstration = data.create_group(f"demo_{k}")
            demonstration.attrs["num_samples"] = run.steps
            demonstration.attrs["time_step"] = run.time_step
            demonstration[f"obs/{KEY}"] = run.observations[:-1]
            demonstration[f"next_obs/{KEY}"] = run.observations[1:]
            demonstration["actions"] = run.actions
            demonstration["dones"] = np.arange(1, run.steps + 1) == run.steps
            for name in {"rewards", "efforts"} & set(kept):
                demonstration[name] = getattr(run, name)
            for name in {"terminated", "success"} & set(kept):
                demonstration.attrs[name] = bool(getattr(run, name))
            if "times" in kept:
                demonstration["times"] = sample_times(run)


def join_observations(
    arrays: Mapping[str, Any], keys: Sequence[str] | None, where: str
) -> np.ndarray:
    """Return the observations under `keys`, or all of them, as one vector a sample.

    Raises:
        RobooptError: if an observation is missing, an image, or not of numbers.
    """
    vectors = [
        name
        for name in sorted(arrays)
        if len(getattr(arrays[name], "shape", (0, 0, 0))) in (1, 2)
        and arrays[name].dtype.kind in "fiub"
    ]
    chosen = sorted(arrays) if keys is None else list(keys)
    if unknown := [key for key in chosen if key not in arrays]:
        raise RobooptError(
            f"`observation_keys` must be among {sorted(arrays)} for {where}, not "
            f"{unknown}."
        )
    if other := [key for key in chosen if key not in vectors]:
        raise RobooptError(
            "`observation_keys` must name observations of one vector a sample, but in "
            f"{where} {', '.join(other)} is an image or nested; the vectors are "
            f"{vectors}."
        )
    if not chosen:
        raise RobooptError(
            f"`observation_keys` must name at least one observation of {where}."
        )
    columns = [np.asarray(arrays[key][()]) for key in chosen]
    joined = np.concatenate([c.reshape(len(c), -1) for c in columns], axis=1)
    return joined if joined.dtype.kind == "f" else joined.astype(float)


def optional_package(name: str, what: str, requirement: str) -> Any:
    """Return the package that reading and writing `what` needs.

    Raises:
        ImportError: if it is not installed, saying how to install `requirement`.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"reading and writing {what} needs {name}: pip install {requirement}"
        ) from error


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


def _control_step(attributes: Any) -> float | None:
    try:
        arguments = json.loads(attributes["env_args"])["env_kwargs"]
        return 1 / float(arguments["control_freq"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _episode(
    group: Any, keys: Sequence[str] | None, where: str
) -> tuple[dict[str, Any], bool]:
    """Return the arrays of one episode, and whether its last observation is there."""
    before = _observations(group["obs"], keys, where)
    actions = group["actions"][()]
    if len(actions) != len(before):
        raise RobooptError(
            f"`path` must hold as many `actions` as `obs` in each group, but {where} "
            f"holds {len(actions)} and {len(before)}."
        )
    arrays = {k: group[k][()] for k in ("rewards", "efforts", "times") if k in group}
    arrays |= {k: group.attrs[k] for k in ("terminated", "success") if k in group.attrs}
    if "next_obs" in group:
        after = _observations(group["next_obs"], keys, where)
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
        seen = np.concatenate([before, after[-1:]])
        return {**arrays, "observations": seen, "actions": actions}, True
    if not len(before):
        raise RobooptError(f"`path` must hold observations, but {where} holds none.")
    for name in {"rewards", "efforts"} & set(arrays):
        arrays[name] = arrays[name][:-1]
    return {**arrays, "observations": before, "actions": actions[:-1]}, False


def _observations(group: Any, keys: Sequence[str] | None, where: str) -> np.ndarray:
    # Some files keep a single array where robomimic has a group of arrays.
    arrays = group if hasattr(group, "keys") else {KEY: group}
    return join_observations(arrays, keys, where)
