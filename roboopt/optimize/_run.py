"""The driver of `minimize`: chunks of compiled steps, and all that happens between.

Chunks take about a tenth of a second, so that a step costs no Python and yet progress
is shown, a budget in seconds is kept, and Ctrl-C is heard.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._deadline import TOLERANCE, Late, within
from roboopt._devices import agreed
from roboopt._errors import RobooptError, require
from roboopt._interrupt import check, exposed, keep, shielded
from roboopt._progress import progress_line
from roboopt.gradients import differentiating, inner
from roboopt.optimize._bounds import by_parameter
from roboopt.optimize._checkpoint import RECORDS, TIMES, Part
from roboopt.optimize._ending import (
    FAILURES,
    failed_starts,
    is_unbounded,
    reason_to_fail,
    reason_to_rest,
    without_progress,
)
from roboopt.optimize._feed import Feed
from roboopt.optimize._host_loop import advance_on_host
from roboopt.optimize._loop import MAX_CHUNK, Problem, State, advance
from roboopt.optimize._notes import NOTES, PATH
from roboopt.optimize._optimizers import keeps_gradient
from roboopt.optimize._partition import leaf_names, number_names, updated_arrays
from roboopt.optimize._result import Result, Status, stop_message
from roboopt.optimize._sources import SourceExhausted, SourceFailed, laid_along
from roboopt.optimize._start import renew
from roboopt.optimize._step_log import StepLog
from roboopt.optimize._validation import NAME

CHUNK_S = 0.1


@dataclasses.dataclass(kw_only=True)
class Run:
    """One run of `minimize` and the history that it records."""

    problem: Problem
    feed: Feed
    trainable: Callable[[Any], Any] | None
    on_host: bool
    """Whether steps run a simulator that JAX cannot trace."""
    steps: int
    seconds: float
    identity: dict[str, str]
    """What makes the descent this one and no other; empty without a checkpoint."""
    callback: Callable[[Status], Any] | None
    log: StepLog
    checkpoint: Part | None
    progress: bool
    began: float

    def __post_init__(self):
        self.rows: list[dict[str, np.ndarray]] = []
        self.same_batch, self.first_gradient, self.failure = False, {}, ""
        self.taken, self.resumed, self.compile_seconds = 0, 0, 0.0
        self.step_seconds = self.earlier_seconds = self.compiled = 0.0

    @property
    def total_seconds(self) -> float:
        """Return the time of the steps, with that before an interruption."""
        if 0 < self.resumed == self.taken:
            return self.earlier_seconds
        return self.earlier_seconds + time.perf_counter() - self.began

    def resume(self, state: State) -> State:
        """Return the state in the checkpoint, if there is one."""
        if self.checkpoint is None:
            return state
        found = self.checkpoint.read(state, self._states_outside(), self.identity)
        steps = 0 if found is None else len(found.records["history"]["loss"])
        (first,) = agreed(self.problem.devices, steps)
        rule = f"be the same file in every process, of {first} steps"
        require(steps == first, "checkpoint", rule, f"one of {steps}")
        if found is None:
            return state
        state, (of_source, of_callback) = found.state, found.outside
        keep()
        history, self.first_gradient, times = (found.records[n] for n in RECORDS)
        spent = (float(times.get(name, 0)) for name in TIMES)
        self.rows, self.taken, self.same_batch = [history], steps, steps > 0
        self.log.resume(self.taken)
        self.resumed, self.earlier_seconds, self.compiled = self.taken, *spent
        if of_callback is not None:
            self.callback.restore(of_callback)  # type: ignore
        if self.feed.changes and self.taken <= self.steps:
            try:
                if not self.feed.resume(of_source, self.taken):
                    return self._next_batch(state)
            except SourceFailed as error:
                # As with the first batch: nothing is lost, the file is there.
                raise error.__cause__ or error from None
            self.problem = dataclasses.replace(self.problem, source=self.feed.batches)
        return state

    def _save(self, state: State) -> None:
        if self.checkpoint is not None and jax.process_index() == 0:
            spent = self.total_seconds, self.compiled or self.compile_seconds
            times = dict(zip(TIMES, map(np.asarray, spent), strict=True))
            values = self._history(), self.first_gradient, times
            records = dict(zip(RECORDS, values, strict=True))
            self.checkpoint.write(self._local(state), self._states_outside(), records)

    def _states_outside(self) -> tuple[Any, Any]:
        """Return the states of the source and of the callback, None without one."""
        keeps = hasattr(self.callback, "restore")
        return self.feed.state, self.callback.state() if keeps else None  # type: ignore

    def descend(self, state: State) -> Result:
        """Take steps until there is a reason to stop, and return the result."""
        # One evaluation more than steps, so that the last step is judged too.
        evaluations, chunk, reason, end = self.steps + 1, 1, "steps", "steps"
        devices = self.problem.devices
        state = state if devices is None else devices.copy(state)
        self._draw_from(self.problem.source)
        with progress_line(self.steps, self.progress) as show, shielded():
            try:
                while self.taken < evaluations and reason == "steps":
                    check()
                    if self.feed.left(self.taken, evaluations) == 0:
                        try:
                            state = self._next_batch(state)
                        except SourceExhausted:
                            evaluations, end = self.taken + 1, "exhausted"
                    count = min(chunk, self.feed.left(self.taken, evaluations))
                    before = time.perf_counter()
                    state, taken = self._advance(state, count)
                    chunk = self._next_chunk(count, time.perf_counter() - before)
                    due = self.checkpoint is not None and self.checkpoint.is_due()
                    chunk, due = agreed(devices, chunk, due)
                    if taken:
                        hold = not (due or self.problem.noisy)
                        self.log.tell(self.taken - taken, self.rows[-1], hold=hold)
                    if due:
                        self._save(state)
                    status = self._status(state)
                    validated = self.problem.validation is not None
                    show(status.step, status.described(self.steps, validated=validated))
                    early = taken < (1 if self.on_host else count)
                    reason = self._ended(state, early, status)
                reason = end if reason == "steps" else reason
            except Late:
                reason = "seconds"
            except KeyboardInterrupt:
                reason = "interrupted"
            except SourceFailed as error:
                reason, self.failure = "source", str(error)
            self.log.tell_rest()
            if self.rows:
                self._save(state)
        return self._result(state, reason)

    def _next_chunk(self, count: int, spent: float) -> int:
        """Return how many steps take `CHUNK_S`, from the time of the last `count`."""
        if not self.compile_seconds:  # the first step is compiled
            self.compile_seconds = spent
            return 2 if np.isinf(self.seconds) else 1
        self.step_seconds = max(spent, 1e-9) / count
        longest = min(MAX_CHUNK, 4 * count)
        return int(np.clip(CHUNK_S / self.step_seconds, 1, longest))

    def _advance(self, state: State, count: int) -> tuple[State, int]:
        """Take up to `count` steps and record them; return the number taken."""
        if self.on_host:
            try:
                # Only one: a failure later must not take this step with it.
                with exposed():
                    state, rows, taken = advance_on_host(
                        self.problem, state, self.taken
                    )
            except Exception as error:
                if self.taken == 0:
                    raise
                text = f"the simulation: {type(error).__name__}: {error}"
                raise SourceFailed(text) from error
        else:
            # Alone: other processes would wait for the one that is late.
            first = not self.compile_seconds and jax.process_count() == 1
            left = TOLERANCE * self.seconds - (time.perf_counter() - self.began)
            with differentiating("objective"):
                state, rows, taken = within(
                    left if first else np.inf,
                    _advance,
                    *(self.problem, state, count, self.taken),
                )
        taken = int(taken)
        if taken:
            keep()
            self._record({k: np.asarray(v)[:taken] for k, v in rows.items()})
        if self.taken == 0 and np.all(state.descent.failed):
            raise RobooptError(
                "`objective` must be finite at the start, with a finite gradient; "
                f"{self._not_finite(state)}."
            )
        if self.taken == 0 and self.problem.validation is not None:
            known = np.asarray(self.rows[0][NAME][0])
            require(np.isfinite(known).all(), "validation", "have a finite loss", known)
        if self.taken == 0:
            self.first_gradient = self._gradient(state)
        self.taken += taken
        return state, taken

    def _record(self, rows: dict[str, np.ndarray]) -> None:
        """Append rows; the decrease of the loss in a step is known at the next."""
        if not self.problem.noisy:
            losses = rows["loss"]
            if self.same_batch:
                last = self.rows[-1]
                last["actual_decrease"][-1] = last["loss"][-1] - losses[0]
            falls = np.full(losses.shape, np.nan)
            falls[:-1] = losses[:-1] - losses[1:]
            rows.setdefault("actual_decrease", falls)
        self.rows.append(rows)
        self.same_batch = True

    def _next_batch(self, state: State) -> State:
        """Return the state before the first step on the next batch."""
        feed, descent, self.same_batch = self.feed, state.descent, False
        if feed.iterable:
            with exposed():
                feed.advance(None)
            self._draw_next()
            if keeps_gradient(descent.optimizer):
                return renew(self.problem, state, descent.fixed, False)
            return state
        best = feed.drifts and self.problem.ranks(feed.batches.data)
        params = descent.best if best else descent.params
        params, fixed = self._local((params, descent.fixed))
        with exposed():
            model = feed.advance(self.problem.model(params, fixed))
        try:
            fixed = updated_arrays(model, self.trainable, fixed)
        except ValueError as error:
            raise SourceFailed(f"`data`: {error}") from error
        if (devices := self.problem.devices) is not None:
            fixed = devices.copy(fixed)
        self._draw_next()
        return renew(self.problem, state, fixed, feed.drifts)

    def _draw_next(self) -> None:
        """Let the next steps draw from the batch that the feed has got."""
        try:
            self._draw_from(self.feed.batches)
        except RobooptError as error:  # The devices cannot share this one.
            raise SourceFailed(str(error)) from error

    def _draw_from(self, source: Any) -> None:
        """Let the next steps draw from a source, laid along the devices."""
        problem = self.problem
        source = laid_along(source, problem.devices, problem.batched)
        self.problem = dataclasses.replace(problem, source=source)

    def _local(self, tree: Any) -> Any:
        """Return arrays of one device, where several hold copies."""
        devices = self.problem.devices
        return tree if devices is None else devices.local(tree)

    def _ended(self, state: State, early: bool, status: Status) -> str:
        """Return the reason to stop; "steps" is none yet."""
        failed = np.all(state.descent.failed)
        history = self._own_history(state)
        if failed:
            return reason_to_fail(history)
        if early and self.problem.validation is not None:
            return "validation"
        if early:
            leaves = jax.tree.leaves(self._best_start(state)[1][0])
            size = math.sqrt(sum(float(inner(x, x)) for x in leaves))
            return reason_to_rest(history, float(self.problem.tolerance), size)
        if is_unbounded(float(history["loss"][0]), status.best_loss):
            return "unbounded"
        told = False
        if self.callback is not None:
            with exposed():
                told = self.callback(status) is True
        late = status.seconds + self.step_seconds > TOLERANCE * self.seconds
        late = late or status.seconds >= self.seconds
        told, late = agreed(self.problem.devices, told, late)
        if told:
            return "callback"
        if late and self.taken <= self.steps:
            return "seconds"
        return "steps"

    def _status(self, state: State) -> Status:
        last = [loss for rows in self.rows for loss in rows["loss"][-1:]][-1]
        model, best_loss = self._best(state)
        seconds = time.perf_counter() - self.began
        step = max(self.taken - 1, 0)
        return Status(step, float(np.min(last)), best_loss, model, seconds)

    def _best(self, state: State) -> tuple[Any, float]:
        loss, (params, fixed, _) = self._best_start(state)
        return self.problem.model(params, fixed), loss

    def _best_start(self, state: State) -> tuple[float, tuple[Any, Any, Any]]:
        """Return the loss, the parameters, the fixed arrays and the gradient."""
        descent = state.descent
        losses = np.asarray(descent.best_loss)
        found = self._local((descent.best, descent.fixed, descent.best_gradient))
        if self.problem.batched:
            index = int(np.argmin(losses))
            found = jax.tree.map(lambda x: x[index], found)
        return float(losses.min()), found

    def _gradient(self, state: State) -> dict[str, np.ndarray]:
        """Return the gradient at the best model, by the names of its leaves."""
        _, (params, _, gradient) = self._best_start(state)
        if gradient is None:
            return {}
        slopes = jax.tree.leaves(by_parameter(self.problem.intervals, params, gradient))
        return dict(zip(leaf_names(params), map(np.asarray, slopes), strict=True))

    def _not_finite(self, state: State) -> str:
        """Name the terms and the leaves' gradients that are not finite."""
        last = {name: values[-1] for name, values in self.rows[-1].items()}
        bad = [name for name, v in last.items() if not np.all(np.isfinite(v))]
        terms = [name for name in bad if name not in (*NOTES, *PATH)]
        paths = jax.tree_util.tree_leaves_with_path(state.descent.params)
        wrong = np.asarray(state.descent.bad_leaves).reshape(-1, len(paths))
        leaves = [
            f"model{jax.tree_util.keystr(path)}"
            for (path, _), is_wrong in zip(paths, wrong.T, strict=True)
            if is_wrong.any()
        ]
        loss = f"terms not finite: {', '.join(terms)}" if terms else "finite loss"
        said = f"gradient not finite: {', '.join(leaves) or 'none'}"
        if leaves and np.isfinite(last["gradient_norm"]).all():
            said = f"square of the {said}; scale the objective down"
        return f"{loss}; {said}"

    def _own_history(self, state: State) -> dict[str, np.ndarray]:
        """Return the history of the best of many starts."""
        history = self._history()
        if not self.problem.batched:
            return history
        best = int(np.argmin(np.asarray(state.descent.best_loss)))
        return {name: values[:, best] for name, values in history.items()}

    def _history(self) -> dict[str, np.ndarray]:
        if not self.rows:
            return {"loss": np.zeros(0)}
        return {n: np.concatenate([r[n] for r in self.rows]) for n in self.rows[0]}

    def _result(self, state: State, reason: str) -> Result:
        model, loss = self._best(state)
        history = self._history()
        names = number_names(state.descent.params)
        path = [
            dict(zip(names, history.pop(kind).T, strict=True))
            if kind in history
            else {}
            for kind in PATH
        ]
        steps = max(self.taken - 1, 0)
        message = stop_message(reason, steps)
        if reason != "steps" or not self.problem.noisy:
            message += without_progress(reason, steps, history)
        if reason == "source":
            message += f" {self.failure}"
        elif reason in FAILURES and np.all(state.descent.failed):
            message += f": {self._not_finite(state)}"
        elif self.problem.batched and np.any(state.descent.failed):
            message += f"; {failed_starts(state.descent, history['loss'])}"
        if self.checkpoint is not None and self.checkpoint.unwritten:
            message += f"; {self.checkpoint.unwritten}"
        return Result(
            model=model,
            loss=loss,
            history=history,
            reason=reason,
            message=message,
            steps=steps,
            seconds=self.total_seconds,
            compile_seconds=self.compiled or self.compile_seconds,
            first_gradient=self.first_gradient,
            gradient=self._gradient(state),
            smoothed=self.problem.noisy and self.problem.validation is None,
            parameters=path[0],
            derivatives=path[1],
        )


def _advance(problem: Problem, state: State, count: int, begun: int) -> Any:
    numbers = (jnp.asarray(n, int) for n in (count, begun))  # typed: traced once
    return jax.block_until_ready(advance(problem, state, *numbers))
