"""Following a run: the returns, the target and the budget, the log and the bar."""

import math
import time
import warnings
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from roboopt._errors import RobooptError
from roboopt._progress import counted
from roboopt.optimize import Log
from roboopt.rl._policies import acting_policy
from roboopt.rl._returns import Returns, rows_of
from roboopt.rl._run import Measured, Run
from roboopt.view import Watch

MIN_EPISODES = 20  # before their mean return can reach a target
LOG_PERIOD_S = 5.0
MIN_UNUSED = 0.05  # of the budget, which is said


class LearningStatus(NamedTuple):
    """The progress that a callback of `reinforce` sees."""

    timesteps: int
    """Steps of all environments together."""
    seconds: float
    mean_return: float
    """Mean over the last episodes; NaN before one has ended."""
    std_return: float
    """Standard deviation over the same episodes."""
    episodes: int
    """The number of these episodes."""
    policy: Any
    """The policy as it would act now."""


class Monitor:
    """The callback of `minimize`: records the returns, and says when to stop."""

    def __init__(
        self,
        run: Run,
        action_space: Any,
        *,
        target: float | None,
        callback: Callable[[LearningStatus], Any] | None,
        log: Log | None,
        returns_file: str | PathLike | None,
        watch: Watch | None = None,
    ):
        self._watch = watch
        self._run, self._space = run, action_space
        self._target, self._callback, self._file = target, callback, returns_file
        self._told = log
        self.show: Callable[[int, str], object] = lambda timesteps, text: None
        self.rows: list[tuple] = []
        self.timesteps, self.ended = 0, ""
        self._step, self._seconds, self._earlier, self._resumed = 0, 0.0, 0.0, 0
        self._written = time.perf_counter()

    def state(self) -> dict[str, np.ndarray]:
        """Return the counts, for a checkpoint."""
        counts = self._step, self._run.progress.taken(self._step), self._seconds
        names = "step", "timesteps", "seconds"
        return dict(zip(names, map(np.asarray, counts), strict=True))

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a `state`, with the episodes of the log up to then."""
        self._step, self.timesteps = int(state["step"]), int(state["timesteps"])
        self._seconds = self._earlier = float(state["seconds"])
        if isinstance(self._run.progress, Measured):
            self._run.progress.resume(self._step, self.timesteps)
        else:
            self._resumed = self.timesteps
        if self._file is not None and Path(self._file).exists():
            # The log may be younger than the checkpoint.
            rows = Returns.read(self._file).rows()
            self.rows = [row for row in rows if row[0] <= self.timesteps]

    def __call__(self, status: Any) -> bool:
        """Record the episodes since the last call; return whether to stop."""
        run = self._run
        self._step, self._seconds = status.step, self._earlier + status.seconds
        episodes = run.progress.recent_episodes(status)
        self.timesteps = run.progress.taken(status.step)
        self.rows += rows_of(episodes, self.timesteps, self._seconds)
        recent = self.recent
        learning = LearningStatus(
            timesteps=self.timesteps,
            seconds=self._seconds,
            mean_return=float(recent.mean()) if len(recent) else math.nan,
            std_return=float(recent.std()) if len(recent) else math.nan,
            episodes=len(recent),
            policy=acting_policy(status.model, self._space),
        )
        self.show(self.timesteps, _described(learning, run.timesteps))
        if time.perf_counter() - self._written > LOG_PERIOD_S:
            self.write()
        if self._watch is not None:
            self._watch.update(learning.policy)
        if self._callback is not None and self._callback(learning) is True:
            self.ended = "callback"
        if run.progress.exhausted:
            self.ended = "timesteps"
        enough = len(recent) >= min(MIN_EPISODES, run.recent)
        if self._target is not None and enough:
            if learning.mean_return >= self._target:
                self.ended = "target"
        return bool(self.ended)

    @property
    def log(self) -> Log | None:
        """Return what `minimize` tells of each step, with the returns added."""

        def told(step: int, metrics: dict[str, float]) -> None:
            recent = self.recent
            mean = {"mean_return": float(recent.mean())} if len(recent) else {}
            counted = self._run.progress.counted
            counts = {"timesteps": self.timesteps, counted: len(self.rows)}
            assert self._told is not None
            self._told(step, {**metrics, **counts, **mean})

        return None if self._told is None else told

    @property
    def recent(self) -> np.ndarray:
        """Return the returns of the last episodes."""
        return np.array([row[2] for row in self.rows[-self._run.recent :]])

    def write(self) -> None:
        if self._file is not None and self.rows:
            try:
                Returns.from_rows(self.rows).write(self._file)
            except (OSError, RobooptError) as error:
                # The disk or the folder: what was learned is not lost by it.
                warnings.warn(
                    f"`returns_file` could not be written: {error}", stacklevel=2
                )
        self._written = time.perf_counter()

    def ending(self, reason: str, message: str) -> tuple[str, str]:
        """Return the reason and the sentence, from those of `minimize`."""
        if self.ended == "target":
            recent, reason = self.recent, "target"
            message = (
                f"the mean return of the last {len(recent)} episodes is "
                f"{recent.mean():.4g} and has reached the target {self._target:.4g}"
            )
        elif self.ended == "timesteps" and reason == "callback":
            taken, budget, reason = self.timesteps, self._run.timesteps, "timesteps"
            message = f"{taken} timesteps taken, of a budget of {budget}"
        elif reason == "steps":
            message += self._unused()
        if 0 < self._resumed < self.timesteps:
            message += (
                f"; resumed after {self._resumed} timesteps with new episodes, so the "
                "policy is another than without the interruption"
            )
        return reason, message

    def _unused(self) -> str:
        """Say why a good part of the budget is left: blocks of samples are whole."""
        block, budget = getattr(self._run.progress, "samples", 0), self._run.timesteps
        if not block or not budget or block > budget:
            return ""
        if budget % block < MIN_UNUSED * budget:
            return ""
        blocks = counted(budget // block, "block")
        return f", as the budget of {budget} timesteps holds {blocks} of {block}"


def _described(status: LearningStatus, total: int | None) -> str:
    text = "no episode has ended"
    if status.episodes:
        mean, std = f"{status.mean_return:.4g}", f"{status.std_return:.3g}"
        text = f"return {mean} ± {std} (last {status.episodes})"
    rate = status.timesteps / max(status.seconds, 1e-9)
    taken = f"{status.timesteps:,}"
    if total is not None and status.timesteps <= total:
        taken += f" of {total:,}"
    return f"{text}, {taken} timestep{'s' * (taken != '1')}, {rate:,.0f}/s"
