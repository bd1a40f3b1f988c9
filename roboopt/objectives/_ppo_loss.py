"""The loss of proximal policy optimization, and of REINFORCE with a baseline.

With the ratio r = π(a|o) / π_old(a|o), the advantage A, and means over the samples,

    L = −E[min(r A, clip(r, 1 − ε, 1 + ε) A)] + w_V E[½ (V(o) − R)²] − w_H E[H(π(·|o))]

(Schulman et al., 2017, Proximal policy optimization algorithms). Without a clip the
first term is −E[r A]. At r = 1 the gradient of either is that of REINFORCE with a
baseline, −E[A ∇ log π(a|o)] (Williams, 1992). The terms without weight are diagnostics:
the approximate KL divergence E[(r − 1) − log r] from the policy that acted, which is
never negative (Schulman, 2020, Approximating KL divergence), the fraction of samples
that are clipped, the explained variance 1 − Var(R − V)/Var(R) of the returns, and their
spread √(Var(R)/E[R²]), without which there is nothing to explain.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from roboopt._core import AnyArray
from roboopt._errors import require
from roboopt.objectives._objective import Objective, Term, check_weights

MAX_LOG_RATIO = 20.0  # beyond which exp overflows single precision when squared
MAX_UNEXPLAINED = 1e6


class PPOBatch(eqx.Module):
    """Steps of a stochastic policy, samples along the first axis."""

    observations: Float[AnyArray, "sample obs"]
    actions: Shaped[AnyArray, "sample ..."]
    """Draws of the policy before any limits; of a `ParameterNoise`, parameters."""
    log_probs: Float[AnyArray, " sample"]
    """Log-densities of the actions under the policy that acted."""
    advantages: Float[AnyArray, " sample"]
    returns: Float[AnyArray, " sample"]
    """Targets of the value function."""
    weights: Float[AnyArray, " sample"]
    """1, or 0 for rows that are no step, such as those that only reset."""


class PPOLoss(Objective):
    """The clipped surrogate, the error of the value function, and an entropy bonus.

    `objective(agent, batch)` takes an agent with `log_prob` and `entropy`, and `value`
    if it has a value function, and a `PPOBatch`.
    """

    clip: float | None = 0.2
    """ε, the clip range of the ratio; None for REINFORCE with a baseline."""
    value_weight: float = 0.5
    """w_V, per squared unit of the value function."""
    entropy_weight: float = 0.0
    """w_H, per nat."""

    def __check_init__(self):
        rule = "be positive; infinity is no clip"
        require(self.clip is None or self.clip > 0, "clip", rule, self.clip)
        check_weights(
            value_weight=self.value_weight, entropy_weight=self.entropy_weight
        )

    def ranks(self, batch: Any) -> bool:
        return False  # Only the gradient of a surrogate has a meaning.

    def terms(self, model: Any, batch: PPOBatch) -> dict[str, Term]:
        """Return the terms of the loss of the agent `model`, and its diagnostics."""
        batch = jax.tree.map(jnp.asarray, batch)
        weights = batch.weights / jnp.maximum(jnp.sum(batch.weights), 1.0)

        def mean(x: Any) -> Array:
            return jnp.sum(weights * x)

        observations, advantages = batch.observations, batch.advantages
        log_probs = jax.vmap(model.log_prob)(observations, batch.actions)
        log_ratio = jnp.clip(log_probs - batch.log_probs, -MAX_LOG_RATIO, MAX_LOG_RATIO)
        ratio = jnp.exp(log_ratio)
        gain = ratio * advantages
        clip = math.inf if self.clip is None else self.clip
        if self.clip is not None:
            clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
            gain = jnp.minimum(gain, clipped * advantages)
        terms = {"surrogate": Term(-mean(gain), 1.0, "1")}
        notes = {
            "approximate_kl": (mean((ratio - 1) - log_ratio), "nat"),
            "clip_fraction": (mean(jnp.abs(ratio - 1) > clip), "1"),
        }
        if hasattr(model, "value"):
            error = jax.vmap(model.value)(observations) - batch.returns
            terms["value_error"] = Term(mean(0.5 * error**2), self.value_weight, "1")

            def variance(x: Any) -> Array:
                return mean((x - mean(x)) ** 2)

            tiny = jnp.finfo(error.dtype).tiny
            varied, square = variance(batch.returns), mean(batch.returns**2)
            unexplained = variance(error) / jnp.maximum(varied, tiny)
            unexplained = jnp.minimum(unexplained, MAX_UNEXPLAINED)
            notes["explained_variance"] = (1 - unexplained, "1")
            spread = jnp.sqrt(varied / jnp.maximum(square, tiny))
            notes["return_spread"] = (spread, "1")
        entropy = mean(jax.vmap(model.entropy)(observations))
        if isinstance(self.entropy_weight, int | float) and self.entropy_weight == 0:
            entropy = jax.lax.stop_gradient(entropy)  # saves its backward pass
        terms["entropy"] = Term(entropy, -self.entropy_weight, "nat")
        for name, (value, unit) in notes.items():
            terms[name] = Term(jax.lax.stop_gradient(value), 0.0, unit)
        return terms
