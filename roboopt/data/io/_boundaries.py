"""Where episodes end in arrays that hold them end to end.

Public datasets say it in many ways: flags at the first or last row, counts, or the
number of its episode beside each row. All that are there must agree.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._trajectory import PER_EPISODE, PER_OBSERVATION, PER_STEP

STARTS = ("episode_starts", "episode_start", "is_first")
ENDS = ("episode_ends", "is_last")
LENGTHS = (
    *("lengths", "episode_lengths", "traj_lengths", "trajectory_lengths"),
    *("ep_lengths", "seq_lengths", "traj_lens", "ep_lens", "episode_lens", "seq_lens"),
)
INDICES = ("episode_index", "episode_indices", "episode_id", "episode_ids", "traj_id")
DONES = ("dones", "done", "next.done")
CONTINUING = ("not_done", "not_dones", "nonterminal", "nonterminals", "not_terminal")
"""Zero where the task ends, as in replay buffers of TD3; `as_flags` inverts them."""
TERMINALS = (
    *("terminals", "terminal", "terminated", "terminations", "is_terminal"),
    *CONTINUING,
)
TIMEOUTS = ("timeouts", "timeout", "truncated", "truncations")
COUNTERS = (
    *("step", "steps", "step_index", "step_id", "frame_index", "frame"),
    *("index", "unnamed: 0"),
)
"""Numbers of rows, which begin anew in each episode; `as_flags` says where."""
ANYWHERE = {"frame", "index", "unnamed: 0"}
"""Counters that also begin anew elsewhere, as in frames that were joined."""
WHOLE = (*STARTS, *ENDS, *LENGTHS, *INDICES)
"""Arrays that tell the end of every episode; others may tell some of them."""
PARTIAL = (*DONES, *TERMINALS, *TIMEOUTS, *COUNTERS)
BOUNDARIES = (*WHOLE, *PARTIAL)
MAX_JUMP_SHARE = 0.05  # of the rows: more are no ends of episodes
MASKS = ("mask", "masks", "valid", "valid_mask", "is_valid")
"""Of padded batches: which steps are of the episode."""
PADDING = ("is_pad", "action_is_pad", "padding_mask")
"""Of padded batches: which steps are not."""


def episode_rows(
    arrays: Mapping[str, Any], rows: int, where: str
) -> tuple[list[slice], list[bool] | None]:
    """Return the rows of each episode, and whether the task ended it, where told.

    Args:
        arrays: by name, among them any of `BOUNDARIES`.
        rows: of all episodes together.
        where: the file, for errors.

    Raises:
        RobooptError: if an array has another number of rows, or two contradict.
    """
    told = {name: arrays[name] for name in BOUNDARIES if name in arrays}
    told = {name: np.asarray(value) for name, value in told.items()}
    ends = {name: _last_rows(name, told[name], rows, where) for name in told}
    whole = [name for name in WHOLE if name in ends]
    partial = [name for name in PARTIAL if name in ends]
    last = {rows - 1}
    if whole:
        found = ends[whole[0]] | last
    else:
        found = last.union(*(ends[name] for name in partial))
        # `dones` tell every end, of the task or of the time.
        for name, every in product(partial, [n for n in partial if n in DONES]):
            if wrong := ends[name] - ends[every] - last:
                raise RobooptError(
                    f"`path` must hold arrays that agree, but in {where} `{name}` ends "
                    f"an episode at row {min(wrong)}, and `{every}` does not."
                )
    for name in (*whole[1:], *(partial if whole else ())):
        other = ends[name] | last if name in whole else ends[name] | found
        if wrong := found ^ other:
            first = min(wrong)
            says = [name, whole[0]] if first in ends[name] else [whole[0], name]
            raise RobooptError(
                f"`path` must hold arrays that agree, but in {where} `{says[0]}` ends "
                f"an episode at row {first}, and `{says[1]}` does not."
            )
    lasts = sorted(found)
    slices = [
        slice(first, end + 1)
        for first, end in zip([0, *(x + 1 for x in lasts[:-1])], lasts, strict=True)
    ]
    if "episode_returns" in arrays and len(arrays["episode_returns"]) != len(slices):
        raise RobooptError(
            f"`path` must hold arrays that agree, but {where} holds {len(slices)} "
            f"episodes and {len(arrays['episode_returns'])} `episode_returns`."
        )
    names = [name for name in TERMINALS if name in ends]
    if not names:
        return slices, None
    return slices, [any(end in ends[name] for name in names) for end in lasts]


def _last_rows(name: str, value: np.ndarray, rows: int, where: str) -> set[int]:
    """Return the last rows of the episodes that an array tells."""

    def require(fits: Any, rule: str, got: Any) -> None:
        if not fits:
            raise RobooptError(
                f"`path` must hold `{name}` that {rule}, but in {where} {got}."
            )

    value = value.reshape(-1) if value.ndim == 2 and 1 in value.shape else value
    kind, whole = value.dtype.kind, np.zeros(value.shape, bool)
    if kind in "fiub":
        whole = np.mod(value, 1) == 0  # never of nan and inf
    shape = f"it is {value.dtype} of shape {value.shape}"
    require(value.ndim == 1 and len(value) and kind in "fiubSUO", "is one list", shape)
    if name in INDICES and len(value) == rows:
        starts = np.flatnonzero(np.append(True, value[1:] != value[:-1]))
        _, first = np.unique(value, return_index=True)
        if again := sorted({*starts.tolist()} - {*first.tolist()}):
            shown = f"that of row {again[0]}, {value[again[0]]}, was there before: "
            shown += "sort the rows by it and by their numbers or times"
            require(False, "keeps the rows of an episode together", shown)
        return {*(starts[1:] - 1).tolist(), rows - 1}
    require(kind in "fiub", "holds numbers", shape)
    if not whole.all():
        row = int(np.argmin(whole))
        require(False, "holds whole numbers", f"number {row} is {value[row]}")
    counts = kind != "b" and not np.isin(value, (0, 1)).all()
    value = value.astype(np.int64)
    if name in LENGTHS:
        row = int(value.argmin())
        require(value[row] > 0, "counts actions", f"number {row} is {value[row]}")
        rule = f"sums to the {rows} rows of the actions"
        require(value.sum() == rows, rule, f"the sum is {value.sum()}")
        return set((np.cumsum(value) - 1).tolist())
    places = counts and name in (*ENDS, *STARTS)
    if places:
        row = int(np.argmin(np.diff(value, prepend=-1) > 0))
        shown = f"number {row} is {value[row]}"
        shown += f" after {value[row - 1]}" if row else ""
        require(np.all(np.diff(value, prepend=-1) > 0), "rises", shown)
    if places and name in ENDS:
        rule = f"ends at the number of rows, {rows}"
        require(value[-1] == rows, rule, f"the last is {value[-1]}")
        return set((value - 1).tolist())
    if places:
        rule = f"begins at row 0 and holds rows below {rows}"
        fits = value[0] == 0 and value[-1] < rows
        require(fits, rule, f"the first is {value[0]}, and the last {value[-1]}")
        return {*(value[1:] - 1).tolist(), rows - 1}
    rule = f"has a number for each of the {rows} rows of the actions"
    require(len(value) == rows, rule, f"there are {len(value)}")
    ends = np.flatnonzero(value)
    if name not in STARTS:
        return set(ends.tolist())
    first = f"row {ends[0]}" if len(ends) else "none"
    require(first == "row 0", "begins an episode at row 0", f"the first is {first}")
    return {*(ends[1:] - 1).tolist(), rows - 1}


def as_flags(named: dict[str, Any], where: str) -> list[str]:
    """Let counters and `CONTINUING` be flags of last rows, in place; return notes.

    Counters that tell no end are left out.
    """
    for name in {*CONTINUING} & {*named}:
        value = np.asarray(named[name])
        if value.dtype.kind in "fiub":
            named[name] = np.where(np.isfinite(value), value == 0, value)
    counts = {n: np.asarray(named.pop(n)) for n in COUNTERS if n in named}
    strange = [n for n in counts if counts[n].ndim]
    others, notes = tells_ends(named), []
    for name, value in counts.items():
        value = value.reshape(-1) if 1 in value.shape else value
        rows = np.shape(named["actions"])[:1]
        if value.shape != rows or value.dtype.kind not in "fiu" or not rows[0]:
            continue
        steps = np.diff(value.astype(float))
        back = steps < 0
        anew = (value[1:][back] == value[0]).all() or np.ptp(steps[~back]) == 0
        if not (np.abs(steps) > 0).all() or not anew:  # also of NaN
            continue
        strange.remove(name)
        if back.any() and not (others and name in ANYWHERE or {*COUNTERS} & {*named}):
            named[name] = np.append(back, False)
        if name in named and not others:
            notes.append(
                f"{where} does not tell where episodes end: {back.sum() + 1} begin "
                f"where `{name}` begins anew, the second at row {back.argmax() + 1}."
            )
    if strange:
        notes.append(f"{where}: {', '.join(strange)} left out: no numbers of rows.")
    return notes


def batch_lengths(
    arrays: Mapping[str, Any], batch: tuple[int, int], where: str
) -> np.ndarray | None:
    """Return the steps of each episode of a padded batch, None where nothing tells.

    Args:
        arrays: by name, among them any of `BOUNDARIES` and `MASKS`.
        batch: how many episodes, and their steps with the padding.
        where: the file, for errors.

    Raises:
        RobooptError: if an array tells no such lengths, or two contradict.
    """
    found: dict[str, np.ndarray] = {}
    every, masks = np.arange(batch[1]), (*MASKS, *PADDING)
    for name in (*LENGTHS, *MASKS, *PADDING, *ENDS, *PARTIAL):
        value = np.asarray(arrays.get(name, 0))
        value = value[..., 0] if value.shape == (*batch, 1) else value
        value = value == 0 if name in PADDING else value
        if name in LENGTHS and value.shape == batch[:1]:
            found[name] = value.astype(int)
        elif name not in LENGTHS and value.shape == batch:
            told = value != 0
            if name in PARTIAL and not told.any():
                continue  # It tells no end.
            ends = np.where(told.any(1), told.argmax(1) + 1, batch[1])
            found[name] = told.sum(1) if name in masks else ends
            if name in masks and (told != (every < found[name][:, None])).any():
                raise RobooptError(
                    f"`path` must hold a `{name}` that changes at the end of each "
                    f"episode alone, but that of {where} does not."
                )
    if not found:
        return None
    lengths = np.min([*found.values()], axis=0)
    for name, value in found.items():
        late = value > lengths
        if name in (*LENGTHS, *masks) and late.any():
            k = int(late.argmax())
            other = next(n for n, v in found.items() if v[k] == lengths[k])
            raise RobooptError(
                f"`path` must hold arrays that agree, but in {where} episode {k} has "
                f"{value[k]} steps by `{name}`, and {lengths[k]} by `{other}`."
            )
    if not ((lengths > 0) & (lengths <= batch[1])).all():
        raise RobooptError(
            f"`path` must hold episodes of 1 to {batch[1]} steps, but those of {where} "
            f"have {lengths.min()} to {lengths.max()} by `{next(iter(found))}`."
        )
    return lengths


def check_lengths(arrays: Mapping[str, Any], where: str) -> None:
    """Raise a `RobooptError` unless `lengths` fits the other arrays."""
    lengths = arrays["lengths"]
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 0).any():
        raise RobooptError(
            "`path` must hold `lengths` that count the actions of each episode, but "
            f"those of {where} are {lengths.dtype} of shape {lengths.shape}."
        )
    count, steps = len(lengths), int(lengths.sum())
    expected = dict.fromkeys(PER_OBSERVATION, steps + count)
    expected |= dict.fromkeys(PER_STEP, steps) | dict.fromkeys(PER_EPISODE, count)
    for name, rows in expected.items():
        if name in arrays and arrays[name].shape[:1] != (rows,):
            raise RobooptError(
                f"`path` must hold {rows} rows of `{name}`, as `lengths` says, which "
                f"counts {steps} actions in {count} episodes, but those of {where} "
                f"have shape {arrays[name].shape}: `lengths` or `{name}` is wrong."
            )
    if np.shape(arrays.get("time_step", 0.0)) not in ((), (count,)):
        raise RobooptError(
            f"`path` must hold one `time_step`, or one for each of {count} episodes, "
            f"but {where} holds {arrays['time_step'].shape}."
        )


def with_timeouts(
    arrays: Mapping[str, Any], before: np.ndarray, after: np.ndarray | None, where: str
) -> tuple[Mapping[str, Any], str]:
    """Return the arrays with `timeouts` where `terminals` alone tell ends, and a note.

    Args:
        arrays: by name, among them any of `BOUNDARIES`.
        before: observations before each action, (T, obs).
        after: those after each, None where the file has none.
        where: the file, for the note.
    """
    told = [name for name in BOUNDARIES if name in arrays]
    flags = [np.asarray(arrays[name]).reshape(-1) != 0 for name in told]
    if not {*told} <= {*TERMINALS} or {len(flag) for flag in flags} != {len(before)}:
        return arrays, ""
    ends = np.any(flags, axis=0)
    alone = f"in {where} `{told[0]}` alone tells where episodes end"
    if after is None and not ends[-1]:
        return arrays, (
            f"{alone}, and the last does not end so: episodes that a limit of time "
            "ended are not told apart, which `timeouts` would."
        )
    jumps = np.append(_jumps(before, after), False) & ~ends
    if not 0 < jumps.sum() <= MAX_JUMP_SHARE * len(jumps):
        return arrays, ""
    return {**arrays, "timeouts": jumps}, (
        f"{alone}: so do {jumps.sum()} rows, the first {jumps.argmax()}, whose next "
        "observation is not that of the row below, as where a limit of time ends one."
    )


def _jumps(before: np.ndarray, after: np.ndarray | None) -> np.ndarray:
    """Return which observations, (T − 1,), do not follow from the row above."""
    if after is None or after.shape != before.shape:
        return np.zeros(max(len(before) - 1, 0), bool)
    close = np.isclose(after[:-1], before[1:], rtol=1e-4, atol=1e-6, equal_nan=True)
    return np.asarray(~close.all(axis=-1))


def check_next(
    before: np.ndarray,
    after: np.ndarray | None,
    episodes: list[slice] | None,
    path: str,
) -> str:
    """Return what is wrong with the observations after each action, if anything.

    Args:
        before: observations before each action, (T, obs).
        after: those after each, None where the file has none.
        episodes: the rows of each; None where nothing tells them.
        path: the file, for errors.

    Raises:
        RobooptError: if an episode ends there, and nothing tells it.
    """
    differs = _jumps(before, after)
    if episodes is not None:
        differs[[part.stop - 1 for part in episodes[:-1]]] = False
    if not differs.any():
        return ""
    row = int(differs.argmax())
    if episodes is None:
        raise RobooptError(
            f"`path` must tell where episodes end, but in {path} the next observation "
            f"of row {row} is not the observation of row {row + 1}, and no "
            "`episode_ends`, `dones`, or `terminals` and `timeouts` tell why: an "
            "episode ends there, or the array is wrong."
        )
    return (
        f"{path}: the next observations of {differs.sum()} rows, the first {row}, are "
        "not the observations of the rows that follow in their episodes: only the last "
        "of each episode is read."
    )


def tells_padding(arrays: Mapping[str, Any]) -> bool:
    """Return whether an array tells which steps of episodes are padding."""
    return not {*LENGTHS, *MASKS, *PADDING}.isdisjoint(arrays)


def tells_ends(arrays: Mapping[str, Any]) -> bool:
    """Return whether an array tells where the episodes of some rows end.

    A single number, but for a list of it, is of the only episode.
    """
    counts = (*LENGTHS, *ENDS, *STARTS)
    return any(
        np.ndim(arrays[name]) > 0 and (np.size(arrays[name]) != 1 or name in counts)
        for name in BOUNDARIES
        if name in arrays
    )
