"""The likelihood ratio's surrogate: what was done, made likelier the better it was.

With r = π(a|o) / π_old(a|o), the advantages A, and the means over what was seen,

    L = −E[min(r A, clip(r, 1 − ε, 1 + ε) A)] + w_V E[½ (V(o) − R)²] − w_H E[H(π(·|o))]

(Schulman et al., 2017, Proximal policy optimization algorithms). Without ε it is
−E[r A]. Either way the gradient at r = 1 is that of REINFORCE with a baseline,
−E[A ∇ log π(a|o)] (Williams, 1992). As diagnostics, how far the policy has gone from
the one that acted, as E[(r − 1) − log r], which is never negative and on average their
divergence (Schulman, 2020, Approximating KL divergence), and how often it is cut off.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from roboopt.data import Experience
from roboopt.objectives._objective import Term

FARTHEST = 20.0  # Of log r, beyond which it is no ratio but an overflow.


def surrogate(objective: Any, agent: Any, batch: Experience) -> dict[str, Term]:
    """Return the terms of the surrogate on `batch`.

    Args:
        objective: with `clip`, `value_weight` and `entropy_weight`.
        agent: with `log_prob` and `entropy`, and `value` if it has a value function.
        batch: of which what weighs nothing does not count.
    """
    batch = jax.tree.map(jnp.asarray, batch)
    weights = batch.weights / jnp.maximum(jnp.sum(batch.weights), 1.0)

    def mean(x):
        return jnp.sum(weights * x)

    observations, drawn = batch.observations, batch.drawn
    log_probs = jax.vmap(agent.log_prob)(observations, drawn)
    log_ratio = jnp.clip(log_probs - batch.log_probs, -FARTHEST, FARTHEST)
    ratio = jnp.exp(log_ratio)
    gain = ratio * batch.advantages
    limit = math.inf if objective.clip is None else objective.clip
    if objective.clip is not None:
        clipped = jnp.clip(ratio, 1 - limit, 1 + limit)
        gain = jnp.minimum(gain, clipped * batch.advantages)

    entropy = mean(jax.vmap(agent.entropy)(observations))
    noted = {
        "approximate_kl": (mean((ratio - 1) - log_ratio), "nat"),
        "clip_fraction": (mean(jnp.abs(ratio - 1) > limit), "1"),
    }
    terms = {"surrogate": Term(-mean(gain), 1.0, "1")}
    if hasattr(agent, "value"):
        error = jax.vmap(agent.value)(observations) - batch.returns
        terms["value_error"] = Term(mean(0.5 * error**2), objective.value_weight, "1")

        def variance(x):
            return mean((x - mean(x)) ** 2)

        least = jnp.finfo(error.dtype).tiny
        unexplained = variance(error) / jnp.maximum(variance(batch.returns), least)
        # Of returns that do not vary there is nothing to explain.
        noted["explained_variance"] = (1 - jnp.minimum(unexplained, 1e6), "1")
    return {
        **terms,
        "entropy": Term(
            _weighed(entropy, objective.entropy_weight),
            -objective.entropy_weight,
            "nat",
        ),
        **{
            name: Term(jax.lax.stop_gradient(value), 0.0, unit)
            for name, (value, unit) in noted.items()
        },
    }


def _weighed(value: Any, weight: Any) -> Any:
    """Return the value, without its gradient where nothing comes of it."""
    free = isinstance(weight, int | float) and weight == 0
    return jax.lax.stop_gradient(value) if free else value
