"""Short windows of a rollout, with a value function at their end.

    L(π) = −E[Σ_{t<h} r_t + V(o_h)]

differentiated through the h steps of the dynamics (after Xu et al., 2022, Accelerated
policy learning with parallel differentiable simulation), with all that a step hands on
fading by γ on the way back. The gradient of the action a_k is so that of

    Σ_{k≤t<h} γ^(t−k) r_t + γ^(h−k) V(o_h),

the discounted return of each state on the way, where discounting the sum itself would
count the later actions of a window for less. V learns beside from what its source says;
nothing of it moves for the policy's sake.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from roboopt._core import AnyArray
from roboopt.objectives._objective import Term
from roboopt.policies import draw
from roboopt.rollouts import faded


class WindowSettings:
    """What all windows of a source share; one object is equal to itself alone."""

    rollout: Any
    """Whose dynamics and reward they run through."""
    steps: int
    discount: float
    """γ, of one step."""

    def __init__(self, rollout: Any, steps: int, discount: float):
        """Keep them."""
        self.rollout, self.steps, self.discount = rollout, steps, discount


class Window(eqx.Module):
    """Where short rollouts begin, and what the value function is to say elsewhere."""

    starts: Float[AnyArray, "start obs"]
    left: Int[AnyArray, " start"]
    """Steps until the episode ends, which a window does not go beyond."""
    keys: UInt32[AnyArray, "start word"] | None
    """What the agent draws from in each; None where it does not act by chance."""
    observations: Float[AnyArray, "start time obs"]
    targets: Float[AnyArray, "start time"]
    """What the value function is to say of them."""
    unit: Float[AnyArray, " start"]
    """Of the value function, in that of the rewards, the same for all."""
    settings: WindowSettings = eqx.field(static=True)


def short_horizon(objective: Any, model: Any, window: Window) -> dict[str, Term]:
    """Return the terms of the windows that begin at `window.starts`.

    Rewards count in the value function's unit, of whose error it is half the square.
    """
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)
    given = eqx.combine(jax.lax.stop_gradient(arrays), rest)
    steps = window.settings.steps

    def earned(start, left, unit, key):
        keys = None
        if key is not None:
            keys = jax.random.split(jax.random.wrap_key_data(key), steps)
        return _earned(model, given, start, left, unit, keys, window.settings)

    axes = (0, 0, 0, None if window.keys is None else 0)
    values = jax.vmap(earned, in_axes=axes)(
        window.starts, window.left, window.unit, window.keys
    )
    said = jax.vmap(jax.vmap(model.value))(window.observations)
    error = said - window.targets
    terms = {
        "negative_reward": Term(-jnp.mean(values), 1.0, "1"),
        "value_error": Term(0.5 * jnp.mean(error**2), objective.value_weight, "1"),
    }
    if window.keys is not None:
        entropy = jnp.mean(jax.vmap(jax.vmap(model.entropy))(window.observations))
        terms["negative_entropy"] = Term(-entropy, objective.entropy_weight, "nat")
    return terms


def _earned(
    model: Any,
    given: Any,
    start: Float[Array, " obs"],
    left: Int[Array, ""],
    unit: Float[Array, ""],
    keys: Any,
    settings: WindowSettings,
) -> Float[Array, ""]:
    """Return what one window earns, and what is expected after its end."""
    rollout, discount = settings.rollout, settings.discount

    @jax.checkpoint
    def step(observation, going, key):
        if key is None:
            action = model(observation)
        else:
            _, action = draw(model, observation, key)
        action, after = rollout.step(observation, action, restoring=True)
        reward = rollout.rewards(observation, action, after)
        # At the episode's end it stands still, and earns nothing more.
        after = jnp.where(going, faded(after, discount), observation)
        return after, jnp.where(going, reward, jnp.zeros_like(reward))

    def scanned(carry, inputs):
        observation, total = carry
        index, key = inputs
        observation, reward = step(observation, index < left, key)
        return (observation, total + reward), None

    inputs = jnp.arange(settings.steps), keys
    first = start, jnp.zeros((), start.dtype)
    (end, total), _ = jax.lax.scan(scanned, first, inputs)
    return total / unit + given.value(end)
