"""Where batches come from: arrays, a function, an iterable, or a `Source`."""

import dataclasses
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, UInt32

from roboopt._devices import Devices
from roboopt._errors import RobooptError, require
from roboopt.optimize._shuffle import first_order, next_order, shuffled

LIMITS = ("low", "high")  # fields whose values may be infinite


class FullBatch(eqx.Module):
    """All of the data in each step."""

    data: Any

    @staticmethod
    def init(key: PRNGKeyArray) -> None:
        """Return None: no state is needed."""

    def draw(self, state: None) -> tuple[Any, None]:
        """Return the data."""
        return self.data, state


class Epoch(eqx.Module):
    """A pass over the samples."""

    order: UInt32[Array, "round 2"]
    used: Int[Array, ""]
    """The number of batches drawn already."""


class Minibatches(eqx.Module):
    """`size` samples in each step, in an order that is shuffled every epoch."""

    data: Any
    size: int = eqx.field(static=True)

    @staticmethod
    def init(key: PRNGKeyArray) -> Epoch:
        """Return the first epoch."""
        return Epoch(first_order(key), jnp.zeros((), int))

    def draw(self, state: Epoch) -> tuple[Any, Epoch]:
        """Return the next samples, and the rest of the epoch."""
        count = jax.tree.leaves(self.data)[0].shape[0]
        over = state.used >= count // self.size
        order = jnp.where(over, next_order(state.order), state.order)
        used = jnp.where(over, 0, state.used)
        rows = shuffled(used * self.size + jnp.arange(self.size), count, order)
        batch = jax.tree.map(lambda x: jnp.take(x, rows, axis=0), self.data)
        return batch, Epoch(order, used + 1)


def laid_along(source: Any, devices: Devices | None, batched: bool) -> Any:
    """Return a source of arrays whose samples the devices share.

    Where minibatches are drawn, or starts are shared, each device has all samples.
    """
    if devices is None or not isinstance(source, FullBatch | Minibatches):
        return source
    if batched or isinstance(source, Minibatches):
        return dataclasses.replace(source, data=devices.copy(source.data))
    return FullBatch(devices.share(source.data, "data"))


class Sampler(eqx.Module):
    """A traceable function `(model, key) -> batch`, called where the model is known."""

    function: Callable[[Any, PRNGKeyArray], Any]

    @staticmethod
    def init(key: PRNGKeyArray) -> None:
        """Return None: no state is needed."""

    def draw(self, state: None) -> tuple[None, None]:
        """Return no batch yet."""
        return None, state


class Block(NamedTuple):
    """A batch, and the model with its fixed arrays updated."""

    data: Any
    model: Any
    """The model as it was given, with new values in arrays that are not trainable, such
    as a `Frozen` normalizer."""


@runtime_checkable
class Source(Protocol):
    """Data that `minimize` asks for on the host as it goes.

    So can data be read that do not fit in memory, or collected with the latest model.
    A source may also have

    - `steps: int`, the gradient steps on each batch, 1 by default; with a `batch_size`
      they are taken on minibatches of it;
    - `drifts: bool`, whether losses on different batches say nothing about which model
      is better, as where the model collects the data. The best model is then that of
      the last batch. False by default;
    - `state()` and `restore(state)`, a pytree of arrays, which checkpoints need;
    - `repeat()`, which returns the last batch before `state()` once more: a run is then
      continued within that batch, to the bit, and not with a new one;
    - `fingerprint()`, a text or arrays that tell its data from others, so that the
      checkpoint of a descent on other data is refused.
    """

    def next(self, model: Any, key: Any) -> Any:
        """Return the next batch: arrays of the same shapes and dtypes each time.

        A `Block` also updates the fixed arrays of the model.

        Args:
            model: the latest model; the best of the last batch if the data drift and
                the objective ranks models. The first time, the initial model.
            key: randomness that follows from the seed of `minimize`.
        """
        ...


class SourceFailed(Exception):
    """Data after the first could not be obtained; the message says why."""


class SourceExhausted(Exception):
    """An iterable has no more batches."""


class Batches:
    """The items of an iterable as a `Source`; an iterable such as a list repeats."""

    def __init__(self, iterable: Iterable):
        self._iterable, self._iterator = iterable, iter(iterable)

    def next(self, model: Any, key: Any) -> Any:
        """Return the next item, or raise `SourceExhausted`."""
        for _ in range(2):
            for batch in self._iterator:
                if not isinstance(batch, list):
                    return batch
                numbers = all(isinstance(x, Real) for x in jax.tree.leaves(batch))
                rule = "be an array, or batches of arrays"
                require(not numbers, "data", rule, batch)
                return tuple(batch)  # torch collates samples (x, y) to a list.
            self._iterator = iter(self._iterable)
        raise SourceExhausted


def as_source(
    data: Any, batch_size: int | None, **others: Any
) -> FullBatch | Minibatches | Sampler | Source:
    """Return where the batches of `data` come from, which is as in `minimize`.

    Not all data support all of its arguments `batched`, `tolerance` and `checkpoint`.
    """
    if isinstance(data, Source):
        source, kind, refused = data, "a source", ["batched"]
        if not hasattr(data, "restore"):
            kind, refused = "a source without `restore`", [*refused, "checkpoint"]
        if getattr(data, "drifts", False):
            kind, refused = "a source that drifts", [*refused, "tolerance"]
    elif callable(data):
        source, kind, refused = Sampler(data), "a function", ["batch_size"]
    elif _is_iterable(data):
        source, kind = Batches(data), "an iterable of batches"
        refused = ["batch_size", "checkpoint"]
    else:
        return array_source(data, batch_size)
    for name, value in {"batch_size": batch_size, **others}.items():
        if value and name in refused:
            needed = False if name == "batched" else None
            raise RobooptError(
                f"`{name}` must be {needed} where `data` is {kind}, got {value}."
            )
    return source


def _is_iterable(data: Any) -> bool:
    """Return whether `data` is a list of batches or another iterable, and no arrays."""
    if isinstance(data, list):
        return True
    array = eqx.is_array_like(data) or hasattr(data, "__array__")
    container = not jax.tree_util.all_leaves([data])
    return not (container or array or isinstance(data, str)) and hasattr(
        data, "__iter__"
    )


def array_source(data: Any, batch_size: int | None) -> FullBatch | Minibatches:
    """Return the source of batches from arrays."""
    if data is None and batch_size is None:
        return FullBatch(None)
    data = arrays(data)
    if batch_size is None:
        return FullBatch(data)
    counts = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(data)}
    if len(counts) > 1 or not 1 <= batch_size <= min(counts):
        raise RobooptError(
            "`batch_size` must be between 1 and the number of samples, the same in "
            f"every array of `data`; got {batch_size}, and {sorted(counts)} samples."
        )
    return Minibatches(data, batch_size)


def arrays(data: Any) -> Any:
    """Return `data` as arrays of JAX, refused unless they hold finite arrays."""
    leaves = jax.tree_util.tree_leaves_with_path(data)
    is_array = [eqx.is_array_like(x) or hasattr(x, "__array__") for _, x in leaves]
    if not (leaves and all(is_array)):
        raise RobooptError(
            "`data` must be a function `(model, key) -> batch`, an object with "
            "`next(model, key)`, an iterable of batches, or hold arrays, got "
            f"{type(data).__name__}."
        )
    for path, leaf in leaves:
        values = np.asarray(leaf)
        if jnp.issubdtype(values.dtype, jnp.inexact):
            limit = bool(path) and getattr(path[-1], "name", None) in LIMITS
            bad = np.isnan(values) if limit else ~np.isfinite(values)
            if bad.any():
                first = tuple(int(i) for i in np.argwhere(bad)[0])
                raise RobooptError(
                    f"`data`{jax.tree_util.keystr(path)} must be finite, got "
                    f"{values[first]} at {first}."
                )
    return jax.tree.map(_jax_array, data)


def _jax_array(x: Any) -> Array:
    """Return a copy of what is no array of JAX, for which no program is compiled."""
    if isinstance(x, jax.Array) or not hasattr(x, "__array__"):
        return jnp.asarray(x)
    return jax.device_put(np.array(x))
