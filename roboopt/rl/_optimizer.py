"""The optimizer of on-policy learning."""

import functools
from typing import Any

from roboopt.rl._clipped_adam import clipped_adam

LEARNING_RATE = 1e-3
LARGEST_NORM = 0.5  # Of the gradient: noise of a few samples goes no further.
EPSILON = 1e-5  # Of Adam: gradients that are next to nothing stay so.


# The same object again, so that what was compiled for it serves again too.
@functools.lru_cache
def on_policy_optimizer(steps: int, rate: float = LEARNING_RATE) -> Any:
    """Return Adam with its rate falling to 0 in `steps`, on clipped gradients.

    Args:
        steps: of the descent.
        rate: that it begins with.

    Raises:
        ValueError: if `steps` is less than 1, or `rate` is not positive.
    """
    import optax

    return clipped_adam(
        steps,
        rate,
        lambda: optax.linear_schedule(rate, 0.0, steps),
        LARGEST_NORM,
        EPSILON,
    )
