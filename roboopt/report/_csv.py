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
    """Write rows of numbers and text under a header as a CSV file."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
