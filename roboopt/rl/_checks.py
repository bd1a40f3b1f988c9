"""Checks of numbers that several algorithms take."""

from roboopt._errors import RobooptError


def require_at_least(name: str, value: int, least: int) -> None:
    """Raise a RobooptError unless `value` is `least` or more."""
    if value < least:
        raise RobooptError(f"`{name}` must be at least {least}, got {value}.")


def require_share(name: str, value: float) -> None:
    """Raise a RobooptError unless `value` is from 0 to 1."""
    if not 0 <= value <= 1:
        raise RobooptError(f"`{name}` must be from 0 to 1, got {value}.")


def require_positive(name: str, value: float) -> None:
    """Raise a RobooptError unless `value` is positive and finite."""
    if not 0 < value < float("inf"):
        raise RobooptError(f"`{name}` must be positive and finite, got {value}.")
