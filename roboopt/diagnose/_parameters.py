"""The names of a model's parameters."""

from typing import Any

import jax


def flat_name(path: Any, prefix: str = "") -> str:
    """Return the name of a leaf, such as "gains" or "layers[0].weight".

    Args:
        path: of the leaf, as `jax.tree_util` has it.
        prefix: name of the model.
    """
    name = prefix + jax.tree_util.keystr(path)
    return (
        name.removeprefix(".").replace("['", ".").replace("']", "").lstrip(".")
        or "model"
    )


def element_name(leaf: str, where: tuple[Any, ...]) -> str:
    """Return the name of an element of a leaf, such as "gains[0, 1]"."""
    return f"{leaf}[{', '.join(str(int(k)) for k in where)}]" if where else leaf
