"""Two estimates of one gradient, each counted by how far it is off.

    ĝ = w g₁ + (1 − w) g₂,   w = e₂ / (e₁ + e₂)

with the expected squared errors e of both, which makes that of ĝ the least. The second
is right on average and says itself how noisy it is. The first may be wrong without
being noisy: inverse variances would trust a wrong twin, whose gradients agree with each
other and not with the robot's (Suh et al., 2022, Do differentiable simulators give
better policy gradients?, bound that disagreement). Ours is to measure it. Both see one
batch, and of what they differ in, e₂ is the second's noise:

    e₁ ≈ mean of |g₁ − g₂|² − e₂

over the steps so far, the latest counting most. What it measures is the first's bias
and its noise, such as that of a chaotic rollout, alike.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._errors import RobooptError
from roboopt.gradients._automatic import (
    TINY,
    Estimate,
    Gradient,
    product,
    relative,
    signal_to_noise,
    squared_norm,
)

MEMORY = 0.8  # Of means over steps: five steps or so.


class Averages(eqx.Module):
    """Means over the steps so far, not yet divided by the weight of them all."""

    weight: Float[Array, ""]
    second: Float[Array, ""]
    apart: Float[Array, ""]


class Mixed(Gradient):
    """Combines a gradient that may mislead with one that does not, but is noisy.

    `Mixed(Automatic(objective_in_the_twin), ZerothOrder(pairs=2))`: the simulator of
    the
    objective gives the value, the twin the gradient as far as it can be believed. The
    loss and the terms are the second's.
    """

    first: Gradient
    """Automatic in a model, and as wrong as the model is."""
    second: Gradient
    """Right on average."""

    def __check_init__(self):
        for name in ("first", "second"):
            if getattr(getattr(self, name), "ranked", False):
                raise RobooptError(
                    f"`{name}` must estimate the gradient, which no ranks do, got "
                    f"{getattr(self, name)}."
                )

    def on_host(self, objective: Any) -> bool:
        """Return whether either is."""
        return self.first.on_host(objective) | self.second.on_host(objective)

    def value(self, problem: Any, free: Any, rest: Any, batch: Any) -> Array:
        """Return the loss at `free`, which is the second's."""
        return self.second.value(problem, free, rest, batch)

    def begin(self, free: Any) -> Any:
        """Return the memory of both, and no means yet."""
        zero = jnp.zeros(())
        averages = Averages(zero, zero, zero)
        return self.first.begin(free), self.second.begin(free), averages

    def estimate(
        self,
        problem: Any,
        free: Any,
        rest: Any,
        batch: Any,
        key: PRNGKeyArray,
        memory: Any,
    ) -> tuple[Estimate, Any]:
        """Return the combined gradient at `free`."""
        keys = jax.random.split(key)
        on_host = self.on_host(problem.objective)
        found, memories = [], []
        for part, own, before in zip(
            (self.first, self.second), keys, memory[:2], strict=True
        ):
            compiled = on_host and not part.on_host(problem.objective)
            run = _estimate_compiled if compiled else type(part).estimate
            estimate, after = run(part, problem, free, rest, batch, own, before)
            found.append(estimate)
            memories.append(after)
        combine = _combine_compiled if on_host else _combine
        estimate, averages = combine(found[0], found[1], free, memory[2])
        return estimate, (*memories, averages)


@eqx.filter_jit
def _estimate_compiled(part: Gradient, *arguments: Any) -> tuple[Estimate, Any]:
    return part.estimate(*arguments)


def _combine(
    first: Estimate, second: Estimate, free: Any, before: Averages
) -> tuple[Estimate, Averages]:
    g1, g2 = relative(first.gradient, free), relative(second.gradient, free)
    now = Averages(
        jnp.ones(()),
        second.error,
        squared_norm(jax.tree.map(jnp.subtract, g1, g2)),
    )
    after = jax.tree.map(
        lambda old, new: (MEMORY * old + (1 - MEMORY) * new).astype(old.dtype),
        before,
        now,
    )
    e2, apart = after.second / after.weight, after.apart / after.weight
    e1 = jnp.maximum(apart - e2, 0.0)
    share = e2 / (e1 + e2 + TINY)
    gradient = jax.tree.map(
        lambda a, b: (share * a + (1 - share) * b).astype(b.dtype),
        first.gradient,
        second.gradient,
    )
    error = share**2 * e1 + (1 - share) ** 2 * e2
    squared = squared_norm(relative(gradient, free))
    # Noise makes the second longer than the gradient it is an estimate of.
    length = jnp.sqrt(
        squared_norm(g1) * jnp.maximum(squared_norm(g2) - second.error, TINY)
    )
    notes = {
        "gradient_norm": jnp.sqrt(squared),
        "gradient_snr": signal_to_noise(squared - error, error),
        "gradient_cosine": jnp.clip(product(g1, g2) / (length + TINY), -1.0, 1.0),
        "gradient_share": share,
    }
    return Estimate(second.loss, second.terms, gradient, error, notes), after


_combine_compiled = eqx.filter_jit(_combine)
