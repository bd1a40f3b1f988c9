"""Columns that label the rows of recordings: with the robot, or with any text."""

from collections.abc import Sequence

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data.io._columns import Columns, is_time, names_robot
from roboopt.data.io._table import BLANKS, MAX_SHOWN, Table, is_blank
from roboopt.data.io._times import is_date

MAX_ROBOTS = 20  # labels; a column of more counts or measures something
MAX_ROWS_SEEN = 50  # by which texts are told from numbers


def require_one_robot(table: Table, columns: Columns) -> None:
    """Raise a `RobooptError` if a column names several robots, which it tells apart.

    Args:
        table: of the rows that hold positions.
        columns: those that are read.
    """
    for name in filter(names_robot, table.header):
        if name in columns.names:
            continue
        cells = table.named(name)
        robots = dict.fromkeys(
            str(cell).strip().removesuffix(".0") for cell in cells[~is_blank(cells)]
        )
        # A drone logs 1 as `arm` where its motors are armed.
        numbered = name.lower() not in ("arm", "device")
        labels = all(numbered and x.isdigit() or _is_text(x) for x in robots)
        if labels and 1 < len(robots) <= MAX_ROBOTS:
            one = next(iter(robots))
            raise RobooptError(
                f"`path` must hold the motion of one robot, but the column {name!r} of "
                f"{table.path} names {len(robots)}, {', '.join(robots)}: write the "
                f"rows of each to a file of its own, such as those with {one!r}."
            )


def unread_texts(table: Table, count: int, read: Sequence[str]) -> str:
    """Return words on columns of labels that change along the rows and are not read.

    Labels are texts that come again, unlike remarks. Few of the `count` rows are seen,
    so that long tables take no longer.
    """
    keep = np.zeros(count, bool)
    keep[np.linspace(0, count - 1, min(count, MAX_ROWS_SEEN)).astype(int)] = True
    few, unread = table.rows(keep), []
    for place, name in enumerate(table.header):
        if name in read or is_time(name) or not keep.any():
            continue
        cells = few.columns[place]
        texts = {str(x).strip() for x in cells} if cells.dtype.kind in "OUS" else set()
        told = {text for text in texts if text.lower() not in BLANKS}
        if 1 < len(told) < len(cells) and any(map(_is_text, told)):
            unread.append(name)
    more = f" and {len(unread) - MAX_SHOWN} more" * (len(unread) > MAX_SHOWN)
    if not unread:
        return ""
    return f"{', '.join(unread[:MAX_SHOWN])}{more} left out: texts that change."


def _is_text(cell: str) -> bool:
    """Return whether a cell is no number, date, list or flag."""
    if cell.lower() in ("true", "false") or cell[:1] in "[({" or is_date(cell):
        return False
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return True
    return False
