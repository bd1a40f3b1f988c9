"""What many environments of one kind take, read for all of them at once.

It is what `_spaces` reads of each; where that would refuse, it is asked why.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.rollouts._spaces import actions_of

Read = Callable[[Any, np.ndarray], np.ndarray]
"""Of actions and which rows count, returns what is recorded, (envs, act)."""


def read_many(space: Any, envs: int) -> Read:
    """Return how the actions of `envs` environments with `space` are read.

    What is returned raises `Refused` for the first row that no environment could take.

    Raises:
        RobooptError: as `actions_of`.
    """
    from gymnasium.spaces import Box

    one = actions_of(space).read
    numbers = _numbers(space, envs) if isinstance(space, Box) else _choices(space, envs)

    def read(actions: Any, active: np.ndarray) -> np.ndarray:
        raw = np.asarray(actions)
        if raw.shape[:1] != (envs,):
            raise RobooptError(
                f"`actions` must hold one for each of {envs} environments, got shape "
                f"{raw.shape}."
            )
        recorded = numbers(raw, active)
        if recorded is None:
            row = 0
            try:
                for row in np.flatnonzero(active).tolist():
                    one(raw[row])
            except ValueError as refused:
                raise RefusedRow(row, str(refused)) from None
            raise AssertionError("one by one, they can be read")
        return recorded

    return read


class RefusedRow(ValueError):
    """An action that no environment could take: whose, and why."""

    def __init__(self, row: int, why: str):
        """Say it."""
        super().__init__(row, why)
        self.row, self.why = row, why


def _numbers(space: Any, envs: int) -> Callable[..., np.ndarray | None]:
    shape, low, high, dtype = (envs, *space.shape), space.low, space.high, space.dtype

    def read(raw: np.ndarray, active: np.ndarray) -> np.ndarray | None:
        if raw.shape != shape or raw.dtype.kind not in "fiu":
            return None
        clipped = np.minimum(np.maximum(raw, low), high)
        finite = np.isfinite(clipped)
        if not finite.all():
            if not finite[active].all():
                return None
            clipped[~active] = 0
        # Last, for what is beyond the limits may be beyond the type.
        return clipped.astype(dtype, copy=False)

    return read


def _choices(space: Any, envs: int) -> Callable[..., np.ndarray | None]:
    nvec = np.atleast_1d(space.nvec if hasattr(space, "nvec") else space.n)
    first = np.atleast_1d(space.start).astype(np.int64)
    last = first + nvec - 1
    shapes = [(envs, len(nvec))] + [(envs,)] * (not hasattr(space, "nvec"))

    def read(raw: np.ndarray, active: np.ndarray) -> np.ndarray | None:
        if raw.shape not in shapes or raw.dtype.kind not in "fiub":
            return None
        raw = raw.reshape(envs, -1)
        good = (first <= raw) & (raw <= last)
        if raw.dtype.kind == "f":
            good &= raw % 1 == 0
        if not good.all():
            if not good[active].all():
                return None
            raw = np.where(good, raw, first)
        return raw.astype(np.int64)

    return read
