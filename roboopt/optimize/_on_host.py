"""A descent whose gradient calls a simulator that JAX cannot trace.

The same steps as compiled, one by one: what is drawn, and where the optimizer goes,
are compiled still, but for a search along a line, which runs the simulator on its way.
"""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from roboopt.optimize._descent import (
    Problem,
    Start,
    State,
    batch_of,
    gradient_of,
    moved,
    strong,
)
from roboopt.optimize._optimizer import searches
from roboopt.optimize._source import OnPolicy


def advance_on_host(
    problem: Problem, state: State, count: int
) -> tuple[State, dict, int]:
    """Take up to `count` steps; return what `advance` does, and only filled rows."""
    rows = []
    for _ in range(count):
        start = state.start
        if bool(start.failed) or bool(start.stale >= problem.patience):
            break
        batch, source, key, own = _draw_on_host(problem, state)
        loss, notes, gradient, memory = gradient_of(problem, start, batch, own)
        move = _searching if searches(start.optimizer) else _moved
        start = move(problem, state.step, start, batch, loss, gradient, memory)
        state = State(start, source, key, state.step + 1)
        rows.append({"loss": loss, **notes})
    names = rows[0] if rows else {}
    table = {name: np.stack([np.asarray(row[name]) for row in rows]) for name in names}
    return state, table, len(rows)


_moved = eqx.filter_jit(moved)


def _searching(
    problem: Problem, step: Array, start: Start, batch: Any, *found: Any
) -> Start:
    """Return the start after a step whose length is searched for, in Python."""

    def value(free: Any) -> Array:
        with jax.disable_jit(False):
            return problem.value(free, start.rest, batch)

    with jax.disable_jit():
        return strong(moved(problem, step, start, batch, *found, value=value))


@eqx.filter_jit
def _draw_on_host(problem: Problem, state: State) -> tuple[Any, Any, Array, Array]:
    """Return the batch, the source's state, the key to come and the step's own."""
    key, first, own = jax.random.split(state.key, 3)
    if isinstance(problem.source, OnPolicy):
        return batch_of(problem, state.start, None, first), None, key, own
    batch, source = problem.source.draw(state.source)
    return batch, source, key, own
