"""The names of a model's parameters."""

import inspect
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from roboopt import optimize


def with_arrays(model: Any) -> Any:
    """Return a model of Python numbers alone as one of arrays, any other as it is."""
    if any(map(eqx.is_inexact_array, jax.tree.leaves(model))):
        return model
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, float) else x, model)


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
