"""The optimizer of networks that learn through a simulation's gradients.

Through a robot that is about to fall they are a thousand times what they are elsewhere,
and of those that large only the direction is followed.
"""

import functools
from typing import Any

from roboopt.rl._clipped_adam import clipped_adam

RATE = 0.03
LARGEST_NORM = 1.0  # Of the gradient.
WARMUP = 20  # One of so many of the steps.
LEFT = 0.05  # Of the rate at the end.


# The same object again, so that what was compiled for it serves again too.
@functools.lru_cache
def analytic_optimizer(steps: int, rate: float = RATE) -> Any:
    """Return Adam on clipped gradients, warmed up and annealed by a half cosine.

    Args:
        steps: of the descent.
        rate: the greatest. Where a value function has to keep up, as in `Windows`, a
            third of the default is safer.

    Raises:
        ValueError: if `steps` is less than 1, or `rate` is not positive.
    """
    import optax

    def schedule() -> Any:
        warmup = max(1, steps // WARMUP)
        return optax.warmup_cosine_decay_schedule(
            0.1 * rate, rate, warmup, max(steps, warmup + 1), LEFT * rate
        )

    return clipped_adam(steps, rate, schedule, LARGEST_NORM)
