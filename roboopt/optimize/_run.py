"""The driver of `minimize`: chunks of compiled steps, and all that happens between.

Chunks take about a tenth of a second, so that a step costs no Python and yet progress
is shown, a budget in seconds is kept, and Ctrl-C is heard.
"""

import dataclasses
import time
from collections.abc import Callable
from os import PathLike
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.optimize import _checkpoint
from roboopt.optimize._feed import Feed
from roboopt.optimize._host_loop import advance_on_host
from roboopt.optimize._loop import (
    MAX_CHUNK,
    Problem,
    State,
    advance,
    renew,
    restart_judging,
)
from roboopt.optimize._optimizers import keeps_gradient
from roboopt.optimize._partition import partition
from roboopt.optimize._result import Result, Status, stop_message
from roboopt.optimize._sources import SourceExhausted, SourceFailed

CHUNK_S = 0.1
CHECKPOINT_PERIOD_S = 10.0


@dataclasses.dataclass
class Run:
    """One run of `minimize` and the history that it records."""

    problem: Problem
    feed: Feed | None
    trainable: Callable[[Any], Any] | None
    on_host: bool
    steps: int
    seconds: float
    callback: Callable[[Status], Any] | None
    began: float

    def __post_init__(self):
        """Begin with an empty history."""
        self.rows: list[dict[str, np.ndarray]] = []
        self.taken, self.compile_seconds, self.failure = 0, 0.0, ""
        self.save: Callable[[State], None] = lambda state: None

    def resume(self, state: State, path: str | PathLike, seed: int) -> State:
        """Return the state in the file `path` if there is one; write it from now on."""
        feed = self.feed

        def whole(state: State) -> Any:
            return state, None if feed is None else feed.state

        self.save = lambda state: _checkpoint.write(
            path, whole(state), self.history(), seed
        )
        if (found := _checkpoint.read(path, whole(state), seed)) is not None:
            (state, of_source), history = found
            self.rows, self.taken = [history], len(history["loss"])
            if feed is not None and self.taken <= self.steps:
                feed.resume(of_source, self.taken)
                try:
                    state = self._next_batch(state)
                except SourceFailed as error:
                    # As with the first batch: nothing is lost, the file is there.
                    raise error.__cause__ or error from None
        return state

    def descend(self, state: State, report: Callable[[Status], None]) -> Result:
        """Take steps until there is a reason to stop, and return the result."""
        # One evaluation more than steps, so that the last step is judged too.
        evaluations, chunk, reason = self.steps + 1, 1, "steps"
        compiled, saved = False, time.perf_counter()
        try:
            while self.taken < evaluations:
                left = evaluations - self.taken
                if self.feed is not None:
                    if self.feed.left(self.taken, evaluations) == 0:
                        state = self._next_batch(state)
                    left = self.feed.left(self.taken, evaluations)
                count, before = min(chunk, left), time.perf_counter()
                state, taken = self._advance(state, count)
                spent = time.perf_counter() - before
                if compiled:
                    longest = min(MAX_CHUNK, 4 * chunk)
                    chunk = int(np.clip(chunk * CHUNK_S / max(spent, 1e-9), 1, longest))
                else:
                    self.compile_seconds, compiled, chunk = spent, True, 2
                if time.perf_counter() - saved > CHECKPOINT_PERIOD_S:
                    self.save(state)
                    saved = time.perf_counter()
                status = self._status(state)
                report(status)
                early = taken < (1 if self.on_host else count)
                if ended := self._ended(state, early, status):
                    reason = ended
                    break
        except KeyboardInterrupt:
            reason = "interrupted"
        except SourceExhausted:
            reason = "exhausted"
        except SourceFailed as error:
            reason, self.failure = "source", str(error)
        if self.rows:
            self.save(state)
        return self._result(state, reason)

    def _advance(self, state: State, count: int) -> tuple[State, int]:
        """Take up to `count` steps and record them; return the number taken."""
        if self.on_host:
            try:
                # Only one: a failure later must not take this step with it.
                state, rows, taken = advance_on_host(self.problem, state)
            except Exception as error:
                if self.taken == 0:
                    raise
                text = f"the simulation: {type(error).__name__}: {error}"
                raise SourceFailed(text) from error
        else:
            state, rows, taken = jax.block_until_ready(
                advance(self.problem, state, jnp.asarray(count))
            )
        taken = int(taken)
        if taken:
            self.rows.append({k: np.asarray(v)[:taken] for k, v in rows.items()})
        if self.taken == 0 and np.all(state.descent.failed):
            raise RobooptError(
                "`objective` must be finite at the start, with a finite gradient; "
                f"{self._not_finite(state)}."
            )
        self.taken += taken
        return state, taken

    def _next_batch(self, state: State) -> State:
        feed, descent = self.feed, state.descent
        assert feed is not None
        if feed.iterable:
            feed.advance(None)
            self.problem = dataclasses.replace(self.problem, source=feed.source)
            if keeps_gradient(descent.optimizer):
                return renew(self.problem, state, descent.fixed)
            return state
        best = feed.drifts and self.problem.ranks(feed.source.data)
        params = descent.best if best else descent.params
        model = feed.advance(self.problem.model(params, descent.fixed))
        try:
            fixed = updated_arrays(model, self.trainable, descent.fixed)
        except ValueError as error:
            raise SourceFailed(f"`data`: {error}") from error
        self.problem = dataclasses.replace(self.problem, source=feed.source)
        state = renew(self.problem, state, fixed)
        if feed.drifts:
            self.problem, state = restart_judging(self.problem, state, feed.steps)
        return state

    def _status(self, state: State) -> Status:
        last = [loss for rows in self.rows for loss in rows["loss"][-1:]][-1]
        model, best_loss = self._best(state)
        seconds = time.perf_counter() - self.began
        step = max(self.taken - 1, 0)
        return Status(step, float(np.min(last)), best_loss, model, seconds)

    def _ended(self, state: State, early: bool, status: Status) -> str | None:
        """Return the reason to stop, if there is one."""
        failed = np.all(state.descent.failed)
        if early:
            return "non-finite" if failed else "tolerance"
        if self.callback is not None and self.callback(status) is True:
            return "callback"
        if status.seconds >= self.seconds and self.taken <= self.steps:
            return "seconds"
        return "non-finite" if failed else None

    def _best(self, state: State) -> tuple[Any, float]:
        descent = state.descent
        losses = np.asarray(descent.best_loss)
        params, fixed = descent.best, descent.fixed
        if self.problem.batched:
            index = int(np.argmin(losses))
            params, fixed = jax.tree.map(lambda x: x[index], (params, fixed))
        return self.problem.model(params, fixed), float(losses.min())

    def _not_finite(self, state: State) -> str:
        """Name the terms and the leaves' gradients that are not finite."""
        last = {name: values[-1] for name, values in self.rows[-1].items()}
        terms = [name for name, v in last.items() if not np.all(np.isfinite(v))]
        bad_leaves = state.descent.bad_leaves
        leaves = [
            f"model{jax.tree_util.keystr(path)}"
            for path, bad in jax.tree_util.tree_leaves_with_path(bad_leaves)
            if np.any(bad)
        ]
        loss = f"terms not finite: {', '.join(terms)}" if terms else "finite loss"
        return f"{loss}; gradient not finite: {', '.join(leaves) or 'none'}"

    def history(self) -> dict[str, np.ndarray]:
        """Return the history of all steps so far."""
        if not self.rows:
            return {"loss": np.zeros(0)}
        names = self.rows[0]
        return {n: np.concatenate([rows[n] for rows in self.rows]) for n in names}

    def _result(self, state: State, reason: str) -> Result:
        model, loss = self._best(state)
        steps = max(self.taken - 1, 0)
        if reason == "source":
            message = f"failed after {steps} steps in {self.failure}"
        elif reason == "non-finite":
            message = f"step {steps}: {self._not_finite(state)}"
        else:
            message = stop_message(reason, steps)
        return Result(
            model=model,
            loss=loss,
            history=self.history(),
            reason=reason,
            message=message,
            steps=steps,
            seconds=time.perf_counter() - self.began,
            compile_seconds=self.compile_seconds,
        )


def updated_arrays(model: Any, trainable: Any, fixed: Any) -> Any:
    """Return the fixed arrays of a model that came with a batch.

    Raises:
        RobooptError: if their shapes or dtypes are not those of `fixed`.
    """
    updated = partition(model, trainable)[1]
    forms = [
        [(x.shape, x.dtype) for x in jax.tree.leaves(tree)] for tree in (updated, fixed)
    ]
    if jax.tree.structure(updated) != jax.tree.structure(fixed) or forms[0] != forms[1]:
        raise RobooptError(
            "`data` must return the model with arrays of the same shapes, got "
            f"{forms[0]} for {forms[1]}."
        )
    return updated
