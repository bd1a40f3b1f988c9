"""The optimizer of on-policy learning."""

import functools
from typing import Any

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

    if steps < 1:
        raise ValueError(f"`steps` must be at least 1, got {steps}.")
    if not rate > 0:
        raise ValueError(f"`rate` must be positive, got {rate}.")
    return optax.chain(
        optax.clip_by_global_norm(LARGEST_NORM),
        optax.adam(optax.linear_schedule(rate, 0.0, steps), eps=EPSILON),
    )
