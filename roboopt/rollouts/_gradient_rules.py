"""Gradients of a rollout that are not those of its values: faded, and led back."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array


def faded(carry: Any, kept: float) -> Any:
    """Return `carry`, with its gradient multiplied by `kept`."""

    def fade(x):
        held = jax.lax.stop_gradient(x)
        return held + kept * (x - held)

    moving, rest = eqx.partition(carry, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(fade, moving), rest)


@jax.custom_vjp
def restored(action: Array, held: Array) -> Array:
    """Return the action as it is held, with the gradient of what leads back to it."""
    return held


def _restored_forward(action: Array, held: Array) -> tuple[Array, Array]:
    return held, action - held


def _restored_backward(beyond: Array, slope: Array) -> tuple[Array, Array]:
    # Less of what is beyond the upper limit is wanted where the slope is positive.
    back = (beyond == 0) | (beyond * slope > 0)
    return jnp.where(back, slope, jnp.zeros_like(slope)), jnp.zeros_like(slope)


restored.defvjp(_restored_forward, _restored_backward)
