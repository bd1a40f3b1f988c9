"""The size of parameters, which small and large changes of them are relative to."""

from typing import Any

import jax
import jax.numpy as jnp

SMALLEST_SCALE = 0.1


def sizes(tree: Any) -> Any:
    """Return the size of each leaf: its root mean square, or 0.1 if that is more."""
    return jax.tree.map(
        lambda x: jnp.maximum(jnp.sqrt(jnp.mean(x**2)), SMALLEST_SCALE), tree
    )
