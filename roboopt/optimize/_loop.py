"""The compiled loop of `minimize`: many steps per call, without Python between them.

A step draws a batch, estimates the gradient, records the loss and its terms, keeps the
model if it is the best so far, and lets the optimizer move. A loss or gradient that is
not finite moves nothing: the descent has failed, and its last state is kept.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from roboopt.gradients import Estimator, LossFn
from roboopt.objectives import Objective
from roboopt.optimize._bounds import to_free
from roboopt.optimize._optimizers import keeps_gradient
from roboopt.optimize._partition import ModelBuilder
from roboopt.optimize._sources import FullBatch, Sampler

T = TypeVar("T")
MAX_CHUNK = 1024  # steps per call
SMOOTHING = 0.98  # of the running mean of noisy losses
UNRECORDED = "gradient_error"  # of the info of an estimator


class Descent(eqx.Module):
    """The state of the descent from one start."""

    params: Any
    """The trainable leaves, in coordinates without bounds."""
    fixed: Any
    """The other arrays of the model."""
    optimizer: Any
    best: Any
    """The best parameters; the latest if the objective does not rank models."""
    best_loss: Float[Array, "*start"]
    mean_loss: Float[Array, "*start"]
    """The running mean of the losses, biased towards its initial value 0."""
    stale: Int[Array, "*start"]
    """Steps since the best loss last improved by more than the tolerance."""
    failed: Bool[Array, "*start"]
    bad_leaves: Any
    """For each trainable leaf whether its gradient was not finite at the failure."""
    estimator: Any = None
    """The state of the gradient estimator."""


class State(eqx.Module):
    """The state of a whole run, as a checkpoint holds it."""

    descent: Descent
    """With `batched=True` all descents, along a leading axis."""
    source: Any
    key: PRNGKeyArray
    step: Int[Array, ""]
    """Steps since losses can be compared."""


class Problem(eqx.Module):
    """The settings of a run, the same in every step."""

    objective: Any
    static: Any
    """The model without its arrays."""
    intervals: Any
    source: Any
    optimizer: Any
    tolerance: Float[Array, ""]
    patience: Int[Array, ""]
    first_judged: Int[Array, ""]
    """The step from which on losses are compared with the best. On noisy losses of new
    data the running mean needs some steps, or one lucky minibatch would win."""
    gradient: Estimator | None
    """The gradient estimator; None for plain differentiation."""
    batched: bool = eqx.field(static=True)

    def model(self, params: Any, fixed: Any) -> Any:
        """Return the model at `params`."""
        return ModelBuilder(self.intervals, fixed, self.static)(params)

    def loss_fn(self, fixed: Any) -> LossFn:
        """Return the loss as a function of the parameters."""
        return LossFn(self.objective, ModelBuilder(self.intervals, fixed, self.static))

    def ranks(self, batch: Any) -> bool:
        """Return whether a lower loss on `batch` means a better model."""
        objective = self.objective
        return not isinstance(objective, Objective) or objective.ranks(batch)

    @property
    def same_data(self) -> bool:
        """Whether every step sees the same data."""
        return isinstance(self.source, FullBatch)


@eqx.filter_jit
def begin(problem: Problem, params: Any, fixed: Any, key: PRNGKeyArray) -> State:
    """Return the state before the first step."""

    def one(params, fixed):
        free = to_free(problem.intervals, params)
        infinite = jnp.asarray(jnp.inf)
        return Descent(
            params=free,
            fixed=fixed,
            optimizer=problem.optimizer.init(free),
            best=free,
            best_loss=infinite,
            mean_loss=jnp.zeros_like(infinite),
            stale=jnp.zeros((), int),
            failed=jnp.zeros((), bool),
            bad_leaves=jax.tree.map(lambda _: jnp.zeros((), bool), free),
            estimator=None if problem.gradient is None else problem.gradient.init(free),
        )

    begin_all = eqx.filter_vmap(one) if problem.batched else one
    key, own = jax.random.split(key)
    sampled = isinstance(problem.source, Sampler)
    source = None if sampled else problem.source.init(own)
    return strong(State(begin_all(params, fixed), source, key, jnp.zeros((), int)))


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
    return strong(State(descent, problem.source.init(own), key, state.step))


def restart_judging(
    problem: Problem, state: State, steps: int
) -> tuple[Problem, State]:
    """Return both for `steps` steps on data whose losses are of another kind.

    The best model so far is kept until the running mean of the new losses is known.
    """
    needed = min(round(1 / (1 - SMOOTHING)), steps // 2)
    first = jnp.full_like(problem.first_judged, 0 if problem.same_data else needed)
    mean_loss = jnp.zeros_like(state.descent.mean_loss)
    descent = dataclasses.replace(state.descent, mean_loss=mean_loss)
    step = jnp.zeros_like(state.step)
    state = dataclasses.replace(state, descent=descent, step=step)
    return dataclasses.replace(problem, first_judged=first), state


def strong(tree: T) -> T:
    """Return the tree without weak types.

    A weakly typed leaf would come back strongly typed, and `advance` compile twice.
    """
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), tree)


def draw(problem: Problem, descent: Descent, batch: Any, key: Any) -> Any:
    """Return the batch, sampled with the model if the data are a function."""
    if isinstance(problem.source, Sampler):
        model = problem.model(descent.params, descent.fixed)
        return problem.source.function(model, key)
    return batch


def estimate(
    problem: Problem, descent: Descent, batch: Any, key: Any
) -> tuple[Array, Any, dict, Any]:
    """Return the loss, the gradient, the terms, and the state of the estimator."""
    import optax

    loss_fn, params = problem.loss_fn(descent.fixed), descent.params
    if problem.gradient is not None:
        loss, gradient, info, estimator = problem.gradient.update(
            loss_fn, params, batch, key, descent.estimator
        )
        terms = {name: value for name, value in info.items() if name != UNRECORDED}
        return loss, gradient, terms, estimator
    if not keeps_gradient(descent.optimizer):
        evaluate = jax.value_and_grad(loss_fn.evaluate, has_aux=True)
        (loss, terms), gradient = evaluate(params, batch)
        return loss, gradient, terms, descent.estimator
    # The line search ended at these parameters, with their loss and gradient.
    search = optax.value_and_grad_from_state(
        lambda own: _cast(loss_fn(own, batch), params)
    )
    loss, gradient = search(params, state=descent.optimizer)
    _, terms = loss_fn.evaluate(params, batch)
    return jnp.asarray(loss), gradient, terms, descent.estimator


def _cast(loss: Array, params: Any) -> Array:
    """Return the loss in the precision of the parameters, as line searches need it."""
    return jnp.asarray(loss).astype(jnp.result_type(*jax.tree.leaves(params)))


def move(
    problem: Problem,
    step: Array,
    descent: Descent,
    batch: Any,
    found: tuple[Array, Any, Any],
    value: Callable[[Any], Array] | None = None,
) -> Descent:
    """Return the descent after one step of the optimizer.

    Args:
        problem: the problem.
        step: the number of steps before.
        descent: the descent before the step.
        batch: the batch of the step.
        found: the loss, the gradient, and the next state of the estimator.
        value: `value(params)`, the loss for line searches.
    """
    loss, gradient, estimator = found
    if value is None:
        loss_fn = problem.loss_fn(descent.fixed)
        if problem.gradient is not None:
            loss_fn = problem.gradient.loss_function(loss_fn)
        value = lambda params: loss_fn(params, batch)  # noqa: E731
    bad_leaves = jax.tree.map(lambda g: ~jnp.isfinite(g).all(), gradient)
    bad = ~jnp.isfinite(loss) | jnp.array(jax.tree.leaves(bad_leaves)).any()
    failed = descent.failed | bad

    # One noisy loss says little, so minibatches are judged by a running mean.
    mean_loss = SMOOTHING * descent.mean_loss + (1 - SMOOTHING) * loss
    debiased = mean_loss / (1 - SMOOTHING ** (step + 1.0))
    judged = loss if problem.same_data else debiased
    better = (judged < descent.best_loss) & (step > problem.first_judged)
    better = ~failed & (better | (step == problem.first_judged))
    if not problem.ranks(batch):
        better = ~failed
    known = jnp.where(jnp.isfinite(descent.best_loss), descent.best_loss, 0.0)
    improved = descent.best_loss - judged > problem.tolerance * jnp.abs(known)

    def moved():
        updates, optimizer = problem.optimizer.update(
            gradient,
            descent.optimizer,
            descent.params,
            value=_cast(loss, descent.params),
            grad=gradient,
            value_fn=lambda params: _cast(value(params), descent.params),
        )
        params = jax.tree.map(
            lambda x, u: (x + u).astype(x.dtype), descent.params, updates
        )
        return params, optimizer, mean_loss.astype(descent.mean_loss.dtype), estimator

    def stayed():
        kept = descent.params, descent.optimizer, descent.mean_loss
        return *kept, descent.estimator

    # One `cond` for all leaves: a `where` for each takes longer to compile.
    params, optimizer, mean_loss, estimator = jax.lax.cond(failed, stayed, moved)
    return Descent(
        params=params,
        fixed=descent.fixed,
        optimizer=optimizer,
        best=jax.lax.cond(better, lambda: descent.params, lambda: descent.best),
        best_loss=jnp.where(better, judged, descent.best_loss),
        mean_loss=mean_loss,
        stale=jnp.where(~failed & improved, 0, descent.stale + 1),
        failed=failed,
        bad_leaves=jax.lax.cond(
            descent.failed, lambda: descent.bad_leaves, lambda: bad_leaves
        ),
        estimator=estimator,
    )


def _step(
    problem: Problem, step: Array, descent: Descent, batch: Any, key: Any
) -> tuple[Descent, dict]:
    """Return the descent after one step, and the values for the history."""
    own = key
    if key is not None and problem.gradient is not None:
        key, own = jax.random.split(key)
    batch = draw(problem, descent, batch, key)
    loss, gradient, terms, estimator = estimate(problem, descent, batch, own)
    found = loss, gradient, estimator
    return move(problem, step, descent, batch, found), {"loss": loss, **terms}


@eqx.filter_jit
def advance(
    problem: Problem, state: State, count: Int[Array, ""]
) -> tuple[State, dict, Int[Array, ""]]:
    """Take up to `count` steps, at most `MAX_CHUNK`.

    Returns:
        The state after; the history, of which only the first rows are filled; and the
        number of these. The loop ends early once every descent has failed or is stale.
    """

    def each(function, state):
        """Apply `function(descent, batch, key)` to the descent, or to each of them."""
        drawn, source, own, key = None, None, None, state.key
        sampled = isinstance(problem.source, Sampler)
        if not sampled:
            drawn, source = problem.source.draw(state.source)
        if sampled or problem.gradient is not None:
            key, own = jax.random.split(state.key)
            if problem.batched:
                own = jax.random.split(own, state.descent.best_loss.shape[0])
        if problem.batched:
            axes = (eqx.if_array(0), None, None if own is None else 0)
            function = eqx.filter_vmap(function, in_axes=axes)
        return function(state.descent, drawn, own), source, key

    def record(descent, batch, key):
        """Return the row of the history that a step adds."""
        if problem.gradient is not None:
            return _step(problem, state.step, descent, batch, key)[1]
        batch = draw(problem, descent, batch, key)
        loss, terms = problem.loss_fn(descent.fixed).evaluate(descent.params, batch)
        return {"loss": loss, **terms}

    # Shapes are found without tracing the gradient where there is no estimator.
    row = jax.eval_shape(lambda state: each(record, state)[0], state)
    rows = jax.tree.map(lambda s: jnp.zeros((MAX_CHUNK, *s.shape), s.dtype), row)

    def proceed(carry):
        state, _, taken = carry
        over = state.descent.failed | (state.descent.stale >= problem.patience)
        return (taken < jnp.minimum(count, MAX_CHUNK)) & ~over.all()

    def body(carry):
        state, rows, taken = carry
        step = functools.partial(_step, problem, state.step)
        (descent, row), source, key = each(step, state)
        rows = jax.tree.map(
            lambda all, one: all.at[taken].set(one.astype(all.dtype)), rows, row
        )
        return State(descent, source, key, state.step + 1), rows, taken + 1

    return jax.lax.while_loop(proceed, body, (state, rows, jnp.zeros((), int)))
