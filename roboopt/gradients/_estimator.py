"""The contract of a gradient estimator, and the loss function that it is given.

An estimator is any function

    estimator(loss_fn, params, batch, key) -> (loss, gradient, info)

The quality of an estimated gradient ĝ is its signal-to-noise ratio,

    |E ĝ|² / E|ĝ − E ĝ|²

measured on relative gradients: the derivative of each leaf is multiplied by the scale
of the leaf, its root mean square or 0.1 if that is larger. A gain of 1000 and a weight
of 0.1 then count alike.
"""

import operator
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import sizes
from roboopt._errors import is_number, require
from roboopt._programs import filter_jit
from roboopt.objectives import Objective, total

TINY = 1e-30  # keeps 0/0 finite
MAX_SNR = 1e6  # ratios above count as exact


class LossFn(eqx.Module):
    """The loss as a function of the trainable parameters: `loss_fn(params, batch)`.

    The parameters are the trainable leaves of the model, those with bounds in
    coordinates without bounds.
    """

    objective: Callable[[Any, Any], Any]
    """`objective(model, batch) -> loss`, such as an `Objective`."""
    build: Callable[[Any], Any]
    """`build(params) -> model`."""

    def __call__(self, params: Any, batch: Any) -> Float[Array, ""]:
        """Return the loss at `params`."""
        return self.evaluate(params, batch)[0]

    def evaluate(
        self, params: Any, batch: Any
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """Return the loss at `params`, and the values of its terms by name."""
        if differentiable(self.objective):
            return self._evaluate(self.build(params), batch)
        alone = jax.tree.map(lambda x: x[None], params)
        return jax.tree.map(lambda x: x[0], self.evaluate_many(alone, batch))

    def evaluate_many(
        self, params: Any, batch: Any, *, traced: bool = True
    ) -> tuple[Float[Array, " model"], dict[str, Array]]:
        """Return the losses and the terms of many models at once.

        Args:
            params: parameters whose arrays have a leading axis of models.
            batch: one batch, the same for all models.
            traced: whether JAX may trace the objective, which otherwise is called model
                by model.
        """
        if traced and differentiable(self.objective):
            return jax.vmap(lambda own: self.evaluate(own, batch))(params)
        models = _build_many(self.build, params)
        if traced and isinstance(self.objective, Objective):
            return _total(self.objective.evaluate_many(models, batch))
        arrays, static = eqx.partition(models, eqx.is_array)
        each = []
        for k in range(jax.tree.leaves(params)[0].shape[0]):
            own = eqx.combine(jax.tree.map(operator.itemgetter(k), arrays), static)
            loss, terms = self._evaluate(own, batch)
            each.append((jnp.asarray(loss, float), terms))
        return jax.tree.map(lambda *values: jnp.stack(values), *each)

    def _evaluate(self, model: Any, batch: Any) -> tuple[Array, dict[str, Array]]:
        if isinstance(self.objective, Objective):
            return _total(self.objective.terms(model, batch))
        loss = self.objective(model, batch)
        shape = getattr(loss, "shape", type(loss))
        require(is_number(loss), "objective", "return one number, of shape ()", shape)
        kind = jnp.result_type(loss)
        # A simulator outside JAX may count; a derivative needs real numbers.
        counts = not differentiable(self.objective) and kind.kind in "biu"
        real = jnp.issubdtype(kind, jnp.floating) or counts
        require(real, "objective", "return a real floating-point number", kind)
        return loss, {}


def _total(terms: dict[str, Any]) -> tuple[Array, dict[str, Array]]:
    return total(terms), {name: term.value for name, term in terms.items()}


@filter_jit
def _build_many(build: Any, params: Any) -> Any:
    return eqx.filter_vmap(lambda own: build(own))(params)


class Estimator(eqx.Module):
    """A gradient estimator with settings, for `minimize(..., gradient=)`.

    A plain function of the same arguments serves as well. A subclass that keeps a state
    between steps overrides `init` and `update`.
    """

    @abstractmethod
    def __call__(
        self, loss_fn: LossFn, params: Any, batch: Any, key: PRNGKeyArray
    ) -> tuple[Float[Array, ""], Any, dict[str, Array]]:
        """Estimate the gradient of `loss_fn(params, batch)` by `params`.

        Args:
            loss_fn: the loss; `loss_fn.evaluate` also returns its terms.
            params: a pytree of floating-point arrays.
            batch: the batch of this step.
            key: the randomness of this step.

        Returns:
            The loss, the gradient in the form of `params`, and scalars for the history
            of the run, the same names each time. The scalar `gradient_error`, the
            expected squared error of the relative gradient, is for `Mixed` alone.
        """

    def init(self, params: Any) -> Any:
        """Return the state before the first step, a pytree of arrays or None."""
        return None

    def update(
        self, loss_fn: LossFn, params: Any, batch: Any, key: PRNGKeyArray, state: Any
    ) -> tuple[Float[Array, ""], Any, dict[str, Array], Any]:
        """Return what the call returns, and the next state."""
        return *self(loss_fn, params, batch, key), state

    def loss_function(self, loss_fn: LossFn) -> LossFn:
        """Return the function whose values the estimator returns as the loss."""
        return loss_fn

    def traceable(self, objective: Any) -> bool:
        """Return whether JAX can compile the estimator with this objective."""
        return differentiable(objective)

    def deterministic(self, params: Any) -> bool:
        """Return whether the gradient does not depend on the key."""
        return False


class FunctionEstimator(Estimator):
    """A plain function as an `Estimator`."""

    function: Callable[..., tuple] = eqx.field(static=True)

    def __call__(
        self, loss_fn: LossFn, params: Any, batch: Any, key: PRNGKeyArray
    ) -> tuple[Array, Any, dict[str, Array]]:
        return self.function(loss_fn, params, batch, key)


def differentiable(objective: Any) -> bool:
    """Return whether JAX can trace and differentiate an objective."""
    return getattr(objective, "differentiable", True)


def relative_gradient(gradient: Any, params: Any) -> Any:
    """Return the derivatives with respect to relative changes of each leaf."""
    return jax.tree.map(lambda g, s: g * s, gradient, sizes(params))


def inner(a: Any, b: Any) -> Float[Array, ""]:
    """Return the inner product of two pytrees, in single precision at least."""

    def dot(x: Array, y: Array) -> Array:
        kind = jnp.promote_types(x.dtype, jnp.float32)
        return jnp.vdot(x.astype(kind), y.astype(kind))

    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return sum((dot(x, y) for x, y in pairs), jnp.zeros(()))


def norm(tree: Any) -> Float[Array, ""]:
    """Return the Euclidean norm of a pytree, also where its square overflows."""
    squared = inner(tree, tree)

    def scaled() -> Array:
        largest = jnp.stack([jnp.abs(x).max() for x in jax.tree.leaves(tree)]).max()
        parts = jax.tree.map(lambda x: x / largest, tree)
        return (largest * jnp.sqrt(inner(parts, parts))).astype(squared.dtype)

    whole = jnp.isfinite(squared)
    return jax.lax.cond(whole, lambda: jnp.sqrt(squared), scaled)


def quality(
    gradient: Any, params: Any, error: Float[Array, ""]
) -> dict[str, Float[Array, ""]]:
    """Return norm, signal-to-noise ratio and squared error of the relative gradient."""
    scaled = relative_gradient(gradient, params)
    squared = inner(scaled, scaled)
    return {
        "relative_gradient_norm": norm(scaled),
        # On average the noise adds its own square to |ĝ|².
        "gradient_snr": jnp.clip((squared - error) / (error + TINY), 0.0, MAX_SNR),
        "gradient_error": error,
    }
