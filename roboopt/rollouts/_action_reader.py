"""Reading the actions of many environments at once.

Continuous actions are clipped to their limits, as actuators do; discrete actions are
integers, recorded with one axis.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.policies import check_action_space

ActionReader = Callable[[Any, np.ndarray], np.ndarray]
"""`read(actions, active)` returns the recorded actions, (envs, act), of active rows."""


class RefusedAction(ValueError):
    """An action that no environment accepts: its row and the reason."""

    def __init__(self, row: int, why: str):
        """Keep the row and the reason."""
        super().__init__(row, why)
        self.row, self.why = row, why


def all_finite(values: np.ndarray) -> bool:
    """Return whether all values are finite."""
    if values.dtype.kind != "f":
        return True
    # Finite squares need no closer look, and NumPy has no faster function.
    return math.isfinite(np.vdot(values, values)) or bool(np.isfinite(values).all())


def action_reader(space: Any, envs: int) -> ActionReader:
    """Return a function that reads the actions of `envs` environments.

    The function raises `RefusedAction` for the first active row that no environment
    accepts.

    Raises:
        RobooptError: as `check_action_space`.
    """
    from gymnasium.spaces import Box

    check_action_space(space)
    rows = _numbers if isinstance(space, Box) else _choices
    read_rows = rows(space, envs)

    def read(actions: Any, active: np.ndarray) -> np.ndarray:
        raw = np.asarray(actions)
        if raw.ndim == 0 or len(raw) != envs:
            raise RobooptError(
                f"`actions` must hold one for each of {envs} environments, got shape "
                f"{raw.shape}."
            )
        return read_rows(raw, active)

    return read


def _numbers(space: Any, envs: int) -> ActionReader:
    shape, low, high, dtype = space.shape, space.low, space.high, space.dtype

    def read(raw: np.ndarray, active: np.ndarray) -> np.ndarray:
        if raw.shape[1:] != shape or raw.dtype.kind not in "fiu":
            found = f"{raw.dtype} of shape {raw.shape[1:]}"
            why = f"must return numbers of shape {shape}, got {found}"
            raise RefusedAction(int(active.argmax()), why)
        clipped = np.minimum(np.maximum(raw, low), high)
        if not all_finite(clipped):
            finite = np.isfinite(clipped)
            bad = ~finite.all(1) & active
            if bad.any():
                row = int(bad.argmax())
                raise RefusedAction(row, f"must return finite actions, got {raw[row]}")
            clipped[~active] = 0
        # Last, because a value beyond the limits may be beyond the type.
        return clipped.astype(dtype, copy=False)

    return read


def _choices(space: Any, envs: int) -> ActionReader:
    several = hasattr(space, "nvec")
    first = np.atleast_1d(space.start).astype(np.int64)
    last = first + np.atleast_1d(space.nvec if several else space.n) - 1
    shapes = [first.shape] if several else [(1,), ()]
    wanted = f"integers of shape {first.shape}" if several else "an integer"
    ends = (first, last) if several else (first[0], last[0])
    least, most = int(first[0]), int(last[0])
    choice = f"{'integers' if several else 'an integer'} from {ends[0]} to {ends[1]}"

    def read(raw: np.ndarray, active: np.ndarray) -> np.ndarray:
        if raw.shape[1:] not in shapes or raw.dtype.kind not in "fiub":
            found = f"{raw.dtype} of shape {raw.shape[1:]}"
            why = f"must return {wanted}, got {found}"
            raise RefusedAction(int(active.argmax()), why)
        raw = raw.reshape(envs, -1)
        if raw.dtype.kind != "f" and not several:
            chosen = raw[:, 0].tolist()
            if least <= min(chosen) and max(chosen) <= most:
                return raw.astype(np.int64)
        good = (first <= raw) & (raw <= last)
        if raw.dtype.kind == "f":
            good &= raw % 1 == 0
        if not good.all():
            bad = ~good.all(1) & active
            if bad.any():
                row = int(bad.argmax())
                value = raw[row] if several else raw[row, 0]
                raise RefusedAction(row, f"must choose {choice}, got {value}")
            raw = np.where(good, raw, first)
        return raw.astype(np.int64)

    return read
