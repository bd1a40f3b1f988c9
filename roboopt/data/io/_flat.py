"""The flat layout of episodes: arrays laid end to end, and the length of each episode.

`lengths` counts the actions of each episode; each has one observation more. An .npz
file holds these arrays by name, a folder holds each as an .npy file.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._trajectory import Trajectory, check_episodes
from roboopt.data._windows import sample_times, single_recordings

PER_STEP = ("rewards", "efforts")
PER_EPISODE = ("terminated", "success")
REQUIRED = ("lengths", "time_step", "observations", "actions")
NAMES = (*REQUIRED, "times", *PER_STEP, *PER_EPISODE)


def checked_episodes(
    episodes: Sequence[Trajectory] | Trajectory,
) -> tuple[list[Trajectory], list[str]]:
    """Return single episodes, and the names of the arrays that all of them have.

    Raises:
        RobooptError: if there are no episodes, or the sizes or data types of their
            observations or actions differ.
    """
    runs = single_recordings(episodes)
    check_episodes(runs, "episodes")
    for name in ("observations", "actions"):
        # A common type would turn discrete actions into floating-point numbers.
        if len(types := {str(getattr(run, name).dtype) for run in runs}) > 1:
            raise RobooptError(
                f"`episodes` must have {name} of one data type, got {sorted(types)}."
            )
    kept: list[str] = list(REQUIRED)
    if any(run.times is not None for run in runs):
        kept.append("times")
    partly = []
    for name in (*PER_STEP, *PER_EPISODE):
        have = sum(getattr(run, name) is not None for run in runs)
        if have == len(runs):
            kept.append(name)
        elif have:
            partly.append(f"{name}, in {have} of {len(runs)}")
    if partly:
        warnings.warn(
            f"not all episodes have {'; '.join(partly)}: left out.", stacklevel=3
        )
    return runs, kept


def pieces(name: str, runs: Sequence[Trajectory]) -> list[np.ndarray]:
    """Return one array of each episode, to be laid end to end."""
    if name == "lengths":
        return [np.array([run.steps for run in runs])]
    if name == "time_step":
        return [np.array([run.time_step for run in runs])]
    if name == "times":
        return [sample_times(run) for run in runs]
    return [np.atleast_1d(getattr(run, name)) for run in runs]


def check_lengths(arrays: Mapping[str, np.ndarray], where: str) -> None:
    """Check that `lengths` fits the other arrays.

    Raises:
        RobooptError: if an array has another number of rows.
    """
    lengths = arrays["lengths"]
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 0).any():
        raise RobooptError(
            "`path` must hold `lengths` that count the actions of each episode, but "
            f"those of {where} are {lengths.dtype} of shape {lengths.shape}."
        )
    count, steps = len(lengths), int(lengths.sum())
    rows = len(arrays["actions"])
    if rows == len(arrays["observations"]) and rows in (steps, steps + count):
        raise equal_counts(where, rows)
    expected = {"observations": steps + count, "times": steps + count}
    expected |= dict.fromkeys(("actions", *PER_STEP), steps)
    expected |= dict.fromkeys(PER_EPISODE, count)
    for name, rows in expected.items():
        if name in arrays and arrays[name].shape[:1] != (rows,):
            raise RobooptError(
                f"`path` must hold {rows} rows of `{name}`, as `lengths` says, but "
                f"those of {where} have shape {arrays[name].shape}."
            )
    if "time_step" in arrays and arrays["time_step"].shape not in ((), (count,)):
        raise RobooptError(
            f"`path` must hold one `time_step`, or one for each of {count} episodes, "
            f"but {where} holds {arrays['time_step'].shape}."
        )


def equal_counts(where: Any, count: int) -> RobooptError:
    """Return the error for as many observations as actions."""
    return RobooptError(
        f"`path` must hold one observation more than actions in each episode, but "
        f"{where} holds {count} actions with {count} observations: drop the last "
        "action of each episode, or add the observation after it."
    )


def cut_episodes(
    arrays: Mapping[str, np.ndarray], where: str, time_step: float | None
) -> list[Trajectory]:
    """Return the episodes in arrays that `check_lengths` accepts."""
    lengths = arrays["lengths"]
    steps = arrays["time_step"] if time_step is None else np.asarray(time_step)
    steps = np.broadcast_to(steps, lengths.shape)
    runs = []
    for k, (end, length) in enumerate(zip(np.cumsum(lengths), lengths, strict=True)):
        acted = slice(end - length, end)
        seen = slice(end - length + k, end + k + 1)
        rows: dict[str, Any] = {"observations": seen, "times": seen}
        rows |= dict.fromkeys(("actions", *PER_STEP), acted)
        rows |= dict.fromkeys(PER_EPISODE, k)
        if time_step is not None:
            del rows["times"]
        one = {name: arrays[name][row] for name, row in rows.items() if name in arrays}
        runs.append(trajectory_of(one, float(steps[k]), f"episode {k} of {where}"))
    return runs


def trajectory_of(
    arrays: Mapping[str, Any], time_step: float, where: Any
) -> Trajectory:
    """Return a trajectory of arrays read from a file.

    Raises:
        RobooptError: if an array holds anything but numbers, or the arrays do not fit.
    """
    fields = {}
    for name, value in arrays.items():
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise RobooptError(
                f"`path` must hold numbers, but `{name}` of {where} is of type "
                f"{array.dtype}."
            )
        if name in PER_EPISODE:
            array = array.astype(bool)
        elif name != "actions" and array.dtype.kind != "f":
            array = array.astype(float)
        fields[name] = array
    if fields["actions"].ndim == 1:
        fields["actions"] = fields["actions"][:, None]
    try:
        return Trajectory(time_step=time_step, **fields)
    except (RobooptError, IndexError) as error:
        raise RobooptError(
            f"`path` must hold valid recordings; {where}: {error}"
        ) from error
