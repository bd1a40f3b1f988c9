"""The range of actions that a clone keeps, where no environment limits them.

A policy that meets an observation far from all demonstrated ones extrapolates, a linear
one without end. Nobody has shown that the robot takes such actions, so the clone keeps
the demonstrated range and a margin on each side, axis by axis:

    min a − m ≤ π(o) ≤ max a + m,    m = 3 (max a − min a)

Diffusion policy normalizes actions to [−1, 1] and clips them there, without a margin.
A few episodes do not show the whole range: on demonstrations like people's, a motion to
a rare goal went beyond that of ten others by 1.8 of it, where a margin of one range
made the clone err six times as much.
"""

from typing import Any, NamedTuple

import numpy as np

MARGIN = 3.0  # of the demonstrated range
ROUNDING = 1e-6  # relative: the margin of an action that never changes


class ActionBounds(NamedTuple):
    """The least and the greatest action, (act,) each."""

    low: np.ndarray
    high: np.ndarray

    def keep(self, actions: np.ndarray) -> np.ndarray:
        """Return actions, (..., act), within the bounds."""
        return np.clip(actions, self.low, self.high)


def action_bounds(actions: Any, space: Any) -> ActionBounds:
    """Return the limits of the action `space`, and else the demonstrated range.

    Args:
        actions: those that the clone learns from, (..., act) real numbers.
        space: of the environment's actions; None without an environment.
    """
    every = np.asarray(actions, float).reshape(-1, np.shape(actions)[-1])
    low, high = every.min(0), every.max(0)
    least = ROUNDING * np.maximum(np.maximum(abs(low), abs(high)), 1.0)
    margin = np.maximum(MARGIN * (high - low), least)
    low, high = low - margin, high + margin
    if space is None:
        return ActionBounds(low, high)
    return ActionBounds(
        np.where(np.isfinite(space.low), space.low, low),
        np.where(np.isfinite(space.high), space.high, high),
    )
