"""Where batches come from: all the data, shuffled minibatches of it, or a function."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray


class Everything(eqx.Module):
    """All of the data, each step."""

    data: Any

    def begin(self, key: PRNGKeyArray) -> None:
        """Return nothing: no state is needed."""

    def draw(self, state: None, key: PRNGKeyArray) -> tuple[Any, None]:
        """Return the data."""
        return self.data, state


class Minibatches(eqx.Module):
    """`size` samples a step, all of them once an epoch, in an order drawn anew."""

    data: Any
    size: int = eqx.field(static=True)

    @property
    def _per_epoch(self) -> int:
        return jax.tree.leaves(self.data)[0].shape[0] // self.size

    def begin(self, key: PRNGKeyArray) -> tuple[Int[Array, " sample"], Int[Array, ""]]:
        """Return the first epoch's order, and that none of it is used."""
        count = jax.tree.leaves(self.data)[0].shape[0]
        return jax.random.permutation(key, count), jnp.zeros((), int)

    def draw(self, state: Any, key: PRNGKeyArray) -> tuple[Any, Any]:
        """Return the next samples, and what is left of the epoch."""
        order, used = jax.lax.cond(
            state[1] < self._per_epoch, lambda: state, lambda: self.begin(key)
        )
        rows = jax.lax.dynamic_slice_in_dim(order, used * self.size, self.size)
        batch = jax.tree.map(lambda x: jnp.take(x, rows, axis=0), self.data)
        return batch, (order, used + 1)


class OnPolicy(eqx.Module):
    """What a function `(model, key) -> batch` gives for the model as it is."""

    function: Callable[[Any, PRNGKeyArray], Any]


def source(data: Any, batch_size: int | None) -> Everything | Minibatches | OnPolicy:
    """Return the source that `data` stands for.

    Raises:
        ValueError: if `data` holds no array, its leading axes differ, it is empty or
            not finite, or `batch_size` does not fit it.
    """
    if callable(data):
        if batch_size is not None:
            raise ValueError(
                f"`batch_size` must be None where `data` is a function, got "
                f"{batch_size}."
            )
        return OnPolicy(data)
    leaves = jax.tree.leaves(data)
    if not leaves or not all(eqx.is_array_like(leaf) for leaf in leaves):
        raise ValueError(
            "`data` must be a function `(model, key) -> batch` or hold arrays, got "
            f"{type(data).__name__}."
        )
    data = jax.tree.map(jnp.asarray, data)
    for path, leaf in jax.tree_util.tree_leaves_with_path(data):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            finite = np.isfinite(np.asarray(leaf))
            if not finite.all():
                first = tuple(int(i) for i in np.argwhere(~finite)[0])
                raise ValueError(
                    f"`data`{jax.tree_util.keystr(path)} must be finite, got "
                    f"{leaf[first]} at {first}."
                )
    if batch_size is None:
        return Everything(data)
    counts = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(data)}
    if len(counts) > 1 or not 1 <= batch_size <= min(counts):
        raise ValueError(
            "`batch_size` must be between 1 and the number of samples, the same in "
            f"every array of `data`; got {batch_size}, and {sorted(counts)} samples."
        )
    return Minibatches(data, batch_size)
