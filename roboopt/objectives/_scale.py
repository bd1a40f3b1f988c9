"""Scales: the size of an error, in the unit of its axis, that costs as much as 1."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from roboopt._errors import RobooptError


def check_scale(
    name: str, scale: Any, *, scalar: bool = False, infinite: bool = True
) -> None:
    """Check the scale of an error, unless it is traced.

    Args:
        name: of the argument.
        scale: one number an axis, in its unit.
        scalar: whether one number for all axes is accepted too.
        infinite: whether infinite scales, of axes that do not count, are accepted; at
            least one must be finite.

    Raises:
        RobooptError: if a number is not positive, or infinite where it must not be.
    """
    if isinstance(scale, jax.core.Tracer):  # pyright: ignore
        return
    numbers = np.asarray(scale)
    finite = np.isfinite(numbers)
    shaped = numbers.ndim == 1 or (scalar and numbers.ndim == 0)
    enough = finite.any() if infinite else finite.all()
    if not (shaped and (numbers > 0).all() and enough):
        which = "one of them" if infinite else "all of them"
        raise RobooptError(
            f"`{name}` must hold one positive number an axis, {which} finite, got "
            f"{scale}."
        )


def scaled(error: Array, scale: Any, name: str = "scale") -> Array:
    """Return error / scale along the last axis, 0 where the scale is infinite.

    Raises:
        RobooptError: if `scale` does not hold one number for each axis of the error.
    """
    scale = jnp.asarray(scale, error.dtype)
    if scale.shape != error.shape[-1:]:
        raise RobooptError(
            f"`{name}` must hold one for each of the {error.shape[-1]} axes, got shape "
            f"{scale.shape}."
        )
    scale = jnp.broadcast_to(scale, error.shape)
    counts = jnp.isfinite(scale)
    return jnp.where(counts, error / jnp.where(counts, scale, 1.0), 0.0)
