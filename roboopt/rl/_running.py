"""What is measured of a world while an agent acts: where it gets and what it earns."""

import math
from typing import Any, NamedTuple

import numpy as np

from roboopt.data import Normalizer
from roboopt.rollouts import Steps

ROUNDING = 1e-6  # A deviation of less, beside the mean, is none.


class Seen(NamedTuple):
    """The mean and the deviation of all observations so far (Chan et al., 1979)."""

    number: float
    mean: np.ndarray
    square: np.ndarray
    """The sum of the squared deviations from the mean."""

    @classmethod
    def none(cls, size: int) -> "Seen":
        """Return those of nothing."""
        return cls(0.0, np.zeros(size), np.zeros(size))

    def and_(self, observations: Any, valid: Any) -> "Seen":
        """Return those of `observations` besides, where `valid`."""
        rows = np.asarray(observations, float)[np.asarray(valid)]
        if not len(rows):
            return self
        mean = rows.mean(0)
        square = ((rows - mean) ** 2).sum(0)
        count, apart = self.number + len(rows), mean - self.mean
        return Seen(
            count,
            self.mean + apart * (len(rows) / count),
            self.square + square + apart**2 * (self.number * len(rows) / count),
        )

    def normalizer(self) -> Normalizer:
        """Return the normalizer; what has not changed yet keeps its unit."""
        spread = np.sqrt(self.square / max(self.number, 1.0))
        constant = spread <= ROUNDING * np.maximum(np.abs(self.mean), ROUNDING)
        return Normalizer(self.mean, np.where(constant, 1.0, spread))


class Scale(NamedTuple):
    """The scale of the rewards, as far as it is known."""

    running: np.ndarray
    """R of each environment's last step, 0 where the episode ended with it."""
    square: float
    """The mean of R²."""
    number: float
    """Steps that it is the mean of."""

    def and_(self, steps: Steps, discount: float) -> "Scale":
        """Return it with the rewards of `steps` besides."""
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
        return Scale(running, square, count)

    @property
    def unit(self) -> float:
        """Return the root mean square, or 1 where all rewards were 0."""
        return math.sqrt(self.square) if self.square > 0 else 1.0
