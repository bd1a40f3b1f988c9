"""`minimize`: gradient descent on any objective."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.gradients import Estimator, FunctionEstimator
from roboopt.optimize._bounds import Bound, intervals
from roboopt.optimize._compile_ahead import compile_ahead
from roboopt.optimize._feed import Feed
from roboopt.optimize._loop import Problem, begin, renew
from roboopt.optimize._optimizers import (
    checked_optimizer,
    default_optimizer,
    keeps_gradient,
)
from roboopt.optimize._partition import check_model, partition
from roboopt.optimize._progress import show
from roboopt.optimize._result import Result, Status, check_budget
from roboopt.optimize._run import Run, updated_arrays
from roboopt.optimize._sources import (
    Batches,
    FullBatch,
    Sampler,
    Source,
    array_source,
    is_iterable,
)

TOLERANCE = 1e-6


def minimize(
    objective: Callable[[Any, Any], Any],
    model: Any,
    data: Any,
    *,
    steps: int = 1000,
    optimizer: Any = None,
    gradient: Estimator | Callable[..., tuple] | None = None,
    batch_size: int | None = None,
    trainable: Callable[[Any], Any] | None = None,
    bounds: Sequence[Bound] = (),
    batched: bool = False,
    tolerance: float | None = None,
    patience: int = 10,
    seconds: float = math.inf,
    seed: int = 0,
    callback: Callable[[Status], Any] | None = None,
    progress: bool = False,
    checkpoint: str | PathLike | None = None,
) -> Result:
    """Minimize `objective(model, batch)` by gradient descent from `model`.

    Args:
        objective: an `Objective`, or any function of model and batch that returns a
            scalar.
        model: any pytree; its floating-point arrays are trained, except in `Frozen`.
        data: arrays with samples along the first axis (or a tuple or dict of them); an
            iterable of batches, such as a list, a generator or a data loader; a
            traceable function `(model, key) -> batch`; or a `Source`, an object with
            `next(model, key) -> batch`.
        steps: the number of steps.
        optimizer: an optax transformation. By default L-BFGS if every step sees the
            same data and the gradient is exact (or a `ZerothOrder` with a pair for each
            parameter), otherwise Adam with a learning rate that is annealed over
            `steps`.
        gradient: the gradient estimator: `gradients.Automatic`,
            `gradients.ZerothOrder` from values alone, `gradients.Mixed`, or a function
            `(loss_fn, params, batch, key) -> (loss, gradient, info)`, whose `info` goes
            into the history. By default the objective is differentiated.
        batch_size: samples per step, shuffled every epoch; by default all of them.
        trainable: selects the parts to train, `lambda m: (m.stiffness, m.damping)`; by
            default all.
        bounds: bounds that every step keeps.
        batched: whether the arrays of the model have a leading axis of starts, all of
            which are optimized side by side; the best model is returned.
        tolerance: stop once the best loss has not improved by this fraction within
            `patience` steps; by default 1e-6 with the default L-BFGS, and 0, which
            never stops, with any other optimizer.
        patience: see `tolerance`.
        seconds: stop after this time [s], which includes compilation and `data`.
        seed: seed of the minibatches, and of the keys for `data` and `gradient`.
        callback: called with a `Status` about ten times per second; stops if it returns
            True.
        progress: whether to show a progress bar.
        checkpoint: file for the state of the run, written every ten seconds and at the
            end. If the file exists, the run continues from it, to the same bits as
            without the interruption; a `Source` continues with a new batch.

    Returns:
        The best model found, or the latest if the objective does not rank models; also
        after Ctrl-C, after a value that is not finite, and if a source or a simulator
        fails later than at its first batch or step.

    Raises:
        RobooptError: if an argument breaks its rule, no array is trainable, the loss or
            its gradient is not finite at the start, or `checkpoint` is a file of
            another run.
    """
    began = time.perf_counter()
    check_budget(steps, tolerance, seconds)
    if patience < 1:
        raise RobooptError(f"`patience` must be at least 1 step, got {patience}.")
    params, fixed, static = partition(model, trainable)
    check_model(params, fixed, batched)
    if gradient is not None and not isinstance(gradient, Estimator):
        gradient = FunctionEstimator(gradient)
    on_host = gradient is not None and not gradient.traceable(objective)
    if on_host and batched:
        raise RobooptError(
            "`batched` must be False with a simulator outside JAX, got True."
        )
    source = _source(data, batch_size, batched, tolerance, checkpoint)
    one = jax.tree.map(lambda x: x[0], params) if batched else params
    exact = gradient is None or gradient.deterministic(one)
    deterministic = isinstance(source, FullBatch) and exact
    if tolerance is None:
        # Other optimizers may pause, or rise, before the loss falls again.
        tolerance = TOLERANCE if deterministic and optimizer is None else 0.0
    if optimizer is None:
        optimizer = default_optimizer(steps, deterministic, gradient is not None)
    problem = Problem(
        objective=objective,
        static=static,
        intervals=intervals(bounds, model, params, batched),
        source=source,
        optimizer=checked_optimizer(optimizer),
        tolerance=jnp.asarray(float(tolerance)),
        patience=jnp.asarray(patience if tolerance > 0 else np.iinfo(np.int32).max),
        first_judged=jnp.asarray(0),
        gradient=gradient,
        batched=batched,
    )
    feed, thread = None, None
    try:
        if isinstance(source, Source):
            if hasattr(source, "outline") and not on_host:
                thread = compile_ahead(problem, params, fixed, model, batch_size)
            feed = Feed(source, model, steps, batch_size, seed)
            fixed = updated_arrays(feed.model, trainable, fixed)
            problem = dataclasses.replace(problem, source=feed.source)
        state = begin(problem, params, fixed, jax.random.key(seed))
        if thread is not None:
            renew(problem, state, fixed)  # compiled while the thread compiles
    finally:
        if thread is not None:
            thread.join()
    if gradient is not None and keeps_gradient(state.descent.optimizer):
        raise RobooptError(
            "`optimizer` must not search along lines by exact gradients where "
            f"`gradient` is an estimator, got {gradient}: leave `optimizer` out, or "
            "use optax.adam."
        )
    run = Run(problem, feed, trainable, on_host, steps, seconds, callback, began)
    if checkpoint is not None:
        state = run.resume(state, checkpoint, seed)
    with show(steps, progress) as report:
        return run.descend(state, report)


def _source(
    data: Any,
    batch_size: int | None,
    batched: bool,
    tolerance: float | None,
    checkpoint: Any,
) -> Any:
    """Return the source of batches that `data` stands for.

    Raises:
        RobooptError: if `data`, or another argument together with it, is refused.
    """
    if isinstance(data, Source):
        _require("batched", batched, False, "a source")
        if not hasattr(data, "restore"):
            _require("checkpoint", checkpoint, None, "a source without `restore`")
        if getattr(data, "drifts", False) and tolerance:
            _require("tolerance", tolerance, None, "a source that drifts")
        return data
    if callable(data):
        _require("batch_size", batch_size, None, "a function")
        return Sampler(data)
    if is_iterable(data):
        _require("batch_size", batch_size, None, "an iterable of batches")
        _require("checkpoint", checkpoint, None, "an iterable of batches")
        return Batches(data)
    return array_source(data, batch_size)


def _require(name: str, value: Any, needed: Any, kind: str) -> None:
    if value != needed:
        raise RobooptError(
            f"`{name}` must be {needed} where `data` is {kind}, got {value}."
        )
