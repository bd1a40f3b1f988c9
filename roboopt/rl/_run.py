"""A run: a descent that an algorithm has prepared, and how its progress is counted."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from roboopt.diagnose import HorizonNorms
from roboopt.optimize import Result, minimize
from roboopt.rollouts import Episode

RECENT_EPISODES = 100  # over which the mean return is taken
MEASURE_PERIOD_S = 1.0
MAX_MEASURE_SHARE = 0.2  # of the time


@dataclass(frozen=True, kw_only=True)
class Run:
    """The arguments of `minimize`, and the bookkeeping of `reinforce`."""

    algorithm: Any
    gradient: str
    """"likelihood", "analytic", "zeroth-order" or "mixed"."""
    objective: Any
    model: Any
    """The policy or agent at the start."""
    data: Any
    steps: int
    """Gradient steps, at most."""
    settings: Mapping[str, Any]
    """Further arguments of `minimize`: the optimizer, the gradient, the batch size."""
    timesteps: int | None
    """The budget of environment steps; None where `steps` is the budget."""
    count: Callable[[Any], tuple[int, list[Episode]]]
    """`count(status)` returns the environment steps so far, and the episodes that have
    ended since the last call."""
    choice: dict[str, str]
    """The policy, algorithm, environment and budget, in words."""
    exhausted: Callable[[], bool] = lambda: False
    """Whether the budget of environment steps is used up before the gradient steps."""
    gradients: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Norm and signal-to-noise ratio of the gradient by step, where measured beside."""
    horizon: int | None = None
    """Steps of simulation that the gradient is propagated through, if it is."""
    norm_by_horizon: Callable[[Any], HorizonNorms] | None = None
    """The gradient of a policy by its horizon, where there is a twin."""
    reused: int = 1
    """Gradient steps on the same samples."""
    recent: int = RECENT_EPISODES
    """Episodes over which the mean return, and so the target, is taken."""
    close: Callable[[], None] = lambda: None

    def minimize(self, **settings: Any) -> Result:
        """Descend; `settings` are further arguments of `minimize`."""
        return minimize(
            self.objective,
            self.model,
            self.data,
            steps=self.steps,
            **self.settings,
            **settings,
        )


def count_blocks(data: Any) -> Callable[[Any], tuple[int, list[Episode]]]:
    """Return the `count` of data with `timesteps` and `episodes`."""
    seen = 0

    def count(status: Any) -> tuple[int, list[Episode]]:
        nonlocal seen
        fresh, seen = data.episodes[seen:], len(data.episodes)
        return data.timesteps, fresh

    return count


class Measured:
    """The `count` of descents whose steps run whole episodes of many policies.

    The current policy runs beside the descent, at most every second and for at most a
    fifth of the time, or after every step where a target asks for it. These
    episodes do not count as steps of the learning.
    """

    def __init__(
        self,
        timesteps: Callable[[Any], int],
        measure: Callable[[Any, int], list[Episode]],
        every_step: bool,
    ):
        """Keep the functions.

        Args:
            timesteps: `timesteps(status)`, environment steps of the learning so far.
            measure: `measure(model, step)` runs the policy.
            every_step: whether to measure after every step.
        """
        self._timesteps, self._measure, self._every_step = (
            timesteps,
            measure,
            every_step,
        )
        self._last, self._pause = -math.inf, 0.0

    def __call__(self, status: Any) -> tuple[int, list[Episode]]:
        """Return the environment steps so far, and the episodes measured now."""
        timesteps = self._timesteps(status)
        if status.seconds - self._last < self._pause:
            return timesteps, []
        began = time.perf_counter()
        found = self._measure(status.model, status.step)
        cost, self._last = time.perf_counter() - began, status.seconds
        if not self._every_step:
            self._pause = max(MEASURE_PERIOD_S, cost / MAX_MEASURE_SHARE)
        return timesteps, found
