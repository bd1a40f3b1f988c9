"""The compiled loop of `minimize`: many steps per call, without Python between them."""

import dataclasses
import functools
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from roboopt.optimize._descent import (
    SMOOTHING,
    Descent,
    Problem,
    begin_descent,
    descend,
    estimate,
    move,
    searched_loss,
)
from roboopt.optimize._optimizers import evaluates_loss, keeps_gradient
from roboopt.optimize._sources import FullBatch, Sampler

T = TypeVar("T")
MAX_CHUNK = 1024  # steps per call


class State(eqx.Module):
    """The state of a whole run, as a checkpoint holds it."""

    descent: Descent
    """With `batched=True` all descents, along a leading axis."""
    source: Any
    key: PRNGKeyArray
    step: Int[Array, ""]
    """Steps since losses can be compared."""


@eqx.filter_jit
def begin(problem: Problem, params: Any, fixed: Any, key: PRNGKeyArray) -> State:
    """Return the state before the first step."""
    start = functools.partial(begin_descent, problem)
    descent = (eqx.filter_vmap(start) if problem.batched else start)(params, fixed)
    key, own = jax.random.split(key)
    source = problem.source.init(own)
    return _strong(State(descent, source, key, jnp.zeros((), int)))


@eqx.filter_jit
def renew(problem: Problem, state: State, fixed: Any) -> State:
    """Return the state before the first step on another batch of a source.

    Args:
        problem: the problem with the new batch as its source.
        state: the state after the last step.
        fixed: the fixed arrays of the model that came with the batch.
    """
    descent = dataclasses.replace(state.descent, fixed=fixed)
    if keeps_gradient(descent.optimizer):
        # Its loss and gradient are those of the last batch.
        optimizer = problem.optimizer.init(descent.params)
        descent = dataclasses.replace(descent, optimizer=optimizer)
    key, own = jax.random.split(state.key)
    return _strong(State(descent, problem.source.init(own), key, state.step))


def restart_judging(
    problem: Problem, state: State, steps: int
) -> tuple[Problem, State]:
    """Return both for `steps` steps on data whose losses are of another kind.

    The best model so far is kept until the running mean of the new losses is known.
    """
    same_data = isinstance(problem.source, FullBatch)
    needed = 0 if same_data else min(round(1 / (1 - SMOOTHING)), steps // 2)
    first = jnp.full_like(problem.first_judged, needed)
    mean_loss = jnp.zeros_like(state.descent.mean_loss)
    descent = dataclasses.replace(state.descent, mean_loss=mean_loss)
    step = jnp.zeros_like(state.step)
    state = dataclasses.replace(state, descent=descent, step=step)
    return dataclasses.replace(problem, first_judged=first), state


def _strong(tree: T) -> T:
    """Return the tree without weak types, which would make `advance` compile twice."""
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), tree)


@eqx.filter_jit
def advance(
    problem: Problem, state: State, count: Int[Array, ""]
) -> tuple[State, dict, Int[Array, ""]]:
    """Take up to `count` steps, at most `MAX_CHUNK`.

    Returns:
        The state after; the history, of which only the first rows are filled; and the
        number of these. The loop ends early once every descent has failed or is stale.
    """
    _, row = eqx.filter_eval_shape(_step, problem, state)
    rows = jax.tree.map(lambda s: jnp.zeros((MAX_CHUNK, *s.shape), s.dtype), row)

    def proceed(carry):
        state, _, taken = carry
        over = state.descent.failed | (state.descent.stale >= problem.patience)
        return (taken < jnp.minimum(count, MAX_CHUNK)) & ~over.all()

    def body(carry):
        state, rows, taken = carry
        state, row = _step(problem, state)
        rows = jax.tree.map(
            lambda all, one: all.at[taken].set(one.astype(all.dtype)), rows, row
        )
        return state, rows, taken + 1

    return jax.lax.while_loop(proceed, body, (state, rows, jnp.zeros((), int)))


# The shapes and the loop share one trace.
@eqx.filter_jit(inline=True)  # pyright: ignore[reportCallIssue]
def _step(problem: Problem, state: State) -> tuple[State, dict]:
    """Take a step of every descent; return the state after and a row of the history."""
    batch, source = problem.source.draw(state.source)
    key, own = state.key, None
    if isinstance(problem.source, Sampler) or problem.gradient is not None:
        key, own = jax.random.split(state.key)
    step = functools.partial(descend, problem, state.step)
    if problem.batched:
        if own is not None:
            own = jax.random.split(own, state.descent.best_loss.shape[0])
        axes = (eqx.if_array(0), None, None if own is None else 0)
        step = eqx.filter_vmap(step, in_axes=axes)
    descent, row = step(state.descent, batch, own)
    return State(descent, source, key, state.step + 1), row


def advance_on_host(problem: Problem, state: State) -> tuple[State, dict, int]:
    """Take one step at most, with a simulator that JAX cannot trace.

    Drawing and moving are compiled, except for a line search, which runs the simulator.

    Returns:
        What `advance` returns, with filled rows only.
    """
    descent = state.descent
    if bool(descent.failed) or bool(descent.stale >= problem.patience):
        return state, {}, 0
    batch, source, key, own = _draw_compiled(problem, state)
    loss, gradient, terms, estimator = estimate(problem, descent, batch, own)
    moving = problem, state.step, descent, batch, (loss, gradient, estimator)
    if evaluates_loss(descent.optimizer):
        value = searched_loss(problem, descent, batch)

        def untraced(params: Any) -> Array:
            with jax.disable_jit(False):
                return value(params)

        with jax.disable_jit():
            descent = _strong(move(*moving, untraced))
    else:
        descent = _move_compiled(*moving)
    row = jax.tree.map(lambda value: jnp.asarray(value)[None], {"loss": loss, **terms})
    return State(descent, source, key, state.step + 1), row, 1


_move_compiled = eqx.filter_jit(move)


@eqx.filter_jit
def _draw_compiled(problem: Problem, state: State) -> tuple[Any, Any, Array, Array]:
    """Return the batch, the state of the source, the next key and that of the step."""
    key, first, own = jax.random.split(state.key, 3)
    batch, source = problem.source.draw(state.source)
    return problem.sample(state.descent, batch, first), source, key, own
