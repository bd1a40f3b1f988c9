"""Cost rates of tasks that see the time, and of those that do not."""

import inspect
from collections.abc import Callable
from typing import Any


def timed(cost_rate: Callable[..., Any]) -> Callable[..., Any]:
    """Return `cost_rate(observation, action, time)`, whether it takes the time or not.

    A `cost_rate` of three parameters gets the time of the observation [s].
    """
    if len(inspect.signature(cost_rate).parameters) > 2:
        return cost_rate
    return lambda observation, action, time: cost_rate(observation, action)
