"""Compiling a descent while its first block of data is gathered.

Compilation needs to know what the data are like, not the data; and of two cores it
would leave one idle.
"""

import threading
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt.optimize._descent import Problem, advance, begin


def compile_ahead(
    problem: Callable[[], Problem], trained: Any, rest: Any
) -> Callable[[], None]:
    """Compile the steps of a descent in a thread; return what waits for it.

    Args:
        problem: makes one on data that are like the real ones.
        trained: the leaves that are tuned.
        rest: the model's other arrays.
    """

    def compiled() -> None:
        try:
            made = problem()
            key = jax.random.key(0)
            state = eqx.filter_eval_shape(begin, made, trained, rest, key)
            advance(made, zeros(state), jnp.asarray(0))
        except Exception:
            # Whatever it is comes again with the real data, and is said then.
            return

    thread = threading.Thread(target=compiled, name="roboopt-compile")
    thread.start()
    return thread.join


def zeros(tree: Any) -> Any:
    """Return arrays of the shapes and dtypes that are in `tree`."""

    def leaf(like: Any) -> Any:
        if not isinstance(like, jax.ShapeDtypeStruct):
            return like
        if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        # Nothing that JAX would compile for every shape.
        return jax.device_put(np.zeros(like.shape, like.dtype))

    return jax.tree.map(leaf, tree)
