"""Compiling the steps of a run while its first batch is collected.

Compiling needs the shapes of the data alone, and one of two cores would be idle.
"""

import dataclasses
import threading
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt.optimize._loop import Problem, advance, begin
from roboopt.optimize._sources import array_source


def compile_ahead(
    problem: Problem, params: Any, fixed: Any, model: Any, batch_size: int | None
) -> threading.Thread:
    """Compile the steps in a thread, under the configuration of this one.

    Args:
        problem: the problem, with a source that has an `outline`.
        params: the trainable leaves.
        fixed: the other arrays of the model.
        model: the model that the source is asked with.
        batch_size: samples of a minibatch, None for whole batches.

    Returns:
        The thread; after it has ended, `advance` finds the compiled program.
    """
    x64 = jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
    device = jax.config.jax_default_device  # pyright: ignore

    def compile_steps() -> None:
        with jax.enable_x64(x64), jax.default_device(device):
            try:
                batches = array_source(problem.source.outline(model), batch_size)
                made = dataclasses.replace(problem, source=batches)
                key = jax.random.key(0)
                state = eqx.filter_eval_shape(begin, made, params, fixed, key)
                lowered = advance.lower(  # pyright: ignore[reportFunctionMemberAccess]
                    made, zeros(state), jnp.asarray(0)
                )
                lowered.compile()
            except Exception:  # `advance` raises it again, with the real data
                return

    thread = threading.Thread(target=compile_steps, name="roboopt-compile")
    thread.start()
    return thread


def zeros(tree: Any) -> Any:
    """Return arrays of the shapes and dtypes in `tree`."""

    def leaf(like: Any) -> Any:
        if not isinstance(like, jax.ShapeDtypeStruct):
            return like
        if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        # Not `jnp.zeros`, which compiles a program for every shape.
        return jax.device_put(np.zeros(like.shape, like.dtype))

    return jax.tree.map(leaf, tree)
