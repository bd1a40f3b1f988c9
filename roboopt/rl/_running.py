"""Running statistics of observations and rewards while an agent acts."""

import math
from typing import Any, NamedTuple

import numpy as np

from roboopt.data import Normalizer
from roboopt.rollouts import Steps

EPSILON = 1e-6  # relative to the mean: smaller standard deviations count as zero


class RunningMeanStd(NamedTuple):
    """The mean and the squared deviations of all observations (Chan et al., 1979)."""

    number: Any
    """Observations so far."""
    mean: np.ndarray
    square: np.ndarray
    """The sum of the squared deviations from the mean."""

    @classmethod
    def zero(cls, size: int) -> "RunningMeanStd":
        return cls(np.zeros(()), np.zeros(size), np.zeros(size))

    def update(self, observations: Any, valid: Any) -> "RunningMeanStd":
        """Return the statistics with the `valid` ones of `observations` added."""
        rows = np.asarray(observations, float)[np.asarray(valid)]
        if not len(rows):
            return self
        mean = rows.mean(0)
        square = ((rows - mean) ** 2).sum(0)
        count, apart = self.number + len(rows), mean - self.mean
        return RunningMeanStd(
            np.asarray(count),
            self.mean + apart * (len(rows) / count),
            self.square + square + apart**2 * (self.number * len(rows) / count),
        )

    def normalizer(self) -> Normalizer:
        """Return the normalizer; axes that are constant keep their unit."""
        deviation = np.sqrt(self.square / max(self.number, 1.0))
        constant = deviation <= EPSILON * np.maximum(np.abs(self.mean), EPSILON)
        return Normalizer(self.mean, np.where(constant, 1.0, deviation))


class RewardScale(NamedTuple):
    """The root mean square of the discounted sums R_t of the rewards so far.

    R_t = r_t + γ (1 − ended_{t−1}) R_{t−1}. Engstrom et al. (2020, Implementation
    matters in deep policy gradients) divide by the standard deviation of R; the root
    mean square also serves a reward that never varies.
    """

    running: np.ndarray
    """R after the last step of each environment, 0 where the episode ended."""
    square: Any
    """The mean of R²."""
    number: Any
    """Steps in that mean."""

    @classmethod
    def zero(cls, envs: int) -> "RewardScale":
        return cls(np.zeros(envs), np.zeros(()), np.zeros(()))

    def update(self, steps: Steps, discount: float) -> "RewardScale":
        """Return the scale with the rewards of `steps` added."""
        running, total = self.running, 0.0
        rewards = np.asarray(steps.rewards, float)
        goes_on, valid = ~np.asarray(steps.ended), np.asarray(steps.valid)
        for reward, goes, counts in zip(rewards, goes_on, valid, strict=True):
            running = reward + discount * running
            total += float((running**2) @ counts)
            running = running * goes
        fresh = float(valid.sum())
        count = self.number + fresh
        square = self.square + (total - fresh * self.square) / max(count, 1.0)
        return RewardScale(running, np.asarray(square), np.asarray(count))

    @property
    def unit(self) -> float:
        """Return the root mean square, or 1 where all rewards were 0."""
        return math.sqrt(float(self.square)) if self.square > 0 else 1.0
