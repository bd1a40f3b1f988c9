"""The compiled inside of `minimize`: many steps a call, nothing of Python in them.

A step evaluates the loss, its terms and its gradient, notes them, keeps the model if it
is the best so far, and lets the optimizer move. What is not finite moves nothing: the
flags of what it was are kept, and that start is over.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from roboopt.gradients._automatic import Gradient
from roboopt.objectives import Objective, total
from roboopt.optimize._bounds import Interval
from roboopt.optimize._source import Everything, OnPolicy

T = TypeVar("T")
CHUNK = 1024
SMOOTHING = 0.98


class Start(eqx.Module):
    """The state of the descent from one start."""

    free: Any
    """The trained leaves, in coordinates without bounds."""
    rest: Any
    """The model's other arrays."""
    optimizer: Any
    best: Any
    """Or the latest, where losses say nothing of which is better."""
    best_loss: Float[Array, "*start"]
    smooth_loss: Float[Array, "*start"]
    stale: Int[Array, "*start"]
    """Steps since the best loss last improved by more than the tolerance."""
    failed: Bool[Array, "*start"]
    bad_leaves: Any
    """For each trained leaf whether its gradient was not finite when it failed."""
    memory: Any = None
    """Of the way to the gradient."""


class State(eqx.Module):
    """The state of the whole descent: what a checkpoint holds."""

    start: Start
    source: Any
    key: PRNGKeyArray
    step: Int[Array, ""]
    """Since losses that can be compared began."""


class Problem(eqx.Module):
    """What is minimized and how, the same throughout."""

    objective: Any
    static: Any
    """The model without its arrays."""
    intervals: Any
    source: Any
    optimizer: Any
    tolerance: Float[Array, ""]
    patience: Int[Array, ""]
    unripe: Int[Array, ""]
    """Steps before losses on other data are judged: a descent that is nearly over does
    not fall far any more, and one lucky minibatch would stay the best."""
    gradient: Gradient | None
    """The way to the gradient; None to differentiate and be done."""
    batched: bool = eqx.field(static=True)

    def model(self, free: Any, rest: Any) -> Any:
        """Return the model at free coordinates."""
        return eqx.combine(to_bounded(self.intervals, free), rest, self.static)

    def ranks(self, batch: Any) -> bool:
        """Return whether a lower loss on `batch` means a better model."""
        objective = self.objective
        return not isinstance(objective, Objective) or objective.ranks(batch)

    @property
    def deterministic(self) -> bool:
        """Whether every step sees the same data."""
        return isinstance(self.source, Everything)

    def evaluate(self, free: Any, rest: Any, batch: Any) -> tuple[Array, dict]:
        """Return the loss and the values of its terms."""
        return self.measure(self.model(free, rest), batch)

    def value(self, free: Any, rest: Any, batch: Any) -> Array:
        """Return the loss, as the way to its gradient has it."""
        if self.gradient is None:
            return self.evaluate(free, rest, batch)[0]
        return self.gradient.value(self, free, rest, batch)

    def measure(self, model: Any, batch: Any) -> tuple[Array, dict]:
        """Return them of a model."""
        if isinstance(self.objective, Objective):
            terms = self.objective.terms(model, batch)
            return total(terms), {name: term.value for name, term in terms.items()}
        return self.objective(model, batch), {}


def _mapped(function: Any, intervals: Any, tree: Any) -> Any:
    def leaf(interval, value):
        if value is None or interval is None:
            return value
        return function(interval, value)

    is_leaf = lambda x: x is None or isinstance(x, Interval)  # noqa: E731
    return jax.tree.map(leaf, intervals, tree, is_leaf=is_leaf)


def to_bounded(intervals: Any, free: Any) -> Any:
    """Return the trained leaves at their free coordinates."""
    return _mapped(Interval.to_bounded, intervals, free)


def to_free(intervals: Any, leaves: Any) -> Any:
    """Return the free coordinates of the trained leaves."""
    return _mapped(Interval.to_free, intervals, leaves)


@eqx.filter_jit
def begin(problem: Problem, trained: Any, rest: Any, key: PRNGKeyArray) -> State:
    """Return the state before the first step."""

    def one(trained, rest):
        free = to_free(problem.intervals, trained)
        infinite = jnp.asarray(jnp.inf)
        return Start(
            free=free,
            rest=rest,
            optimizer=problem.optimizer.init(free),
            best=free,
            best_loss=infinite,
            smooth_loss=jnp.zeros_like(infinite),
            stale=jnp.zeros((), int),
            failed=jnp.zeros((), bool),
            bad_leaves=jax.tree.map(lambda _: jnp.zeros((), bool), free),
            memory=None if problem.gradient is None else problem.gradient.begin(free),
        )

    begin_all = eqx.filter_vmap(one) if problem.batched else one
    key, first = jax.random.split(key)
    functional = isinstance(problem.source, OnPolicy)
    state = State(
        start=begin_all(trained, rest),
        source=None if functional else problem.source.begin(first),
        key=key,
        step=jnp.zeros((), int),
    )
    return strong(state)


@eqx.filter_jit
def renew(problem: Problem, state: State, rest: Any) -> State:
    """Return the state before the first step on another block of data.

    Args:
        problem: with the block as its source.
        state: after the last step.
        rest: the model's other arrays, as the block has them.
    """
    import optax

    start = dataclasses.replace(state.start, rest=rest)
    if optax.tree.get(start.optimizer, "grad", None) is not None:
        # A line search keeps the loss and the gradient, which were the last block's.
        optimizer = problem.optimizer.init(start.free)
        start = dataclasses.replace(start, optimizer=optimizer)
    key, first = jax.random.split(state.key)
    drawn = problem.source.begin(first)
    return strong(State(start=start, source=drawn, key=key, step=state.step))


def forget(problem: Problem, state: State, steps: int) -> tuple[Problem, State]:
    """Return both as they judge losses anew, for `steps` on data of another kind.

    The best model so far counts until the losses are ripe.
    """
    smoothed = min(round(1 / (1 - SMOOTHING)), steps // 2)
    unripe = 0 if problem.deterministic else smoothed
    start = dataclasses.replace(
        state.start, smooth_loss=jnp.zeros_like(state.start.smooth_loss)
    )
    state = dataclasses.replace(state, start=start, step=jnp.zeros_like(state.step))
    unripe = jnp.full_like(problem.unripe, unripe)
    return dataclasses.replace(problem, unripe=unripe), state


def strong(tree: T) -> T:
    """Return the tree with types of its own.

    A weakly typed leaf would come back strongly typed, and `advance` compile twice.
    """
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), tree)


def batch_of(
    problem: Problem, start: Start, batch: Any, key: PRNGKeyArray | None
) -> Any:
    """Return the batch of a step, made from the model where data come from that."""
    if isinstance(problem.source, OnPolicy):
        assert key is not None
        return problem.source.function(problem.model(start.free, start.rest), key)
    return batch


def gradient_of(
    problem: Problem, start: Start, batch: Any, key: PRNGKeyArray | None
) -> tuple[Array, dict, Any, Any]:
    """Return the loss, what is noted, the gradient, and the memory of the way to it.

    A line search ends where the next step begins, and has both the loss and the
    gradient there: only the terms are evaluated again.
    """
    import optax

    def evaluate(free):
        return problem.evaluate(free, start.rest, batch)

    if problem.gradient is not None:
        assert key is not None
        estimate, memory = problem.gradient.estimate(
            problem, start.free, start.rest, batch, key, start.memory
        )
        notes = estimate.terms | estimate.notes
        return estimate.loss, notes, estimate.gradient, memory
    if optax.tree.get(start.optimizer, "grad", None) is None:
        evaluated = jax.value_and_grad(evaluate, has_aux=True)(start.free)
        (loss, terms), gradient = evaluated
        return loss, terms, gradient, start.memory
    search = optax.value_and_grad_from_state(lambda free: evaluate(free)[0])
    loss, gradient = search(start.free, state=start.optimizer)
    return jnp.asarray(loss), evaluate(start.free)[1], gradient, start.memory


def _advance(
    problem: Problem,
    step: Array,
    start: Start,
    batch: Any,
    key: PRNGKeyArray | None,
) -> tuple[Start, dict]:
    """Take one step from one start; return it and what it noted."""
    own = key
    if key is not None and problem.gradient is not None:
        key, own = jax.random.split(key)
    batch = batch_of(problem, start, batch, key)
    loss, notes, gradient, memory = gradient_of(problem, start, batch, own)
    after = moved(problem, step, start, batch, loss, gradient, memory)
    return after, {"loss": loss, **notes}


def moved(
    problem: Problem,
    step: Array,
    start: Start,
    batch: Any,
    loss: Array,
    gradient: Any,
    memory: Any,
    value: Callable[[Any], Array] | None = None,
) -> Start:
    """Return the start after a step along the gradient, its loss judged.

    Args:
        problem: that is solved.
        step: how many were taken before.
        start: before it.
        batch: that the step is taken on.
        loss: there.
        gradient: there.
        memory: of the way to it.
        value: `value(free)`, the loss anywhere; by default as the problem has it.
    """
    if value is None:
        value = lambda free: problem.value(free, start.rest, batch)  # noqa: E731
    bad_leaves = jax.tree.map(lambda g: ~jnp.isfinite(g).all(), gradient)
    bad = ~jnp.isfinite(loss) | jnp.array(jax.tree.leaves(bad_leaves)).any()
    failed = start.failed | bad

    # A single noisy loss says little: minibatches are judged by a running mean.
    smooth = SMOOTHING * start.smooth_loss + (1 - SMOOTHING) * loss
    debiased = smooth / (1 - SMOOTHING ** (step + 1.0))
    judged = loss if problem.deterministic else debiased
    better = (judged < start.best_loss) & (step > problem.unripe)
    better = ~failed & (better | (step == problem.unripe))
    if not problem.ranks(batch):
        better = ~failed
    known = jnp.where(jnp.isfinite(start.best_loss), start.best_loss, 0.0)
    gained = start.best_loss - judged > problem.tolerance * jnp.abs(known)
    stale = jnp.where(~failed & gained, 0, start.stale + 1)

    def move():
        updates, optimizer = problem.optimizer.update(
            gradient,
            start.optimizer,
            start.free,
            value=loss,
            grad=gradient,
            value_fn=value,
        )
        free = jax.tree.map(lambda x, u: (x + u).astype(x.dtype), start.free, updates)
        return free, optimizer, smooth, memory

    def stay():
        return start.free, start.optimizer, start.smooth_loss, start.memory

    # Not leaf by leaf: as many choices took longer to compile than the gradient.
    free, optimizer, smooth, memory = jax.lax.cond(failed, stay, move)
    return Start(
        free=free,
        rest=start.rest,
        optimizer=optimizer,
        best=jax.lax.cond(better, lambda: start.free, lambda: start.best),
        best_loss=jnp.where(better, judged, start.best_loss),
        smooth_loss=smooth,
        stale=stale,
        failed=failed,
        bad_leaves=jax.lax.cond(
            start.failed, lambda: start.bad_leaves, lambda: bad_leaves
        ),
        memory=memory,
    )


@eqx.filter_jit
def advance(
    problem: Problem, state: State, count: Int[Array, ""]
) -> tuple[State, dict, Int[Array, ""]]:
    """Take up to `count` steps, at most `CHUNK`.

    Returns:
        The state after; for each term its values, CHUNK rows of which only the first
        are filled; and how many those are. It stops early once every start has failed
        or is stale.
    """

    def each(function, state):
        """Apply `function(start, batch, key)` to the start, or to each of them."""
        batched, own, key = problem.batched, None, state.key
        drawn, source = None, None
        functional = isinstance(problem.source, OnPolicy)
        if not functional:
            drawn, source = problem.source.draw(state.source)
        if functional or problem.gradient is not None:
            key, own = jax.random.split(state.key)
            if batched:
                own = jax.random.split(own, state.start.best_loss.shape[0])
        if batched:
            axes = (eqx.if_array(0), None, None if own is None else 0)
            function = eqx.filter_vmap(function, in_axes=axes)
        return function(state.start, drawn, own), source, key

    def take(state):
        step = functools.partial(_advance, problem, state.step)
        (start, row), source, key = each(step, state)
        return State(start, source, key, state.step + 1), row

    def note(start, batch, key):
        """Return what a step notes."""
        if problem.gradient is not None:
            return _advance(problem, state.step, start, batch, key)[1]
        batch = batch_of(problem, start, batch, key)
        loss, terms = problem.evaluate(start.free, start.rest, batch)
        return {"loss": loss, **terms}

    # Only the loss and its terms are traced for their shapes, not their gradient.
    noted = jax.eval_shape(lambda s: each(note, s)[0], state)
    rows = jax.tree.map(lambda s: jnp.zeros((CHUNK, *s.shape), s.dtype), noted)

    def proceed(carry):
        state, _, taken = carry
        over = state.start.failed | (state.start.stale >= problem.patience)
        return (taken < jnp.minimum(count, CHUNK)) & ~over.all()

    def body(carry):
        state, rows, taken = carry
        state, row = take(state)
        rows = jax.tree.map(lambda all, one: all.at[taken].set(one), rows, row)
        return state, rows, taken + 1

    return jax.lax.while_loop(proceed, body, (state, rows, jnp.zeros((), int)))
