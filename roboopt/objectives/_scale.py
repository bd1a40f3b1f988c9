"""Errors of coordinates of different units: their scales, and their turns.

A scale is the size of an error, in the unit of its axis, that costs as much as 1.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from roboopt._errors import RobooptError, floats, require


def check_scale(
    name: str, scale: Any, *, scalar: bool = False, infinite: bool = True
) -> None:
    """Refuse a scale that does not hold a positive number an axis, unless traced.

    With `scalar` one number for all axes is accepted too, with `infinite` the infinite
    scales of axes that do not count, unless all are infinite.
    """
    if isinstance(scale, jax.core.Tracer):  # pyright: ignore
        return
    numbers = floats(name, scale)
    finite = np.isfinite(numbers)
    shaped = numbers.ndim == 1 or (scalar and numbers.ndim == 0)
    enough = finite.any() if infinite else finite.all()
    if not (shaped and (numbers > 0).all() and enough):
        which = "one of them" if infinite else "all of them"
        raise RobooptError(
            f"`{name}` must hold one positive number an axis, {which} finite, got "
            f"{scale}."
        )


def scaled(error: Array, scale: Any, name: str = "scale", source: str = "") -> Array:
    """Return error / scale along the last axis, 0 where the scale is infinite.

    Messages say the `name` of the scale, and the class that takes it from data.
    """
    axes = error.shape[-1]
    if scale is None:
        raise RobooptError(
            f"`{name}` must hold one number for each of the {axes} axes, got None: "
            f"give it, or take it from data by `{source}.for_data(model, data)`."
        )
    scale = jnp.asarray(scale, error.dtype)
    if scale.shape != (axes,):
        raise RobooptError(
            f"`{name}` must hold one for each of the {axes} axes, got shape "
            f"{scale.shape}."
        )
    scale = jnp.broadcast_to(scale, error.shape)
    counts = jnp.isfinite(scale)
    return jnp.where(counts, error / jnp.where(counts, scale, 1.0), 0.0)


def root_mean_square(values: Any) -> np.ndarray:
    """Return the scale of each axis from data, 1 where all of its values are 0."""
    values = np.asarray(values)
    size = np.sqrt(np.mean(values**2, tuple(range(values.ndim - 1))))
    return np.where(size > 0, size, 1.0)


def wrapped(error: Array, wraps: tuple[bool, ...] | None) -> Array:
    """Return the error with the angles among its coordinates in [−π, π]."""
    if wraps is None or not any(wraps):
        return error
    check_wraps(wraps, error.shape[-1])
    turns = jax.lax.stop_gradient(jnp.round(error / (2 * jnp.pi)))
    return error - 2 * jnp.pi * jnp.where(
        jnp.broadcast_to(jnp.array(wraps), error.shape), turns, 0.0
    )


def check_wraps(wraps: tuple[bool, ...], size: int) -> None:
    """Refuse `wraps` that do not hold one for each of `size` coordinates."""
    rule = f"hold one for each of the {size} state coordinates"
    require(len(wraps) == size, "wraps", rule, len(wraps))
