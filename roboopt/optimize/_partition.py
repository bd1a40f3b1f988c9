"""The trainable parameters of a model, and the model that they make up."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt._core import trainable_mask
from roboopt._errors import RobooptError, require

MAX_SHOWN = 5  # leaves of a model in an error


def with_arrays(model: Any) -> Any:
    """Return a model of Python floats alone as one of arrays, any other as it is."""
    if any(map(eqx.is_inexact_array, jax.tree.leaves(model))):
        return model
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, float) else x, model)


def partition(
    model: Any, trainable: Callable[[Any], Any] | None = None
) -> tuple[Any, Any, Any]:
    """Split a model into parameters, fixed arrays, and the rest.

    Args:
        model: any pytree.
        trainable: `trainable(model)` selects the parts to train; by default all
            floating-point arrays outside of `Frozen`.

    Returns:
        Three pytrees that `equinox.combine` makes the model of.

    Raises:
        RobooptError: if no array is trainable.
    """
    selected = trainable_mask(model)
    rule = "be a function of the model, or None"
    require(trainable is None or callable(trainable), "trainable", rule, trainable)
    if trainable is not None:
        chosen = eqx.tree_at(
            trainable,
            jax.tree.map(lambda _: False, model),
            replace_fn=lambda node: jax.tree.map(lambda _: True, node),
        )
        selected = jax.tree.map(lambda a, b: a and b, selected, chosen)
    params, other = eqx.partition(model, selected)
    fixed, static = eqx.partition(other, eqx.is_array)
    if not jax.tree.leaves(params):
        raise RobooptError(
            "`model` must have a floating-point array to train (integers are "
            "constants, and so are Python floats beside arrays; `trainable` must "
            f"select an array), got {_shown(model)}."
        )
    return params, fixed, static


def _shown(model: Any) -> str:
    """Return the leaves of a model in short."""
    leaves = jax.tree_util.tree_leaves_with_path(model)
    shown = [
        f"{jax.tree_util.keystr(path)} {getattr(leaf, 'dtype', repr(leaf))}".strip()
        for path, leaf in leaves[:MAX_SHOWN]
    ]
    more = ["…"] if len(leaves) > MAX_SHOWN else []
    return ", ".join([*shown, *more]) or "a model without leaves"


def leaf_names(params: Any, bare: str = "model") -> list[str]:
    """Return the names of the leaves, such as "gains" or "layers[0].weight".

    Args:
        params: any pytree.
        bare: the name of a pytree without names, such as an array or a list.
    """
    names = []
    for path, _ in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path)
        # The arguments that a `jax.tree_util.Partial` holds, of which one is the model.
        name = name.replace("[<flat index 0>][0]", "").replace(
            "[<flat index 0>]", ".args"
        )
        name = name.replace("[<flat index 1>]", ".keywords")
        name = name.replace("['", ".").replace("']", "")
        unnamed = not name or name.startswith("[")
        names.append(bare + name if unnamed else name.lstrip("."))
    return names


def check_model(params: Any, fixed: Any, batched: bool) -> None:
    """Raise a RobooptError unless the arrays of a model can be optimized."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not np.all(np.isfinite(np.asarray(leaf))):
            name = jax.tree_util.keystr(path)
            raise RobooptError(f"`model`{name} must be finite, got {leaf}.")
    counts = {leaf.shape[:1] for leaf in jax.tree.leaves((params, fixed))}
    if batched and (len(counts) > 1 or () in counts):
        raise RobooptError(
            "`model` must have one leading axis of starts on every array with "
            f"`batched=True`, got axes of {sorted(counts)}."
        )


def updated_arrays(model: Any, trainable: Any, fixed: Any) -> Any:
    """Return the fixed arrays of a model that came with a batch, alike in shape."""
    updated = partition(model, trainable)[1]
    new, old = (
        [(x.shape, x.dtype) for x in jax.tree.leaves(tree)] for tree in (updated, fixed)
    )
    if jax.tree.structure(updated) != jax.tree.structure(fixed) or new != old:
        raise RobooptError(
            "`data` must return the model with arrays of the same shapes, got "
            f"{new} for {old}."
        )
    return updated


def number_names(params: Any) -> list[str]:
    """Return the name of each single number of the leaves, such as "gains[0, 1]"."""
    found = []
    for name, leaf in zip(leaf_names(params), jax.tree.leaves(params), strict=True):
        for index in np.ndindex(leaf.shape):
            found.append(f"{name}[{', '.join(map(str, index))}]" if index else name)
    return found
