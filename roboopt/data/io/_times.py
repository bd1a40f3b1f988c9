"""The times of recordings: from stamps as they are logged to seconds from the start."""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from roboopt._errors import RobooptError

DATE = r"(\d{4})/(\d\d)/(\d\d)[T /]"
CLOCK = (
    r"(?:(\d{1,2})\.(\d{1,2})\.(\d{4})[T ]+)?"  # as in German
    r"(\d{1,2})(:\d\d:\d\d(?:[.,]\d{1,9})?)"
)
UNITS = (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3))
SINCE_1970 = (3e16, 3e13, 3e10)  # in ns, µs and ms: from 1971 on
EVEN_STEP_TOLERANCE = 1e-6  # relative deviation from the mean step
MAX_ROUNDING = 10.0  # steps that the times of even samples are rounded to
MIN_ROUNDED = 50  # samples that tell rounded times from uneven ones
MAX_STAMP, MAX_DIGITS = 2**62, 22
LONG_STEP = 0.5  # s: of few robots, and of many counters
TOO_LONG_STEPS = (1.5e5, 500.0, 1.0)  # of times in s, which are then in ns, µs, ms
PERIODS = {
    **{
        2.0**bits * unit: f"a counter of {bits} bits does at its end"
        for bits in (32, 31, 24, 16)
        for unit in (1.0, 1e-3, 1e-6)  # a count, or s in a ms or µs of it
    },
    **{86400 * unit: "a clock does at midnight" for unit in (1.0, 1e3, 1e6, 1e9)},
}
"""After which times begin anew, and what does so."""
MAX_WRAPPED_STEPS = 3.0  # median steps from the last count to the first of the next
MIN_RUN = 10  # samples of a recording that ends where the times begin anew


@dataclass(frozen=True)
class Stamps:
    """Seconds from the first stamp, and what they were rounded to."""

    seconds: np.ndarray
    resolution: float
    """[s]"""
    note: str = ""
    """What was assumed."""


def read_stamps(values: np.ndarray, scale: float | None, name: str) -> Stamps:
    """Return stamps in seconds from the first.

    Args:
        values: numbers, dates, or cells of text.
        scale: seconds in the unit that the column's name states; None where it states
            none. A unit follows then from the size of stamps since 1970, or from steps
            that are too long for a robot.
        name: of the column, for the note.

    Raises:
        RobooptError: if a cell is not a number.
    """
    values = np.asarray(values)
    if values.dtype.kind == "u":  # differences below zero would not fit
        values = values.astype(np.int64)
    if values.dtype.kind == "O" and (dates := _dates(values)) is not None:
        values = dates
    if values.dtype.kind in "Mm":  # dates, or time spans
        nanoseconds = values.astype(f"{values.dtype.kind}8[ns]")
        values, scale = nanoseconds.astype(np.int64), 1e-9
    if values.dtype.kind == "O":
        since, first, resolution = _of_text(values)
    else:
        exact = values.dtype.kind in "iu"
        first, since = float(values[0]), (values - values[0]).astype(float)
        size = np.abs(values).max(initial=0)
        resolution = 1.0 if exact else float(np.spacing(values.dtype.type(size)))
    since, wrapped = unwrapped(since)
    wrapped = f"`{name}` {wrapped}" if wrapped else ""
    if scale is not None:
        return Stamps(since * scale, resolution * scale, wrapped)
    unit, scale = _unit(first, since)
    note = f"`{name}` is read as times in {unit}." if unit else ""
    if not unit and (step := _median_step(since)) > LONG_STEP:
        note = (
            f"`{name}` is read as times in s, of steps of {step:g} s: name the unit, "
            f"as in `{name}_ms`, where it is another."
        )
    note = " ".join(filter(None, (wrapped, note)))
    return Stamps(since * scale, resolution * scale, note)


def unwrapped(since: np.ndarray) -> tuple[np.ndarray, str]:
    """Return times of a counter that began anew at its end as if it went on.

    A counter of 32 bits comes to 2³² − 1 and goes on at 0, one with a sign at −2³¹: the
    time that seems to go back is, but for a usual step, all that it can count.

    Args:
        since: times in any unit.

    Returns:
        The times, and what was done in words; empty where no counter began anew.
    """
    steps = np.diff(since)
    back = steps < 0
    if not back.any() or back.mean() > 0.5:
        return since, ""
    usual = float(np.median(steps[~back]))
    for period, cause in PERIODS.items():
        missing = steps[back] + period
        fits = (missing > 0) & (missing <= MAX_WRAPPED_STEPS * usual)
        if fits.all() and np.ptp(since) < period:
            times = "once" if back.sum() == 1 else f"{back.sum()} times"
            row = back.argmax() + 1
            return since + period * np.append(0, np.cumsum(back)), (
                f"begins anew {times}, first at sample {row}, as {cause}: read as "
                "times that go on."
            )
    return since, ""


def begun_anew(since: np.ndarray) -> np.ndarray:
    """Return the samples at which the next recording in a file begins.

    All times go back to those of the first sample there; empty if some go elsewhere.

    Args:
        since: times from the first, in any unit.
    """
    steps = np.diff(since)
    first = np.flatnonzero(steps < 0) + 1
    usual = float(np.median(steps[steps >= 0])) if (steps >= 0).any() else 0.0
    plain = np.abs(since[first]) <= MAX_WRAPPED_STEPS * usual
    long = np.diff(np.r_[0, first, len(since)]) >= MIN_RUN
    return first if plain.all() and long.all() else first[:0]


def is_date(cell: str) -> bool:
    """Return whether a text is a date and a time of the day, such as of ISO."""
    return re.match(r"\s*\d{4}([-/])\d\d\1\d\d[T /]\d\d:", cell) is not None


def _dates(cells: np.ndarray) -> np.ndarray | None:
    """Return cells of text as dates, None unless the first is one, such as of ISO.

    Times of the day without a date are of one day.
    """
    if _in_iso(str(cells[0])) is None:
        return None
    try:
        return np.array([_in_iso(str(cell)) or "" for cell in cells], "datetime64[ns]")
    except ValueError:
        return None


def _in_iso(cell: str) -> str | None:
    """Return a date and time, or a time of the day, as ISO 8601 writes it."""
    cell = cell.strip()
    if found := re.fullmatch(CLOCK, cell):
        day, month, year, hour, rest = found.groups()
        date = f"{year}-{month:0>2}-{day:0>2}" if year else "1970-01-01"
        return f"{date}T{hour:0>2}{rest.replace(',', '.')}"
    if not is_date(cell):
        return None
    return re.sub(r"(Z|[+-]00:?00)$", "", re.sub(DATE, r"\1-\2-\3 ", cell, count=1))


def _of_text(cells: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return what cells of text are beyond the first, the first, and their last digit.

    A stamp since 1970 has more digits than a floating-point number.
    """
    if (quick := _of_decimals([str(cell).strip() for cell in cells])) is not None:
        return quick
    try:
        numbers = [Decimal(str(cell).strip()) for cell in cells]
    except InvalidOperation as error:
        wrong = next(cell for cell in cells if not _is_decimal(str(cell).strip()))
        raise RobooptError(f"times must be numbers, got {wrong!r}.") from error
    finite = [number for number in numbers if number.is_finite()]
    if len(finite) < len(numbers):
        raise RobooptError("times must be finite numbers.")
    digits = min(int(number.as_tuple().exponent) for number in finite)
    since = np.array([float(number - numbers[0]) for number in numbers])
    return since, float(numbers[0]), _resolution(digits, float(numbers[0]))


def _of_decimals(cells: list[str]) -> tuple[np.ndarray, float, float] | None:
    """Return the same as `_of_text` to the bit, None unless all cells are like 12.34.

    Both differences of whole numbers below 2⁵³ and powers of ten up to 10²² are exact,
    so that their quotient is rounded once.
    """
    if any("_" in cell or not cell for cell in cells):
        return None
    parts = [cell.partition(".") for cell in cells]
    digits = max(len(part) for _, _, part in parts)
    try:
        wholes = [int(whole + part.ljust(digits, "0")) for whole, _, part in parts]
        numbers = np.array(wholes, np.int64)
    except (ValueError, OverflowError):
        return None
    since = numbers - numbers[0]
    if (
        max(map(abs, wholes)) > MAX_STAMP
        or digits > MAX_DIGITS
        or np.abs(since).max() >= 2**53
    ):
        return None
    return since / 10.0**digits, float(cells[0]), _resolution(-digits, float(cells[0]))


def _resolution(digits: int, first: float) -> float:
    """Return what stamps were rounded to: as text, or twice before as numbers."""
    rounded = 2 * float(np.spacing(abs(first))) if digits < 0 else 0.0
    return max(10.0**digits, rounded)


def _is_decimal(text: str) -> bool:
    try:
        return Decimal(text) is not None
    except InvalidOperation:
        return False


def _unit(first: float, since: np.ndarray) -> tuple[str, float]:
    step = _median_step(since)
    for (unit, scale), late, long in zip(
        UNITS, SINCE_1970, TOO_LONG_STEPS, strict=True
    ):
        if abs(first) > late or step >= long:
            return unit, scale
    return "", 1.0


def _median_step(since: np.ndarray) -> float:
    return float(np.median(np.diff(since))) if len(since) > 1 else 0.0


def strictly_later(stamps: Stamps, values: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the rows to keep of samples of which some repeat a stamp, and a note.

    A sample that repeats the one before, stamp and values, is dropped. Different
    samples of one stamp, whose last digits were rounded off, stay if all lie on even
    times to that digit; else the first of each stamp stays.
    """
    times = stamps.seconds
    again = np.append(False, np.diff(times) == 0)
    same = again & np.append(False, (values[1:] == values[:-1]).all(1))
    keep = ~same
    if (again & ~same).any() and _even(times[keep], stamps.resolution) is None:
        keep = ~again
    dropped: Any = int((~keep).sum())
    return keep, f"{dropped} samples repeat a stamp: left out." if dropped else ""


def even_step(times: np.ndarray, resolution: float = 0.0) -> dict[str, Any]:
    """Return the mean step [s], and the times from 0 on if their steps are uneven.

    Args:
        times: [s].
        resolution: to which the times were rounded [s].
    """
    times = times - times[0]
    step = float(times[-1] / (len(times) - 1))
    if not 0 < step < np.inf:
        raise RobooptError(f"`times` must increase, but their mean step is {step} s.")
    if np.abs(np.diff(times) - step).max() <= EVEN_STEP_TOLERANCE * step:
        return {"time_step": step}
    if (even := _even(times, resolution)) is not None:
        return {"time_step": even}
    return {"time_step": step, "times": times}


def _even(times: np.ndarray, resolution: float) -> float | None:
    """Return the step of times that are even up to rounding, else None.

    Rounded times lie within half a unit of a line; a few lie there by chance.
    """
    if len(times) < MIN_ROUNDED:
        return None
    order = np.arange(len(times))
    slope, offset = np.polyfit(order, times, 1)
    off = np.abs(times - offset - slope * order).max()
    known = off <= 0.5 * resolution * (1 + 1e-6) and resolution < MAX_ROUNDING * slope
    return float(slope) if known else None
