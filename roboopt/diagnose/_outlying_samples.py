"""Single samples of demonstrations far outside all others, as a sensor's glitch leaves.

One value of 1000 among values within ±1 sets the standard deviation by which an axis is
normalized, and the squared error of a policy. A sample counts as such if a gap of
many times the range of all others lies between it and them, for a few samples at a
time: heavy tails thin out gradually, and a motion lasts.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from roboopt.data import Trajectory
from roboopt.diagnose._finding import Finding, warning

MAX_SHARE = 0.02  # of the samples: more are no exception
MIN_GAP = 5.0  # of the range of all others
MAX_STEPS = 3  # one after the other
MIN_SAMPLES = 100
USUAL = 0.9  # of the others, whose largest deviation from the median is a usual one
USUAL_TAIL = 2.0  # of the others' largest deviation to that, as of normal numbers
MIN_RANGE = 1e-9  # of the others, in any SI unit: less is rounding
MAX_NAMED = 3
QUANTILE = 0.01  # beyond which `quantiles` of a normalizer leave samples out
OUTLYING = "outlying_samples"


def outlying_samples(runs: Sequence[Trajectory], name: str) -> Iterator[Finding]:
    """Find single outlying samples of the "observation" or "action", axis by axis.

    Args:
        runs: episodes of arrays of one size.
        name: of the array.
    """
    arrays = [np.asarray(getattr(run, f"{name}s")) for run in runs]
    if any(array.dtype.kind != "f" for array in arrays):
        return
    values = np.concatenate(arrays)
    episode = np.repeat(np.arange(len(runs)), [len(array) for array in arrays])
    step = np.concatenate([np.arange(len(array)) for array in arrays])
    texts, rare = {}, True
    for axis, column in enumerate(values.T):
        low, high = _usual_range(column)
        below, above = column < low, column > high
        rows = np.flatnonzero(below | above)
        if not len(rows) or _longest(rows, step) > MAX_STEPS:
            continue
        rare &= max(below.mean(), above.mean()) < QUANTILE
        places = [
            f"{column[row]:.4g} at step {step[row]} of episode {episode[row]}"
            for row in rows[:MAX_NAMED]
        ]
        rest = len(rows) - len(places)
        usual = column[~(below | above)]
        texts[axis] = (
            f"is {', '.join(places)}{f' and so in {rest} more' * (rest > 0)}, and "
            f"within {usual.min():.4g} to {usual.max():.4g} in all other samples"
        )
    if not texts:
        return
    several = len(texts) > 1
    named = [*texts][:MAX_NAMED]
    said = [f"axis {axis} " * several + texts[axis] for axis in named]
    more = len(texts) - len(named)
    advice = "cut the episodes there, or leave these out"
    if rare:
        advice += "; for a network, `quantiles` keeps them from setting the units"
    yield warning(
        OUTLYING,
        f"the {name} {'; '.join(said)}{f'; and so are {more} more' * (more > 0)}: if "
        f"that is a fault of a sensor or of the recording, it ruins the units of the "
        f"axis and the error. {advice.capitalize()}.",
        f"{name} {'axes' if several else 'axis'} {', '.join(map(str, texts))}",
    )


def _usual_range(column: np.ndarray) -> tuple[float, float]:
    """Return the least and the greatest value that no wide gap sets apart."""
    count, wide = len(column), (-np.inf, np.inf)
    most = int(MAX_SHARE * count)
    if count < MIN_SAMPLES or not np.isfinite(column).all():
        return wide
    ordered = np.sort(column)
    deviations = np.sort(np.abs(ordered - ordered[count // 2]))
    inner = np.ptp(ordered[most : count - most])
    # An axis that mostly rests has rare events, and no outliers.
    if deviations[count // 2] == 0 or inner <= MIN_RANGE:
        return wide
    gaps, first, last = np.diff(ordered), 0, count - 1
    top = np.flatnonzero(gaps[last - most :] > MIN_GAP * inner)
    bottom = np.flatnonzero(gaps[:most] > MIN_GAP * inner)
    last = last - most + int(top[0]) if len(top) else last
    first = int(bottom[-1]) + 1 if len(bottom) else first
    # Those between have tails, too, and where these are heavy, gaps in them are wide.
    others = last + 1 - first
    tail = deviations[others - 1] / deviations[int(USUAL * others)]
    gap = MIN_GAP * (ordered[last] - ordered[first]) * max(tail / USUAL_TAIL, 1.0)
    low = ordered[first] if first and gaps[first - 1] > gap else -np.inf
    high = ordered[last] if last < count - 1 and gaps[last] > gap else np.inf
    return float(low), float(high)


def _longest(rows: np.ndarray, step: np.ndarray) -> int:
    """Return over how many steps of an episode the longest part of `rows` goes on."""
    goes_on = (np.diff(rows) == 1) & (np.diff(step[rows]) == 1)
    breaks = np.flatnonzero(~np.append(goes_on, False))
    return int(np.diff(breaks, prepend=-1).max())
