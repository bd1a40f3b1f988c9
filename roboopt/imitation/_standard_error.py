"""Which of several candidates is kept, where few episodes judge them.

The mismatch of a candidate exceeds another's by a sum over episodes of paired
differences, which has a standard error. The simplest candidate stays unless the best
one is better by more than two of these, a level of 95 %. If it is, the first candidate
within one standard error of the best is kept: the one-standard-error rule (Breiman et
al., 1984, Classification and regression trees, §3.4.3).
"""

import numpy as np

SIGNIFICANT = 2.0  # standard errors


def simplest(costs: np.ndarray) -> int:
    """Return the candidate that is kept.

    Args:
        costs: (candidate, episode), the simplest first.
    """
    best = int(costs.sum(1).argmin())
    gaps = costs[: best + 1] - costs[best]
    count = costs.shape[1]
    errors = np.sqrt(count * gaps.var(1, ddof=1)) if count > 1 else np.zeros(best + 1)
    excess = gaps.sum(1)
    if excess[0] <= SIGNIFICANT * errors[0]:
        return 0
    return int(np.argmax(excess <= errors))
