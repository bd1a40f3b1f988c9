"""Checks of numbers that several algorithms take."""

import math
from collections.abc import Sequence
from typing import Any

from roboopt._errors import RobooptError


def check_settings(
    settings: Any,
    *,
    counts: Sequence[str] = (),
    shares: Sequence[str] = (),
    positive: Sequence[str] = (),
) -> None:
    """Raise a RobooptError unless each of the fields named keeps its rule."""
    for name in counts:
        require_at_least(name, getattr(settings, name), 1)
    for name in shares:
        if not 0 <= (value := getattr(settings, name)) <= 1:
            raise RobooptError(f"`{name}` must be from 0 to 1, got {value}.")
    for name in positive:
        if not 0 < (value := getattr(settings, name)) < math.inf:
            raise RobooptError(f"`{name}` must be positive and finite, got {value}.")


def require_at_least(name: str, value: int, least: int) -> None:
    """Raise a RobooptError unless `value` is `least` or more."""
    if value < least:
        raise RobooptError(f"`{name}` must be at least {least}, got {value}.")
