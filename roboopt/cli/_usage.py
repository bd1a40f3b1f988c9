"""What a user of the command line can get wrong, and how it is said."""

import math
from collections.abc import Sequence
from difflib import get_close_matches

from roboopt._errors import RobooptError


class UsageError(RobooptError):
    """An argument that cannot be worked with; its message is one line for its user."""


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise a UsageError that lists `choices` unless `value` is one of them."""
    if value in choices:
        return
    close = get_close_matches(value, choices, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise UsageError(f"{name} must be one of {', '.join(choices)}, got {value!r}{hint}")


def require_count(name: str, value: int | None) -> None:
    """Raise a UsageError unless `value` is at least 1, or not given."""
    if value is not None and value < 1:
        raise UsageError(f"{name} must be at least 1, got {value}")


def require_positive(name: str, value: float | None, *, zero: bool = False) -> None:
    """Raise a UsageError unless `value` is positive and finite, or not given.

    Args:
        name: of the argument.
        value: what was given.
        zero: whether 0 will do too.
    """
    if value is None or (0 < value < math.inf) or (zero and value == 0):
        return
    rule = "0 or more" if zero else "positive"
    raise UsageError(f"{name} must be {rule} and finite, got {value}")
