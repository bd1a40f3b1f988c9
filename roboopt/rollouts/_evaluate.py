"""Judging a policy: what it does in many episodes, and how sure that makes one.

A success rate has Wilson's interval (Wilson, 1927, Probable inference, the law of
succession, and statistical inference): of k successes in n episodes, p = k/n,

    (p + z²/2n ± z √(p (1 − p)/n + z²/4n²)) / (1 + z²/n)

and a mean of n returns Student's (1908, The probable error of a mean), x̄ ± t s/√n.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from roboopt._errors import RobooptError
from roboopt.data._trajectory import Trajectory
from roboopt.rollouts._collect import collect_episodes

Z = 1.959963984540054  # The normal distribution's 0.975 quantile.


class Estimate(NamedTuple):
    """A value, and the interval that holds the true one in 95 of 100 cases."""

    value: float
    low: float
    high: float


class Evaluation(eqx.Module):
    """What a policy did, episode by episode."""

    trajectories: list[Trajectory]
    returns: Float[np.ndarray, " episode"]
    """The sum of each episode's rewards."""
    lengths: Int[np.ndarray, " episode"]
    """Steps."""
    successes: Bool[np.ndarray, " episode"] | None
    """None where nothing says what success is."""

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory], env: Any = None) -> "Evaluation":
        """Return what recorded episodes say.

        Success is what the trajectories say; where they say nothing, a return that
        reaches the `reward_threshold` of `env.spec`, if there is one.

        Args:
            trajectories: one an episode, with rewards.
            env: that they were recorded in.

        Raises:
            RobooptError: if there is none, or one without rewards.
        """
        if not trajectories:
            raise RobooptError("`trajectories` must hold at least one, got 0.")
        returns = np.array([float(run.returns) for run in trajectories])
        threshold = getattr(getattr(env, "spec", None), "reward_threshold", None)
        successes = None if threshold is None else returns >= threshold
        if any(run.success is not None for run in trajectories):
            # Some environments speak of success only where there was one.
            successes = np.array([bool(run.success) for run in trajectories])
        lengths = np.array([run.steps for run in trajectories])
        return cls(list(trajectories), returns, lengths, successes)

    @property
    def success_rate(self) -> Estimate | None:
        """Return the share of episodes that succeeded, with Wilson's interval."""
        if self.successes is None:
            return None
        n = len(self.successes)
        share = float(self.successes.mean())
        middle = share + Z**2 / (2 * n)
        reach = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
        low, high = ((middle + side) / (1 + Z**2 / n) for side in (-reach, reach))
        # Beyond the ends of [0, 1] only by rounding.
        return Estimate(share, max(low, 0.0), min(high, 1.0))

    @property
    def mean_return(self) -> Estimate:
        """Return the mean return with Student's interval, infinite of one episode."""
        from scipy.special import stdtrit

        n = len(self.returns)
        mean = float(self.returns.mean())
        if n == 1:
            return Estimate(mean, -math.inf, math.inf)
        error = float(self.returns.std(ddof=1)) / math.sqrt(n)
        reach = float(stdtrit(n - 1, 0.975)) * error
        return Estimate(mean, mean - reach, mean + reach)

    def __str__(self) -> str:
        """Return the estimates in one line."""
        text = f"{len(self.returns)} episodes: "
        rate = self.success_rate
        if rate is not None:
            text += (
                f"success {rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%}), "
            ).replace("%", " %")
        mean = self.mean_return
        return text + f"return {mean.value:.6g} ({mean.low:.6g} to {mean.high:.6g})"


def evaluate(
    env: Any,
    policy: Any,
    *,
    episodes: int | None = None,
    seed: int | None = 0,
    starts: Any = None,
    max_steps: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Run `policy` in `env`, 100 episodes if not told otherwise, and judge it.

    With one seed, episode k begins alike for every policy: what two did can be compared
    episode by episode. What success is, `Evaluation.of` says.

    Args:
        env: as `collect_episodes` takes it.
        policy: likewise.
        episodes: how many, where no starts are given.
        seed: what all chance comes from.
        starts: observations to start at, (episodes, obs).
        max_steps: an episode's end, where the environment has not ended it before.
        progress: called with the number of episodes done, after each.

    Raises:
        RobooptError: as `collect_episodes`.
    """
    if episodes is None and starts is None:
        episodes = 100
    trajectories = collect_episodes(
        env,
        policy,
        episodes=episodes,
        starts=starts,
        seed=seed,
        max_steps=max_steps,
        progress=progress,
    )
    return Evaluation.of(trajectories, env)
