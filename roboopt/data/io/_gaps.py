"""Samples that lack a number: where they are left out, and where refused.

An encoder, a bus or a recorder that fails for a moment leaves NaN, or empty cells. Such
samples are cut off at the ends of a recording, where a sensor began late or ended
early, and left out within it where they are few and the motion between the others is
plain. Elsewhere nothing tells what happened, and nothing is made up. Samples that are
not there at all mean the same; only of uneven sampling are long steps a part.
"""

from collections.abc import Mapping

import numpy as np

from roboopt._errors import RobooptError

MAX_GAP_STEPS = 10  # median steps between samples to interpolate
MAX_LEFT_OUT_SHARE = 0.1  # of the samples between the first and the last whole one
MIN_WHOLE_SHARE = 0.5  # of all samples
MIN_WHOLE = 3
MAX_PAUSES, MAX_PAUSE_SHARE = 3, 0.01  # long steps of even sampling, and of all steps
ROUNDING = 1e-6  # relative


def whole_samples(
    lacking: Mapping[str, np.ndarray], times: np.ndarray, numbers: np.ndarray
) -> tuple[np.ndarray, str]:
    """Return which samples to keep, and a note on the others.

    Args:
        lacking: by the name of a column, which samples have no number there.
        times: of the samples [s].
        numbers: of the samples in the file, some of which may have been left out.

    Raises:
        RobooptError: if a gap is too long to be bridged, or too many samples lack a
            number.
    """
    bad = np.any([*lacking.values()], axis=0)
    whole = np.flatnonzero(~bad)
    if len(whole) == len(bad) < MIN_WHOLE:
        return ~bad, ""
    if len(whole) < max(MIN_WHOLE, MIN_WHOLE_SHARE * len(bad)):
        raise RobooptError(
            f"{_said(lacking, bad, numbers)}: fewer than half of the samples, or than "
            f"{MIN_WHOLE}, are whole. Record what is missing, or name other columns."
        )
    steps, jumps = np.diff(times[whole]), np.diff(numbers[whole]) > 1
    usual = np.median(steps)
    long = steps > MAX_GAP_STEPS * (1 + ROUNDING) * usual
    if long.sum() > max(MAX_PAUSES, MAX_PAUSE_SHARE * len(steps)):
        long &= jumps
    if long.any():
        before, after = whole[(k := int(long.argmax())) : k + 2]
        inside = np.zeros_like(bad)
        inside[before + 1 : after] = True
        said = f"no sample follows sample {numbers[before]} at once"
        if jumps[k]:
            said = _said(lacking, bad & inside, numbers, numbers[[before, after]])
        raise RobooptError(
            f"{said}, from {times[before]:.4g} s to {times[after]:.4g} s, longer than "
            f"{MAX_GAP_STEPS} steps of {1e3 * usual:.3g} ms: split the recording there "
            "into two, or leave out one part."
        )
    inner = bad[whole[0] : whole[-1] + 1]
    if inner.sum() > MAX_LEFT_OUT_SHARE * len(inner):
        raise RobooptError(
            f"{_said(lacking, bad, numbers)}, {100 * inner.mean():.0f} % of the "
            f"samples, where {100 * MAX_LEFT_OUT_SHARE:g} % may be left out. Record "
            "what is missing, or leave these samples out of the file."
        )
    if not bad.any():
        return ~bad, ""
    ends = " at the ends" if not inner.any() else ""
    return ~bad, f"{_said(lacking, bad, numbers)}{ends}: left out."


def _said(
    lacking: Mapping[str, np.ndarray],
    bad: np.ndarray,
    numbers: np.ndarray,
    between: np.ndarray | None = None,
) -> str:
    """Return which samples lack a number of which columns."""
    names = [name for name, own in lacking.items() if (own & bad).any()]
    found = numbers[bad]
    if between is not None:
        found = np.arange(between[0] + 1, between[1])
    what = ", ".join(names) or "positions"
    first, last = found[0], found[-1]
    if len(found) == 1:
        return f"sample {first} lacks {what}"
    which = f"{first} to {last}"
    if last - first + 1 > len(found):
        which = f"between {first} and {last}"
    return f"{len(found)} samples, {which}, lack {what}"
