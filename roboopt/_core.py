"""What every package builds on: array types, and parts of a model that stay fixed."""

from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")

AnyArray = jax.Array | np.ndarray
"""Arguments for which either kind of array serves."""

MIN_SCALE = 0.1


class Jittable(eqx.Module):
    """A module that `jax.jit` takes as it stands, arrays included.

    `jax.jit(f)` hashes f and compares it with other functions, and equinox does both by
    the leaves, which arrays refuse to be hashed by. This class does both by identity,
    so that `jax.jit(objective)` and `jax.jit(robot.mass_matrix)` work; the compiled
    function holds the arrays as constants. `equinox.tree_equal` compares values.
    """

    def __hash__(self) -> int:
        """Return the object's identity."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same object."""
        return self is other


class Frozen(eqx.Module, Generic[T]):
    """Holds a part of a model that no optimizer changes, such as a controller's robot.

    `minimize` leaves the part out, and calling it returns the part without a gradient.
    """

    value: T

    def __call__(self) -> T:
        """Return the part; no gradient flows through it."""
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
