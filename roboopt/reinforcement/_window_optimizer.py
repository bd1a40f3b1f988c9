"""The optimizer of policies that learn through windows of a simulation.

It warms up: a policy that moves far before its value function knows anything drives the
robot to where neither has been.
"""

import functools
from typing import Any

RATE = 0.01
LARGEST_NORM = 1.0  # Of the gradient: near the top of a swing it is a thousand times.
WARMUP = 20  # One of so many of the steps.
LEFT = 0.05  # Of the rate at the end.


# The same object again, so that what was compiled for it serves again too.
@functools.lru_cache
def window_optimizer(steps: int, rate: float = RATE) -> Any:
    """Return Adam on clipped gradients, warmed up and annealed by a half cosine.

    Args:
        steps: of the descent.
        rate: the greatest.

    Raises:
        ValueError: if `steps` is less than 1, or `rate` is not positive.
    """
    import optax

    if steps < 1:
        raise ValueError(f"`steps` must be at least 1, got {steps}.")
    if not rate > 0:
        raise ValueError(f"`rate` must be positive, got {rate}.")
    warmup = max(1, steps // WARMUP)
    schedule = optax.warmup_cosine_decay_schedule(
        0.1 * rate, rate, warmup, max(steps, warmup + 1), LEFT * rate
    )
    return optax.chain(optax.clip_by_global_norm(LARGEST_NORM), optax.adam(schedule))
