"""Tables and paragraphs as plain text of a given width.

A table that is too wide first loses the columns of the lowest priority, then wraps the
cells of its text columns. Numbers are never wrapped or cut short: where nothing else
fits, a row is stacked, one cell a line.
"""

import math
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from roboopt.report._page import Table

GAP = "  "
MIN_TEXT = 14  # characters of a text column that is wrapped


class _Column(NamedTuple):
    head: str
    cells: list[str]
    is_text: bool

    @property
    def width(self) -> int:
        return max(map(len, [self.head, *self.cells]))

    @property
    def min_width(self) -> int:
        if not self.is_text:
            return self.width
        words = " ".join([self.head, *self.cells]).split()
        longest = max(map(len, words), default=0)
        return min(self.width, max(MIN_TEXT, longest))


def paragraph(text: str, width: int) -> str:
    """Return `text` wrapped at `width` columns, without breaking words."""
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def table_text(table: Table, width: int) -> str:
    """Return the table as text of at most `width` columns."""
    kept = list(range(len(table.header)))
    for dropped in [None, *table.optional]:
        if dropped is not None:
            kept.remove(dropped)
        columns = [_column(table, index) for index in kept]
        if _total([column.min_width for column in columns]) <= width:
            return _grid(table, kept, columns, width)
    return _stacked(table, width)


def _column(table: Table, index: int) -> _Column:
    cells = [row[index] for row in table.rows]
    return _Column(table.header[index], cells, index in table.text)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _grid(table: Table, kept: list[int], columns: list[_Column], width: int) -> str:
    widths = [column.width for column in columns]
    while _total(widths) > width:
        spare = [
            have - column.min_width
            for have, column in zip(widths, columns, strict=True)
        ]
        widths[max(range(len(widths)), key=lambda i: (spare[i], widths[i]))] -= 1
    lines = []
    if table.groups:
        lines.append(_group_line(table, kept, widths))
    lines += _row_lines([column.head for column in columns], columns, widths)
    lines.append("─" * _total(widths))
    for number in range(len(table.rows)):
        cells = [column.cells[number] for column in columns]
        lines += _row_lines(cells, columns, widths)
    return "\n".join(line.rstrip() for line in lines)


def _group_line(table: Table, kept: list[int], widths: list[int]) -> str:
    """Return the headings over the columns, each over the first it spans."""
    starts, first = {}, 0
    for name, span in table.groups:
        inside = [index for index in kept if first <= index < first + span]
        if name and inside:
            starts[kept.index(inside[0])] = (name, len(inside))
        first += span
    line, place = "", 0
    for position, wide in enumerate(widths):
        if position in starts:
            name, span = starts[position]
            room = _total(widths[position : position + span])
            line = line.ljust(place) + name.rjust(min(room, max(wide, len(name))))
        place += wide + len(GAP)
    return line


def _row_lines(
    cells: Sequence[str], columns: Sequence[_Column], widths: Sequence[int]
) -> list[str]:
    wrapped = [
        textwrap.wrap(cell, wide, break_long_words=False, break_on_hyphens=False)
        or [""]
        for cell, wide in zip(cells, widths, strict=True)
    ]
    height = max(map(len, wrapped))
    lines = []
    for number in range(height):
        parts = []
        for text, column, wide in zip(wrapped, columns, widths, strict=True):
            part = text[number] if number < len(text) else ""
            parts.append(part.ljust(wide) if column.is_text else part.rjust(wide))
        lines.append(GAP.join(parts))
    return lines


def _stacked(table: Table, width: int) -> str:
    """Return one line for every cell, each row under its name."""
    lines = []
    for row in table.rows:
        lines.append(paragraph(row[0], width))
        for head, cell in zip(table.header[1:], row[1:], strict=True):
            lines.append(paragraph(f"  {head}: {cell}", width))
    return "\n".join(lines)


def readable(name: str) -> str:
    """Return the name of a term as a person writes it."""
    return {"joule_loss": "Joule loss"}.get(name, name.replace("_", " "))


def sentence(text: str) -> str:
    """Return `text` with a capital letter first and a full stop last."""
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def number(value: float) -> str:
    """Return a number with four digits."""
    return f"{value:.4g}"


def change(before: float, after: float) -> str:
    """Return by how many percent, or how many times, `after` differs."""
    if not (math.isfinite(before) and math.isfinite(after)) or before == 0:
        return "–"
    percent = 100 * (after / before - 1)
    if percent > 900:
        return f"×{after / before:.3g}"
    return f"{percent:+.1f} %".replace("-", "−")
