"""Checks of numbers that a user gives, each by the name of its argument."""

import math
from typing import Any

from roboopt._errors import RobooptError


def require_at_least(least: int, **values: Any) -> None:
    """Raise a RobooptError unless each value is None, or `least` or more."""
    for name, value in values.items():
        if value is not None and not value >= least:
            raise RobooptError(f"`{name}` must be at least {least}, got {value}.")


def require_positive(**values: Any) -> None:
    """Raise a RobooptError unless each value is positive and finite."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise RobooptError(f"`{name}` must be positive and finite, got {value}.")


def require_share(**values: Any) -> None:
    """Raise a RobooptError unless each value is from 0 to 1."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise RobooptError(f"`{name}` must be from 0 to 1, got {value}.")
