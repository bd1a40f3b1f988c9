"""Delay and first-order lag of sampled actions, differentiable in both times."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def delayed(
    actions: Float[Array, "time act"], steps: Float[Array, " act"]
) -> Float[Array, "time act"]:
    """Return u(k − steps): linear between samples, held before the first."""
    count = actions.shape[0]
    at = jnp.maximum(jnp.arange(count)[:, None] - steps[None], 0.0)
    # Interpolating between the sample above and the one before it makes the derivative
    # at a delay of 0, and of every whole step, that of a longer delay.
    above = jnp.clip(jnp.ceil(at).astype(int), 0, count - 1)
    below = jnp.maximum(above - 1, 0)
    high = jnp.take_along_axis(actions, above, 0)
    return high - (above - at) * (high - jnp.take_along_axis(actions, below, 0))


def lagged(
    actions: Float[Array, "time act"], steps: Float[Array, " act"]
) -> Float[Array, "time act"]:
    """Return the mean over each step of a first-order lag behind held actions.

    The lag follows T ẏ = u − y exactly, with T in steps, from rest on the first sample.
    The value at the end of a step would not do: a short lag has decayed by then, and
    its derivative at 0 would be 0.
    """
    there = steps > 0
    keep = jnp.where(there, jnp.exp(-1.0 / jnp.where(there, steps, 1.0)), 0.0)

    def step(before: Array, action: Array) -> tuple[Array, Array]:
        gap = before - action
        return action + keep * gap, action + steps * (1 - keep) * gap

    return jax.lax.scan(step, actions[0], actions)[1]
