"""`minimize`: gradient descent on any objective, the same for every kind.

The loop runs compiled, in chunks of about a tenth of a second, so that a step costs no
Python and yet the progress shows, a budget in seconds is kept to, and Ctrl-C is heard.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.gradients._automatic import Gradient
from roboopt.optimize import _checkpoint
from roboopt.optimize._ahead import compile_ahead
from roboopt.optimize._blocks import Blocks, SourceFailed
from roboopt.optimize._bounds import Bound, intervals
from roboopt.optimize._budget import check_budget
from roboopt.optimize._descent import (
    CHUNK,
    Problem,
    State,
    advance,
    begin,
    forget,
    renew,
    to_bounded,
)
from roboopt.optimize._on_host import advance_on_host
from roboopt.optimize._optimizer import default_optimizer
from roboopt.optimize._progress import show
from roboopt.optimize._result import Result
from roboopt.optimize._source import BlockSource, Everything, Resumable, source
from roboopt.optimize._trained import inside, partition

CHUNK_SECONDS = 0.1
TOLERANCE = 1e-6
CHECKPOINT_SECONDS = 10.0


class Status(NamedTuple):
    """What a callback sees: the step, the last loss, and the best so far."""

    step: int
    loss: float
    best_loss: float
    model: Any
    """The best model so far."""
    seconds: float


def minimize(
    objective: Callable[[Any, Any], Any],
    model: Any,
    data: Any,
    *,
    steps: int = 1000,
    optimizer: Any = None,
    gradient: Gradient | None = None,
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
    """Descend from `model` along the gradient of `objective(model, batch)`.

    Args:
        objective: an `Objective`, or any function that JAX can differentiate.
        model: any pytree; its floating-point arrays are tuned, except within `Frozen`.
        data: what batches are drawn from: arrays with samples along the first axis, a
            traceable function `(model, key) -> batch`, or a `BlockSource`, which is
            asked for other arrays as the descent goes on.
        steps: how many to take.
        optimizer: any optax transformation; where none is given, L-BFGS if every step
            sees the same data, and has the gradient exactly, or by a pair of
            perturbations for each parameter; else what a `BlockSource` advises, or
            Adam, annealed over `steps`.
        gradient: how it is had: `Automatic`, `ZerothOrder` from values alone, or
        `Mixed` of
            two, each of which notes how good it is in the history; `ZerothOrder` and
            `Mixed` also where the objective runs a simulator outside JAX, such as a
            `GymRollout`. Where it is None, the objective is differentiated.
        batch_size: samples a step, shuffled every epoch; where it is None, what a
            `BlockSource` advises, or all of them.
        trainable: names the parts to tune, `lambda m: (m.stiffness, m.damping)`; all of
            them where it is None.
        bounds: kept to at every step.
        batched: whether the model's arrays have a leading axis of starts, all of which
            are optimized side by side; the best model is returned.
        tolerance: stop once the best loss has not improved by this fraction within
            `patience` steps; if not given, 1e-6 for the L-BFGS of the default, and 0,
            which is never, for any other optimizer.
        patience: see `tolerance`.
        seconds: stop after that long, compilation and blocks of data included.
        seed: of the minibatches and of the keys for `data`.
        callback: called with a `Status` about ten times a second; stops if it returns
            True.
        progress: whether to show a progress bar.
        checkpoint: a file for the state of the descent, written every ten seconds and
            at the end; where it exists already, the descent goes on from it, to the
            same bits as if it had not been stopped. Of a `BlockSource` that can be
            resumed, with a new block.

    Returns:
        The best model found, or the latest where the objective does not rank models;
        also after Ctrl-C, after a value that is not finite, and if a `BlockSource` or a
        simulator fails later than at its first block or step.

    Raises:
        RobooptError: if an argument breaks its rule, nothing is to be tuned, or the
        loss
            or its gradient is not finite at the start; if `checkpoint` is a file of
            another descent.
    """
    began = time.perf_counter()
    check_budget(steps, tolerance, seconds)
    if patience < 1:
        raise RobooptError(f"`patience` must be at least 1 step, got {patience}.")
    trained, rest, static = partition(model, trainable)
    _check_model(trained, batched)
    in_blocks, batches, blocks = isinstance(data, BlockSource), None, None
    if in_blocks:
        _check_blocks(data, batched, tolerance, checkpoint)
        advised = getattr(data, "optimizer", None)
        if optimizer is None and advised is not None:
            optimizer = advised(steps)
        if batch_size is None:
            batch_size = getattr(data, "batch_size", None)
    else:
        batches = source(data, batch_size)
    on_host = gradient is not None and gradient.on_host(objective)
    if on_host and batched:
        raise RobooptError(
            "`batched` must be False on a simulator outside JAX, got True."
        )
    alone = jax.tree.map(lambda x: x[0], trained) if batched else trained
    repeats = gradient is None or gradient.repeats(alone)
    deterministic = isinstance(batches, Everything) and repeats
    if tolerance is None:
        # Other optimizers may pause, or rise, before they go on to fall.
        tolerance = TOLERANCE if deterministic and optimizer is None else 0.0
    if optimizer is None:
        optimizer = default_optimizer(steps, deterministic, gradient is not None)
    problem_on = functools.partial(
        Problem,
        objective=objective,
        static=static,
        intervals=intervals(trained, inside(bounds, model, trained)),
        optimizer=_with_extra_args(optimizer),
        tolerance=jnp.asarray(float(tolerance)),
        patience=jnp.asarray(patience if tolerance > 0 else np.iinfo(np.int32).max),
        unripe=jnp.asarray(0),
        gradient=gradient,
        batched=batched,
    )
    compiled = None
    if in_blocks:
        if hasattr(data, "outline") and not on_host:
            like = lambda: source(data.outline(model), batch_size)  # noqa: E731
            problem = lambda: problem_on(source=like())  # noqa: E731
            compiled = compile_ahead(problem, trained, rest)
        blocks = Blocks(data, model, steps, batch_size)
        rest = _renewed(blocks.model, trainable, rest)
        batches = blocks.source
    problem = problem_on(source=batches)
    state = begin(problem, trained, rest, jax.random.key(seed))
    if compiled is not None:
        renew(problem, state, rest)  # While there is time to compile it.
        compiled()
    _check_search(state, gradient)
    journal = _Journal(problem, steps, began, seconds, callback, blocks, trainable)
    if checkpoint is not None:
        state = journal.resume(state, checkpoint, seed)
    with show(steps, progress) as report:
        state, reason = journal.run(state, report)
    return journal.result(state, reason)


class _Journal:
    """Drives the compiled chunks and keeps what they note."""

    def __init__(
        self,
        problem: Problem,
        steps: int,
        began: float,
        seconds: float,
        callback: Callable[[Status], Any] | None,
        blocks: Blocks | None,
        trainable: Callable[[Any], Any] | None,
    ):
        self.blocks, self.trainable, self.failure = blocks, trainable, ""
        gradient = problem.gradient
        self.on_host = gradient is not None and gradient.on_host(problem.objective)
        self.problem, self.steps, self.began = problem, steps, began
        self.seconds, self.callback = seconds, callback
        self.rows: list[dict[str, np.ndarray]] = []
        self.taken = 0
        self.compile_seconds = 0.0
        self.save: Callable[[State], None] = lambda state: None
        self.saved = time.perf_counter()

    def resume(self, state: State, path: str | PathLike, seed: int) -> State:
        """Return the state in `path`, if there is one; keep it written from here on."""
        blocks = self.blocks
        of_source = lambda: None if blocks is None else blocks.state  # noqa: E731
        self.save = lambda state: _checkpoint.write(
            path, (state, of_source()), self._history(), seed
        )
        if (found := _checkpoint.read(path, (state, of_source()), seed)) is not None:
            (state, known), history = found
            self.rows = [history]
            self.taken = len(history["loss"])
            if blocks is not None and self.taken <= self.steps:
                blocks.resume(known, self.taken)
                try:
                    state = self._next_block(state)
                except SourceFailed as error:
                    # As at the first block: nothing is lost, the file is there.
                    raise error.__cause__ or error from None
        return state

    def run(self, state: State, report: Any) -> tuple[State, str]:
        """Advance until something ends it; return the state and the reason."""
        # One evaluation more than steps, so that the last step is judged too.
        evaluations, chunk, reason = self.steps + 1, 1, "steps"
        compiled = False
        try:
            while self.taken < evaluations:
                left = evaluations - self.taken
                if self.blocks is not None:
                    if self.blocks.left(self.taken, evaluations) == 0:
                        state = self._next_block(state)
                    left = self.blocks.left(self.taken, evaluations)
                before = time.perf_counter()
                count = min(chunk, left)
                state, rows, taken = self._advanced(state, count)
                spent = time.perf_counter() - before
                self._note(state, rows, int(taken))
                if compiled:
                    chunk = _next_chunk(chunk, spent)
                else:
                    self.compile_seconds, compiled, chunk = spent, True, 2
                if time.perf_counter() - self.saved > CHECKPOINT_SECONDS:
                    self.save(state)
                    self.saved = time.perf_counter()
                status = self._status(state)
                report(status)
                early = int(taken) < (1 if self.on_host else count)
                if ended := self._ended(state, early, status):
                    reason = ended
                    break
        except KeyboardInterrupt:
            reason = "interrupted"
        except SourceFailed as error:
            reason, self.failure = "source", str(error)
        if self.rows:
            self.save(state)
        return state, reason

    def _advanced(self, state: State, count: int) -> Any:
        if not self.on_host:
            return jax.block_until_ready(
                advance(self.problem, state, jnp.asarray(count))
            )
        try:
            # One at a time: what fails later is not to take this one with it.
            return advance_on_host(self.problem, state, 1)
        except Exception as error:
            if self.taken == 0:
                raise
            reason = f"the simulation: {type(error).__name__}: {error}"
            raise SourceFailed(reason) from error

    def _next_block(self, state: State) -> State:
        assert self.blocks is not None
        start = state.start
        latest = not self.problem.ranks(self.blocks.source.data)
        free = start.best if self.blocks.drifts and not latest else start.free
        model = self.blocks.advance(self.problem.model(free, start.rest))
        try:
            rest = _renewed(model, self.trainable, start.rest)
        except ValueError as error:
            raise SourceFailed(f"`data`: {error}") from error
        self.problem = dataclasses.replace(self.problem, source=self.blocks.source)
        state = renew(self.problem, state, rest)
        if self.blocks.drifts:
            self.problem, state = forget(self.problem, state, self.blocks.steps)
        return state

    def _note(self, state: State, rows: dict, taken: int) -> None:
        noted = {name: np.asarray(values)[:taken] for name, values in rows.items()}
        if taken:
            self.rows.append(noted)
        first = self.taken == 0
        self.taken += taken
        if first and np.all(state.start.failed):
            raise RobooptError(
                "`objective` must be finite at the start, with a finite gradient; "
                f"{self._blame(state)}."
            )

    def _status(self, state: State) -> Status:
        noted = [loss for rows in self.rows for loss in rows["loss"][-1:]]
        best, best_loss = self._best(state)
        seconds = time.perf_counter() - self.began
        loss = float(np.min(noted[-1]))
        return Status(max(self.taken - 1, 0), loss, best_loss, best, seconds)

    def _ended(self, state: State, early: bool, status: Status) -> str | None:
        if early:
            return "non-finite" if np.all(state.start.failed) else "tolerance"
        if self.callback is not None and self.callback(status) is True:
            return "callback"
        if status.seconds >= self.seconds and self.taken <= self.steps:
            return "seconds"
        if np.all(state.start.failed):
            return "non-finite"
        return None

    def _best(self, state: State) -> tuple[Any, float]:
        start = state.start
        losses = np.asarray(start.best_loss)
        # The free coordinates, the other arrays, and the model from both.
        free, rest = start.best, start.rest
        if self.problem.batched:
            index = int(np.argmin(losses))
            free, rest = jax.tree.map(lambda x: x[index], (free, rest))
        bounded = to_bounded(self.problem.intervals, free)
        return eqx.combine(bounded, rest, self.problem.static), float(losses.min())

    def _blame(self, state: State) -> str:
        """Say which terms and which leaves' gradients are not finite."""
        last = {k: v[-1] for rows in self.rows for k, v in rows.items() if len(v)}
        terms = [k for k, v in last.items() if not np.all(np.isfinite(v))]
        leaves = [
            jax.tree_util.keystr(path)
            for path, bad in jax.tree_util.tree_leaves_with_path(state.start.bad_leaves)
            if np.any(bad)
        ]
        loss = (
            f"terms not finite: {', '.join(terms)}" if terms else "the loss is finite"
        )
        gradient = f"gradient not finite: {', '.join(leaves) or 'nowhere'}"
        return f"{loss}; {gradient}"

    def _history(self) -> dict[str, np.ndarray]:
        if not self.rows:
            return {"loss": np.zeros(0)}
        names = self.rows[0]
        return {n: np.concatenate([rows[n] for rows in self.rows]) for n in names}

    def result(self, state: State, reason: str) -> Result:
        """Return the outcome."""
        model, loss = self._best(state)
        seconds = time.perf_counter() - self.began
        taken = max(self.taken - 1, 0)
        sentences = {
            "steps": f"all {taken} steps taken",
            "tolerance": f"no further improvement after {taken} steps",
            "seconds": f"time was up after {taken} steps",
            "callback": f"the callback stopped it after {taken} steps",
            "interrupted": f"interrupted after {taken} steps",
            "source": f"failed after {taken} steps in {self.failure}",
            "non-finite": f"step {taken}: {self._blame(state)}",
        }
        return Result(
            model=model,
            loss=loss,
            history=self._history(),
            reason=reason,
            message=sentences[reason],
            steps=taken,
            seconds=seconds,
            compile_seconds=self.compile_seconds,
        )


def _next_chunk(chunk: int, spent: float) -> int:
    """Return how many steps fill a tenth of a second."""
    return int(
        np.clip(chunk * CHUNK_SECONDS / max(spent, 1e-9), 1, min(CHUNK, 4 * chunk))
    )


def _check_blocks(
    data: BlockSource, batched: bool, tolerance: float | None, checkpoint: Any
) -> None:
    if batched:
        raise RobooptError(
            "`batched` must be False where `data` comes in blocks, got True."
        )
    if checkpoint is not None and not isinstance(data, Resumable):
        raise RobooptError(
            "`checkpoint` must be None where `data` comes in blocks from what has no "
            f"`state` and `restore`, got {checkpoint}."
        )
    if data.drifts and tolerance:
        raise RobooptError(
            "`tolerance` must be 0 or None where the losses on blocks of `data` cannot "
            f"be compared, got {tolerance}."
        )


def _renewed(model: Any, trainable: Any, rest: Any) -> Any:
    """Return the other arrays of a model that a block came with."""
    renewed = partition(model, trainable)[1]
    forms = [
        [(x.shape, x.dtype) for x in jax.tree.leaves(tree)] for tree in (renewed, rest)
    ]
    if jax.tree.structure(renewed) != jax.tree.structure(rest) or forms[0] != forms[1]:
        raise RobooptError(
            "`data.block` must return the model with arrays of the same shapes, got "
            f"{forms[0]} where it was given {forms[1]}."
        )
    return renewed


def _check_search(state: State, gradient: Any) -> None:
    import optax

    searching = optax.tree.get(state.start.optimizer, "grad", None) is not None
    if gradient is not None and searching:
        raise RobooptError(
            "`optimizer` must not search along lines by exact gradients where the "
            f"`gradient` is an estimate, got {gradient}: leave it out, or take "
            "optax.adam."
        )


def _check_model(trained: Any, batched: bool) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(trained):
        if not np.all(np.isfinite(np.asarray(leaf))):
            raise RobooptError(
                f"`model`{jax.tree_util.keystr(path)} must be finite, got {leaf}."
            )
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(trained)}
    if batched and (len(sizes) > 1 or () in sizes):
        raise RobooptError(
            "`model` must have one leading axis of starts on every array with "
            f"`batched=True`, got {sorted(sizes)}."
        )


def _with_extra_args(optimizer: Any) -> Any:
    import optax

    if not hasattr(optimizer, "init") or not hasattr(optimizer, "update"):
        raise RobooptError(
            f"`optimizer` must be an optax transformation, got {optimizer!r}."
        )
    return optax.with_extra_args_support(optimizer)
