"""Cells that hold a list, as programs of ROS and pandas write arrays into tables."""

import re
from collections.abc import Sequence

import numpy as np

LIST_SIGN = re.compile(r"[\[(]")
LIST = re.compile(
    r"(?:array\((?:'\w', *)?)?[\[(](?P<inside>.*?),?\s*[\])](?:, *dtype=\w+)?\)?",
    re.DOTALL,
)
"""As in `[0.1, 0.2]`, `(0.1, 0.2)`, `array('d', [0.1, 0.2])` or `['elbow', 'lift']`."""
SCALAR = re.compile(r"np\.\w+\(([^()]*)\)")
"""As in `[np.float64(0.1)]`, lists of numbers of NumPy 2."""


def split_lists(
    header: Sequence[str], columns: Sequence[np.ndarray]
) -> tuple[list[str], dict[int, np.ndarray]]:
    """Return a column for each number or name of cells that hold lists of one length.

    Column `position` becomes `position_0`, `position_1` and so on.
    """
    names: list[str] = []
    split: list[np.ndarray] = []
    for name, column in zip(header, columns, strict=True):
        cells = _cells(column)
        if cells is None:
            names, split = [*names, name], [*split, column]
        else:
            names += [f"{name}_{k}" for k in range(len(cells))]
            split += [np.array(one, object) for one in cells]
    return names, dict(enumerate(split))


def _cells(column: np.ndarray) -> list[tuple[str, ...]] | None:
    """Return what the cells list, place by place; None unless all are lists."""
    if len(column) and "np." in column[0]:
        column = np.array([SCALAR.sub(r"\1", cell) for cell in column], object)
    if not len(column) or not LIST.fullmatch(column[0]):
        return None
    found = [LIST.fullmatch(cell) for cell in column]
    rows = [re.split(r"\s*,\s*|\s+", f["inside"].strip()) for f in found if f]
    rows = [[cell.strip("'\"") for cell in row] for row in rows]
    if len(rows) < len(column) or len({len(row) for row in rows}) > 1:
        return None
    if any(cell == "..." for row in rows for cell in row):
        return None
    return [*zip(*rows, strict=True)] if any(rows[0]) else []
