"""Samples of episodes that are no finite numbers: said with their first place."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from roboopt.data._trajectory import LIMITS, Trajectory

LEARNED = ("observations", "actions", "times", *LIMITS)
"""The arrays that a policy is learned from."""
BESIDE = ("rewards", "efforts")
MAX_CHECKED = 2**28  # bytes: larger files are checked where their rows are read


def not_finite(
    runs: Sequence[Trajectory],
    where: str,
    arrays: Sequence[str] = LEARNED,
    names: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[str]:
    """Yield, for each array, where the first number of it is that is not finite.

    Args:
        runs: the episodes of a file, or of a part of it.
        where: the file, and the place in it.
        arrays: the names of the arrays.
        names: those of the axes of observations and actions, where the file tells.
    """
    for name in arrays:
        values = [getattr(run, name) for run in runs]
        wrong = [
            np.zeros(0, bool) if x is None else ~is_finite(name, np.asarray(x))
            for x in values
        ]
        found = [k for k, one in enumerate(wrong) if one.any()]
        if not found:
            continue
        episode = found[0]
        step, *axes = (int(i) for i in np.argwhere(wrong[episode])[0])
        value = float(np.asarray(values[episode])[step, *axes])
        axis = f", axis {axes[-1]}" if axes else ""
        own = (names or {}).get(name, ())
        axis += f", {own[axes[0]]}" if len(axes) == 1 and axes[0] < len(own) else ""
        of = f"episode {episode} of {where}" if len(runs) > 1 else where
        rows = sum(int(x.reshape(len(x), -1).any(1).sum()) for x in wrong if x.size)
        more = f", the first of {rows} such samples" if rows > 1 else ""
        more += f" in {len(found)} episodes" if len(found) > 1 else ""
        yield f"`{name}` of {of} is {value} at step {step}{axis}{more}"


def is_finite(name: str, values: np.ndarray) -> np.ndarray:
    """Return which values of an array are valid; limits may be infinite."""
    if values.dtype.kind != "f":
        return np.ones(values.shape, bool)
    return ~np.isnan(values) if name in LIMITS else np.isfinite(values)
