"""One derivative of a loss beside finite differences along the same direction.

The differences at steps that halve are extrapolated to a step of zero, with an error
from their neighbors and from the rounding of the loss.
"""

import math
from dataclasses import dataclass

import numpy as np

ROUGH_SHARE = 0.05  # of the loss's range that its scatter at the last steps may be
MIN_STEPS = 6
ROUNDINGS = 10.0  # in the last digit of the loss, at least
MAX_ERRORS = 5.0  # estimated errors that a correct derivative may be off
UNDECIDED_SHARE = 0.05  # of the slope: an error beyond decides nothing
ZERO_DIGITS = 16.0  # last digits of the largest derivative: as good as zero
CANCELED = 4.0  # changes by rounding that a derivative of zero may be
MIN_KINK_SHARE = 1e-3  # of the larger slope
MIN_STAIR = 1e-6  # of the longest step
MIN_STILL = 3  # steps that should move the loss, and do not
AGREES, WRONG, KINK = "agrees", "wrong", "kink"
UNDECIDED, NOT_FINITE = "undecided", "not finite"


@dataclass(frozen=True)
class SlopeCheck:
    """The derivative of a loss along one direction, in two ways."""

    name: str
    """The element, such as "gains[0, 1]", or a leaf for a random direction in it."""
    derivative: float
    """By JAX."""
    difference: float
    """By finite differences."""
    uncertainty: float
    """Estimated error of `difference`: truncation and rounding."""
    below: float
    """One-sided derivative from smaller values."""
    above: float
    """One-sided derivative from larger values."""
    precision: float
    """Relative precision of the parameter's type."""
    verdict: str
    """"agrees", "wrong", "kink", "undecided" (the loss is too noisy, or jumps), or
    "not finite"."""


def judge(
    name: str,
    derivative: float,
    losses: np.ndarray,
    taken: np.ndarray,
    precision: float,
    largest: float,
    *,
    least: float,
    noise: float,
) -> SlopeCheck:
    """Return the verdict on a derivative.

    Args:
        name: of the parameter.
        derivative: by JAX.
        losses: at the point, at the steps up, and at the steps down.
        taken: the steps, in the same order.
        precision: of the parameters' type.
        largest: the largest finite derivative by any element, beside whose last digits
            a derivative counts as zero.
        least: the shortest step that the last digits of the numbers hold.
        noise: by how much rounding changes the derivative.
    """
    half, longest = (len(losses) - 1) // 2, float(np.max(taken))
    center, up, down = losses[0], losses[1 : half + 1], losses[half + 1 :]
    above, below = taken[1 : half + 1], -taken[half + 1 :]
    held = max(MIN_STEPS, int(np.sum(np.minimum(above, below) >= 0.5 * least)))
    # Steps so short that the loss stays the same bit for bit say nothing of its slope.
    moves = np.flatnonzero((up != center) | (down != center))
    still = above[moves[-1] + 1 : held] if moves.size else above[:0]
    held = min(held, max(MIN_STEPS, moves[-1] + 1)) if moves.size else held
    up, down, above, below = up[:held], down[:held], above[:held], below[:held]
    usable = np.isfinite(up) & np.isfinite(down)
    if not (np.isfinite(derivative) and np.isfinite(center) and usable[-5:].all()):
        nan = math.nan
        return SlopeCheck(name, derivative, nan, nan, nan, nan, precision, NOT_FINITE)
    first = int(np.argmax(np.logical_and.accumulate(usable[::-1])[::-1]))
    up, down, above, below = up[first:], down[first:], above[first:], below[first:]
    step = (above + below) / 2
    central = (up - down) / (above + below)
    rise, fall = (up - center) / above, (center - down) / below
    # The scatter of the differences at the shortest steps measures the rounding errors
    # of the loss, which may be many times its last digit.
    scatter = np.median(np.abs(np.diff(central)[-6:]) * step[1:][-6:])
    size = np.maximum(np.maximum(np.abs(up), np.abs(down)), abs(center))
    digits = ROUNDINGS * precision * size
    rounding = np.maximum(digits, scatter)
    difference, uncertainty = _extrapolated(central, step, rounding, order=2)
    gap, gap_error = _extrapolated(rise - fall, step, 4 * rounding, order=1)
    lower, _ = _extrapolated(fall, step, 2 * rounding, order=1)
    upper, _ = _extrapolated(rise, step, 2 * rounding, order=1)
    steepest = max(abs(lower), abs(upper))
    allowed = MAX_ERRORS * uncertainty + precision ** (2 / 3) * (
        abs(derivative) + abs(difference)
    )
    # A slope may be small beside those a little further on, as at a minimum.
    further = np.abs(np.concatenate([rise, fall]))
    errors = np.concatenate([rounding / above, rounding / below])
    clear = further[further > MAX_ERRORS * errors]
    size = max(abs(derivative), abs(difference), float(np.max(clear, initial=0.0)))
    moved = np.max(np.abs(np.concatenate([up, down]) - center))
    flat = moved <= digits.max() and abs(derivative) <= CANCELED * noise
    rough = scatter > max(digits.max(), ROUGH_SHARE * moved)
    agrees = abs(derivative - difference) <= allowed
    zero = abs(derivative) <= ZERO_DIGITS * precision * largest
    share = 1.0 if zero else UNDECIDED_SHARE
    # A derivative that is zero by symmetry is the rounding error of terms that cancel,
    # of the size noise / precision.
    cancels = zero and abs(derivative) <= CANCELED * noise
    if cancels and MAX_ERRORS * uncertainty <= UNDECIDED_SHARE * noise / precision:
        flat = True
    # A loss that longer steps move and shorter ones do not is a staircase, unless its
    # stairs are the last digits of a lower precision.
    wide = still[still > MIN_STAIR * longest]
    jumps = np.sum(np.abs(difference) * wide > digits.max()) >= MIN_STILL
    # A derivative that the last digits of the numbers change is rounding error itself.
    spread = MAX_ERRORS * noise
    unsure = UNDECIDED_SHARE * abs(derivative) < noise and (
        abs(derivative - difference) <= spread
    )
    # A kink beside steeper slopes is one if it is what the derivative misses.
    spare = MAX_ERRORS * gap_error
    between = min(lower, upper) - spare <= derivative <= max(lower, upper) + spare
    least_gap = 0.0 if between and not agrees else MIN_KINK_SHARE * steepest
    if abs(gap) > max(spare, least_gap):
        verdict = KINK
    elif flat and agrees:
        verdict = AGREES
    elif rough or jumps or (MAX_ERRORS * uncertainty > share * size and size > 0):
        verdict = UNDECIDED
    else:
        verdict = AGREES if agrees else UNDECIDED if unsure else WRONG
    return SlopeCheck(
        name, derivative, difference, uncertainty, lower, upper, precision, verdict
    )


def _extrapolated(
    differences: np.ndarray, steps: np.ndarray, rounding: np.ndarray, *, order: int
) -> tuple[float, float]:
    """Return the limit of differences as the step goes to 0, and its estimated error.

    Their error falls as the step's power of `order`, each step is half of the last, and
    `rounding` is the error of the values that the differences are taken of.
    """
    factor = 2.0**order
    better = (factor * differences[1:] - differences[:-1]) / (factor - 1)
    noise = rounding[1:] / steps[1:]
    # Neighbors differ by the truncation error of the longer, or by noise: of which the
    # two shorter ones have more.
    gaps = np.abs(np.diff(better))
    gaps = np.concatenate([gaps[:1], gaps, gaps[-1:], gaps[-1:]])
    error = np.max([gaps[k : k + len(better)] for k in range(3)], 0) + noise
    low, high = better - error, better + error
    # Step k agrees with all shorter ones where its interval meets all of theirs.
    floor = np.maximum.accumulate(low[::-1])[::-1]
    ceiling = np.minimum.accumulate(high[::-1])[::-1]
    agrees = (low <= ceiling) & (high >= floor)
    # One step that does not agree ends the row of longer ones that may.
    valid = np.logical_and.accumulate(agrees[::-1])[::-1]
    best = int(np.argmin(np.where(valid, error, np.inf)))
    return float(better[best]), float(error[best])
