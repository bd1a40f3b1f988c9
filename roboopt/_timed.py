"""Cost rates of tasks that see the time, and of those that do not."""

import inspect
from collections.abc import Callable
from typing import Any

from roboopt._errors import RobooptError


def timed(cost_rate: Callable[..., Any]) -> Callable[..., Any]:
    """Return `cost_rate(observation, action, time)`, whether it takes the time or not.

    A `cost_rate` of three parameters gets the time of the observation [s].

    Raises:
        RobooptError: if it takes neither two arguments nor three, by their places.
    """
    signature = inspect.signature(cost_rate)
    for count in 3, 2:
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        if count == 3:
            return cost_rate
        return lambda observation, action, time: cost_rate(observation, action)
    raise RobooptError(
        "`task` must have `cost_rate(observation, action)` or `cost_rate(observation, "
        f"action, time)`, got cost_rate{signature}."
    )
