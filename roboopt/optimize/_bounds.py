"""Bounds that a descent keeps to, by descending in coordinates without any.

    both:   x = l + (u − l) σ(z)      lower:  x = l + softplus(z)      upper likewise

Every z is an x strictly inside, so the optimizer is free and the model never leaves.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from roboopt._errors import RobooptError


class Bound(eqx.Module):
    """Keeps the leaves that `where(model)` names strictly between two numbers.

    `Bound(lambda m: m.gains, 0.0, 10.0)`; either side may be infinite, or an array that
    broadcasts to the leaf.
    """

    where: Callable[[Any], Any] = eqx.field(static=True)
    lower: Any = -np.inf
    upper: Any = np.inf

    def __check_init__(self):
        if not np.all(np.asarray(self.lower) < np.asarray(self.upper)):
            raise RobooptError(
                f"`lower` must be less than `upper`, got {self.lower} and {self.upper}."
            )


class Interval(eqx.Module):
    """The map of one leaf between its free coordinates and its bounds."""

    lower: Array
    upper: Array

    def to_bounded(self, free: Array) -> Array:
        """Return the leaf at its free coordinates."""
        lower, upper = self._finite(free.dtype)
        both = lower + (upper - lower) * jax.nn.sigmoid(free)
        below, above = lower + jax.nn.softplus(free), upper - jax.nn.softplus(-free)
        return self._choose(both, below, above, free)

    def to_free(self, leaf: Array) -> Array:
        """Return the free coordinates of a leaf."""
        lower, upper = self._finite(leaf.dtype)
        ratio = (leaf - lower) / (upper - lower)
        both = jnp.log(ratio) - jnp.log1p(-ratio)
        below, above = _inverse(leaf - lower), -_inverse(upper - leaf)
        return self._choose(both, below, above, leaf)

    def _finite(self, dtype: Any) -> tuple[Array, Array]:
        # Where a side is infinite its branch is not chosen, but must be finite.
        lower = jnp.where(jnp.isfinite(self.lower), self.lower, 0.0)
        upper = jnp.where(jnp.isfinite(self.upper), self.upper, lower + 1.0)
        return lower.astype(dtype), upper.astype(dtype)

    def _choose(self, both: Array, below: Array, above: Array, free: Array) -> Array:
        has_lower, has_upper = jnp.isfinite(self.lower), jnp.isfinite(self.upper)
        one_sided = jnp.where(has_lower, below, jnp.where(has_upper, above, free))
        return jnp.where(has_lower & has_upper, both, one_sided)


def _inverse(y: Array) -> Array:
    """Return softplus⁻¹(y) = log(eʸ − 1), without overflow."""
    return y + jnp.log(-jnp.expm1(-y))


def intervals(model: Any, bounds: Sequence[Bound]) -> Any:
    """Return the model's tree with an `Interval` at each bounded leaf, else None.

    Raises:
        RobooptError: if a bounded leaf does not lie strictly inside, or is bounded
        twice.
    """
    leaves, structure = jax.tree.flatten(model)
    numbers = jax.tree.unflatten(structure, list(range(len(leaves))))
    found: list[Interval | None] = [None] * len(leaves)
    for bound in bounds:
        for number in jax.tree.leaves(bound.where(numbers)):
            leaf = np.asarray(leaves[number])
            lower = np.broadcast_to(np.asarray(bound.lower, float), leaf.shape)
            upper = np.broadcast_to(np.asarray(bound.upper, float), leaf.shape)
            if found[number] is not None:
                raise RobooptError("`bounds` must bound a leaf once, got one twice.")
            if not np.all((lower < leaf) & (leaf < upper)):
                raise RobooptError(
                    "`model` must start strictly inside its `bounds` "
                    f"({bound.lower}, {bound.upper}), got {leaf}."
                )
            found[number] = Interval(jnp.asarray(lower), jnp.asarray(upper))
    return jax.tree.unflatten(structure, found)
