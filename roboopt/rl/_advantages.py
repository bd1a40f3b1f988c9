"""Generalized advantage estimation.

With the value function V of an observation, the discount γ, and GAE's λ,

    δ_t = r_t + γ (1 − terminated_t) V(o'_t) − V(o_t),
    A_t = δ_t + γ λ (1 − ended_t) A_{t+1}

(Schulman et al., 2016, High-dimensional continuous control using generalized advantage
estimation). o'_t is the observation that step t leads to, also at the end of an
episode: a time limit cuts the sum off but not the rewards that V stands for; only a
terminal step leaves nothing to come.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def generalized_advantages(
    rewards: Float[Array, "time env"],
    values: Float[Array, "time env"],
    next_values: Float[Array, "time env"],
    terminated: Bool[Array, "time env"],
    ended: Bool[Array, "time env"],
    *,
    discount: float | Float[Array, ""],
    gae_lambda: float | Float[Array, ""],
) -> Float[Array, "time env"]:
    """Return the advantage of each step, in the unit of the rewards.

    Args:
        rewards: rewards of the steps.
        values: V of the observations before the steps.
        next_values: V of the observations after the steps.
        terminated: whether the environment ended the episode with the step.
        ended: whether the episode ended with the step, for whatever reason.
        discount: γ of one step.
        gae_lambda: λ, 0 to bootstrap after one step, 1 for the whole return.
    """
    one = jnp.ones((), rewards.dtype)
    change = rewards + discount * next_values * (one - terminated) - values

    def back(later, step):
        change, ended = step
        advantage = change + discount * gae_lambda * (one - ended) * later
        return advantage, advantage

    zeros = jnp.zeros_like(change[0])
    return jax.lax.scan(back, zeros, (change, ended), reverse=True)[1]
