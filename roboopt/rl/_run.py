"""A run: a descent that an algorithm has prepared, and how its progress is counted."""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from roboopt._progress import counted
from roboopt.gradients import Automatic
from roboopt.rollouts import Episode

RECENT_EPISODES = 100  # over which the mean return is taken
MEASURE_PERIOD_S = 1.0
MAX_MEASURE_SHARE = 0.2  # of the time


@dataclass(frozen=True, kw_only=True)
class Run:
    """What `reinforce` gives to `minimize`, and how it counts on the way."""

    algorithm: Any
    objective: Any
    model: Any
    """The policy or agent at the start."""
    data: Any
    steps: int
    """Gradient steps, at most."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `minimize`, such as the optimizer."""
    estimator: Any = Automatic()
    """The gradient estimator for `reinforce`; by default one that notes the norm and
    the noise of the gradient."""
    timesteps: int | None
    """The budget of environment steps; None where `steps` is the budget."""
    progress: Any
    """An `Experience` or `Measured`, which counts environment steps and episodes."""
    choice: dict[str, str]
    """The policy, algorithm, environment and budget, in words."""
    horizon: int | None = None
    """Steps of simulation that the gradient is propagated through, if it is."""
    recent: int = RECENT_EPISODES
    """Episodes over which the mean return, and so the target, is taken."""
    gradients: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Relative norm and signal-to-noise ratio of the gradient by step, where they are
    measured beside."""
    close: Callable[[], None] = lambda: None


def budget_in_words(timesteps: int, least: int) -> str:
    """Return the budget in words; warn if even the shortest learning may exceed it."""
    if least <= timesteps:
        return counted(timesteps, "timestep")
    text = f"the shortest learning takes up to {counted(least, 'timestep')}"
    warnings.warn(f"{text}, but `timesteps` is {timesteps}.", stacklevel=2)
    return f"{counted(timesteps, 'timestep')}, although {text}"


class Measured:
    """Counts steps and episodes where gradient steps run whole episodes.

    These are episodes of many policies. The current policy runs beside the descent, at
    most every second and for at most a fifth of the time, or after every step where a
    target asks for it.
    """

    counted = "evaluated_episodes"
    """The name of the number of `recent_episodes` in logs."""

    def __init__(
        self,
        count: Callable[[int], int],
        measure: Callable[[Any, int], list[Episode]],
        *,
        every_step: bool,
        spent: int = 0,
        cost: int = 0,
        budget: int | None = None,
    ):
        """Keep the arguments.

        Args:
            count: `count(step)`, environment steps up to a gradient step.
            measure: `measure(model, step)` runs the policy.
            every_step: whether to measure after every step.
            spent: environment steps of the preparation, which `count` includes.
            cost: environment steps of a gradient step, at most as far as known.
            budget: environment steps, at most.
        """
        self._count, self._measure, self._every_step = count, measure, every_step
        self._earlier, self._spent, self._budget = 0, spent, budget
        self._before, self._cost = spent, cost
        self._last, self._pause, self.exhausted = -math.inf, 0.0, False

    def taken(self, step: int) -> int:
        """Return the environment steps up to a gradient step."""
        return self._earlier + self._count(step)

    def resume(self, step: int, timesteps: int) -> None:
        """Go on from a gradient step up to which there were `timesteps`."""
        self._earlier = timesteps + self._spent - self._count(step)
        self._before = self.taken(step)

    def recent_episodes(self, status: Any) -> list[Episode]:
        """Run the policy, if it is time, and return its episodes."""
        found = self._measured(status)
        if self._budget is not None:
            taken = self.taken(status.step)
            self._cost = max(self._cost, taken - self._before)
            self._before = taken
            # The first evaluation is of the start: one more judges what was learned.
            self.exhausted = status.step > 0 and taken + self._cost > self._budget
        return found

    def _measured(self, status: Any) -> list[Episode]:
        if status.seconds - self._last < self._pause:
            return []
        began = time.perf_counter()
        found = self._measure(status.model, status.step)
        cost, self._last = time.perf_counter() - began, status.seconds
        if not self._every_step:
            self._pause = max(MEASURE_PERIOD_S, cost / MAX_MEASURE_SHARE)
        return found
