"""Automatic differentiation, with the noise of the gradient on a batch.

The batch is split into K groups with the gradients g_k. Their mean is the gradient of
the batch, and its squared error is

    e = Σ_k |g_k − ḡ|² / (K (K − 1))
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._errors import RobooptError, require_at_least
from roboopt.gradients._estimator import (
    Estimator,
    LossFn,
    inner,
    norm,
    quality,
    relative_gradient,
)


class Automatic(Estimator):
    """Differentiates the objective; the gradient of each batch is exact.

    Where the samples of a batch do not split into groups, the info holds no
    signal-to-noise ratio.
    """

    objective: Any = None
    """Differentiated instead of the objective that is minimized, such as the same task
    in a twin; None for the objective that is minimized."""
    groups: int = eqx.field(static=True, default=4)
    """The largest number of groups."""

    def __check_init__(self):
        require_at_least(1, groups=self.groups)

    def traceable(self, objective: Any) -> bool:
        """Return True.

        Raises:
            RobooptError: if the objective cannot be differentiated.
        """
        if not super().traceable(self.objective or objective):
            raise RobooptError(
                "`gradient` must be `ZerothOrder` where the objective runs a simulator "
                "outside JAX, which cannot be differentiated, got Automatic."
            )
        return True

    def loss_function(self, loss_fn: LossFn) -> LossFn:
        """Return the loss function that is differentiated."""
        if self.objective is None:
            return loss_fn
        return dataclasses.replace(loss_fn, objective=self.objective)

    def __call__(
        self, loss_fn: LossFn, params: Any, batch: Any, key: PRNGKeyArray
    ) -> tuple[Float[Array, ""], Any, dict[str, Array]]:
        """Return the loss, its gradient, and the terms with the gradient's quality."""
        evaluate = self.loss_function(loss_fn).evaluate
        value_and_grad = jax.value_and_grad(evaluate, has_aux=True)
        groups = _group_count(batch, self.groups)
        if groups < 2:
            (loss, terms), gradient = value_and_grad(params, batch)
            scaled = relative_gradient(gradient, params)
            return loss, gradient, terms | {"relative_gradient_norm": norm(scaled)}
        parts = jax.tree.map(
            lambda x: x.reshape(groups, x.shape[0] // groups, *x.shape[1:]), batch
        )
        each = jax.vmap(lambda part: value_and_grad(params, part))(parts)
        (loss, terms), gradient = jax.tree.map(lambda x: x.mean(0), each)
        deviation = jax.tree.map(lambda g, mean: g - mean[None], each[1], gradient)
        deviation = relative_gradient(deviation, params)
        error = inner(deviation, deviation) / (groups * (groups - 1))
        return loss, gradient, terms | quality(gradient, params, error)


def _group_count(batch: Any, limit: int) -> int:
    """Return the number of equal groups of samples, at most `limit`."""
    counts = {x.shape[0] if x.ndim else 0 for x in jax.tree.leaves(batch)}
    if len(counts) != 1 or 0 in counts:
        return 1
    count = counts.pop()
    return max(k for k in range(1, limit + 1) if count % k == 0)
