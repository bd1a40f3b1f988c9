"""What few episodes tell: which candidate is kept, and how large an error is.

The mismatch of a candidate exceeds another's by a sum over episodes of paired
differences, which has a standard error. The simplest candidate stays unless the best
one is better by more than two of these, a level of 95 %. If it is, the first candidate
within one standard error of the best is kept: the one-standard-error rule (Breiman et
al., 1984, Classification and regression trees, §3.4.3).

The samples of one episode are alike, so an error over all samples, and how many times
as large as another it is, are ratios of sums over episodes, r = Σ a / Σ b. The standard
error of log r is that of Σ (a / Σ a − b / Σ b) (Cochran, 1977, Sampling techniques,
§6.4).
"""

from collections.abc import Sequence

import numpy as np

SIGNIFICANT = 2.0  # standard errors
CONFIDENCE = 0.95
RUN_PARTS = 5  # of a single run, long enough to be compared like episodes


def simplest(costs: np.ndarray) -> int:
    """Return the candidate kept, of costs (candidate, episode), simplest first."""
    best = int(costs.sum(1).argmin())
    gaps = costs[: best + 1] - costs[best]
    count = costs.shape[1]
    errors = np.sqrt(count * gaps.var(1, ddof=1)) if count > 1 else np.zeros(best + 1)
    excess = gaps.sum(1)
    if excess[0] <= SIGNIFICANT * errors[0]:
        return 0
    return int(np.argmax(excess <= errors))


def units_of(lengths: Sequence[int]) -> np.ndarray:
    """Return the episode of each sample; of a single run, its part."""
    if len(lengths) == 1:
        return np.arange(lengths[0]) * RUN_PARTS // max(lengths[0], RUN_PARTS)
    return np.repeat(np.arange(len(lengths)), lengths)


def mean_interval(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the 95 % interval of a mean of samples ≥ 0, (time,) by episode."""
    low, high = ratio_interval(values, [np.ones_like(x) for x in values])
    return low, high if high > 0 else np.inf  # No spread is known of zeros.


def ratio_interval(
    values: Sequence[np.ndarray], others: Sequence[np.ndarray]
) -> tuple[float, float]:
    """Return the 95 % interval of a ratio of two sums of samples ≥ 0, by episode.

    It is Student's interval of the logarithm, whose standard error follows from the
    episodes' shares in the two sums. So it is positive, and a few large values in both
    sums do not hide that one is larger. One episode tells nothing, since its parts do
    not tell how episodes differ, and neither does a sum of 0, unless the other sum is
    positive in every episode: then the ratio is 0 or infinite for certain.
    """
    from scipy.special import stdtrit

    sums = [np.array([x.sum() for x in part]) for part in (values, others)]
    totals, count = [x.sum() for x in sums], len(values)
    if count == 1 or 0 in totals:
        sure = [count > 1 and bool((x > 0).all()) for x in sums]
        return (np.inf if sure[0] else 0.0), (0.0 if sure[1] else np.inf)
    gaps = sums[0] / totals[0] - sums[1] / totals[1]
    error = np.sqrt(count / (count - 1) * (gaps**2).sum())
    factor = np.exp(stdtrit(count - 1, (1 + CONFIDENCE) / 2) * error)
    ratio = totals[0] / totals[1]
    return float(ratio / factor), float(ratio * factor)
