"""Steps whose gradient needs a simulator that JAX cannot trace.

Drawing and moving are compiled as in `_loop`, except for a line search, which runs the
simulator on its way.
"""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from roboopt.optimize._loop import Descent, Problem, State, draw, estimate, move, strong
from roboopt.optimize._optimizers import evaluates_loss
from roboopt.optimize._sources import Sampler


def advance_on_host(problem: Problem, state: State) -> tuple[State, dict, int]:
    """Take one step at most; return what `advance` returns, with filled rows only."""
    descent = state.descent
    if bool(descent.failed) or bool(descent.stale >= problem.patience):
        return state, {}, 0
    batch, source, key, own = _draw(problem, state)
    loss, gradient, terms, estimator = estimate(problem, descent, batch, own)
    found = loss, gradient, estimator
    moved = _search if evaluates_loss(descent.optimizer) else _move
    descent = moved(problem, state.step, descent, batch, found)
    row = {name: np.asarray(value)[None] for name, value in terms.items()}
    row = {"loss": np.asarray(loss)[None], **row}
    return State(descent, source, key, state.step + 1), row, 1


_move = eqx.filter_jit(move)


def _search(
    problem: Problem, step: Array, descent: Descent, batch: Any, found: tuple
) -> Descent:
    """Return the descent after a step whose length is searched for in Python."""
    assert problem.gradient is not None
    loss_fn = problem.gradient.loss_function(problem.loss_fn(descent.fixed))

    def value(params: Any) -> Array:
        with jax.disable_jit(False):
            return loss_fn(params, batch)

    with jax.disable_jit():
        return strong(move(problem, step, descent, batch, found, value))


@eqx.filter_jit
def _draw(problem: Problem, state: State) -> tuple[Any, Any, Array, Array]:
    """Return the batch, the state of the source, the next key and that of the step."""
    key, first, own = jax.random.split(state.key, 3)
    if isinstance(problem.source, Sampler):
        return draw(problem, state.descent, None, first), None, key, own
    batch, source = problem.source.draw(state.source)
    return batch, source, key, own
