"""Losses ρ(e) of an error e that is divided by its scale.

A loss also gives a residual r(e) with ρ = r²/2, so that objectives with errors can be
solved as least squares.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._errors import RobooptError, require, require_positive
from roboopt._readable import Readable


class Loss(Readable, eqx.Module):
    """A loss of scaled errors, element by element."""

    def __call__(self, error: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Return ρ(e)."""
        return 0.5 * self.residual(error) ** 2

    @abstractmethod
    def residual(self, error: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Return sign(e) √(2 ρ(e)), r with ρ(e) = r²/2."""


class L2(Loss):
    """ρ(e) = e²/2."""

    def residual(self, error: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return error


class Huber(Loss):
    """ρ(e) = e²/2 up to `threshold`, and linear beyond: robust to outliers.

    After Huber (1964). The threshold is in scales; with the scale at the noise's
    standard deviation, 1.345 keeps 95 % of the efficiency on Gaussian noise.
    """

    threshold: float = 1.345

    def __check_init__(self):
        if isinstance(self.threshold, float | int):
            require_positive(threshold=self.threshold)

    def residual(self, error: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        size = jnp.abs(error)
        far = size > self.threshold
        # √ has no finite derivative at 0: it gets 1 where it is not used.
        linear = jnp.where(far, self.threshold * (2 * size - self.threshold), 1.0)
        return jnp.where(far, jnp.sign(error) * jnp.sqrt(linear), error)


class L1(Loss):
    """ρ(e) = |e|, minimal at the median: the most robust to outliers.

    The slope at the kink at 0 is taken as 0: use a decreasing learning rate, and for
    `least_squares` a `Huber` loss of a small threshold.
    """

    def residual(self, error: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        size = jnp.abs(error)
        # As above; below the least normal number √ has no finite derivative either.
        far = size >= jnp.finfo(error.dtype).tiny
        root = jnp.sqrt(jnp.where(far, 2 * size, 1.0))
        return jnp.where(far, jnp.sign(error) * root, 0.0)


class FunctionLoss(Loss):
    """Any elementwise function of the error, such as `optax.huber_loss`.

    For a `residual` the function must be 0 at 0 and nowhere negative.
    """

    function: Callable[[Array], Array] = eqx.field(static=True)

    def __call__(self, error: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        cost = jnp.asarray(self.function(error))
        rule = f"return one number for each error, of shape {error.shape}"
        require(cost.shape == error.shape, "loss", rule, cost.shape)
        return cost

    def residual(self, error: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        cost = self(error)
        slope = lambda e: jax.jvp(self, (e,), (jnp.ones_like(e),))[1]  # noqa: E731
        _, curvature = jax.jvp(slope, (error,), (jnp.ones_like(error),))
        # Near 0, where √ has no derivative, ρ(e) = ρ''(0) e²/2.
        far = cost > jnp.finfo(error.dtype).tiny
        root = jnp.sign(error) * jnp.sqrt(jnp.where(far, 2 * cost, 1.0))
        near = jnp.sqrt(jnp.maximum(jax.lax.stop_gradient(curvature), 0.0)) * error
        return jnp.where(far, root, near)


LOSSES: dict[str, type[Any]] = {"l1": L1, "l2": L2, "huber": Huber}


def as_loss(loss: Any, **others: type[Any]) -> Any:
    """Return the loss that a name or a function `(error) -> loss` stands for.

    Args:
        loss: a loss, its name, or an elementwise function of the error.
        **others: names and classes of further losses that the caller knows.
    """
    known = {**LOSSES, **others}
    if isinstance(loss, (Loss, *others.values())):
        return loss
    if isinstance(loss, str) and loss in known:
        return known[loss]()
    if callable(loss) and not isinstance(loss, type):
        return FunctionLoss(loss)  # type: ignore
    raise RobooptError(
        f"`loss` must be one of {', '.join(map(repr, known))}, a loss or a function of "
        f"the error, got {loss!r}."
    )
