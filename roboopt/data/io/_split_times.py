"""Times in two columns, as messages of ROS have them: seconds, and a whole fraction."""

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data.io._columns import is_time

SECONDS = ("sec", "secs", "seconds", "zeitinsec")
FRACTIONS = {
    "zeitinnanosec": 10**9,  # of KUKA
    **dict.fromkeys(("nsec", "nsecs", "nanosec", "nanosecs", "nanoseconds"), 10**9),
    **dict.fromkeys(("usec", "usecs", "microsec", "microseconds"), 10**6),
}
"""How many of these are a second, by the last word of a column's name."""


def join_times(
    header: Sequence[str], numbers: Callable[[str], np.ndarray]
) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Yield both columns of each time, a name for the whole, and its values [ns].

    Whole numbers hold the nanoseconds since 1970, which floating-point numbers round.
    A row without a time, of another sensor, has the empty text.

    Args:
        header: the names of all columns.
        numbers: returns a column by name.

    Raises:
        RobooptError: if a part of a stamp is not whole, or a fraction is a second or
            more.
    """
    ends = {
        name: re.fullmatch(r"(.*?)[\W_]*?([a-z]+)", name.lower()) for name in header
    }
    parts = {(end[1], end[2]): name for name, end in ends.items() if end}
    for (place, word), name in parts.items():
        found = [n for (p, w), n in parts.items() if p == place and w in SECONDS]
        if word not in FRACTIONS or not found:
            continue
        whole, fraction = numbers(found[0]), numbers(name)
        told = ~np.isnan(whole + fraction)
        some, rest = whole[told], fraction[told]
        fits = (some % 1 == 0) & (rest % 1 == 0)
        fits &= (rest >= 0) & (rest < FRACTIONS[word])
        if not fits.all():
            if place and not is_time(place):
                continue
            row = int(np.flatnonzero(told)[np.argmin(fits)])
            raise RobooptError(
                f"`path` must hold whole seconds in {found[0]} and a fraction of a "
                f"second in {name}, got {whole[row]:g} and {fraction[row]:g} in sample "
                f"{row}."
            )
        stamps = some.astype(np.int64) * 10**9
        stamps += rest.astype(np.int64) * (10**9 // FRACTIONS[word])
        if not told.all():
            cells = np.full(len(told), "", object)
            cells[told] = stamps
            stamps = cells
        yield found[0], name, f"{place or 'stamp'} [ns]", stamps
