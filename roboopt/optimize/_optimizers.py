"""The default optimizers."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from roboopt._core import MIN_SCALE
from roboopt._errors import is_number, require

LEARNING_RATE = 0.03
LINE_SEARCH_STEPS = 24  # halvings: a first step of 1 reaches parameters of 1e-6
SIMULATED_SEARCH_STEPS = 12  # where each of them is a simulation


def default_optimizer(steps: int, deterministic: bool, estimated: bool) -> Any:
    """Return L-BFGS for a deterministic loss, and Adam for a noisy one.

    L-BFGS searches the length of each step (Liu and Nocedal, 1989), which needs losses
    that can be compared. Where gradients are `estimated`, the search uses values alone
    (Armijo, 1966): one gradient then costs two values per parameter.

    Adam moves each leaf relative to its scale (after Adafactor, Shazeer and Stern,
    2018, §8): a step changes a leaf by at most about 3 % of its root mean square, or of
    0.1 if that is larger, so that gains of 1000 and weights of 0.1 share one learning
    rate. The rate warms up over a twentieth of the steps and falls along a half cosine
    to a hundredth.
    """
    if not deterministic:
        return adam(steps)
    return _lbfgs_by_values() if estimated else _lbfgs()


def checked_optimizer(optimizer: Any) -> Any:
    """Return an optax transformation that takes the loss as an extra argument."""
    import optax

    valid = hasattr(optimizer, "init") and hasattr(optimizer, "update")
    require(valid, "optimizer", "be an optax transformation", optimizer)
    return optax.with_extra_args_support(optimizer)


def keeps_gradient(state: Any) -> bool:
    """Return whether a line search keeps the loss and gradient of its last value."""
    import optax

    return optax.tree.get(state, "grad", None) is not None


def evaluates_loss(state: Any) -> bool:
    """Return whether the optimizer of a state is a line search."""
    import optax

    kinds = optax.ScaleByBacktrackingLinesearchState, optax.ScaleByZoomLinesearchState
    known = lambda x: isinstance(x, kinds)  # noqa: E731
    return any(map(known, jax.tree.leaves(state, is_leaf=known)))


# The caches return the same object again, for which steps are compiled already.
@functools.lru_cache
def _lbfgs() -> Any:
    import optax

    search = optax.scale_by_zoom_linesearch(LINE_SEARCH_STEPS)
    return optax.lbfgs(linesearch=search)


@functools.lru_cache
def _lbfgs_by_values() -> Any:
    import optax

    search = optax.scale_by_backtracking_linesearch(
        SIMULATED_SEARCH_STEPS, decrease_factor=0.5, increase_factor=math.inf
    )
    curved = _reset_without_curvature(optax.scale_by_lbfgs())
    return optax.chain(curved, optax.scale(-1.0), search)


def _reset_without_curvature(lbfgs: Any) -> Any:
    """Return L-BFGS that restarts where the slope fell along the last step.

    A search by values alone may end at such a point, and the curvature measured there
    does not lead downhill.
    """
    import optax

    @jax.jit
    def update(updates: Any, state: Any, params: Any) -> tuple[Any, Any]:
        moved = optax.tree.sub(params, state.params)
        turned = optax.tree.sub(updates, state.updates)
        curved = jnp.real(optax.tree.vdot(moved, turned)) > 0
        keep = (state.count == 0) | curved
        fresh = lbfgs.init(params)
        state = jax.tree.map(lambda x, y: jnp.where(keep, x, y), state, fresh)
        return lbfgs.update(updates, state, params)

    def compiled(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        # A search that runs a simulator disables compilation for its whole step.
        with jax.disable_jit(False):
            return update(updates, state, params)

    return optax.GradientTransformation(lbfgs.init, compiled)


@functools.lru_cache
def adam(steps: int, *, weight_decay: float = 0.0) -> Any:
    """Return the default optimizer of minibatches, with weight decay where asked for.

    Matrices of weights shrink by `weight_decay` times the learning rate in each step,
    apart from the gradient (Loshchilov and Hutter, 2019, Decoupled weight decay
    regularization). Biases do not, nor the linear path of a `NormalizedMLP`, nor
    numbers that are no matrices, such as gains.

    Args:
        steps: over which the learning rate is annealed.
        weight_decay: dimensionless; 0 for none.

    Raises:
        RobooptError: if `weight_decay` is negative.
    """
    import optax

    valid = is_number(weight_decay) and 0 <= weight_decay < math.inf
    require(valid, "weight_decay", "be finite and not negative", weight_decay)

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
        *([optax.add_decayed_weights(weight_decay, _weights)] if weight_decay else []),
        scale_by_schedule(schedule),
    )


def _weights(params: Any) -> Any:
    """Return which leaves are the weights of layers."""

    def is_weight(path: Any, leaf: Any) -> bool:
        return leaf.ndim >= 2 and getattr(path[-1], "name", "") == "weight"

    return jax.tree_util.tree_map_with_path(is_weight, params)


@functools.partial(jax.jit, static_argnums=0)
def annealed_rate(schedule: Callable[[Any], Any], step: Any) -> Any:
    """Return the rate at a step: a function of its own, which digests leave out."""
    return jnp.maximum(schedule(step), 0.0)  # which rounding may pass


class ScheduleState(NamedTuple):
    """The state of `scale_by_schedule`."""

    step: Int[Array, ""]
    learning_rate: Float[Array, ""]
    """Of the last step."""


def scale_by_schedule(schedule: Callable[[Any], Any]) -> Any:
    """Return `optax.scale_by_learning_rate(schedule)` that keeps the rate in its state.

    `minimize` then notes the rate of every step, and a checkpoint may be continued with
    more steps, to which the schedule is stretched.

    Args:
        schedule: from the number of the step to the learning rate.
    """
    import optax

    def init(params: Any) -> ScheduleState:
        zero = jnp.zeros((), jnp.int32)
        return ScheduleState(zero, jnp.asarray(schedule(zero), float))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        rate = annealed_rate(schedule, state.step)
        updates = jax.tree.map(lambda u: jnp.array(-rate, u.dtype) * u, updates)
        kept = jnp.asarray(rate, state.learning_rate.dtype)
        count = jnp.asarray(optax.safe_increment(state.step))
        return updates, ScheduleState(count, kept)

    return optax.GradientTransformation(init, update)
