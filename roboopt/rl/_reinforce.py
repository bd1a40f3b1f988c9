"""`reinforce`: from an environment and its reward to a policy, in one call.

What is tuned and how the gradient is had follow from the environment: whether its
actions are choices, and whether there is a differentiable twin of it. All of it can be
said otherwise, and put together from its parts: `minimize`, `NegativeReward`, and
`Experiences`, `Windows` or a `GymRollout`.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np

from roboopt._errors import RobooptError
from roboopt.diagnose import HorizonNorms, gradient_health
from roboopt.diagnose._finding import Finding
from roboopt.optimize import Result, minimize
from roboopt.policies import NetworkSettings, StatefulPolicy
from roboopt.rl._learning_bar import learning_bar
from roboopt.rl._recipe import Recipe, Wishes
from roboopt.rl._recipes import recipe
from roboopt.rl._returns import Returns
from roboopt.rl._setting import Setting

ENOUGH = 20  # episodes, before their mean return can be the target's
MEASURED_EVERY = 1.0  # s
MOST_MEASURING = 0.2  # of the time
WRITTEN_EVERY = 5.0  # s


class Learning(NamedTuple):
    """What a callback sees while a policy learns."""

    timesteps: int
    """In the environments, all together."""
    seconds: float
    mean_return: float
    """Of the last episodes; NaN before one has ended."""
    spread: float
    """Their standard deviation."""
    episodes: int
    """How many these are."""
    policy: Any
    """As it would act now."""


@dataclass(frozen=True)
class ReinforceResult:
    """What came of learning from reward."""

    policy: Any
    """What acts, without chance."""
    agent: Any
    """What was tuned: the policy with its chance and its value function, where there
    are such."""
    began: Any
    """What it started from, without chance."""
    fresh: bool
    """Whether that was made anew, with weights drawn at random."""
    result: Result
    """Of `minimize`."""
    history: dict[str, np.ndarray]
    """Of the result, and where that lacks them the norm and the signal-to-noise ratio
    of the gradient, NaN at steps that were not looked at."""
    returns: Returns
    """Of each episode while it learned."""
    norm_by_horizon: Callable[[Any], HorizonNorms] | None
    """`norm_by_horizon(policy)` through the environment's twin, where there is one."""
    choice: dict[str, str]
    """What was chosen, in words."""
    gradient: str
    """One of "likelihood", "analytic", "smoothed", "mixed"."""
    horizon: int | None
    """Steps of simulation that the gradient went through, where it did."""
    reused: int
    """Gradient steps on the same samples."""
    timesteps: int
    """Steps in the environments, all together."""
    reason: str
    """Why it ended: "target", or as a `Result` has it."""
    message: str
    """The same as a sentence."""

    @property
    def health(self) -> list[Finding]:
        """Return what was wrong with the gradients."""
        return gradient_health(self.history, horizon=self.horizon, reused=self.reused)


def reinforce(
    env: Any,
    *,
    policy: Any = None,
    gradient: str | None = None,
    timesteps: int | None = None,
    seconds: float = math.inf,
    target: float | None = None,
    envs: int | None = None,
    processes: int = 0,
    max_steps: int | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: bool = False,
    callback: Callable[[Learning], Any] | None = None,
    checkpoint: str | PathLike | None = None,
    log: str | PathLike | None = None,
    **network: Unpack[NetworkSettings],
) -> ReinforceResult:
    """Learn to earn more reward in `env`, and return the policy.

    Args:
        env: a Gymnasium id, or a function that makes an environment.
        policy: to go on from, as a clone or a tuned controller: with `sample` and
            `log_prob`, or without, and then chance is put around it where that is
            needed. Also "network", or "pd" for an arm of roboopt; if None, what fits.
        gradient: "likelihood", of what was tried: actions, by proximal policy
            optimization, or a policy's parameters where it is given, acts without
            chance and has few, along the natural gradient;
            "analytic", through the twin; "smoothed", from values alone; "mixed", of the
            twin as far as the simulator agrees. If None, "analytic" where there is a
            twin, else "likelihood".
        timesteps: stop after so many steps of the environment, in all.
        seconds: stop after that long, compilation included.
        target: stop once the mean return of the last 100 episodes is this, or of 20 or
            more at first; where every step runs whole episodes, of the last step's.
        envs: environments side by side; where every step runs whole episodes, of how
            many starts.
        processes: that the environments run in; 0 for this one. An environment with a
            twin is learned in through that, if 0 and by likelihood ratio.
        max_steps: an episode's end, where the environment has not ended it before.
        options: of the environment's constructor, where `env` is an id.
        seed: of all chance.
        progress: whether to show what is chosen, and the returns as they come.
        callback: called with a `Learning` some times a second; stops if it returns
            True.
        checkpoint: a file for the state of the learning, written every ten seconds and
            at the end; where it exists already the learning goes on from it.
        log: a CSV file for the returns, written as they come; where the learning goes
            on from a checkpoint, they are added to those that are in it.
        **network: `width`, `depth`, `angles`, … of what is made anew.

    Returns:
        What was learned, also after Ctrl-C, after a value that is not finite, and where
        an environment fails later than at first: `reason` and `message` say so.

    Raises:
        RobooptError: if an argument breaks its rule, or does not fit the environment,
            or its spaces are not such as can be learned in.
    """
    for name, value in (("timesteps", timesteps), ("envs", envs)):
        if value is not None and value < 1:
            raise RobooptError(f"`{name}` must be at least 1, got {value}.")
    if isinstance(policy, str) and policy not in ("network", "pd"):
        raise RobooptError(f"`policy` must be 'network' or 'pd', got {policy!r}.")
    if isinstance(policy, StatefulPolicy):
        raise RobooptError(
            "`policy` must act on one observation, without a memory, got "
            f"{type(policy).__name__}."
        )
    wishes = Wishes(policy, gradient, timesteps, envs, processes, seed, network)
    setting = Setting.of(env, options, max_steps)
    try:
        made = recipe(setting, wishes)
    finally:
        setting.env.close()
    goes_on = checkpoint is not None and Path(checkpoint).exists()
    course = _Course(made, target, callback, log, goes_on)
    try:
        with learning_bar(made, timesteps, progress) as course.show:
            result = minimize(
                made.objective,
                made.agent,
                made.data,
                seconds=seconds,
                seed=seed,
                callback=course,
                checkpoint=checkpoint,
                **made.settings,
            )
    finally:
        course.write()
        made.close()
    return course.reinforcement(result)


class _Course:
    """Follows a descent: notes the returns, and says when the target is reached."""

    def __init__(
        self,
        made: Recipe,
        target: float | None,
        callback: Callable[[Learning], Any] | None,
        log: str | PathLike | None,
        goes_on: bool,
    ):
        self._made, self._target, self._callback = made, target, callback
        self.show: Callable[[Learning], None] = lambda learning: None
        self.returns = Returns()
        self._log = log
        if goes_on and log is not None and Path(log).exists():
            self.returns = Returns.read(log)
        self._earlier: float | None = None
        self._seen, self._reached = 0, False
        self._gradients: dict[int, tuple[float, float]] = {}
        self._measured, self._cost, self._written = -math.inf, 0.0, time.perf_counter()

    def __call__(self, status: Any) -> bool:
        """Note what has ended since the last time; return whether to stop."""
        timesteps = self._made.timesteps_of(status.step)
        if self._earlier is None:
            self.returns = self.returns.until(timesteps)
            self._earlier = max(self.returns.column("seconds"), default=0.0)
        seconds = self._earlier + status.seconds
        if fresh := self._ended(status):
            self.returns.note(fresh, timesteps, seconds)
        recent = self.returns.recent(self._made.recent)
        learning = Learning(
            timesteps=timesteps,
            seconds=seconds,
            mean_return=float(recent.mean()) if len(recent) else math.nan,
            spread=float(recent.std()) if len(recent) else math.nan,
            episodes=len(recent),
            policy=self._made.acting(status.model),
        )
        self.show(learning)
        if time.perf_counter() - self._written > WRITTEN_EVERY:
            self.write()
        wanted = self._callback is not None and self._callback(learning) is True
        enough = len(recent) >= min(ENOUGH, self._made.recent)
        if self._target is not None and enough:
            self._reached = learning.mean_return >= self._target
        return wanted or self._reached

    def _ended(self, status: Any) -> Any:
        if self._made.episodes is not None:
            episodes = self._made.episodes()
            fresh, self._seen = episodes[self._seen :], len(episodes)
            return fresh
        assert self._made.measure is not None
        if status.seconds - self._measured < self._pause:
            return []
        began = time.perf_counter()
        found = self._made.measure(status.model)
        if self._made.gradient_of is not None and len(found) > 1:
            norms = self._made.gradient_of(status.model)
            self._gradients[status.step] = norms.norms[-1], norms.signal_to_noise[-1]
        self._cost, self._measured = time.perf_counter() - began, status.seconds
        return found

    @property
    def _pause(self) -> float:
        """Return how long to wait between two measurements [s]."""
        if self._target is not None:
            return 0.0
        return max(MEASURED_EVERY, self._cost / MOST_MEASURING)

    def write(self) -> None:
        """Write the returns."""
        if self._log is not None and len(self.returns):
            self.returns.write(self._log)
        self._written = time.perf_counter()

    def reinforcement(self, result: Result) -> ReinforceResult:
        """Return the outcome."""
        made = self._made
        timesteps = made.timesteps_of(result.steps)
        reason, message = result.reason, result.message
        if self._reached:
            reason = "target"
            recent = self.returns.recent(made.recent)
            message = (
                f"the mean return of the last {len(recent)} episodes reached "
                f"{np.mean(recent):.4g}, and the target, {self._target:.4g}, with it"
            )
        return ReinforceResult(
            policy=made.acting(result.model),
            agent=result.model,
            began=made.acting(made.agent),
            fresh=made.fresh,
            result=result,
            history=self._history(result),
            returns=self.returns,
            norm_by_horizon=made.norm_by_horizon,
            choice=made.said,
            gradient=made.gradient,
            horizon=made.horizon,
            reused=made.reused,
            timesteps=timesteps,
            reason=reason,
            message=message,
        )

    def _history(self, result: Result) -> dict[str, np.ndarray]:
        if not self._gradients:
            return result.history
        seen = np.full((len(result.history["loss"]), 2), np.nan)
        for step, noted in self._gradients.items():
            seen[min(step, len(seen) - 1)] = noted
        noted = dict(zip(("gradient_norm", "gradient_snr"), seen.T, strict=True))
        return {**result.history, **noted}
