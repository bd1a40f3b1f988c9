"""The observations of an environment: their space, and starts within it."""

from typing import Any

import gymnasium
import numpy as np

from roboopt._errors import RobooptError, require

from ._resistance import MAX_SPEED


def observation_box(
    starts: tuple[np.ndarray, np.ndarray], time: float, shown: Any
) -> gymnasium.spaces.Box:
    """Return the space of [q, q̇, goal or reference], the last two as `shown`."""
    # No joint is faster than MAX_SPEED, hence none moves farther than this.
    farthest, speeds = MAX_SPEED * time, np.full(len(starts[0]), MAX_SPEED)
    low, high = np.min(shown, axis=0), np.max(shown, axis=0)
    still = low == high  # A space needs room, and a reference may stand still.
    return gymnasium.spaces.Box(
        np.concatenate([starts[0] - farthest, -speeds, low - still]),
        np.concatenate([starts[1] + farthest, speeds, high + still]),
        dtype=np.float64,
    )


def checked_start(given: Any, space: Any) -> np.ndarray:
    """Return the start that `reset` is given, refused unless in the `space`."""
    start = np.array(given, np.float64)
    rule = f"have shape {space.shape}"
    require(start.shape == space.shape, "options['start']", rule, start.shape)
    outside = ~((space.low <= start) & (start <= space.high))
    if outside.any():
        i = int(np.argmax(outside))
        raise RobooptError(
            "`options['start']` must be within `observation_space`, at index "
            f"{i} within {space.low[i]} to {space.high[i]}, got {start[i]}."
        )
    return start
