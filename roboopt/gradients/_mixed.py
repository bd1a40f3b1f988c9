"""Two estimates of one gradient, combined by their errors.

    ĝ = w g₁ + (1 − w) g₂,   w = e₂ / (e₁ + e₂)

with the expected squared errors e of both; these weights give ĝ the smallest error. The
second estimate is unbiased and reports its own error. The first may be biased without
being noisy: weights by inverse variance would trust a wrong twin, whose gradients agree
with each other and not with those of the robot (Suh et al., 2022, Do differentiable
simulators give better policy gradients?, bound that disagreement). Here it is measured.
Both estimates are taken on one batch, where e₂ of their difference is the noise of the
second:

    e₁ ≈ mean of |g₁ − g₂|² − e₂

over the steps so far, the latest with the largest weight. e₁ contains the bias of the
first estimate and its noise, such as that of a chaotic rollout.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._programs import filter_jit
from roboopt.gradients._estimator import (
    TINY,
    Estimator,
    LossFn,
    inner,
    quality,
    relative_gradient,
)

DECAY = 0.8  # of the running means: about five steps


class Mixed(Estimator):
    """Combines a gradient that may be biased with one that is unbiased, but noisy.

    `Mixed(Automatic(objective_in_the_twin), ZerothOrder(pairs=2))`: the simulator of
    the objective gives the loss and an unbiased gradient, and the twin a gradient that
    counts as far as both agree.
    """

    first: Estimator
    """The estimator that may be biased, such as `Automatic` in a twin."""
    second: Estimator
    """The unbiased estimator. The loss and the terms are those of the second; an
    estimator without `gradient_error` in its info counts as exact."""

    def traceable(self, objective: Any) -> bool:
        """Return whether both estimators are traceable."""
        return self.first.traceable(objective) & self.second.traceable(objective)

    def loss_function(self, loss_fn: LossFn) -> LossFn:
        """Return the loss function of the second."""
        return self.second.loss_function(loss_fn)

    def init(self, params: Any) -> Any:
        """Return the states of both estimators, and three empty running means."""
        # Their total weight, e₂ and |g₁ − g₂|², not yet divided by the weight.
        means = (jnp.zeros(()),) * 3
        return self.first.init(params), self.second.init(params), means

    def __call__(
        self, loss_fn: LossFn, params: Any, batch: Any, key: PRNGKeyArray
    ) -> tuple[Float[Array, ""], Any, dict[str, Array]]:
        """Return the combination of one step alone."""
        return self.update(loss_fn, params, batch, key, self.init(params))[:3]

    def update(
        self, loss_fn: LossFn, params: Any, batch: Any, key: PRNGKeyArray, state: Any
    ) -> tuple[Float[Array, ""], Any, dict[str, Array], Any]:
        """Return the loss of the second, the combined gradient, info and the state."""
        found, states = [], []
        for part, own, before in zip(
            (self.first, self.second), jax.random.split(key), state[:2], strict=True
        ):
            compiled = part.traceable(loss_fn.objective)
            update = _update_compiled if compiled else type(part).update
            *estimate, after = update(part, loss_fn, params, batch, own, before)
            found.append(estimate)
            states.append(after)
        (_, first, _), (loss, second, info) = found
        error = info.get("gradient_error", jnp.zeros(()))
        gradient, own, means = _combine(first, second, error, params, state[2])
        return loss, gradient, info | own, (*states, means)


@filter_jit
def _update_compiled(part: Estimator, *arguments: Any) -> tuple:
    return part.update(*arguments)


@filter_jit
def _combine(
    first: Any, second: Any, second_error: Float[Array, ""], params: Any, before: Any
) -> tuple[Any, dict[str, Array], Any]:
    """Return the combined gradient, its quality, and the next running means."""
    g1, g2 = relative_gradient(first, params), relative_gradient(second, params)
    apart = jax.tree.map(jnp.subtract, g1, g2)
    now = jnp.ones(()), second_error, inner(apart, apart)
    means = jax.tree.map(
        lambda old, new: (DECAY * old + (1 - DECAY) * new).astype(old.dtype),
        before,
        now,
    )
    weight, e2, difference = means
    e2, difference = e2 / weight, difference / weight
    e1 = jnp.maximum(difference - e2, 0.0)
    share = e2 / (e1 + e2 + TINY)
    gradient = jax.tree.map(
        lambda a, b: (share * a + (1 - share) * b).astype(b.dtype), first, second
    )
    error = share**2 * e1 + (1 - share) ** 2 * e2
    # On average the noise of g₂ adds its own square to |g₂|².
    length = jnp.sqrt(inner(g1, g1) * jnp.maximum(inner(g2, g2) - second_error, TINY))
    agreement = {
        "gradient_cosine": jnp.clip(inner(g1, g2) / (length + TINY), -1.0, 1.0),
        "gradient_share": share,
    }
    return gradient, quality(gradient, params, error) | agreement, means
