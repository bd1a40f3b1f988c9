"""Columns of lines of text, of which only what is asked for is read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

MAX_CUTS = 8  # columns that are cut out of the lines one by one


class TextColumns(Mapping[int, np.ndarray]):
    """The columns of lines without quotes, by their places."""

    def __init__(self, lines: list[str], delimiter: str | None, width: int):
        """Keep the lines.

        Args:
            lines: with at least `width` cells each.
            delimiter: between cells; None for blanks.
            width: the number of columns.
        """
        self._lines, self._delimiter, self._width = lines, delimiter, width
        self._cut: dict[int, np.ndarray] = {}
        self._replaced: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        """Return the number of columns."""
        return self._width

    def __iter__(self) -> Iterator[int]:
        """Iterate over the places of the columns."""
        return iter(range(self._width))

    def __getitem__(self, place: int) -> np.ndarray:
        """Return the cells of a column as text."""
        if place in self._replaced:
            return self._replaced[place]
        if place not in self._cut:
            one = len(self._cut) < MAX_CUTS
            splits = place + 1 if one else -1
            rows = (line.split(self._delimiter, splits) for line in self._lines)
            if one:
                self._cut[place] = _cells(row[place] for row in rows)
            else:
                columns = zip(*(row[: self._width] for row in rows), strict=True)
                self._cut = {k: _cells(cells) for k, cells in enumerate(columns)}
        return self._cut[place]

    def floats(self, places: Sequence[int]) -> np.ndarray | None:
        """Return columns of numbers, None if one of their cells is anything else."""
        if self._replaced.keys() & set(places):
            return None
        try:
            return np.loadtxt(
                self._lines,
                delimiter=self._delimiter,
                comments=None,
                usecols=places,
                ndmin=2,
            )
        except ValueError:
            return None

    def rows(self, keep: np.ndarray) -> "TextColumns":
        """Return the columns with some of their rows."""
        lines = [self._lines[row] for row in np.flatnonzero(keep)]
        found = TextColumns(lines, self._delimiter, self._width)
        found._replaced = {k: column[keep] for k, column in self._replaced.items()}
        return found

    def replaced(self, place: int, column: np.ndarray) -> "TextColumns":
        """Return the columns with another one in the place of one of them."""
        found = TextColumns(self._lines, self._delimiter, self._width)
        found._replaced = {**self._replaced, place: column}
        return found


def _cells(cells: Iterable[str]) -> np.ndarray:
    return np.array([cell.strip() for cell in cells], object)
