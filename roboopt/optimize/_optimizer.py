"""The optimizers that are used where none is asked for."""

import functools
from typing import Any

LEARNING_RATE = 0.03
SMALLEST_SCALE = 0.1
LINE_SEARCH_STEPS = 12


def default_optimizer(steps: int, deterministic: bool) -> Any:
    """Return what needs no tuning: L-BFGS where the loss is exact, else Adam.

    L-BFGS searches each step's length (Liu and Nocedal, 1989), for which two losses
    must be comparable: they are where every step sees the same data. On minibatches,
    Adam with steps relative to each leaf's size, warmed up and annealed: a step moves a
    leaf by at most about 3 % of its root mean square (of 0.1, where it is smaller), so
    that gains of 1000 and weights of 0.1 need no learning rate each (after Adafactor,
    Shazeer and Stern, 2018, §8); a linear warm-up over a twentieth of the steps, then a
    half cosine down to a hundredth.
    """
    return _line_searching() if deterministic else _annealed(steps)


# The same object again, so that what was compiled for it serves again too.
@functools.lru_cache
def _line_searching() -> Any:
    import optax

    search = optax.scale_by_zoom_linesearch(LINE_SEARCH_STEPS)
    return optax.lbfgs(linesearch=search)


@functools.lru_cache
def _annealed(steps: int) -> Any:
    import optax

    warmup = max(1, steps // 20)
    schedule = optax.warmup_cosine_decay_schedule(
        0.1 * LEARNING_RATE,
        LEARNING_RATE,
        warmup,
        max(steps, warmup + 1),
        0.01 * LEARNING_RATE,
    )
    return optax.chain(
        optax.scale_by_adam(),
        optax.scale_by_param_block_rms(SMALLEST_SCALE),
        optax.scale_by_learning_rate(schedule),
    )
