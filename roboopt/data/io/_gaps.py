"""Samples that lack a number: where they are left out, and where a recording is cut.

An encoder, a bus or a recorder that fails for a moment leaves NaN, or empty cells. Such
samples are cut off at the ends of a recording, where a sensor began late or ended
early, and left out within it where they are few and the motion between the others is
plain. Elsewhere nothing tells what happened, and nothing is made up: a recording is cut
into the parts around. Samples that are not there at all mean the same, where the pause
is longer than uneven sampling makes.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._lost_samples import lost_samples

MAX_GAP_STEPS = 10  # median steps between samples to interpolate
MAX_LEFT_OUT_SHARE = 0.1  # of the samples between the first and the last whole one
MIN_WHOLE_SHARE = 0.5  # of all samples
MIN_WHOLE = 3
MIN_PART = 64  # samples of a part around a gap; shorter ones tell too little
USUAL_SHARE = 0.95  # of the steps: a pause is many times as long, not jitter
ROUNDING = 1e-6  # relative
ZEROS = "positions (all are 0 at once, far from those around)"
"""What samples that a recorder has lost and filled lack."""


def lacking_samples(
    values: Mapping[str, np.ndarray],
    positions: Sequence[str],
    efforts: Sequence[str | None],
) -> dict[str, np.ndarray]:
    """Return which samples of a recording have no number, by the name of a column.

    Args:
        values: all columns by name.
        positions: the names of those of positions.
        efforts: of efforts, which act after the last observation no more.
    """
    lacking = {name: np.isnan(value) for name, value in values.items()}
    for name in filter(None, efforts):
        lacking[name][-1] = False
    seen = np.stack([values[name] for name in positions], axis=1)
    return {**lacking, ZEROS: lost_samples(seen)}


def whole_samples(
    lacking: Mapping[str, np.ndarray], times: np.ndarray, numbers: np.ndarray
) -> tuple[list[np.ndarray], str]:
    """Return which samples to keep, of each part, and a note on the others.

    Args:
        lacking: by the name of a column, which samples have no number there.
        times: of the samples [s].
        numbers: of the samples in the file, some of which may have been left out.

    Raises:
        RobooptError: if too many samples lack a number, or the parts are too short.
    """
    bad = np.any([*lacking.values()], axis=0)
    whole = np.flatnonzero(~bad)
    if len(whole) == len(bad) < MIN_WHOLE:
        return [~bad], ""
    if len(whole) < max(MIN_WHOLE, MIN_WHOLE_SHARE * len(bad)):
        raise RobooptError(
            f"{_said(lacking, bad, numbers)}: fewer than half of the samples, or than "
            f"{MIN_WHOLE}, are whole. Record what is missing, or name other columns."
        )
    gaps, said = _gaps(times[whole], numbers[whole])
    parts = []
    for part in np.split(whole, gaps + 1):
        inner = bad[part[0] : part[-1] + 1]
        if gaps.size and len(part) < MIN_PART:
            continue
        if inner.sum() > MAX_LEFT_OUT_SHARE * len(inner):
            raise RobooptError(
                f"{_said(lacking, bad, numbers)}, {100 * inner.mean():.0f} % of the "
                f"samples, where {100 * MAX_LEFT_OUT_SHARE:g} % may be left out. "
                "Record what is missing, or leave these samples out of the file."
            )
        parts.append(np.isin(np.arange(len(bad)), part))
    if not parts:
        lack = f"{_said(lacking, bad, numbers)}: " if bad.any() else ""
        raise RobooptError(
            f"{lack}{said}, and no part around holds {MIN_PART} samples: record it "
            "anew, or leave out what lies before or after."
        )
    notes = []
    if bad.any():
        inner = bad[whole[0] : whole[-1] + 1]
        ends = "" if inner.any() else " at the ends"
        notes = [f"{_said(lacking, bad, numbers)}{ends}: left out"]
    if gaps.size:
        count = len(gaps) + 1 - len(parts)
        short = f", but {count} shorter than {MIN_PART} samples" if count else ""
        notes.append(f"{said}: cut there into {len(gaps) + 1} parts{short}")
    return parts, "; ".join(notes) + "." * bool(notes)


def _gaps(times: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, str]:
    """Return after which samples too much time passes to go on, and words for it."""
    steps = np.diff(times)
    usual = np.median(steps)
    long = steps > MAX_GAP_STEPS * (1 + ROUNDING) * usual
    pause = MAX_GAP_STEPS * np.quantile(steps, USUAL_SHARE)
    gaps = np.flatnonzero(long & ((np.diff(numbers) > 1) | (steps > pause)))
    if not gaps.size:
        return gaps, ""
    first = f"from {times[gaps[0]]:.4g} s to {times[gaps[0] + 1]:.4g} s"
    size = f"longer than {MAX_GAP_STEPS} steps of {1e3 * usual:.3g} ms"
    if len(gaps) == 1:
        return gaps, f"nothing is known {first}, {size}"
    return gaps, f"nothing is known in {len(gaps)} gaps {size}, the first {first}"


def _said(
    lacking: Mapping[str, np.ndarray], bad: np.ndarray, numbers: np.ndarray
) -> str:
    """Return which samples lack a number of which columns."""
    names = [name for name, own in lacking.items() if own.any()]
    found = numbers[bad]
    what = ", ".join(names)
    first, last = found[0], found[-1]
    if len(found) == 1:
        return f"sample {first} lacks {what}"
    which = f"{first} to {last}"
    if last - first + 1 > len(found):
        which = f"between {first} and {last}"
    return f"{len(found)} samples, {which}, lack {what}"
