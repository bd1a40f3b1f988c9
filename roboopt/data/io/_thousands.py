"""Numbers whose thousands are separated, as in 12.345,6 or 1.010 for 1010.

A point before three digits may be decimal or not. It separates thousands in a column
where a cell has two of them, or a decimal comma too. It does so in a column without
commas beside others with decimal commas, where some numbers have no point and all
others three digits after it, or times would be less than `MIN_STEP_S` apart; and in
times that go back with decimal points alone.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from roboopt.data.io._columns import is_time
from roboopt.data.io._table import BLANKS
from roboopt.data.io._units import unit_scale

WHOLE = re.compile(r"[-+]?\d{1,3}(,\d*)?")
GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?")
SURE = re.compile(r"[^.]*\..*[.,].*")
MIN_STEP_S = 5e-5  # between samples of recordings
MAX_ROWS_SEEN = 50  # that tell which columns may have separators
SWAPPED = str.maketrans(".,", ",.")


def grouped_columns(
    header: Sequence[str], lines: Sequence[str], delimiter: str | None
) -> dict[int, np.ndarray]:
    """Return the columns with separators of thousands, without these.

    Args:
        header: the names of the columns.
        lines: of one cell each, with points and commas as they are in the file.
        delimiter: between cells; None for blanks.
    """
    seen = np.linspace(0, len(lines) - 1, min(len(lines), MAX_ROWS_SEEN)).astype(int)
    rows = [lines[int(row)].split(delimiter) for row in seen]
    commas, found = any("," in cell for row in rows for cell in row), {}
    for place, name in enumerate(header):
        few = [row[place].strip() for row in rows]
        if not any("." in cell for cell in few) or not all(map(_fits, few)):
            continue
        cells = [line.split(delimiter, place + 1)[place].strip() for line in lines]
        if _separates(name, cells, commas):
            found[place] = _plain(cells)
    return found


def grouped_cells(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the columns of texts with separators of thousands, without these.

    They are points beside decimal commas, or commas beside decimal points.
    """
    texts = {n: [x.strip() for x in cells] for n, cells in columns.items()}
    for mark in ".,":
        turned = {
            n: cells if mark == "." else [x.translate(SWAPPED) for x in cells]
            for n, cells in texts.items()
        }
        commas = [
            any(re.fullmatch(r"[-+]?\d*,\d+", x) for x in cells)
            for cells in turned.values()
        ]
        found = {n: x for n, x in turned.items() if _separates(n, x, any(commas))}
        if found:
            return {name: _plain(cells) for name, cells in found.items()}
    return {}


def _separates(name: str, cells: Sequence[str], commas: bool) -> bool:
    """Return whether points separate thousands, by the rule above."""
    if not any("." in cell for cell in cells) or not all(map(_fits, cells)):
        return False
    if any(SURE.fullmatch(cell) for cell in cells):
        return True
    told = [cell for cell in cells if cell.lower() not in BLANKS]
    if any("," in cell for cell in told):
        return False  # Points and commas may both be decimal.
    if commas and not all("." in cell for cell in told):
        return True
    if not is_time(name):
        return False
    decimal, whole = (np.diff(np.array(x, float)) for x in (told, _plain(told)))
    if (decimal < 0).any() and not (whole < 0).any():
        return True
    scale = unit_scale(name, "times")
    return bool(commas and scale and np.median(decimal) * scale < MIN_STEP_S)


def _fits(cell: str) -> bool:
    """Return whether a cell is blank, or a number that may be in groups of three."""
    told = cell.lower() not in BLANKS
    return not told or bool(WHOLE.fullmatch(cell) or GROUPED.fullmatch(cell))


def _plain(cells: Sequence[str]) -> np.ndarray:
    plain = [cell.replace(".", "").replace(",", ".") for cell in cells]
    return np.array(plain, object)
