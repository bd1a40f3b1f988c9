"""Tables as CSV files."""

import csv
import io
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any

from roboopt.data import atomic_write


def write_csv(
    path: str | PathLike, header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Write rows of numbers and text under a header as a CSV file.

    A name that the header has already is followed by its number.
    """
    text, unique = io.StringIO(newline=""), []
    for name in header:
        numbered = (name, *(f"{name} ({k})" for k in range(2, len(header) + 1)))
        unique.append(next(each for each in numbered if each not in unique))
    csv.writer(text).writerows([unique, *rows])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
