"""The base of the tasks whose fields are positive numbers."""

import abc
import math
from dataclasses import fields
from typing import Any, ClassVar

from roboopt._errors import RobooptError, require

from ._tool_chain import ToolChain

Array = Any  # an array of NumPy, JAX or any library with `__array_namespace__`
NO_SCALES = "target", "times", "positions"  # fields that say where to be, and when


UNITS = {"s": "rad or m", "v": "rad/s or m/s", "e": "N·m or N"}


def scales_said(**scales: tuple[float, ...]) -> str:
    """Return the scales of joints as the end of a formula, one number if all agree.

    Args:
        **scales: of positions `s`, speeds `v` and efforts `e`.
    """
    said = []
    for name, numbers in scales.items():
        text = ", ".join(f"{number:.3g}" for number in numbers)
        value = f"({text})" if len({*numbers}) > 1 else f"{numbers[0]:.3g}"
        said.append(f"{name} = {value} [{UNITS[name]}]")
    return f"with the joints' scales {', '.join(said)}"


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
            valid = all(0 < number < math.inf for number in numbers)
            require(valid, field.name, "be positive and finite", value)

    def _end(self, observations: Array, time_step: float) -> Array:
        """Return the observations of the last `window`, (..., steps, obs)."""
        return observations[..., -(round(self.window / time_step) + 1) :, :]


class ToolTask(PositiveTask):
    """A task of an arm's joints and of the tool that they carry."""

    chain: ToolChain
    position_scale: tuple[float, ...]
    speed_scale: tuple[float, ...]
    tool_scale: float
    _observed: ClassVar[tuple[str, int]]
    """What an observation holds, and how many numbers of each joint."""

    def __post_init__(self):
        """Check the fields."""
        super().__post_init__()
        self.chain.check_scales(self.position_scale, self.speed_scale)

    def _split(self, observation: Array) -> list[Array]:
        (held, parts), n = self._observed, len(self.position_scale)
        if observation.shape[-1] != parts * n:
            raise RobooptError(
                f"`observation` must hold {held} of {n} joints on its last axis, got "
                f"shape {observation.shape}."
            )
        return [observation[..., k : k + n] for k in range(0, parts * n, n)]

    def _joint_cost(self, q: Array, velocity: Array) -> Array:
        """Return the sum of squares of errors of the joints, over their scales."""
        xp = q.__array_namespace__()
        errors = xp.concat([q, velocity], axis=-1)
        scale = xp.asarray(self.position_scale + self.speed_scale, dtype=q.dtype)
        scale = xp.reshape(scale, (1,) * (q.ndim - 1) + scale.shape)
        return xp.sum(square(errors / scale), axis=-1)

    def _square_distance(self, q: Array, goal: Array) -> Array:
        """Return the square of the distance between two configurations' tools [m²]."""
        here, there = self.chain.coordinates(q), self.chain.coordinates(goal)
        return sum(square(a - b) for a, b in zip(here, there, strict=True))


def square(x: Array) -> Array:
    """Return x²."""
    return x * x
