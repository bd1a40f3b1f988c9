"""The coordinates that the optimizer moves: without bounds, and of one precision.

    both:   x = l + (u − l) σ(z)      lower:  x = l + softplus(z)      upper likewise

Every z gives an x strictly inside, so the optimizer moves freely and the model never
leaves its bounds. All z have the precision of the most precise parameter, and single
precision at least: line searches compare numbers of one type.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from roboopt._core import compiled
from roboopt._errors import RobooptError, floats, require

INFINITE = ("inf", "infinity")


def _side(value: Any) -> Any:
    """Return a bound, the text of an infinite one as a number."""
    if isinstance(value, str) and value.strip().lower().lstrip("+-") in INFINITE:
        return float(value)
    return value


class Bound(eqx.Module):
    """Bounds for the leaves that `where(model)` selects.

    `Bound(lambda m: m.gains, 0.0, 10.0)`; either side may be infinite, or an array that
    broadcasts to the leaf. "inf" and "-inf" are what files of settings call infinity.
    """

    where: Callable[[Any], Any] = eqx.field(static=True)
    lower: Any = eqx.field(default=-np.inf, converter=_side)
    upper: Any = eqx.field(default=np.inf, converter=_side)

    def __check_init__(self):
        lower, upper = floats("lower", self.lower), floats("upper", self.upper)
        try:
            ordered = np.all(lower < upper)
        except ValueError:
            shapes = f"{lower.shape} and {upper.shape}"
            raise RobooptError(
                f"`lower` and `upper` must broadcast to each other, got {shapes}."
            ) from None
        if not ordered:
            raise RobooptError(
                f"`lower` must be less than `upper`, got {self.lower} and {self.upper}."
            )


class Interval(eqx.Module):
    """The map of one leaf between its bounds and coordinates without bounds."""

    lower: Array
    upper: Array
    precision: Any = eqx.field(static=True)
    """The type of the leaf."""
    free_precision: Any = eqx.field(static=True)
    """The type of the coordinates."""

    @compiled
    def to_bounded(self, free: Array) -> Array:
        """Return the leaf at its coordinates without bounds."""
        lower, upper = self._finite(free.dtype)
        both = lower + (upper - lower) * jax.nn.sigmoid(free)
        above_lower = lower + jax.nn.softplus(free)
        below_upper = upper - jax.nn.softplus(-free)
        bounded = self._select(both, above_lower, below_upper, free)
        return bounded.astype(self.precision)

    def to_free(self, leaf: Array) -> Array:
        """Return the coordinates without bounds of a leaf."""
        leaf = leaf.astype(self.free_precision)
        lower, upper = self._finite(leaf.dtype)
        ratio = (leaf - lower) / (upper - lower)
        both = jnp.log(ratio) - jnp.log1p(-ratio)
        above_lower = _inverse_softplus(leaf - lower)
        below_upper = -_inverse_softplus(upper - leaf)
        return self._select(both, above_lower, below_upper, leaf)

    def _finite(self, dtype: Any) -> tuple[Array, Array]:
        # A branch that is not selected must be finite too, or its gradient is NaN.
        lower = jnp.where(jnp.isfinite(self.lower), self.lower, 0.0)
        upper = jnp.where(jnp.isfinite(self.upper), self.upper, lower + 1.0)
        return lower.astype(dtype), upper.astype(dtype)

    def _select(self, both: Array, lower: Array, upper: Array, free: Array) -> Array:
        has_lower, has_upper = jnp.isfinite(self.lower), jnp.isfinite(self.upper)
        one_sided = jnp.where(has_lower, lower, jnp.where(has_upper, upper, free))
        return jnp.where(has_lower & has_upper, both, one_sided)


def _inverse_softplus(y: Array) -> Array:
    """Return log(eʸ − 1) without overflow."""
    return y + jnp.log(-jnp.expm1(-y))


def limits(
    bounds: Sequence[Bound], model: Any, params: Any, batched: bool = False
) -> list[tuple[np.ndarray, np.ndarray] | None]:
    """Return the lowest and highest values of each leaf of `params`, None if unbounded.

    If `batched`, each leaf has a leading axis of starts, which the bounds do not have.
    A bound that selects no leaf, or one that has a bound, is refused.
    """
    leaves, structure = jax.tree.flatten(params)
    found: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(leaves)
    for bound in bounds:
        selected = jax.tree.leaves(bound.where(structure.unflatten(range(len(leaves)))))
        if not selected:
            raise RobooptError(
                "`bounds` must select trainable arrays, got one that selects "
                f"{bound.where(model)}."
            )
        for number in selected:
            if found[number] is not None:
                raise RobooptError("`bounds` must bound a leaf once, got one twice.")
            shape = leaves[number].shape[int(batched) :]
            sides = np.asarray(bound.lower, float), np.asarray(bound.upper, float)
            try:
                lower, upper = (np.broadcast_to(side, shape) for side in sides)
            except ValueError:
                one = " of one start" if batched else ""
                raise RobooptError(
                    f"`bounds` must broadcast to the shape {shape} of the array{one} "
                    f"that they bound, got {sides[0].shape} and {sides[1].shape}."
                ) from None
            found[number] = lower, upper
    return found


def intervals(
    bounds: Sequence[Bound], model: Any, params: Any, batched: bool = False
) -> Any:
    """Return the tree of `params` with an `Interval` at each leaf that needs one.

    A leaf without bounds whose type is that of the coordinates needs none: None. A leaf
    that is not strictly inside is refused; the arguments are those of `limits`.
    """
    leaves, structure = jax.tree.flatten(params)
    free = jnp.result_type(jnp.float32, *(leaf.dtype for leaf in leaves))
    found: list[Interval | None] = []
    for leaf, sides in zip(leaves, limits(bounds, model, params, batched), strict=True):
        x = np.asarray(leaf)
        if sides is not None:
            rule = f"start strictly inside its `bounds` ({sides[0]}, {sides[1]})"
            require(np.all((sides[0] < x) & (x < sides[1])), "model", rule, x)
        if sides is None and x.dtype != free:
            sides = np.float32(-np.inf), np.float32(np.inf)
        found.append(
            None
            if sides is None
            else Interval(
                *map(jnp.asarray, sides), precision=x.dtype, free_precision=free
            )
        )
    return structure.unflatten(found)


def to_bounded(intervals: Any, params: Any) -> Any:
    return _map_bounded(Interval.to_bounded, intervals, params)


def to_free(intervals: Any, leaves: Any) -> Any:
    return _map_bounded(Interval.to_free, intervals, leaves)


def by_parameter(intervals: Any, params: Any, gradient: Any) -> Any:
    """Return the derivatives by the parameters from those by free coordinates."""
    known = lambda x: isinstance(x, Interval)  # noqa: E731
    if not any(map(known, jax.tree.leaves(intervals, is_leaf=known))):
        return gradient
    ones = jax.tree.map(jnp.ones_like, params)
    bounded = functools.partial(to_bounded, intervals)
    slopes = jax.jvp(bounded, (params,), (ones,))[1]
    return jax.tree.map(jnp.divide, gradient, slopes)


def _map_bounded(function: Any, intervals: Any, tree: Any) -> Any:
    def leaf(interval, value):
        unbounded = value is None or interval is None
        return value if unbounded else function(interval, value)

    is_leaf = lambda x: x is None or isinstance(x, Interval)  # noqa: E731
    return jax.tree.map(leaf, intervals, tree, is_leaf=is_leaf)
