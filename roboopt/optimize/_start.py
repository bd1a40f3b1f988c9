"""The state before the first step, and before the first step on another batch."""

import dataclasses
import functools
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from roboopt._programs import filter_jit
from roboopt.optimize._bounds import to_free
from roboopt.optimize._loop import Descent, Problem, State
from roboopt.optimize._optimizers import keeps_gradient

T = TypeVar("T")


def begin(problem: Problem, params: Any, fixed: Any, key: PRNGKeyArray) -> State:
    """Return the state before the first step."""
    return _begin(_without_losses(problem), params, fixed, key)


def _without_losses(problem: Problem) -> Problem:
    """Return what starts depend on, so that other objectives and data share them."""
    source = type(problem.source)
    nothing = dict.fromkeys(("objective", "static", "validation"))
    return dataclasses.replace(problem, source=source, **nothing)


@filter_jit
def _begin(problem: Problem, params: Any, fixed: Any, key: PRNGKeyArray) -> State:
    start = functools.partial(_begin_one, problem)
    descent = (eqx.filter_vmap(start) if problem.batched else start)(params, fixed)
    key, own = jax.random.split(key)
    source = problem.source.init(own)
    return strong(State(descent, source, key))


def renew(problem: Problem, state: State, fixed: Any, drifted: bool) -> State:
    """Return the state before the first step on another batch of a source.

    Its model came with the arrays `fixed`. If `drifted`, its losses do not compare with
    those of the last batch: the best model so far is kept until their running mean is
    known.
    """
    descent = dataclasses.replace(state.descent, fixed=fixed)
    if keeps_gradient(descent.optimizer):
        # Its loss and gradient are those of the last batch.
        optimizer = problem.optimizer.init(descent.params)
        descent = dataclasses.replace(descent, optimizer=optimizer)
    if drifted:
        descent = dataclasses.replace(
            descent,
            mean_loss=jnp.zeros_like(descent.mean_loss),
            step=jnp.zeros_like(descent.step),
            first_judged=jnp.full_like(descent.first_judged, problem.warmup),
        )
    source, key = _next_source(type(problem.source), state.key)
    return strong(State(descent, source, key))


# One program: by single operations this takes as long as many steps.
@functools.partial(jax.jit, static_argnums=0)
def _next_source(kind: Any, key: PRNGKeyArray) -> tuple[Any, PRNGKeyArray]:
    """Return the state of a source of a `kind`, and the next key."""
    key, own = jax.random.split(key)
    return kind.init(own), key


def _begin_one(problem: Problem, params: Any, fixed: Any) -> Descent:
    """Return the descent before its first step, from the trainable leaves."""
    free = to_free(problem.intervals, params)
    infinite, zero = jnp.asarray(jnp.inf), jnp.zeros((), int)
    return Descent(
        params=free,
        fixed=fixed,
        optimizer=problem.optimizer.init(free),
        best=free,
        best_gradient=None if problem.noisy else jax.tree.map(jnp.zeros_like, free),
        best_loss=infinite,
        step=zero,
        first_judged=zero,
        mean_loss=jnp.zeros_like(infinite),
        stale=zero,
        failed=jnp.zeros((), bool),
        bad_leaves=jnp.zeros(len(jax.tree.leaves(free)), bool),
        estimator=None if problem.gradient is None else problem.gradient.init(free),
    )


def strong(tree: T) -> T:
    """Return the tree without weak types, which would make `advance` compile twice."""

    def one(x: Any) -> Any:
        weak = getattr(x, "weak_type", True)
        return jax.lax.convert_element_type(x, x.dtype) if weak else x

    return jax.tree.map(one, tree)
