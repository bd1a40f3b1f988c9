"""Steps whose gradient needs a simulator that JAX cannot trace."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from roboopt._programs import filter_jit
from roboopt.optimize._loop import Problem, State, estimate, move, noted, searched_loss
from roboopt.optimize._optimizers import evaluates_loss
from roboopt.optimize._start import strong
from roboopt.optimize._validation import NAME, validated


def advance_on_host(
    problem: Problem, state: State, number: int
) -> tuple[State, dict, int]:
    """Take one step at most, the one of this `number`; return as `advance` does.

    Drawing and moving are compiled, except for a line search, which runs the simulator.
    """
    descent = state.descent
    if bool(descent.failed) or bool(descent.stale >= problem.patience):
        return state, {}, 0
    held_out = validated(problem, descent, number)
    batch, source, key, own = _draw_compiled(problem, state)
    loss, gradient, terms, estimator = estimate(problem, descent, batch, own)
    moving = problem, descent, batch, (loss, gradient, estimator, held_out)
    if evaluates_loss(descent.optimizer):
        value = searched_loss(problem, descent, batch)

        def untraced(params: Any) -> Array:
            with jax.disable_jit(False):
                return value(params)

        with jax.disable_jit():
            after = strong(move(*moving, untraced))
    else:
        after = _move_compiled(*moving)
    row = {"loss": loss, **terms} | ({} if held_out is None else {NAME: held_out})
    row = noted(problem, descent, after, gradient, row)
    row = jax.tree.map(lambda value: jnp.asarray(value)[None], row)
    return State(after, source, key), row, 1


_move_compiled = filter_jit(move)


@filter_jit
def _draw_compiled(problem: Problem, state: State) -> tuple[Any, Any, Array, Array]:
    """Return the batch, the state of the source, the next key and that of the step."""
    key, first, own = jax.random.split(state.key, 3)
    batch, source = problem.source.draw(state.source)
    return problem.sample(state.descent, batch, first), source, key, own
