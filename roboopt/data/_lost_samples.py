"""Samples whose positions a recorder has lost, and written as zeros."""

import numpy as np

MIN_JUMP = 10.0  # times the longest step of any joint between other samples
MIN_SAMPLES = 20  # that tell how long steps are


def lost_samples(positions: np.ndarray) -> np.ndarray:
    """Return which samples are zero in all joints amid a motion elsewhere.

    A bus that fails for a moment leaves zeros in all columns at once. There and back
    a joint jumps much farther than in any other step, where a robot that comes to the
    position 0 gets there as it moves.

    Args:
        positions: one row a sample, one column a joint; may hold NaN.
    """
    zero = (positions == 0).all(axis=1)
    if not zero.any() or (~zero).sum() < MIN_SAMPLES:
        return np.zeros(len(zero), bool)
    steps = np.abs(np.diff(positions, axis=0))
    edges = np.diff(zero.astype(int))  # 1 before zeros begin, -1 at their last
    longest = np.nan_to_num(steps[edges == 0]).max(initial=0.0)
    far = np.append(True, (steps / MIN_JUMP > longest).any(axis=1)) & (longest > 0)
    first, last = np.flatnonzero(edges == 1) + 1, np.flatnonzero(edges == -1) + 1
    lost = np.zeros(len(zero), bool)
    for begin in [0, *first] if zero[0] else first:
        end = min(last[last > begin], default=len(zero))
        lost[begin:end] = far[begin] and (end == len(zero) or far[end])
    return lost
