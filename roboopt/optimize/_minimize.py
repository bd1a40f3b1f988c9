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

from roboopt._devices import Devices
from roboopt._errors import RobooptError, require
from roboopt._interrupt import interruptible
from roboopt.gradients import Estimator, FunctionEstimator, require_objective
from roboopt.optimize._bounds import Bound, intervals
from roboopt.optimize._checkpoint import Part, as_part
from roboopt.optimize._feed import Feed
from roboopt.optimize._identity import identity
from roboopt.optimize._loop import SMOOTHING, Problem
from roboopt.optimize._optimizers import (
    checked_optimizer,
    default_optimizer,
    keeps_gradient,
)
from roboopt.optimize._partition import (
    check_model,
    partition,
    updated_arrays,
    with_arrays,
)
from roboopt.optimize._result import Result, Status, check_budget
from roboopt.optimize._run import Run
from roboopt.optimize._sources import FullBatch, as_source
from roboopt.optimize._start import begin
from roboopt.optimize._step_log import Log, StepLog
from roboopt.optimize._validation import Validation

TOLERANCE = 1e-6
PATIENCE = 10
MIN_PATIENCE = 100  # with `validation`
VALIDATED_SHARE = 4  # of all steps may one such part not improve the held-out loss


@interruptible
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
    patience: int | None = None,
    validation: Any = None,
    seconds: float = math.inf,
    seed: int = 0,
    callback: Callable[[Status], Any] | None = None,
    log: Log | None = None,
    progress: bool = False,
    checkpoint: str | PathLike | Part | None = None,
    devices: Sequence[Any] | None = None,
) -> Result:
    """Minimize `objective(model, batch)` by gradient descent from `model`.

    Args:
        objective: an `Objective`, or any function of model and batch that returns a
            scalar.
        model: any pytree; its floating-point arrays are trained, except in `Frozen`; or
            its Python floats, such as 0.5 alone, if there are no arrays.
        data: arrays with samples along the first axis (or a tuple or dict of them); an
            iterable of batches, such as a list, a generator or a data loader; a
            traceable function `(model, key) -> batch`; or a `Source`, an object with
            `next(model, key) -> batch`; None for an objective without data.
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
        patience: steps without improvement after which `tolerance` or `validation`
            stops; by default 10, and with `validation` a quarter of `steps`, at least
            100.
        validation: held-out data, a batch as `objective` takes it. The best model is
            then the one with the least loss on them, evaluated in every step, or every
            fiftieth where steps see minibatches (at most a twentieth of `steps`), and
            at the end; the descent stops once that loss has not improved within
            `patience` steps, by the fraction `tolerance` if that is given. The history
            holds it as "validation", NaN where it was not evaluated.
        seconds: stop after this time [s], which includes compilation and `data`.
        seed: seed of the minibatches, and of the keys for `data` and `gradient`.
        callback: called with a `Status` about ten times per second; stops if it returns
            True. If it has the methods `state()` and `restore(state)` of a `Source`,
            checkpoints hold its state too.
        log: `log(step, metrics)`, told the numbers of every step, by name: "loss", the
            terms, and what the history holds besides; such as `ro.loggers.TensorBoard`.
        progress: whether to show a progress bar.
        checkpoint: file for the state of the run, written every ten seconds and at the
            end. If the file exists, the run continues from it, to the same bits as
            without the interruption; a `Source` that cannot `repeat` its last batch
            continues with a new one. A file of another descent is refused: one that
            differs in objective, data, model, initial values, bounds, optimizer,
            gradient, seed or version. There may be more `steps` than before. Several
            descents share a file by `Checkpoint.part`.
        devices: such as jax.devices(): each computes an equal share of the samples of
            every batch, or with `batched` of the starts. Sums over samples are then
            rounded in another order. With `jax.distributed`, every process calls
            `minimize` with the same arguments.

    Returns:
        The best model found, or the latest if the objective does not rank models; also
        after Ctrl-C, after a value that is not finite, and if a source or a simulator
        fails later than at its first batch or step.

    Raises:
        RobooptError: if an argument breaks its rule, no array is trainable, the loss or
            its gradient is not finite at the start, `checkpoint` is a file of
            another run, or `devices` do not divide the samples or starts equally.
    """
    began = time.perf_counter()
    check_budget(steps, tolerance, seconds, 1 if patience is None else patience)
    if patience is None:
        of_all = max(MIN_PATIENCE, steps // VALIDATED_SHARE)
        patience = PATIENCE if validation is None else of_all
    require_objective(objective)
    known = isinstance(bounds, Sequence) and all(isinstance(b, Bound) for b in bounds)
    require(known, "bounds", "be a list of `Bound`", bounds)
    known = gradient is None or (callable(gradient) and not isinstance(gradient, type))
    rule = "be an estimator, such as `ZerothOrder()`, or a function"
    require(known, "gradient", rule, gradient)
    part = as_part(checkpoint)
    model = with_arrays(model)
    params, fixed, static = partition(model, trainable)
    check_model(params, fixed, batched)
    if gradient is not None and not isinstance(gradient, Estimator):
        gradient = FunctionEstimator(gradient)
    on_host = gradient is not None and not gradient.traceable(objective)
    if on_host and batched:
        raise RobooptError(
            "`batched` must be False with a simulator outside JAX, got True."
        )
    shared = Devices.of(devices)
    if on_host and shared is not None:
        raise RobooptError(
            "`devices` must be None with a simulator outside JAX, got "
            f"{shared.count} devices."
        )
    source = as_source(
        data, batch_size, batched=batched, tolerance=tolerance, checkpoint=checkpoint
    )
    one = jax.tree.map(lambda x: x[0], params) if batched else params
    exact = gradient is None or gradient.deterministic(one)
    deterministic = isinstance(source, FullBatch) and exact
    if tolerance is None:
        # Other optimizers may pause, or rise, before the loss falls again.
        own_search = deterministic and optimizer is None and validation is None
        tolerance = TOLERANCE if own_search else 0.0
    own_optimizer = optimizer is None
    if optimizer is None:
        optimizer = default_optimizer(steps, deterministic, gradient is not None)
    feed = Feed(source, model, steps, batch_size, seed)
    warmup = min(round(1 / (1 - SMOOTHING)), feed.comparable // 2) if feed.noisy else 0
    stops = tolerance > 0 or validation is not None
    problem = Problem(
        objective=objective,
        static=static,
        intervals=intervals(bounds, model, params, batched),
        source=feed.batches,
        optimizer=checked_optimizer(optimizer),
        tolerance=jnp.asarray(float(tolerance)),
        patience=jnp.asarray(patience if stops else np.iinfo(np.int32).max),
        gradient=gradient,
        warmup=jnp.asarray(warmup),
        noisy=feed.noisy,
        batched=batched,
        validation=Validation.of(validation, steps, feed.noisy),
    )
    if validation is not None and not problem.ranks(validation):
        raise RobooptError(
            "`validation` must be None where a lower value of `objective` does not "
            f"mean a better model, as with {type(objective).__name__}."
        )
    updated = updated_arrays(feed.model, trainable, fixed)
    state = begin(problem, params, updated, jax.random.key(seed))
    if gradient is not None and keeps_gradient(state.descent.optimizer):
        raise RobooptError(
            "`optimizer` must not search along lines by exact gradients where "
            f"`gradient` is an estimator, got {gradient}: leave `optimizer` out, or "
            "use optax.adam."
        )
    own = {}
    if part is not None:
        whose = {"on_host": on_host, "own_optimizer": own_optimizer}
        own = identity(problem, feed, params, fixed, state.descent, **whose)
        own = {"seed": str(seed)} | own
    if shared is not None:
        everywhere = shared.copy(problem.validation)
        problem = dataclasses.replace(problem, devices=shared, validation=everywhere)
    run = Run(
        problem=problem,
        feed=feed,
        trainable=trainable,
        on_host=on_host,
        steps=steps,
        seconds=seconds,
        identity=own,
        callback=callback,
        log=StepLog(log),
        checkpoint=part,
        progress=progress,
        began=began,
    )
    return run.descend(run.resume(state))
