"""Where episodes end in arrays that hold them end to end.

Public datasets say it in many ways: flags at the first or last row, counts, or the
number of its episode beside each row. All that are there must agree.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from roboopt._errors import RobooptError

STARTS = ("episode_starts", "episode_start", "is_first")
ENDS = ("episode_ends", "is_last")
LENGTHS = ("lengths", "episode_lengths", "traj_lengths", "trajectory_lengths")
INDICES = ("episode_index", "episode_indices", "episode_id", "episode_ids", "traj_id")
DONES = ("dones", "done", "next.done")
TERMINALS = ("terminals", "terminal", "terminated", "terminations", "is_terminal")
TIMEOUTS = ("timeouts", "timeout", "truncated", "truncations")
WHOLE = (*STARTS, *ENDS, *LENGTHS, *INDICES)
"""Arrays that tell the end of every episode; others may tell some of them."""
PARTIAL = (*DONES, *TERMINALS, *TIMEOUTS)
BOUNDARIES = (*WHOLE, *PARTIAL)


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
    value = value.reshape(-1) if value.ndim == 2 and 1 in value.shape else value
    ends = np.zeros(0, int)
    counts = value.dtype.kind in "iu" and not np.isin(value, (0, 1)).all()
    fits = value.ndim == 1
    if name in LENGTHS and fits:
        ends = np.cumsum(value) - 1
        fits = bool(len(ends) and value.min() > 0 and ends[-1] == rows - 1)
    elif name in ENDS and fits and counts:
        ends = value - 1
        fits = bool(np.all(np.diff(value) > 0) and value[-1] == rows)
    elif fits := fits and len(value) == rows:
        ends = np.flatnonzero(value)
        if name in INDICES:
            ends = np.append(np.flatnonzero(value[1:] != value[:-1]), rows - 1)
        elif name in STARTS:
            fits = bool(len(ends) and ends[0] == 0)
            ends = np.append(ends[1:] - 1, rows - 1)
    if not fits:
        raise RobooptError(
            f"`path` must hold `{name}` that tells where the episodes of {rows} rows "
            f"end, but that of {where} is {value.dtype} of shape {value.shape}"
            f"{', and does not begin an episode' if name in STARTS else ''}."
        )
    return set(ends.tolist())


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
    if after is None or after.shape != before.shape:
        return ""
    close = np.isclose(after[:-1], before[1:], rtol=1e-4, atol=1e-6, equal_nan=True)
    differs = np.asarray(~close.all(axis=-1))
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


def per_row(arrays: Mapping[str, Any], rows: int) -> bool:
    """Return whether an array tells the ends of episodes among `rows` rows."""
    for name in BOUNDARIES:
        shape = np.shape(arrays.get(name, 0.0))
        if name in (*LENGTHS, *ENDS) and len(shape) == 1:
            return True
        if shape in ((rows,), (rows, 1)):
            return True
    return False
