"""The base of the tasks whose fields are positive numbers."""

import abc
import math
from dataclasses import fields
from typing import Any

from roboopt._errors import RobooptError

from ._tool_chain import ToolChain

Array = Any  # an array of NumPy, JAX or any library with `__array_namespace__`
NO_SCALES = "target", "times", "positions"  # fields that say where to be, and when


class PositiveTask(abc.ABC):
    """A task whose fields are positive numbers, or tuples of them, but for a goal."""

    window: float

    def __post_init__(self):
        """Check the fields."""
        for field in fields(self):  # pyright: ignore[reportArgumentType]
            value = getattr(self, field.name)
            if isinstance(value, ToolChain) or field.name in NO_SCALES:
                continue
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(0 < number < math.inf for number in numbers):
                raise RobooptError(
                    f"`{field.name}` must be positive and finite, got {value}."
                )

    def _end(self, observations: Array, time_step: float) -> Array:
        """Return the observations of the last `window`, (..., steps, obs)."""
        return observations[..., -(round(self.window / time_step) + 1) :, :]


def square(x: Array) -> Array:
    """Return x²."""
    return x * x
