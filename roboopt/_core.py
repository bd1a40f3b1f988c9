"""Foundations of all packages: array types, modules and fixed parts of a model."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt._readable import Readable, readable

T = TypeVar("T")

AnyArray = jax.Array | np.ndarray
"""Type of an argument that is an array of JAX or NumPy."""

MIN_SCALE = 0.1  # of a parameter array, in its unit


class Jittable(Readable, eqx.Module):
    """A module that `jax.jit` accepts as a function, and that prints its numbers.

    `jax.jit(f)` hashes f, and equinox hashes a module by its leaves, which fails for
    arrays. This class hashes and compares by identity, so that `jax.jit(objective)` and
    `jax.jit(robot.mass_matrix)` work; the compiled function holds the arrays as
    constants. `equinox.tree_equal` compares values.
    """

    def __hash__(self) -> int:
        """Return the object's identity."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same object."""
        return self is other


class Frozen(Readable, eqx.Module, Generic[T]):
    """A part of a model that is not trained, such as a controller's robot.

    `minimize` leaves the part out, and a call returns the part without a gradient.
    """

    value: T

    def __repr__(self) -> str:
        """Return the text of the part."""
        return readable(vars(self).get("value"))

    def __call__(self) -> T:
        """Return the part, through which no gradient flows."""
        arrays, rest = eqx.partition(self.value, eqx.is_inexact_array)
        return eqx.combine(jax.lax.stop_gradient(arrays), rest)


def trainable(model: Any) -> Any:
    """Return a tree of booleans: which leaves of `model` are trainable arrays."""

    def frozen(node: Any) -> bool:
        return isinstance(node, Frozen)

    def leaf(node: Any) -> Any:
        if frozen(node):
            return jax.tree.map(lambda _: False, node)
        return eqx.is_inexact_array(node)

    return jax.tree.map(leaf, model, is_leaf=frozen)


def sizes(tree: Any) -> Any:
    """Return the scale of each leaf: its root mean square, at least 0.1."""
    return jax.tree.map(
        lambda x: jnp.maximum(jnp.sqrt(jnp.mean(x**2)), MIN_SCALE), tree
    )


def check_shape(name: str, shape: Sequence[int], expected: Sequence[int]) -> None:
    """Check the shape of the argument `name` before it would broadcast.

    Raises:
        RobooptError: if `shape` is not `expected`.
    """
    if tuple(shape) != tuple(expected):
        raise RobooptError(
            f"`{name}` must have shape {tuple(expected)}, got {tuple(shape)}."
        )
