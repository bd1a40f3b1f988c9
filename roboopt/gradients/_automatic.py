"""How the gradient is had: by differentiating, which is exact, or by an estimate.

An estimate has an error, and what it is worth is its signal-to-noise ratio,

    |E ĝ|² / E|ĝ − E ĝ|²

in relative units: of each leaf the derivative by a change relative to the leaf's size,
its root mean square or 0.1 if that is more, which is what the default optimizer's steps
are measured in. So gains of 1000 and weights of 0.1 count alike.
"""

import dataclasses
from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import sizes
from roboopt._errors import RobooptError

TINY = 1e-30  # Keeps what is 0 over 0 finite.
MOST = 1e6


class Estimate(NamedTuple):
    """A gradient, and how far it may be off."""

    loss: Float[Array, ""]
    terms: dict[str, Array]
    gradient: Any
    """By the free coordinates."""
    error: Float[Array, ""]
    """The expected squared error of the gradient in relative units."""
    notes: dict[str, Array]
    """For the history."""


class Gradient(eqx.Module):
    """A way to the gradient of an objective, for `minimize(..., gradient=)`."""

    def begin(self, free: Any) -> Any:
        """Return what it remembers before the first step, a pytree of arrays."""
        return None

    @abstractmethod
    def estimate(
        self,
        problem: Any,
        free: Any,
        rest: Any,
        batch: Any,
        key: PRNGKeyArray,
        memory: Any,
    ) -> tuple[Estimate, Any]:
        """Return the gradient at `free`, and what is remembered after."""

    def value(self, problem: Any, free: Any, rest: Any, batch: Any) -> Array:
        """Return the loss at `free`, which a search along a line asks for."""
        return problem.evaluate(free, rest, batch)[0]

    def on_host(self, objective: Any) -> bool:
        """Return whether it calls a simulator that JAX cannot trace."""
        return False

    def repeats(self, free: Any) -> bool:
        """Return whether it is the same again at `free` on the same batch."""
        return False


class Automatic(Gradient):
    """Differentiates: exact where the simulation is JAX, as far as the batch goes.

    The batch is taken in groups, whose gradients differ by what the samples differ;
    their mean is the batch's, and their spread says how much of it is signal. Where the
    samples do not divide into groups, nothing is said of that.
    """

    objective: Any = None
    """What is differentiated, such as the same task in a twin; if None, what is
    minimized."""
    groups: int = eqx.field(static=True, default=4)

    def __check_init__(self):
        if self.groups < 1:
            raise RobooptError(f"`groups` must be at least 1, got {self.groups}.")

    def on_host(self, objective: Any) -> bool:
        """Return False.

        Raises:
            RobooptError: if what it differentiates has a simulator outside JAX.
        """
        if simulations(self.objective or objective):
            raise RobooptError(
                "`gradient` must be `ZerothOrder` where the objective runs a simulator "
                "outside JAX, which nothing can be differentiated through, got "
                "Automatic."
            )
        return False

    def _of(self, problem: Any) -> Any:
        if self.objective is None:
            return problem
        return dataclasses.replace(problem, objective=self.objective)

    def value(self, problem: Any, free: Any, rest: Any, batch: Any) -> Array:
        """Return the loss at `free`."""
        return super().value(self._of(problem), free, rest, batch)

    def estimate(
        self,
        problem: Any,
        free: Any,
        rest: Any,
        batch: Any,
        key: PRNGKeyArray,
        memory: None,
    ) -> tuple[Estimate, None]:
        """Return the gradient at `free`."""
        problem = self._of(problem)

        def one(batch):
            evaluate = lambda free: problem.evaluate(free, rest, batch)  # noqa: E731
            return jax.value_and_grad(evaluate, has_aux=True)(free)

        groups = _divisor(batch, self.groups)
        if groups < 2:
            (loss, terms), gradient = one(batch)
            norm = jnp.sqrt(squared_norm(relative(gradient, free)))
            error = jnp.zeros((), norm.dtype)
            return Estimate(loss, terms, gradient, error, {"gradient_norm": norm}), None
        parts = jax.tree.map(
            lambda x: x.reshape(groups, x.shape[0] // groups, *x.shape[1:]), batch
        )
        (losses, terms), gradients = jax.vmap(one)(parts)
        mean = lambda tree: jax.tree.map(lambda x: x.mean(0), tree)  # noqa: E731
        gradient = mean(gradients)
        apart = jax.tree.map(lambda each, all: each - all[None], gradients, gradient)
        error = squared_norm(relative(apart, free)) / (groups * (groups - 1))
        size = squared_norm(relative(gradient, free))
        notes = {
            "gradient_norm": jnp.sqrt(size),
            # |ĝ|² is larger than the signal's by the noise's, on average.
            "gradient_snr": signal_to_noise(size - error, error),
        }
        return Estimate(losses.mean(), mean(terms), gradient, error, notes), None


def signal_to_noise(
    signal: Float[Array, ""], noise: Float[Array, ""]
) -> Float[Array, ""]:
    """Return their ratio, from 0 to `MOST`, beyond which nothing depends on it."""
    return jnp.clip(signal / (noise + TINY), 0.0, MOST)


def simulations(objective: Any) -> list[Any]:
    """Return the simulators outside JAX that an objective holds."""
    outside = lambda x: getattr(x, "differentiable", True) is False  # noqa: E731
    return [x for x in jax.tree.leaves(objective, is_leaf=outside) if outside(x)]


def relative(gradient: Any, free: Any) -> Any:
    """Return the derivatives by relative changes."""
    return jax.tree.map(lambda g, s: g * s, gradient, sizes(free))


def squared_norm(tree: Any) -> Float[Array, ""]:
    """Return the sum of the squares of all entries."""
    return sum((jnp.sum(x**2) for x in jax.tree.leaves(tree)), jnp.zeros(()))


def product(a: Any, b: Any) -> Float[Array, ""]:
    """Return the inner product of two trees."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return sum((jnp.sum(x * y) for x, y in pairs), jnp.zeros(()))


def _divisor(batch: Any, most: int) -> int:
    """Return into how many groups the samples divide, at most `most`."""
    counts = {x.shape[0] if x.ndim else 0 for x in jax.tree.leaves(batch)}
    if len(counts) != 1 or 0 in counts:
        return 1
    count = counts.pop()
    return max(k for k in range(1, most + 1) if count % k == 0)
