"""The compiled loop of `minimize`: many steps per call, without Python between them.

A step draws a batch, estimates the gradient, records the loss and its terms, keeps the
model if it is the best so far, by the loss on held-out data where there are any, and
lets the optimizer move. A loss or gradient that is
not finite moves nothing: the descent has failed, and its last state is kept.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from roboopt._devices import Devices
from roboopt._programs import filter_jit
from roboopt.gradients import Estimator, LossFn, inner
from roboopt.objectives import Objective
from roboopt.optimize._bounds import by_parameter, to_bounded
from roboopt.optimize._notes import NOTE_PERIOD, path_notes, step_notes
from roboopt.optimize._optimizers import keeps_gradient
from roboopt.optimize._sources import Minibatches, Sampler
from roboopt.optimize._validation import NAME, Validation, validated

MAX_CHUNK = 1024  # steps per call
SMOOTHING = 0.98  # of the running mean of noisy losses
UNRECORDED = "gradient_error"  # of the info of an estimator


class Descent(eqx.Module):
    """The state of the descent from one start."""

    params: Any
    """The trainable leaves, in coordinates without bounds and of one type."""
    fixed: Any
    """The other arrays of the model."""
    optimizer: Any
    best: Any
    """The best parameters; the latest if the objective does not rank models."""
    best_gradient: Any
    """The gradient at the best parameters; None where each step has another batch."""
    best_loss: Float[Array, "*start"]
    step: Int[Array, "*start"]
    """Steps since losses can be compared."""
    first_judged: Int[Array, "*start"]
    """The step from which on losses count: `Problem.warmup` after data have drifted,
    until which the best model of the data before is kept."""
    mean_loss: Float[Array, "*start"]
    """The running mean of the losses, biased towards its initial value 0."""
    stale: Int[Array, "*start"]
    """Steps since the best loss last improved by more than the tolerance."""
    failed: Bool[Array, "*start"]
    bad_leaves: Bool[Array, "*start leaf"]
    """For each trainable leaf whether its gradient, or the square of it, was not finite
    at the failure."""
    estimator: Any
    """The state of the gradient estimator."""


class State(eqx.Module):
    """The state of a whole run, as a checkpoint holds it."""

    descent: Descent
    """With `batched=True` all descents, along a leading axis."""
    source: Any
    key: PRNGKeyArray


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
    gradient: Estimator | None
    """The gradient estimator; None for plain differentiation."""
    warmup: Int[Array, ""]
    """Steps in which the latest model counts as the best: the running mean of noisy
    losses needs some, or one lucky batch would win."""
    noisy: bool = eqx.field(static=True)
    """Whether the batch changes from step to step, and the running mean is judged."""
    batched: bool = eqx.field(static=True)
    devices: Devices | None = None
    """What the samples of a batch, or the starts, are shared by."""
    validation: Validation | None = None
    """The held-out data that say which model is the best."""

    def model(self, params: Any, fixed: Any) -> Any:
        return _build(self.intervals, fixed, self.static, params)

    def loss_fn(self, fixed: Any) -> LossFn:
        """Return the loss as a function of the parameters."""
        build = eqx.Partial(_build, self.intervals, fixed, self.static)
        return LossFn(self.objective, build)

    def ranks(self, batch: Any) -> bool:
        """Return whether a lower loss on `batch` means a better model."""
        objective = self.objective
        return not isinstance(objective, Objective) or objective.ranks(batch)

    def sample(self, descent: Descent, batch: Any, key: Any) -> Any:
        """Return the batch, sampled with the model if the data are a function."""
        if isinstance(self.source, Sampler):
            model = self.model(descent.params, descent.fixed)
            batch = self.source.function(model, key)
        if self.devices is None or self.batched:
            return batch
        sized = isinstance(self.source, Minibatches)
        return self.devices.share(batch, "batch_size" if sized else "data")


def _build(intervals: Any, fixed: Any, static: Any, params: Any) -> Any:
    return eqx.combine(to_bounded(intervals, params), fixed, static)


@filter_jit
def advance(
    problem: Problem, state: State, count: Int[Array, ""], begun: Int[Array, ""]
) -> tuple[State, dict, Int[Array, ""]]:
    """Take up to `count` steps, at most `MAX_CHUNK`, after `begun` of them.

    Returns:
        The state after; the history, of which only the first rows are filled; and the
        number of these. The loop ends early once every descent has failed or is stale.
    """
    _, row = eqx.filter_eval_shape(_step, problem, state, begun)
    # One array for all entries alike: a loop pays for each array that it carries.
    alike: dict[Any, list[str]] = {}
    for name, entry in row.items():
        alike.setdefault((entry.shape, entry.dtype), []).append(name)
    tables = [
        jnp.zeros((MAX_CHUNK, len(names), *shape), dtype)
        for (shape, dtype), names in alike.items()
    ]

    def proceed(carry):
        state, _, taken = carry
        over = state.descent.failed | (state.descent.stale >= problem.patience)
        return (taken < jnp.minimum(count, MAX_CHUNK)) & ~over.all()

    def body(carry):
        state, tables, taken = carry
        state, row = _step(problem, state, begun + taken)
        tables = [
            table.at[taken].set(jnp.stack([row[n].astype(table.dtype) for n in names]))
            for table, names in zip(tables, alike.values(), strict=True)
        ]
        return state, tables, taken + 1

    start = state, tables, jnp.zeros((), int)
    if problem.devices is not None and problem.batched:
        descent = problem.devices.share(state.descent, "model", "starts")
        start = State(descent, state.source, state.key), *start[1:]
    state, tables, taken = jax.lax.while_loop(proceed, body, start)
    if problem.devices is not None:
        state, tables, taken = problem.devices.copy((state, tables, taken))
    columns = {
        name: table[:, index]
        for table, names in zip(tables, alike.values(), strict=True)
        for index, name in enumerate(names)
    }
    return state, {name: columns[name] for name in row}, taken


# The shapes and the loop share one trace.
@functools.partial(filter_jit, inline=True)
def _step(problem: Problem, state: State, number: Any) -> tuple[State, dict]:
    """Take a step of every descent; return the state after and a row of the history."""
    held_out = validated(problem, state.descent, number)
    batch, source = problem.source.draw(state.source)
    key, own = state.key, None
    if isinstance(problem.source, Sampler) or problem.gradient is not None:
        key, own = jax.random.split(state.key)
    step = functools.partial(_descend, problem)
    if problem.batched:
        if own is not None:
            own = jax.random.split(own, state.descent.best_loss.shape[0])
        axes = (eqx.if_array(0), None, None if own is None else 0, eqx.if_array(0))
        step = eqx.filter_vmap(step, in_axes=axes)
    descent, row = step(state.descent, batch, own, held_out)
    return State(descent, source, key), row


def _descend(
    problem: Problem, descent: Descent, batch: Any, key: Any, held_out: Any
) -> tuple[Descent, dict]:
    """Take a step of one descent; return the descent after and its row."""
    own = key
    if key is not None and problem.gradient is not None:
        key, own = jax.random.split(key)
    batch = problem.sample(descent, batch, key)
    loss, gradient, terms, estimator = estimate(problem, descent, batch, own)
    found = loss, gradient, estimator, held_out
    after = move(problem, descent, batch, found)
    row = {"loss": loss, **terms} | ({} if held_out is None else {NAME: held_out})
    return after, noted(problem, descent, after, gradient, row)


def noted(
    problem: Problem, before: Descent, after: Descent, gradient: Any, row: dict
) -> dict:
    """Return a row of the history with the notes of its step."""
    now = before.step % NOTE_PERIOD == 0 if problem.noisy else True
    notes = step_notes(before.params, after.params, gradient, after.optimizer, now)
    if not problem.batched:
        own = to_bounded(problem.intervals, before.params)
        slopes = by_parameter(problem.intervals, before.params, gradient)
        notes |= path_notes(own, slopes)
    return row | {name: note for name, note in notes.items() if name not in row}


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
        return loss, gradient, terms, None
    # The line search ended at these parameters, with their loss and gradient.
    search = optax.value_and_grad_from_state(
        lambda own: _cast(_evaluate(loss_fn, own, batch)[0], params)
    )
    loss, gradient = search(params, state=descent.optimizer)
    _, terms = _evaluate(loss_fn, params, batch)
    return jnp.asarray(loss), gradient, terms, None


# The line search, the gradient and the terms share one trace.
@filter_jit
def _evaluate(loss_fn: LossFn, params: Any, batch: Any) -> tuple[Array, dict]:
    return loss_fn.evaluate(params, batch)


def _cast(loss: Array, params: Any) -> Array:
    """Return the loss in the precision of the parameters, as line searches need it."""
    return jnp.asarray(loss).astype(jnp.result_type(*jax.tree.leaves(params)))


def _cast_leaves(tree: Any, like: Any) -> Any:
    """Return the leaves in the precisions of `like`."""
    return jax.tree.map(lambda x, y: jnp.asarray(x).astype(y.dtype), tree, like)


def move(
    problem: Problem,
    descent: Descent,
    batch: Any,
    found: tuple[Array, Any, Any, Any],
    value: Callable[[Any], Array] | None = None,
) -> Descent:
    """Return the descent after one step of the optimizer.

    The step has `found` the loss, the gradient, the next state of the estimator, and
    the loss on held-out data, None without them. Line searches evaluate
    `value(params)`.
    """
    loss, gradient, estimator, held_out = found
    if value is None:
        value = searched_loss(problem, descent, batch)
    bad_leaves, huge_leaves = _not_finite(gradient)
    bad = ~jnp.isfinite(loss) | bad_leaves.any()
    failed = descent.failed | bad

    mean_loss, judged, better, improved = _judge(
        problem, descent, batch, loss, held_out
    )
    better = better & ~failed

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
    # Optimizers that divide by a norm or a square that is infinite move nothing.
    same = jax.tree.map(lambda x, y: (x == y).all(), params, descent.params)
    stopped = huge_leaves.any() & ~failed & jnp.stack(jax.tree.leaves(same)).all()
    bad_leaves, failed = bad_leaves | (stopped & huge_leaves), failed | stopped
    kept = descent.best, descent.best_gradient
    here = descent.params, None
    if descent.best_gradient is not None:
        here = descent.params, _cast_leaves(gradient, descent.params)
    best, best_gradient = jax.lax.cond(better, lambda: here, lambda: kept)
    return Descent(
        params=params,
        fixed=descent.fixed,
        optimizer=optimizer,
        best=best,
        best_gradient=best_gradient,
        best_loss=jnp.where(better, judged, descent.best_loss),
        step=descent.step + 1,
        first_judged=descent.first_judged,
        mean_loss=mean_loss,
        stale=jnp.where(~failed & improved, 0, descent.stale + 1),
        failed=failed,
        bad_leaves=jnp.where(descent.failed, descent.bad_leaves, bad_leaves),
        estimator=estimator,
    )


def _not_finite(
    gradient: Any,
) -> tuple[Bool[Array, " leaf"], Bool[Array, " leaf"]]:
    """Return which leaves are not finite, and which have infinite squares alone."""
    leaves = jax.tree.leaves(gradient)
    # The norm is noted anyway; the square of a finite number may be infinite.
    infinite = ~jnp.isfinite(jnp.stack([inner(leaf, leaf) for leaf in leaves]))
    bad = jax.lax.cond(
        infinite.any(),
        lambda: jnp.stack([~jnp.isfinite(leaf).all() for leaf in leaves]),
        lambda: jnp.zeros(len(leaves), bool),
    )
    return bad, infinite & ~bad


def _judge(
    problem: Problem, descent: Descent, batch: Any, loss: Array, held_out: Any
) -> tuple[Array, Array, Array, Array]:
    """Judge the model by its loss.

    Returns:
        The running mean of the losses, the loss that counts, whether it is the best so
        far, and whether it is better by more than the tolerance.
    """
    # One noisy loss says little, so minibatches are judged by a running mean.
    mean_loss = SMOOTHING * descent.mean_loss + (1 - SMOOTHING) * loss
    debiased = mean_loss / (1 - SMOOTHING ** (descent.step + 1.0))
    judged = debiased if problem.noisy else loss
    if held_out is None:
        better = (judged < descent.best_loss) | (descent.step <= problem.warmup)
        better = better & (descent.step >= descent.first_judged)
        if not problem.ranks(batch):
            better = jnp.ones_like(better)
    else:
        # Where it is not known it is NaN, which is no less than anything.
        judged = held_out.astype(descent.best_loss.dtype)
        better = judged < descent.best_loss
    known = jnp.where(jnp.isfinite(descent.best_loss), descent.best_loss, 0.0)
    improved = descent.best_loss - judged > problem.tolerance * jnp.abs(known)
    return mean_loss, judged, better, improved


def searched_loss(
    problem: Problem, descent: Descent, batch: Any
) -> Callable[[Any], Array]:
    """Return the loss as a function of the parameters, for line searches."""
    loss_fn = problem.loss_fn(descent.fixed)
    if problem.gradient is None:
        return lambda params: _evaluate(loss_fn, params, batch)[0]
    loss_fn = problem.gradient.loss_function(loss_fn)
    return lambda params: loss_fn(params, batch)
