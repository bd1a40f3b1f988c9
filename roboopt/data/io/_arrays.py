"""From arrays by name to episodes, and back: shared by every format.

The file of a format only reads arrays under the names below, and leaves the rest to
`to_episodes`. The arrays hold one episode; a batch, stacked along the first axis; or
episodes laid end to end, with `lengths`, the number of actions of each, or with flags
(`_boundaries`). Where an episode has as many observations as actions, and nothing tells
the observation after the last action, that action is dropped; its reward is not.
"""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._trajectory import (
    LIMITS,
    PER_EPISODE,
    PER_OBSERVATION,
    PER_STEP,
    Trajectory,
    check_episodes,
)
from roboopt.data._windows import sample_times, single_recordings
from roboopt.data.io._boundaries import (
    BOUNDARIES,
    PARTIAL,
    batch_lengths,
    check_lengths,
    check_next,
    episode_rows,
    tells_ends,
    with_timeouts,
)
from roboopt.data.io._columns import Columns
from roboopt.data.io._customary_names import (
    NAMES,
    NEXT,
    REQUIRED,
    check_vectors,
    renamed,
)
from roboopt.data.io._padding import unpadded_lengths
from roboopt.data.io._times import even_step

Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class ReadOptions:
    """The arguments of `load_recordings` that a format may need."""

    columns: Columns | None = None
    joints: Sequence[str] | None = None
    recorded_joints: Sequence[str] | None = None
    """Their names in the file where the user gives them."""
    driven: Sequence[int] | None = None
    """The joints that a motor drives; others need no efforts. None for all."""
    time_step: float | None = None
    observation_keys: Sequence[str] | None = None
    untold: float | None = None
    """The time step [s] of a file that does not tell one; None for an error."""
    estimated: list[str] = field(default_factory=list)
    """Files without velocities, which were estimated from the positions."""
    notes: list[str] = field(default_factory=list)
    """What else is to be said about the files."""
    names: dict[str, list[str]] = field(default_factory=dict)
    """Those of the axes of observations and actions, as the first file tells them."""
    first: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    """The first file, or place in it, and what it calls these axes, by quantity."""

    def ordered(self, quantity: str, names: Sequence[str], where: str) -> list[str]:
        """Return the names of axes in the order of the first file's.

        Raises:
            RobooptError: if they are others than the first file's.
        """
        told = self.names.get(quantity, [])  # by a source that was read before
        own = [*told] if sorted(told) == sorted(names) else [*names]
        place, known = self.first.setdefault(quantity, (where, own))
        if sorted(known) == sorted(names):
            return known
        raise RobooptError(
            f"`path` must hold {quantity} of the same names in all files, but "
            f"{where} holds {', '.join(names)}, and {place} {', '.join(known)}."
        )

    def note(self, text: str) -> None:
        """Note what is to be said, once."""
        if text not in self.notes:
            self.notes.append(text)


def to_episodes(arrays: Arrays, where: str, options: ReadOptions) -> list[Trajectory]:
    """Return the episodes that `arrays` hold.

    Args:
        arrays: by name; others than `NAMES` and `BOUNDARIES` are ignored.
        where: the file, and the place in it, for errors.
        options: the arguments of the reading.
    """
    timed = options.time_step is not None
    arrays, notes = renamed(arrays, where, timed=timed)
    for note in notes:
        options.note(note)
    rows = len(np.atleast_1d(arrays["actions"]))
    equal = len(np.atleast_1d(arrays["observations"])) == rows
    told = np.ndim(arrays["actions"]) < 3 and tells_ends(arrays)
    flat = equal and told
    names = [*NAMES, *((NEXT,) if equal else ())]
    if flat:
        names = [name for name in names if name not in BOUNDARIES]
    shape = np.shape(arrays["actions"])
    # Elsewhere the limits of all steps have these names.
    names = [
        n for n in names if n not in LIMITS or np.shape(arrays.get(n, ())) == shape
    ]
    fields = {n: _numbers(n, arrays[n], where) for n in names if n in arrays}
    for name in ("observations", "actions", NEXT):
        if name in fields and fields[name].ndim == 1:
            fields[name] = fields[name][:, None]
    check_vectors(fields, where)
    same = fields["observations"].shape[:-1] == fields["actions"].shape[:-1]
    if told and not equal and "lengths" not in fields:
        slices, ended = episode_rows(arrays, rows, where)
        if (held := len(fields["observations"])) != rows + len(slices):
            raise RobooptError(
                "`path` must hold as many observations as actions, or one more for "
                f"each episode, but {where} holds {held} and {rows} in {len(slices)}."
            )
        fields["lengths"] = np.array([part.stop - part.start for part in slices])
        fields.pop("terminated", None)
        if np.shape(fields.get("success", ())) == (rows,):
            fields["success"] = fields["success"][[part.stop - 1 for part in slices]]
        fields |= {} if ended is None else {"terminated": np.array(ended)}
    batch = fields["actions"].shape[:2]
    if fields["actions"].ndim == 3:
        counts = batch_lengths(arrays, batch, where)
        if counts is None:
            counts, note = unpadded_lengths(fields, (NEXT,), where)
            for said in filter(None, [note]):
                options.note(said)
        fields |= {} if counts is None else {"lengths": counts}
    if flat:
        seen = fields["observations"], fields.get(NEXT)
        arrays, note = with_timeouts(arrays, *seen, where)
        slices, ended = episode_rows(arrays, rows, where)
        for said in filter(None, (note, check_next(*seen, slices, where))):
            options.note(said)
        unset = [name for name in PARTIAL if name in arrays]
        if unset and not any(np.any(arrays[n]) for n in BOUNDARIES if n in arrays):
            options.note(
                f"{where}: {', '.join(unset)} mark no row, so that all {rows} are read "
                "as one episode; `episode_ends` or `lengths` would tell others."
            )
        parts = [_rows(fields, rows, part, where) for part in slices]
        for part, end in zip(parts, ended or (), strict=ended is not None):
            part["terminated"] = np.asarray(end)
    elif "lengths" in fields and fields["actions"].ndim == 2:
        parts, same = _cut(fields, where), False
    elif same and fields["actions"].ndim == 2:
        check_next(fields["observations"], fields.get(NEXT), None, where)
        parts = [_rows(fields, rows, slice(None), where)]
    elif same:
        stacked = {name: value for name, value in fields.items() if np.ndim(value)}
        shared = {name: value for name, value in fields.items() if not np.ndim(value)}
        every = [shared | {n: v[k] for n, v in stacked.items()} for k in range(rows)]
        parts = [
            _rows(x, batch[1], slice(x.pop("lengths", None)), where) for x in every
        ]
    else:
        parts = [fields]
    if not (same or told) and len(parts) == 1 and "lengths" not in fields:
        held = len(np.atleast_1d(fields["observations"]))
        if held != rows + 1 and fields["actions"].ndim == 2:
            raise RobooptError(
                "`path` must hold as many observations as actions, or one more, but "
                f"{where} holds {held} observations and {rows} actions."
                + _turned(fields["observations"].shape, fields["actions"].shape)
            )
    if same:
        parts = _with_an_action(parts, NEXT in fields, where, options)
    return [one for part in parts for one in _trajectories(part, where, options)]


def _with_an_action(
    parts: list[dict[str, Any]], told: bool, where: str, options: ReadOptions
) -> list[dict[str, Any]]:
    """Return the episodes that have an action, and note what was left out."""
    kept = [part for part in parts if len(part["actions"])]
    if not kept and not any(len(part["observations"]) for part in parts):
        raise RobooptError(f"`path` must hold samples, but {where} holds none.")
    if len(kept) < len(parts):
        options.note(
            f"{len(parts) - len(kept)} of the {len(parts)} episodes of {where} have a "
            "single observation: left out."
        )
    if not told:
        options.note(
            f"{where} holds as many observations as actions, so that none follows the "
            "last action of an episode: these are dropped."
        )
    return kept


def _turned(seen: tuple[int, ...], acted: tuple[int, ...]) -> str:
    """Return which arrays seem to have a column for each sample, in words."""
    for names, one, other in (
        ("both seem", seen[1], acted[1]),
        ("the observations seem", seen[1], acted[0]),
        ("the actions seem", seen[0], acted[1]),
    ):
        if one - other in (0, 1) and max(one, other) > min(*seen, *acted):
            return f" Of shapes {seen} and {acted}, {names} transposed: give `x.T`."
    return ""


def _rows(
    fields: Mapping[str, np.ndarray], rows: int, part: slice, where: str
) -> dict[str, Any]:
    """Return one episode of arrays with as many observations as actions."""
    one = {
        name: value[part] if np.ndim(value) and len(value) == rows else value
        for name, value in fields.items()
        if name != NEXT
    }
    if NEXT not in fields:
        return one | without_last(one)
    before, after = one["observations"], fields[NEXT][part]
    if after.shape != before.shape:
        raise RobooptError(
            f"`path` must hold next observations of the shape of the observations, but "
            f"{where} holds {after.shape} and {before.shape}."
        )
    one["observations"] = np.concatenate([before, after[-1:]])
    if "times" in one:
        times = one["times"]
        step = np.median(np.diff(times)) if len(times) > 1 else np.nan
        one["times"] = np.append(times, times[-1] + step)
    return one


def without_last(arrays: Arrays) -> dict[str, np.ndarray]:
    """Return the arrays by step without their last row, and the return as it was.

    The reward of an action that is dropped counts with that of the action before.
    """
    kept = {name: np.asarray(arrays[name])[:-1] for name in PER_STEP if name in arrays}
    if len(kept.get("rewards", ())):
        kept["rewards"] = kept["rewards"].astype(float)
        kept["rewards"][-1] += np.nan_to_num(arrays["rewards"][-1])
    return kept


def _trajectories(
    fields: Mapping[str, Any], where: str, options: ReadOptions
) -> list[Trajectory]:
    """Return the episodes of arrays with one observation more than actions."""
    fields, step = dict(fields), options.time_step
    if step is not None:
        fields.pop("times", None)
    elif "time_step" in fields:
        step = fields["time_step"]
        if np.size(step) != 1:
            raise RobooptError(
                f"`path` must hold one `time_step`, but {where} holds {np.size(step)}."
            )
    elif np.ndim(fields.get("times", 0.0)) == 1:
        with located(where):
            fields |= even_step(fields.pop("times"))
        step = fields["time_step"]
    elif options.untold is not None:
        step = options.untold
        options.note(
            f"`time_step` of {step:g} s is assumed: {where} does not tell its time "
            "step."
        )
    else:
        raise RobooptError(f"`time_step` must be given: {where} does not tell it.")
    known = {n: v for n, v in fields.items() if n in NAMES or n == "terminated"}
    for name in {*PER_EPISODE} & {*known}:
        if np.shape(known[name])[:1] in [(len(known[n]),) for n in REQUIRED[2:]]:
            known[name] = known[name][-1]  # told at each step
    return single_recordings(_trajectory({**known, "time_step": step}, where))


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
    if name == "rewards" and array.ndim > 1 and array.shape[-1] == 1:
        array = array[..., 0]
    if name in ("actions", "lengths") or array.dtype.kind == "f":
        return array.astype(int) if array.dtype.kind == "b" else array
    return array.astype(float)


def _cut(fields: dict[str, np.ndarray], where: str) -> list[dict[str, Any]]:
    """Return the episodes of arrays that `save_episodes` laid end to end."""
    check_lengths(fields, where)
    lengths = fields["lengths"]
    time_steps = np.broadcast_to(fields.get("time_step", np.nan), lengths.shape)
    parts = []
    for k, (end, length) in enumerate(zip(np.cumsum(lengths), lengths, strict=True)):
        rows: dict[str, Any] = dict.fromkeys(PER_STEP, slice(end - length, end))
        rows |= dict.fromkeys(PER_OBSERVATION, slice(end - length + k, end + k + 1))
        rows |= dict.fromkeys(PER_EPISODE, k)
        one = {name: fields[name][row] for name, row in rows.items() if name in fields}
        if "time_step" in fields:
            one["time_step"] = time_steps[k]
        parts.append(one)
    return parts


def _trajectory(fields: Mapping[str, Any], where: str) -> Trajectory:
    arrays = {n: np.asarray(v) for n, v in fields.items() if n != "time_step"}
    with located(where):
        return Trajectory(time_step=np.asarray(fields["time_step"]).item(), **arrays)
