"""The one measure of how far a clone's actions are from demonstrated ones.

    E = √(1/(B n) Σ_b Σ_j ((π(o_b)_j − a_bj) / s_j)²)

over B samples and the n axes of an action that change, in units of their standard
deviations s_j. Axes that never change, such as an unused gripper, are left out: nothing
is to be learned of them. Of discrete actions E is the share of other choices. A squared
loss is L = n E² / 2; other losses are no such error.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from roboopt.data import Trajectory


class Errors(NamedTuple):
    """How far predicted actions are from demonstrated ones."""

    by_action: np.ndarray
    """(act,): root mean squares in the actions' units; of discrete actions the share of
    samples with another choice."""
    over_time: tuple[np.ndarray, ...]
    """By episode, (time,): root mean square over axes, in units of the actions'
    standard deviations; of discrete actions the share of axes that differ."""
    total: float
    """E"""

    @classmethod
    def of(
        cls,
        made: Sequence[np.ndarray],
        episodes: Sequence[Trajectory],
        spread: np.ndarray,
    ) -> "Errors":
        """Return the errors of predictions, one array (time, act) an episode.

        Args:
            made: the predictions.
            episodes: what was demonstrated.
            spread: the standard deviation of each axis where the policy learned it.
        """
        meant = [np.asarray(e.actions) for e in episodes]
        every = np.concatenate(meant)
        axes = counted_axes(np.maximum(spread, np.ptp(every, 0)))
        if every.dtype.kind in "iu":
            pairs = zip(made, meant, strict=True)
            gaps = [(own != action).astype(float) for own, action in pairs]
            over_time = tuple(gap[:, axes].mean(1) for gap in gaps)
            total = np.concatenate(over_time).mean()
            return cls(np.concatenate(gaps).mean(0), over_time, float(total))
        gaps = [own - a for own, a in zip(made, meant, strict=True)]
        scale = np.where(spread > 0, spread, 1.0)
        squares = [((gap / scale)[:, axes] ** 2).mean(1) for gap in gaps]
        by_action = np.sqrt((np.concatenate(gaps) ** 2).mean(0))
        total = np.sqrt(np.concatenate(squares).mean())
        return cls(by_action, tuple(map(np.sqrt, squares)), float(total))


def counted_axes(spread: np.ndarray) -> np.ndarray:
    """Return which axes count: those that change, or all if none does."""
    return spread > 0 if (spread > 0).any() else np.ones(len(spread), bool)


def as_error(loss: Any, axes: int | None) -> Any:
    """Return the error E of a squared loss over `axes`; another loss (None) itself."""
    return loss if axes is None else np.sqrt(2 * np.maximum(loss, 0.0) / axes)


def progress_words(status: Any, steps: int, axes: int | None, validation: Any) -> str:
    """Return how far a training is, with its error on batches or its loss."""
    own, best = as_error(np.array([status.loss, status.best_loss]), axes)
    name, unit = ("error", " standard deviations") if axes else ("loss", "")
    kept = "best" if validation is None else "best in validation"
    return f"step {status.step} of {steps}: {name} {own:.4g}{unit}, {kept} {best:.4g}"
