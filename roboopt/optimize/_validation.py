"""The loss on held-out data, which selects the best model of a descent.

A model that fits its samples ever better may do worse on others: the loss on data that
no step uses falls, and then rises. The model kept is the one before that loss rises,
and the descent stops once it has not fallen for `patience` steps (early stopping;
Prechelt, 1998, Early stopping: but when?).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from roboopt._errors import argument_called
from roboopt.gradients import LossFn
from roboopt.optimize._sources import arrays

NAME = "validation"
"""The name in the history of a `Result`."""
MAX_PERIOD = 50  # steps on minibatches
MIN_EVALUATIONS = 20


class Validation(eqx.Module):
    """Held-out samples, and the steps at which the loss on them is known."""

    data: Any
    period: Int[Array, ""]
    last: Int[Array, ""]
    """The step after which the descent ends: its model is judged too."""

    @classmethod
    def of(cls, data: Any, steps: int, noisy: bool) -> "Validation | None":
        """Read the argument `validation`, a batch; None stays None.

        Where steps are `noisy`, each on another batch, they are cheap beside the loss
        on `data`, which is then known every so many steps.
        """
        if data is None:
            return None
        with argument_called("data", "validation"):
            data = arrays(data)
        period = min(MAX_PERIOD, max(1, steps // MIN_EVALUATIONS)) if noisy else 1
        return cls(data, jnp.asarray(period), jnp.asarray(steps))

    def is_due(self, step: Any) -> Any:
        """Return whether the loss is known at a step of the descent."""
        return (step % self.period == 0) | (step == self.last)


def validated(problem: Any, descent: Any, step: Any) -> Float[Array, "*start"] | None:
    """Return the held-out loss before a step: NaN between those at which it is known.

    It is None for a problem without `validation`; with `batched=True` there is one a
    start.
    """
    validation = problem.validation
    if validation is None:
        return None

    def loss_fn(fixed: Any) -> LossFn:
        found = problem.loss_fn(fixed)
        return found if problem.gradient is None else gradient.loss_function(found)

    gradient, shape = problem.gradient, descent.best_loss.shape
    unknown = lambda: jnp.full(shape, jnp.nan, float)  # noqa: E731
    due = validation.is_due(step)
    if not isinstance(due, jax.core.Tracer):  # pyright: ignore
        # The steps run outside of JAX, and so may the objective.
        if not due:
            return unknown()
        alone = jax.tree.map(lambda x: x[None], descent.params)
        loss = loss_fn(descent.fixed)
        return loss.evaluate_many(alone, validation.data, traced=False)[0][0]

    def one(params: Any, fixed: Any) -> Array:
        return loss_fn(fixed)(params, validation.data).astype(float)

    # Outside of the `vmap` over starts, within which both branches would be computed.
    every = eqx.filter_vmap(one) if problem.batched else one
    known = lambda: every(descent.params, descent.fixed)  # noqa: E731
    return jax.lax.cond(due, known, unknown)
