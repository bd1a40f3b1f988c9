"""Reading the actions of many environments at once.

Continuous actions are clipped to their limits, as actuators do; discrete actions are
integers, recorded with one axis.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.policies import check_action_space
from roboopt.rollouts._env_group import all_finite

ActionReader = Callable[[Any, np.ndarray], np.ndarray]
"""`read(actions, active)` returns the recorded actions, (envs, act), of active rows."""


class RefusedAction(ValueError):
    """An action that no environment accepts: its row and the reason."""

    def __init__(self, row: int, why: str):
        super().__init__(row, why)
        self.row, self.why = row, why


def action_reader(space: Any, envs: int) -> ActionReader:
    """Return a reader of the actions of `envs` environments."""
    from gymnasium.spaces import Box

    check_action_space(space)
    box = isinstance(space, Box)
    read_rows = _numbers(space) if box else _choices(space)
    several = box or hasattr(space, "nvec")
    shapes = [space.shape] if several else [(), (1,)]
    kinds = "fiu" if box else "fiub"
    wanted = f"{'numbers' if box else 'integers'} of shape {space.shape}"
    wanted = wanted if several else "an integer"

    def read(actions: Any, active: np.ndarray) -> np.ndarray:
        raw = np.asarray(actions)
        if raw.ndim == 0 or len(raw) != envs:
            raise RobooptError(
                f"`actions` must hold one for each of {envs} environments, got shape "
                f"{raw.shape}."
            )
        if raw.shape[1:] not in shapes or raw.dtype.kind not in kinds:
            why = f"must return {wanted}, got {raw.dtype} of shape {raw.shape[1:]}"
            raise RefusedAction(int(active.argmax()), why)
        return read_rows(raw, active)

    return read


def _numbers(space: Any) -> ActionReader:
    low, high, dtype = space.low, space.high, space.dtype

    def read(raw: np.ndarray, active: np.ndarray) -> np.ndarray:
        clipped = np.minimum(np.maximum(raw, low), high)
        if clipped.dtype.kind == "f" and not all_finite(clipped):
            bad = ~np.isfinite(clipped).all(1) & active
            if bad.any():
                row = int(bad.argmax())
                raise RefusedAction(row, f"must return finite actions, got {raw[row]}")
            clipped[~active] = 0
        # Last, because a value beyond the limits may be beyond the type.
        return clipped.astype(dtype, copy=False)

    return read


def _choices(space: Any) -> ActionReader:
    several = hasattr(space, "nvec")
    first = np.atleast_1d(space.start).astype(np.int64)
    last = first + np.atleast_1d(space.nvec if several else space.n) - 1
    least, most = int(first[0]), int(last[0])
    choice = f"an integer from {least} to {most}"
    if several:
        choice = f"integers from {first} to {last}"

    def read(raw: np.ndarray, active: np.ndarray) -> np.ndarray:
        if raw.dtype.kind != "f" and not several:
            chosen = raw.ravel().tolist()
            if least <= min(chosen) and max(chosen) <= most:
                return raw.reshape(-1, 1).astype(np.int64)
        raw = raw.reshape(len(raw), -1)
        good = (first <= raw) & (raw <= last) & (raw % 1 == 0)
        bad = ~good.all(1) & active
        if bad.any():
            row = int(bad.argmax())
            value = raw[row] if several else raw[row, 0]
            raise RefusedAction(row, f"must choose {choice}, got {value}")
        return np.where(good, raw, first).astype(np.int64)

    return read
