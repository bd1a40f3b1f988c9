"""Where batches come from: all the data, shuffled minibatches of it, or a function."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, UInt32

from roboopt._errors import RobooptError
from roboopt.optimize._shuffle import first_order, next_order, shuffled

LIMITS = ("low", "high")


class Everything(eqx.Module):
    """All of the data, each step."""

    data: Any

    def begin(self, key: PRNGKeyArray) -> None:
        """Return nothing: no state is needed."""

    def draw(self, state: None) -> tuple[Any, None]:
        """Return the data."""
        return self.data, state


class Minibatches(eqx.Module):
    """`size` samples a step, all of them once an epoch, in an order drawn anew."""

    data: Any
    size: int = eqx.field(static=True)

    @property
    def _count(self) -> int:
        return jax.tree.leaves(self.data)[0].shape[0]

    def begin(self, key: PRNGKeyArray) -> "Epoch":
        """Return the first epoch, none of it used."""
        return Epoch(first_order(key), jnp.zeros((), int))

    def draw(self, state: "Epoch") -> tuple[Any, "Epoch"]:
        """Return the next samples, and what is left of the epoch."""
        over = state.used >= self._count // self.size
        order = jnp.where(over, next_order(state.order), state.order)
        used = jnp.where(over, 0, state.used)
        rows = shuffled(used * self.size + jnp.arange(self.size), self._count, order)
        batch = jax.tree.map(lambda x: jnp.take(x, rows, axis=0), self.data)
        return batch, Epoch(order, used + 1)


class Epoch(eqx.Module):
    """A pass over the samples."""

    order: UInt32[Array, "round 2"]
    """What it is drawn by."""
    used: Int[Array, ""]
    """How many batches are drawn already."""


class Block(NamedTuple):
    """Data, and the model with what is not trained brought up to them."""

    data: Any
    model: Any
    """As it was given, but for its other arrays: a `Frozen` normalizer, say."""


@runtime_checkable
class BlockSource(Protocol):
    """Data that `minimize` asks for block by block, on the host, as it goes.

    So can data be read that do not fit in memory, or gathered with the model as it is.
    It may have a `batch_size` and an `optimizer(steps)`, which `minimize` then uses
    where it is given none; and an `outline(model)`, arrays like those of a block, with
    any numbers in them: then `minimize` compiles while the first block is gathered.
    """

    @property
    def steps(self) -> int:
        """Steps of the descent on one block; what is left over goes to the last."""
        ...

    @property
    def drifts(self) -> bool:
        """Whether losses on different blocks say nothing of which model is better.

        So it is where data come from what the model does. The best model is then that
        of the last block; otherwise that of all.
        """
        ...

    def block(self, model: Any, number: int) -> Any:
        """Return block `number`, arrays of the same shapes and dtypes each time.

        It may return a `Block` instead, to renew what is not trained of the model.

        Args:
            model: the best of the last block if the data drift, unless the objective
                does not rank models; or else the latest; at block 0 the one that the
                descent begins with.
            number: 0, 1, 2, …, each asked for once.
        """
        ...


@runtime_checkable
class Resumable(Protocol):
    """A `BlockSource` that a checkpoint can hold what it knows of."""

    def state(self) -> Any:
        """Return what it has learned by now, a pytree of arrays."""
        ...

    def restore(self, state: Any) -> None:
        """Go on from a `state`, of the same shapes and dtypes."""
        ...


class OnPolicy(eqx.Module):
    """What a function `(model, key) -> batch` gives for the model as it is."""

    function: Callable[[Any, PRNGKeyArray], Any]


def source(data: Any, batch_size: int | None) -> Everything | Minibatches | OnPolicy:
    """Return the source that `data` stands for.

    Raises:
        RobooptError: if `data` holds no array, its leading axes differ, it is empty or
            not finite, or `batch_size` does not fit it.
    """
    if callable(data):
        if batch_size is not None:
            raise RobooptError(
                f"`batch_size` must be None where `data` is a function, got "
                f"{batch_size}."
            )
        return OnPolicy(data)
    leaves = jax.tree.leaves(data)
    if not leaves or not all(eqx.is_array_like(leaf) for leaf in leaves):
        raise RobooptError(
            "`data` must be a function `(model, key) -> batch` or hold arrays, got "
            f"{type(data).__name__}."
        )
    data = jax.tree.map(jnp.asarray, data)
    for path, leaf in jax.tree_util.tree_leaves_with_path(data):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            # Limits may be infinite, where there are none.
            limit = getattr(path[-1], "name", None) in LIMITS if path else False
            values = np.asarray(leaf)
            bad = np.isnan(values) if limit else ~np.isfinite(values)
            if bad.any():
                first = tuple(int(i) for i in np.argwhere(bad)[0])
                raise RobooptError(
                    f"`data`{jax.tree_util.keystr(path)} must be finite, got "
                    f"{leaf[first]} at {first}."
                )
    if batch_size is None:
        return Everything(data)
    counts = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(data)}
    if len(counts) > 1 or not 1 <= batch_size <= min(counts):
        raise RobooptError(
            "`batch_size` must be between 1 and the number of samples, the same in "
            f"every array of `data`; got {batch_size}, and {sorted(counts)} samples."
        )
    return Minibatches(data, batch_size)
