"""A deadline for a call that cannot be interrupted, such as a compilation."""

import math
import threading
from collections.abc import Callable
from typing import Any

from roboopt._errors import RobooptError

TOLERANCE = 1.1  # of a limit in seconds, by which it may be exceeded
NAME = "abandoned computation"


class Late(Exception):
    """A call did not return in time."""


def within(seconds: float, function: Callable[..., Any], *args: Any) -> Any:
    """Return `function(*args)`.

    The call runs in a thread of its own. If it takes too long or Ctrl-C comes, the
    thread goes on alone, and its result is dropped: XLA cannot be stopped.

    Args:
        seconds: the longest time [s]; infinite for a plain call.
        function: the function.
        args: its arguments.

    Raises:
        Late: if the call has not returned in time.
    """
    import jax

    # A precision that is set for this thread alone would be lost.
    own = jax.config.values["jax_enable_x64"] != jax.config.jax_enable_x64  # pyright: ignore
    if math.isinf(seconds) or own:
        return function(*args)
    results: list[Any] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function(*args))
        except BaseException as error:  # raised in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=call, name=NAME)
    thread.start()
    thread.join(max(seconds, 0.0))
    if errors:
        raise errors[0]
    if not results:
        raise Late
    return results[0]


def require_a_step(result: Any, seconds: float) -> None:
    """Raise a `RobooptError` if the time was up before a descent took a step.

    Args:
        result: the `roboopt.optimize.Result`.
        seconds: its limit.
    """
    if result.reason == "seconds" and not result.steps:
        raise RobooptError(
            "`seconds` must leave time for a step after the compilation, got "
            f"{seconds:g} s: 0 steps were taken in {result.seconds:.3g} s."
        )


def abandoned() -> bool:
    """Return whether a call that was too late still runs."""
    return any(thread.name == NAME for thread in threading.enumerate())
