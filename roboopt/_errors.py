"""The error for what a user can mend, and checks of numbers that raise it."""

from numbers import Integral


class RobooptError(ValueError):
    """An argument, file or environment that cannot be worked with.

    The message names the argument, the rule and the value. Any other exception is a
    bug.
    """


def require_at_least(least: int, **arguments: int | None) -> None:
    """Raise a `RobooptError` if an argument, unless None, is no integer >= `least`."""
    for name, value in arguments.items():
        if value is not None and not isinstance(value, Integral):
            raise RobooptError(f"`{name}` must be a whole number, got {value!r}.")
        if value is not None and value < least:
            raise RobooptError(f"`{name}` must be at least {least}, got {value}.")


def require_positive(**arguments: float | int | None) -> None:
    """Raise a `RobooptError` if an argument is given and not positive and finite."""
    for name, value in arguments.items():
        if value is not None and not 0 < value < float("inf"):
            raise RobooptError(f"`{name}` must be positive and finite, got {value}.")
