"""The optimizer of policies that learn through the gradient of a simulation.

Through a robot that is about to fall gradients are a thousand times what they are
elsewhere; clipping their norm keeps only the direction of these.
"""

import functools
from typing import Any

WARMUP_SHARE = 1 / 20  # of the steps
FIRST_RATE, LAST_RATE = 0.1, 0.05  # relative to the largest


# Cached: JAX compiles anew for every new optimizer object.
@functools.lru_cache
def analytic_adam(steps: int, learning_rate: float, max_norm: float = 1.0) -> Any:
    """Return Adam on clipped gradients, warmed up and annealed by a half cosine.

    Args:
        steps: gradient steps in all.
        learning_rate: the largest learning rate.
        max_norm: the norm that gradients are clipped to.
    """
    import optax

    warmup = max(1, int(steps * WARMUP_SHARE))
    rate = optax.warmup_cosine_decay_schedule(
        FIRST_RATE * learning_rate,
        learning_rate,
        warmup,
        max(steps, warmup + 1),
        LAST_RATE * learning_rate,
    )
    # One flat array compiles a third faster than a dozen of them.
    clip = optax.clip_by_global_norm(max_norm)
    return optax.flatten(optax.chain(clip, optax.adam(rate)))
