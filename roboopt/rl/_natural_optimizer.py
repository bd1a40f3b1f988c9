"""Natural gradients of the normal distribution that parameters are drawn from.

By the inverse of the Fisher information, the gradient by the mean x is multiplied by
σ², and that by log σ by a half: steps are then measured by how much the distribution
changes, whatever the parameters are in units of (Wierstra et al., 2014, Natural
evolution strategies, whose rates for separable distributions these are, 1 of the mean
and (3 + log d) / 5√d of log σ).
"""

import functools
import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from roboopt._errors import RobooptError


# The same object again, so that what was compiled for it serves again too.
@functools.lru_cache
def natural_optimizer(rate: float = 1.0) -> Any:
    """Return descent on `ParameterNoise` along the natural gradient.

    Args:
        rate: of both, relative to theirs. It suits advantages whose positive part is 1
            on average, as those of `Trials` are.

    Raises:
        RobooptError: if `rate` is not positive and finite.
    """
    import optax

    if not 0 < rate < math.inf:
        raise RobooptError(f"`rate` must be positive and finite, got {rate}.")

    def init(params: Any) -> Any:
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        size = updates.shift.size
        of_deviation = (3 + math.log(size)) / (5 * math.sqrt(size))
        square = jnp.exp(2 * params.log_deviation)
        steps = (
            -rate * square * updates.shift,
            -rate * of_deviation / 2 * updates.log_deviation,
        )
        both = lambda tree: (tree.shift, tree.log_deviation)  # noqa: E731
        return eqx.tree_at(both, updates, steps), state

    return optax.GradientTransformation(init, update)
