"""The optimizers that are used where none is asked for."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from roboopt._core import MIN_SCALE

LEARNING_RATE = 0.03
LINE_SEARCH_STEPS = 12


def default_optimizer(steps: int, deterministic: bool, estimated: bool = False) -> Any:
    """Return what needs no tuning: L-BFGS where the loss is exact, else Adam.

    L-BFGS searches each step's length (Liu and Nocedal, 1989), for which two losses
    must be comparable: they are where every step sees the same data. Where gradients
    are `estimated` from values, these alone are searched by (Armijo, 1966), for a
    gradient costs as many of them as there are parameters, twice. On minibatches,
    Adam with steps relative to each leaf's size, warmed up and annealed: a step moves a
    leaf by at most about 3 % of its root mean square (of 0.1, where it is smaller), so
    that gains of 1000 and weights of 0.1 need no learning rate each (after Adafactor,
    Shazeer and Stern, 2018, §8); a linear warm-up over a twentieth of the steps, then a
    half cosine down to a hundredth.
    """
    if not deterministic:
        return _annealed(steps)
    return _backtracking() if estimated else _line_searching()


def searches(state: Any) -> bool:
    """Return whether the state is of an optimizer that asks for values on its way."""
    import optax

    kinds = optax.ScaleByBacktrackingLinesearchState, optax.ScaleByZoomLinesearchState
    known = lambda x: isinstance(x, kinds)  # noqa: E731
    return any(map(known, jax.tree.leaves(state, is_leaf=known)))


# The same object again, so that what was compiled for it serves again too.
@functools.lru_cache
def _line_searching() -> Any:
    import optax

    search = optax.scale_by_zoom_linesearch(LINE_SEARCH_STEPS)
    return optax.lbfgs(linesearch=search)


@functools.lru_cache
def _backtracking() -> Any:
    import optax

    search = optax.scale_by_backtracking_linesearch(
        LINE_SEARCH_STEPS, decrease_factor=0.5, increase_factor=math.inf
    )
    curved = _where_curved(optax.scale_by_lbfgs())
    return optax.chain(curved, optax.scale(-1.0), search)


def _where_curved(inner: Any) -> Any:
    """Return L-BFGS that begins anew where the last step's slope has fallen.

    A search by values alone may end there. What it then would learn of the curvature
    does not lead downhill.
    """
    import optax

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        moved = optax.tree.sub(params, state.params)
        turned = optax.tree.sub(updates, state.updates)
        bent = jnp.real(optax.tree.vdot(moved, turned))
        good = (state.count == 0) | (bent > 0)
        fresh = inner.init(params)
        state = jax.tree.map(lambda x, y: jnp.where(good, x, y), state, fresh)
        return inner.update(updates, state, params)

    return optax.GradientTransformation(inner.init, update)


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
        optax.scale_by_param_block_rms(MIN_SCALE),
        optax.scale_by_learning_rate(schedule),
    )
