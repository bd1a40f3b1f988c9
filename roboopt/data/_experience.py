"""Experience: steps that a policy took, and how much better they were than expected.

With the value V of an observation and the trace λ, the generalized advantages are

    δ_t = r_t + γ (1 − terminated_t) V(o'_t) − V(o_t),
    A_t = δ_t + γ λ (1 − ended_t) A_{t+1}

(Schulman et al., 2016, High-dimensional continuous control using generalized advantage
estimation). o'_t is what the step led to, also where the episode ended with it: a limit
of time cuts the sum off and not what would have followed, which V stands for; only
where the environment itself ended the episode is there nothing more.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from roboopt._core import AnyArray


class Experience(eqx.Module):
    """Steps of a stochastic policy, samples along the first axis."""

    observations: Float[AnyArray, "sample obs"]
    drawn: Shaped[AnyArray, "sample ..."]
    """What the policy drew: the actions, before any limits."""
    log_probs: Float[AnyArray, " sample"]
    """Of what was drawn, by the policy that acted."""
    advantages: Float[AnyArray, " sample"]
    returns: Float[AnyArray, " sample"]
    """What the value function is to say."""
    values: Float[AnyArray, " sample"]
    """What it said."""
    weights: Float[AnyArray, " sample"]
    """1, or 0 where nothing was done, as in the step in which a vector environment of
    Gymnasium begins the next episode."""


def generalized_advantages(
    rewards: Float[Array, "time env"],
    values: Float[Array, "time env"],
    next_values: Float[Array, "time env"],
    terminated: Bool[Array, "time env"],
    ended: Bool[Array, "time env"],
    *,
    discount: float | Float[Array, ""],
    trace: float | Float[Array, ""],
) -> Float[Array, "time env"]:
    """Return the advantage of each step, in the unit of the rewards.

    Args:
        rewards: of each step.
        values: of the observation before it.
        next_values: of the observation that it led to.
        terminated: whether the environment ended the episode with it.
        ended: whether the episode ended with it, for whatever reason.
        discount: γ.
        trace: λ.
    """
    one = jnp.ones((), rewards.dtype)
    change = rewards + discount * next_values * (one - terminated) - values

    def back(later, step):
        change, ended = step
        advantage = change + discount * trace * (one - ended) * later
        return advantage, advantage

    _, advantages = jax.lax.scan(
        back, jnp.zeros_like(change[0]), (change, ended), reverse=True
    )
    return advantages
