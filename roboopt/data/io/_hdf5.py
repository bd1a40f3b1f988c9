"""Episodes in HDF5, as robomimic lays them out: https://robomimic.github.io.

Group `data/demo_k` is episode k: `actions`, `obs/<key>`, `next_obs/<key>`, `rewards`,
`dones`. In `next_obs` are the observations after the actions; its last row is the one
that `obs` lacks. Files written here also keep `efforts`, `times`, the time step and how
each episode ended, which robomimic does not read.
"""

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

KEY = "observation"
GYM = 2  # How robomimic numbers Gym's environments.


def read_hdf5(
    path: Path, observation_keys: Sequence[str] | None, time_step: float | None
) -> list[Trajectory]:
    """Return the episodes of a file, in the order of their numbers.

    Args:
        path: the file.
        observation_keys: which observations to lay side by side, in that order; all,
            in the order of their names, where None.
        time_step: [s]; where None, the file tells it by `control_freq` [Hz].

    Raises:
        ImportError: if h5py is not installed.
        RobooptError: if the file is no HDF5 or laid out otherwise, an observation is an
            image or not there, or nothing tells the time step.
    """
    h5py = _h5py()
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise RobooptError(
            f"`path` must be an HDF5 file, but {path} is empty, cut off or something "
            f"else: {error}"
        ) from error
    with file:
        data = file.get("data")
        names = _demonstrations(data)
        if not names:
            minari = " Read a Minari dataset by `minari:` and its folder."
            raise RobooptError(
                "`path` must hold groups data/demo_0, data/demo_1, … with `actions` "
                f"and `obs`, but {path} holds {', '.join(file) or 'nothing'}."
                + minari
                * ("episode_0" in file)
            )
        shared = _control_step(data.attrs) if time_step is None else time_step
        runs, cut = [], 0
        for name in names:
            where = f"data/{name} of {path}"
            try:
                arrays, whole = _episode(data[name], observation_keys, where)
                step = time_step or data[name].attrs.get("time_step", shared)
                if step is None:
                    raise RobooptError(
                        f"`time_step` must be given: {path} does not tell it."
                    )
                if time_step is not None:
                    arrays.pop("times", None)
                runs.append(_trajectory(arrays, float(step), where))
            except OSError as error:
                raise RobooptError(
                    f"`path` must be a whole HDF5 file, but {where}: {error}"
                ) from error
            cut += not whole
    if cut:
        warnings.warn(
            f"{cut} of the {len(runs)} episodes of {path.name} lack `next_obs`, the "
            "observation after the last action: their last action is dropped.",
            stacklevel=3,
        )
    return runs


def write_hdf5(path: Path, runs: list[Trajectory], kept: Sequence[str]) -> None:
    """Write the fields named in `kept`, whole or not at all.

    Raises:
        ImportError: if h5py is not installed.
        RobooptError: if an episode has no actions: its observation has no place.
    """
    h5py = _h5py()
    if empty := [k for k, run in enumerate(runs) if not run.steps]:
        raise RobooptError(
            "`episodes` must each have an action to be written as HDF5, but those "
            f"without are {empty}."
        )
    steps = {run.time_step for run in runs}
    arguments = {"control_freq": 1 / steps.pop()} if len(steps) == 1 else {}
    described = {"env_name": "", "type": GYM, "env_kwargs": arguments}
    with atomic_write(path) as whole, h5py.File(whole.name, "w") as file:
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


def side_by_side(
    arrays: Mapping[str, Any], keys: Sequence[str] | None, where: str
) -> np.ndarray:
    """Return the observations under `keys`, or all of them, in one vector a sample.

    Raises:
        RobooptError: if one is not there, an image, or not of numbers.
    """
    flat = [
        name
        for name in sorted(arrays)
        if len(getattr(arrays[name], "shape", (0, 0, 0))) in (1, 2)
        and arrays[name].dtype.kind in "fiub"
    ]
    if keys is not None and (unknown := [key for key in keys if key not in arrays]):
        raise RobooptError(
            f"`observation_keys` must be among {sorted(arrays)} for {where}, not "
            f"{unknown}."
        )
    chosen = sorted(arrays) if keys is None else list(keys)
    other = [key for key in chosen if key not in flat]
    if other:
        raise RobooptError(
            "`observation_keys` must name observations of one vector a sample, but of "
            f"{where} {', '.join(other)} is an image or nested; those that can be read "
            f"are {flat}."
        )
    if not chosen:
        raise RobooptError(
            f"`observation_keys` must name at least one, but of {where} none is read."
        )
    columns = []
    for key in chosen:
        column = np.asarray(arrays[key][()])
        columns.append(column.reshape(len(column), -1))
    joined = np.concatenate(columns, axis=1)
    return joined if joined.dtype.kind == "f" else joined.astype(float)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "reading and writing HDF5 takes h5py: pip install h5py"
        ) from error
    return h5py


def _demonstrations(data: Any) -> list[str]:
    """Return the names of the groups with actions, by number and not by digits."""
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
    """Return the arrays of one episode, and whether its last observation was there."""
    before = _observations(group["obs"], keys, where)
    actions = group["actions"][()]
    if actions.ndim == 1:
        actions = actions[:, None]
    if len(actions) != len(before):
        raise RobooptError(
            f"`path` must hold as many `actions` as `obs` in each group, but {where} "
            f"holds {len(actions)} and {len(before)}."
        )
    arrays = {k: group[k][()] for k in ("rewards", "efforts", "times") if k in group}
    arrays |= {
        name: np.asarray(bool(group.attrs[name]))
        for name in ("terminated", "success")
        if name in group.attrs
    }
    if "next_obs" in group:
        after = _observations(group["next_obs"], keys, where)
        if after.shape != before.shape:
            raise RobooptError(
                f"`path` must hold `next_obs` of the shape of `obs`, but {where} holds "
                f"{after.shape} and {before.shape}."
            )
        if not np.array_equal(after[:-1], before[1:], equal_nan=True):
            warnings.warn(
                f"the `next_obs` of {where} are not its `obs` one step later: of them, "
                "only the last is read.",
                stacklevel=4,
            )
        seen = np.concatenate([before, after[-1:]])
        return {**arrays, "observations": seen, "actions": actions}, True
    if not len(before):
        raise RobooptError(f"`path` must hold observations, but {where} holds none.")
    for name in ("rewards", "efforts"):
        if name in arrays:
            arrays[name] = arrays[name][:-1]
    return {**arrays, "observations": before, "actions": actions[:-1]}, False


def _observations(group: Any, keys: Sequence[str] | None, where: str) -> np.ndarray:
    # Some keep a single array where robomimic has a group of them.
    arrays = group if hasattr(group, "keys") else {KEY: group}
    return side_by_side(arrays, keys, where)


def _trajectory(arrays: dict[str, Any], step: float, where: str) -> Trajectory:
    for name in ("rewards", "efforts", "times"):
        if name in arrays and arrays[name].dtype.kind != "f":
            arrays[name] = arrays[name].astype(float)
    try:
        return Trajectory(time_step=step, **arrays)
    except ValueError as error:
        raise RobooptError(
            f"`path` must hold whole recordings; {where}: {error}"
        ) from (error)
