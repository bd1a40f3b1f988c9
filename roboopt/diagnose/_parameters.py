"""The parameters of a model: their names, their values, and the rest of the model."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt import optimize
from roboopt._core import LOGARITHM
from roboopt._errors import RobooptError, require

MAX_LOG = 700.0  # of a number in double precision
MAX_NAMED = 4  # numbers in a sentence
MAX_SCALAR_ROWS = 24  # beyond, a row is a leaf


class Joined(eqx.Module):
    """Joins the parameters of a model with its other arrays and the rest."""

    fixed: Any
    static: Any

    def __call__(self, params: Any) -> Any:
        """Return the model at `params`."""
        return eqx.combine(params, self.fixed, self.static)


def parameters_of(
    model: Any, trainable: Callable[[Any], Any] | None = None
) -> tuple[Any, Any, Any]:
    """Split a model as `optimize.partition` does, with its parameters as JAX arrays."""
    params, fixed, static = optimize.partition(optimize.with_arrays(model), trainable)
    empty, params = eqx.partition(params, lambda leaf: leaf.size == 0)
    fixed = eqx.combine(fixed, empty)
    rule = "have a number to differentiate by"
    require(jax.tree.leaves(params), "model", rule, "arrays of size 0 alone")
    for name, leaf in zip(
        optimize.leaf_names(params), jax.tree.leaves(params), strict=True
    ):
        rule = "have real parameters (split a complex one in two)"
        real = not jnp.issubdtype(leaf.dtype, jnp.complexfloating)
        require(real, "model", rule, f"{leaf.dtype} in {name}")
    return jax.tree.map(jnp.asarray, params), fixed, static


def constant_names(model: Any) -> tuple[str, ...]:
    """Return the names of the Python numbers in dictionaries, lists and tuples.

    They are no parameters beside arrays; the fields of a class are meant to be so.
    """
    found = jax.tree_util.tree_leaves_with_path(optimize.with_arrays(model))
    keys = jax.tree_util.DictKey | jax.tree_util.SequenceKey
    return tuple(
        jax.tree_util.keystr(path, simple=True, separator=".")
        for path, leaf in found
        if type(leaf) is float and path and all(isinstance(k, keys) for k in path)
    )


def constants_said(names: Sequence[str]) -> list[str]:
    """Return a sentence on Python numbers that are no parameters, none without any."""
    if not names:
        return []
    named, many = ", ".join(names[:MAX_NAMED]), len(names) > 1
    named += " and others" if len(names) > MAX_NAMED else ""
    said = "are Python numbers" if many else "is a Python number"
    return [
        f"{named} {said} beside arrays, and no parameter{'s' if many else ''}: an "
        "array, as by `jnp.asarray`, is one."
    ]


def require_scalar(argument: str, function: Callable[..., Any], *args: Any) -> None:
    """Refuse an `argument` that JAX cannot trace, or that returns no real number."""
    try:
        made = eqx.filter_eval_shape(function, *args)
    except jax.errors.ConcretizationTypeError as error:
        raise RobooptError(
            f"`{argument}` must be traceable by JAX: its numbers take no Python `if`, "
            "`while` or `float()`; use `jnp.where`, `lax.cond` or `lax.scan`, got "
            f"{str(error).splitlines()[0]}"
        ) from error
    except jax.errors.TracerArrayConversionError as error:
        raise RobooptError(
            f"`{argument}` must be traceable by JAX: its numbers take `jax.numpy` in "
            "place of NumPy."
        ) from error
    rule, known = "return one real number, of shape ()", hasattr(made, "dtype")
    require(known or isinstance(made, float | int), argument, rule, type(made))
    shape = getattr(made, "shape", ())
    kind = np.dtype(getattr(made, "dtype", type(made)))
    real = jnp.issubdtype(kind, jnp.floating)
    require(shape == () and real, argument, rule, f"{kind}{[*shape]}")


def leaf_names(params: Any, function: Any) -> list[str]:
    """Return the names of a model's leaves, such as "gains" or "layers[0].weight".

    A model without names, such as an array or a list, has that of the first argument
    of `function`.
    """
    return optimize.leaf_names(params, _first_argument(function))


def _first_argument(function: Any) -> str:
    """Return the name of the first argument of a function, "model" without one."""
    try:
        return next(iter(inspect.signature(function).parameters), "model")
    except (TypeError, ValueError):
        return "model"


def element_name(leaf: str, where: tuple[Any, ...]) -> str:
    """Return the name of an element of a leaf, such as "gains[0, 1]"."""
    return f"{leaf}[{', '.join(str(int(k)) for k in where)}]" if where else leaf


class Row:
    """One parameter: a number, or an array where there are many numbers."""

    def __init__(self, leaf: int, name: str, index: int | None, shape: tuple[int, ...]):
        self.leaf, self.index = leaf, index
        # The logarithm of a positive number is explained as the number.
        self.log = index is not None and LOGARITHM.search(name) is not None
        self.leaf_name = LOGARITHM.sub("", name) if self.log else name
        self.size = 1 if index is not None else math.prod(shape)
        where = () if index is None else np.unravel_index(index, shape)
        self.name = element_name(self.leaf_name, tuple(where))

    def scale(self, params: Any) -> float:
        """Return the size that a change of 1 % is of.

        It is the absolute value; of 0 the root mean square of its array, or 1.
        """
        if value := abs(self.value(params)):
            return value
        leaf = np.asarray(jax.tree.leaves(params)[self.leaf], float)
        return float(np.sqrt(np.mean(leaf**2))) or 1.0

    def value(self, params: Any) -> float:
        """Return the number, or the root mean square of the array."""
        leaf = np.asarray(jax.tree.leaves(params)[self.leaf], float).ravel()
        if self.index is not None:
            number = float(leaf[self.index])
            if not self.log:
                return number
            rule = f"hold logarithms between −{MAX_LOG:g} and {MAX_LOG:g}"
            near = not abs(number) > MAX_LOG  # or not a number
            require(near, "model", rule, f"{number:g} for {self.name}")
            return math.exp(number)
        return float(np.sqrt(np.mean(leaf**2)))

    def slopes(self, slopes: Any, params: Any) -> np.ndarray:
        """Return the derivative of each term, then of the loss; an array's norm."""
        leaf = np.asarray(jax.tree.leaves(slopes)[self.leaf], float)
        leaf = leaf.reshape(len(leaf), -1)
        leaf = np.concatenate([leaf, leaf.sum(0, keepdims=True)])
        if self.index is not None:
            return leaf[:, self.index] / (self.value(params) if self.log else 1.0)
        return np.linalg.norm(leaf, axis=1)

    def slope_of_share(self, params: Any, gradient: Any) -> float:
        """Return the derivative of the loss by the share of an array in `moved`."""
        leaf, slope = (
            np.asarray(jax.tree.leaves(tree)[self.leaf], float)
            for tree in (params, gradient)
        )
        return float(np.sum(leaf * slope if self.value(params) else slope))

    @np.errstate(all="ignore")
    def moved(self, params: Any, share: float) -> Any:
        """Return the parameters with a number, or an array, raised by a share."""
        leaves, structure = jax.tree.flatten(params)
        leaf = np.array(leaves[self.leaf])
        if self.index is None:
            leaf = leaf * (1 + share) if self.value(params) else leaf + share
        else:
            step = math.log1p(share) if self.log else share * self.scale(params)
            leaf.reshape(-1)[self.index] += step
        leaves[self.leaf] = leaf
        return jax.tree.unflatten(structure, leaves)


def rows_of(
    names: Sequence[str], leaves: Sequence[Any], most: int = MAX_SCALAR_ROWS
) -> list[Row]:
    """Return a row for each number of the leaves, or of more than `most` for each."""
    found = list(zip(names, leaves, strict=True))
    if sum(leaf.size for _, leaf in found) > most:
        return [
            Row(k, name, 0 if leaf.size == 1 else None, leaf.shape)
            for k, (name, leaf) in enumerate(found)
        ]
    return [
        Row(k, name, index, leaf.shape)
        for k, (name, leaf) in enumerate(found)
        for index in range(leaf.size)
    ]
