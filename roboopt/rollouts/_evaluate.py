"""Evaluation of a policy: returns and success over episodes, with 95 % intervals.

A success rate has Wilson's interval (Wilson, 1927, Probable inference, the law of
succession, and statistical inference) and a mean return has Student's (1908, The
probable error of a mean).
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from roboopt._errors import require
from roboopt._progress import counted
from roboopt._readable import Readable
from roboopt.data import Trajectory
from roboopt.rollouts._collect import collect_in
from roboopt.rollouts._vector_env import Episode

CONFIDENCE = 0.95
EVALUATION_SEED_OFFSET = 1_000_003
"""Added to a verb's seed for its evaluation: far from the seeds of the learning, which
users count from 0, and the same for all verbs, so that their results compare."""


class Estimate(NamedTuple):
    """A value and its 95 % confidence interval."""

    value: float
    low: float
    high: float


class Evaluation(Readable, eqx.Module):
    """The episodes of a policy, their returns, and their success."""

    trajectories: Trajectory
    """All episodes, stacked."""
    returns: Float[np.ndarray, " episode"]
    """The sum of each episode's rewards."""
    lengths: Int[np.ndarray, " episode"]
    """Steps."""
    successes: Bool[np.ndarray, " episode"] | None
    """None where nothing says what success is."""

    @classmethod
    def of(
        cls, trajectories: Trajectory, reward_threshold: float | None = None
    ) -> "Evaluation":
        """Return the evaluation of recorded episodes.

        Success is what the trajectories say, or else a return of at least
        `reward_threshold`.

        Raises:
            RobooptError: if the trajectories have no rewards.
        """
        returns = trajectories.returns
        successes = None if reward_threshold is None else returns >= reward_threshold
        if trajectories.success is not None:
            successes = np.asarray(trajectories.success)
        lengths = trajectories.lengths
        if lengths is None:
            lengths = np.full(len(returns), trajectories.steps)
        return cls(trajectories, returns, np.asarray(lengths), successes)

    def _shown(self) -> dict[str, str]:
        rate, mean = self.success_rate, self.mean_return
        shown = {"episodes": str(len(self.returns))}
        if rate is not None:
            shown["success"] = (
                f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})"
            ).replace("%", " %")
        shown["return"] = f"{mean.value:.6g} ({mean.low:.6g} to {mean.high:.6g})"
        return shown

    @property
    def success_rate(self) -> Estimate | None:
        """Return the share of successful episodes, with Wilson's interval."""
        from scipy.special import ndtri

        if self.successes is None:
            return None
        rate, count = float(self.successes.mean()), len(self.successes)
        square = float(ndtri((1 + CONFIDENCE) / 2)) ** 2 / count
        center = (rate + square / 2) / (1 + square)
        variance = rate * (1 - rate) + square / 4
        radius = math.sqrt(square * variance) / (1 + square)
        low, high = max(center - radius, 0.0), min(center + radius, 1.0)
        return Estimate(rate, low if rate > 0 else 0.0, high if rate < 1 else 1.0)

    @property
    def mean_return(self) -> Estimate:
        """Return the mean return, with Student's interval, infinite for one episode."""
        return _mean(self.returns)

    def gain_over(self, other: "Evaluation") -> Estimate:
        """Return the mean difference of the returns to another policy's.

        Episodes with the same seeds are compared one by one, so that the interval is
        that of the difference, which starts of different difficulty do not widen.

        Args:
            other: the evaluation of as many episodes from the same seeds.

        Raises:
            RobooptError: if `other` has another number of episodes.
        """
        require(
            len(other.returns) == len(self.returns),
            "other",
            f"have {len(self.returns)} episodes",
            len(other.returns),
        )
        return _mean(self.returns - other.returns)

    def __str__(self) -> str:
        """Return the estimates in one line."""
        shown = self._shown()
        del shown["episodes"]
        said = ", ".join(f"{name} {text}" for name, text in shown.items())
        return f"{counted(len(self.returns), 'episode')}: {said}"


def _mean(values: Float[np.ndarray, " episode"]) -> Estimate:
    from scipy.special import stdtrit  # SciPy's `stats` is slow to import.

    count, mean = len(values), float(values.mean())
    if count == 1:
        return Estimate(mean, -math.inf, math.inf)
    error = float(values.std(ddof=1)) / math.sqrt(count)
    if error == 0:
        return Estimate(mean, mean, mean)
    radius = error * float(stdtrit(count - 1, (1 + CONFIDENCE) / 2))
    return Estimate(mean, mean - radius, mean + radius)


def evaluate(
    env: Any,
    policy: Any,
    *,
    episodes: int | None = None,
    seed: int | None = 0,
    **settings: Any,
) -> Evaluation:
    """Run `policy` in `env`, 100 episodes by default, and evaluate it.

    With one seed, episode k begins alike for every policy, so that two policies can be
    compared episode by episode. `Evaluation.of` says what success is.

    Args:
        env: as in `collect`.
        policy: as in `collect`.
        episodes: the number of episodes, where no `starts` are given.
        seed: the source of all randomness.
        **settings: the other arguments of `collect`: `starts`, `label`, `max_steps`,
            `processes`, `workers` and `progress`.

    Raises:
        RobooptError: as `collect`.
        EnvError: as `collect`.
    """
    if episodes is None and settings.get("starts") is None:
        episodes = 100
    return Evaluation.of(
        *collect_in(env, policy, episodes=episodes, seed=seed, **settings)
    )


def as_episodes(trajectory: Trajectory, success: Any = None) -> list[Episode]:
    """Return the episodes of a stacked trajectory.

    Where the trajectory does not say, `success(observations, time_step)` judges each.
    """
    found = Evaluation.of(trajectory)
    said = found.successes
    if said is None and success is not None:
        said = success(np.asarray(trajectory.observations), trajectory.time_step)
    achieved = (
        [None] * len(found.returns) if said is None else np.asarray(said).tolist()
    )
    columns = found.returns.tolist(), found.lengths.tolist(), achieved
    return [Episode(*row) for row in zip(*columns, strict=True)]
