"""Tables of any source: columns by their places, and their names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data.io._text_columns import TextColumns

MAX_SHOWN = 40  # characters of a cell, or columns, in an error
BLANKS = {
    *("", "nan", "none", "nat", "<na>", "null", "n/a", "#n/a", "na"),
    *("-", "--", "---", "–", "—"),
}
"""Cells without a number, in small letters."""


@dataclass(frozen=True)
class Table:
    """The columns of a table by their places, and their names."""

    path: str
    header: tuple[str, ...]
    columns: Mapping[int, np.ndarray]

    def named(self, name: str) -> np.ndarray:
        """Return the first column of a name."""
        return self.columns[self.header.index(name)]

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as finite numbers; an empty cell is NaN."""
        column = self.named(name)
        try:
            if column.dtype.kind not in "fiubOU" or any(
                "_" in cell for cell in column if isinstance(cell, str)
            ):
                raise TypeError
            found = column.astype(float)
        except (TypeError, ValueError):
            found = np.empty(len(column))
            for row, cell in enumerate(column):
                try:
                    found[row] = _number(cell)
                except (TypeError, ValueError) as error:
                    raise self._not_a_number(name, row) from error
        if (infinite := np.isinf(found)).any():
            raise self._not_a_number(name, int(infinite.argmax()))
        return found

    def _not_a_number(self, name: str, row: int) -> RobooptError:
        cell = str(self.named(name)[row])[:MAX_SHOWN]
        grouped = re.fullmatch(r"\s*[-+]?\d{1,3}([.,' ]\d{3})+[.,]\d*\s*", cell)
        cure = " Write numbers without separators of thousands." if grouped else ""
        if cell.strip() == name:
            cure = " The names of columns come again: give each log a file of its own."
        return RobooptError(
            f"`path` must hold finite numbers, but {self.path} holds {cell!r} in "
            f"column {name}, sample {row}.{cure}"
        )

    def arrays(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return columns as finite numbers, by name; an empty cell is NaN."""
        found = None
        if isinstance(self.columns, TextColumns) and names:
            found = self.columns.floats([self.header.index(name) for name in names])
        if found is None:
            return {name: self.numbers(name) for name in names}
        if (infinite := np.isinf(found)).any():
            row, place = (int(k) for k in np.argwhere(infinite)[0])
            raise self._not_a_number(names[place], row)
        return dict(zip(names, np.ascontiguousarray(found.T), strict=True))

    def replaced(self, name: str, new: str, column: np.ndarray) -> "Table":
        """Return the table with another column, and its name, in place of one."""
        place = self.header.index(name)
        header = (*self.header[:place], new, *self.header[place + 1 :])
        if isinstance(self.columns, TextColumns):
            return Table(self.path, header, self.columns.replaced(place, column))
        return Table(self.path, header, {**self.columns, place: column})

    def rows(self, keep: np.ndarray) -> "Table":
        """Return the table with some of its rows."""
        if isinstance(self.columns, TextColumns):
            return Table(self.path, self.header, self.columns.rows(keep))
        columns = {place: column[keep] for place, column in self.columns.items()}
        return Table(self.path, self.header, columns)


def _number(cell: Any) -> float:
    text = str(cell).strip()
    if "_" in text:
        raise ValueError  # Python reads 1_0 as 10.
    if text.lower() in BLANKS:
        return np.nan
    flags = {"true": "1", "false": "0"}
    return float(flags.get(text.lower(), text))


def is_blank(cells: np.ndarray) -> np.ndarray:
    """Return which cells hold no number, no text and no date."""
    if cells.dtype.kind == "f":
        return np.isnan(cells)
    if cells.dtype.kind in "Mm":
        return np.isnat(cells)
    if cells.dtype.kind not in "OU":
        return np.zeros(len(cells), bool)
    texts = (str(cell).strip().lower() for cell in cells)
    return np.array([text in BLANKS for text in texts], bool)
