"""Checks of the values of flags."""

import math
from collections.abc import Sequence
from difflib import get_close_matches

from roboopt._errors import RobooptError


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise an error that lists `choices` unless `value` is one of them."""
    if value in choices:
        return
    close = get_close_matches(value, choices, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise RobooptError(
        f"{name} must be one of {', '.join(choices)}, got {value!r}{hint}"
    )


def require_count(name: str, value: int | None) -> None:
    """Raise an error unless `value` is at least 1, or not given."""
    if value is not None and value < 1:
        raise RobooptError(f"{name} must be at least 1, got {value}")


def require_positive(name: str, value: float | None, *, zero: bool = False) -> None:
    """Raise an error unless `value` is positive and finite, or not given.

    Args:
        name: of the argument.
        value: what was given.
        zero: whether 0 will do too.
    """
    if value is None or (0 < value < math.inf) or (zero and value == 0):
        return
    rule = "0 or more" if zero else "positive"
    raise RobooptError(f"{name} must be {rule} and finite, got {value}")
