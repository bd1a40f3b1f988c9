"""The error for what a user can mend, and checks of numbers that raise it."""

import math
from typing import Any


class RobooptError(ValueError):
    """An argument, file or environment that cannot be worked with.

    The message names the argument, the rule and the value. Any other exception is a
    bug.
    """


def require_at_least(least: int, **arguments: Any) -> None:
    """Raise a `RobooptError` if an argument that is not None is less than `least`."""
    for name, value in arguments.items():
        if value is not None and not value >= least:
            raise RobooptError(f"`{name}` must be at least {least}, got {value}.")


def require_positive(**arguments: Any) -> None:
    """Raise a `RobooptError` if an argument is given and not positive and finite.

    An argument may be a number or an array.
    """
    import numpy as np

    for name, value in arguments.items():
        if value is None:
            continue
        numbers = np.asarray(value)
        if not ((numbers > 0) & (numbers < math.inf)).all():
            raise RobooptError(f"`{name}` must be positive and finite, got {value}.")


def require_share(**arguments: Any) -> None:
    """Raise a `RobooptError` unless each argument is from 0 to 1."""
    for name, value in arguments.items():
        if not 0 <= value <= 1:
            raise RobooptError(f"`{name}` must be from 0 to 1, got {value}.")
