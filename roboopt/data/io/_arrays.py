"""From arrays by name to episodes, and back: shared by every format.

The file of a format only reads arrays under the names below, and leaves the rest to
`to_episodes`. The arrays hold one episode; a batch, stacked along the first axis; or
episodes laid end to end with `lengths`, the number of actions of each episode. Every
episode has one observation more than actions.
"""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._trajectory import (
    PER_EPISODE,
    PER_OBSERVATION,
    PER_STEP,
    Trajectory,
    check_episodes,
)
from roboopt.data._windows import sample_times, single_recordings
from roboopt.data.io._columns import Columns

REQUIRED = ("lengths", "time_step", "observations", "actions")
NAMES = (*REQUIRED, "times", "rewards", "efforts", *PER_EPISODE)
OTHER_NAMES = {
    **dict.fromkeys(("obs", "observation", "states", "state"), "observations"),
    **dict.fromkeys(("acts", "action", "act", "controls"), "actions"),
    **dict.fromkeys(("reward", "rews"), "rewards"),
    **dict.fromkeys(("dt", "timestep"), "time_step"),
}
"""Common other names, which are read where the array has no other."""

Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class ReadOptions:
    """The arguments of `load_recordings` that a format may need."""

    columns: Columns | None = None
    joints: Sequence[str] | None = None
    time_step: float | None = None
    observation_keys: Sequence[str] | None = None
    estimated: list[str] = field(default_factory=list)
    """Files without velocities, which were estimated from the positions."""


def to_episodes(
    arrays: Arrays, where: str, time_step: float | None
) -> list[Trajectory]:
    """Return the episodes that `arrays` hold.

    Args:
        arrays: by name; others than `NAMES` are ignored.
        where: the file, and the place in it, for errors.
        time_step: [s], in place of the file's and of its times.
    """
    arrays = _renamed(arrays)
    if not {"observations", "actions"} <= set(arrays):
        raise RobooptError(_missing(arrays, where))
    if time_step is None and "time_step" not in arrays:
        raise RobooptError(f"`time_step` must be given: {where} does not tell it.")
    fields = {n: _numbers(n, arrays[n], where) for n in NAMES if n in arrays}
    if time_step is not None:
        fields["time_step"] = np.asarray(time_step)
        fields.pop("times", None)
    for name in ("observations", "actions"):
        if fields[name].ndim == 1:
            fields[name] = fields[name][:, None]
    observations, actions = fields["observations"].shape, fields["actions"].shape
    if "lengths" in fields and len(actions) == 2:
        check_lengths(fields, where)
        return _cut(fields, where)
    if len(actions) > 1 and observations[:-1] == actions[:-1]:
        raise _equal_counts(where, actions[-2])
    return single_recordings(_trajectory(fields, where))


def _renamed(arrays: Arrays) -> dict[str, Any]:
    """Return the arrays by the names of this module, where one name alone stands."""
    named = dict(arrays)
    for name in set(OTHER_NAMES.values()) - set(arrays):
        found = [other for other in arrays if OTHER_NAMES.get(other) == name]
        if len(found) == 1:
            named[name] = named.pop(found[0])
    return named


def check_lengths(arrays: Arrays, where: str) -> None:
    """Raise a `RobooptError` unless `lengths` fits the other arrays."""
    lengths = arrays["lengths"]
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 0).any():
        raise RobooptError(
            "`path` must hold `lengths` that count the actions of each episode, but "
            f"those of {where} are {lengths.dtype} of shape {lengths.shape}."
        )
    count, steps = len(lengths), int(lengths.sum())
    rows = len(arrays["actions"])
    if rows == len(arrays["observations"]) and rows in (steps, steps + count):
        raise _equal_counts(where, rows)
    expected = dict.fromkeys(PER_OBSERVATION, steps + count)
    expected |= dict.fromkeys(PER_STEP, steps) | dict.fromkeys(PER_EPISODE, count)
    for name, rows in expected.items():
        if name in arrays and arrays[name].shape[:1] != (rows,):
            raise RobooptError(
                f"`path` must hold {rows} rows of `{name}`, as `lengths` says, which "
                f"counts {steps} actions in {count} episodes, but those of {where} "
                f"have shape {arrays[name].shape}: `lengths` or `{name}` is wrong."
            )
    if arrays["time_step"].shape not in ((), (count,)):
        raise RobooptError(
            f"`path` must hold one `time_step`, or one for each of {count} episodes, "
            f"but {where} holds {arrays['time_step'].shape}."
        )


def end_to_end(
    episodes: Sequence[Trajectory] | Trajectory,
) -> dict[str, list[np.ndarray]]:
    """Return the parts of each array, to be laid end to end.

    Arrays that only some episodes have are left out with a warning; `times` follow from
    the time step where they were not recorded.
    """
    runs = single_recordings(episodes)
    check_episodes(runs, "episodes")
    for name in ("observations", "actions"):
        # A common type would turn discrete actions into floating-point numbers.
        if len(types := {str(getattr(run, name).dtype) for run in runs}) > 1:
            raise RobooptError(
                f"`episodes` must have {name} of one data type, got {sorted(types)}."
            )
    parts = {
        "lengths": [np.array([run.steps for run in runs])],
        "time_step": [np.array([run.time_step for run in runs])],
    }
    if any(run.times is not None for run in runs):
        parts["times"] = [sample_times(run) for run in runs]
    partly = []
    for name in ("observations", *PER_STEP, *PER_EPISODE):
        values = [getattr(run, name) for run in runs if getattr(run, name) is not None]
        if len(values) == len(runs):
            parts[name] = [np.atleast_1d(value) for value in values]
        elif values:
            partly.append(f"{name}, in {len(values)} of {len(runs)}")
    if partly:
        warnings.warn(
            f"not all episodes have {'; '.join(partly)}: left out.", stacklevel=3
        )
    return parts


def join_observations(
    arrays: Mapping[str, Any], keys: Sequence[str] | None, where: str
) -> np.ndarray:
    """Return the observations under `keys`, or all of them, as one vector a sample."""
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
    return np.concatenate([c.reshape(len(c), -1) for c in columns], axis=1)


@contextlib.contextmanager
def located(where: str) -> Iterator[None]:
    """Name the file, and the place in it, in the errors of a recording."""
    try:
        yield
    except (RobooptError, IndexError) as error:
        raise RobooptError(
            f"`path` must hold valid recordings; {where}: {error}"
        ) from error


def _numbers(name: str, value: Any, where: str) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise RobooptError(
            f"`path` must hold numbers, but `{name}` of {where} is of type "
            f"{array.dtype}."
        )
    if name in PER_EPISODE:
        return array.astype(bool)
    if name in ("actions", "lengths") or array.dtype.kind == "f":
        return array
    return array.astype(float)


def _cut(fields: dict[str, np.ndarray], where: str) -> list[Trajectory]:
    lengths = fields["lengths"]
    time_steps = np.broadcast_to(fields["time_step"], lengths.shape)
    runs = []
    for k, (end, length) in enumerate(zip(np.cumsum(lengths), lengths, strict=True)):
        rows: dict[str, Any] = dict.fromkeys(PER_STEP, slice(end - length, end))
        rows |= dict.fromkeys(PER_OBSERVATION, slice(end - length + k, end + k + 1))
        rows |= dict.fromkeys(PER_EPISODE, k)
        one = {name: fields[name][row] for name, row in rows.items() if name in fields}
        one["time_step"] = time_steps[k]
        runs.append(_trajectory(one, f"episode {k} of {where}"))
    return runs


def _trajectory(fields: Mapping[str, Any], where: str) -> Trajectory:
    arrays = {n: np.asarray(v) for n, v in fields.items() if n != "time_step"}
    with located(where):
        return Trajectory(time_step=float(fields["time_step"]), **arrays)


def _equal_counts(where: str, count: int) -> RobooptError:
    return RobooptError(
        f"`path` must hold one observation more than actions in each episode, but "
        f"{where} holds {count} actions with {count} observations: drop the last "
        "action of each episode, or add the observation after it."
    )


def _missing(arrays: Arrays, where: str) -> str:
    lacks = [name for name in ("observations", "actions") if name not in arrays]
    known = [name for name in arrays if name in OTHER_NAMES]
    hints = [f"`{name}` to `{OTHER_NAMES[name]}`" for name in known]
    return (
        "`path` must hold arrays named `observations` (one more than actions in each "
        "episode), `actions`, `time_step` [s] and, for several episodes, `lengths`, "
        f"the number of actions of each; {where} lacks {', '.join(lacks)} and holds "
        f"{', '.join(sorted(arrays)) or 'nothing'}."
        + (f" Rename {', '.join(hints)}." if hints else "")
    )
