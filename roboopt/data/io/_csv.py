"""Tables in text files: one row a sample, one column a quantity."""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import expansion_limit
from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._table import Table, read_table

MAX_LINE = 2**22  # characters
SMALL = 2**24  # bytes of text, of which rows take up to a hundred times as much memory
MAX_COLUMNS = 10_000
DELIMITERS = ",;\t"


def read_csv(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of each recording in a table.

    Its first row names the columns; columns without a name are called by their number,
    from 0. Cells are separated by commas, semicolons, tabs or blanks; rows that begin
    with # are comments.
    """
    try:
        with _open(path) as file:
            table = _table(_lines(file, path), path, options)
    except (UnicodeDecodeError, zlib.error, EOFError, csv.Error, OSError) as error:
        raise RobooptError(f"`path` must be a table, but {path}: {error}") from error
    return read_table(table, options)


def _table(text: Iterator[str], path: Path, options: ReadOptions) -> Table:
    """Return the table of some lines."""
    comments, first = [], next(text, "")
    while first and (first.startswith("#") or not first.strip()):
        comments.append(first)
        first = next(text, "")
    delimiter = max(DELIMITERS, key=first.count)
    blanks = delimiter not in first and len(first.split()) > 1
    if blanks:
        delimiter = " "

    def cells(line: str) -> list[str]:
        line = line.strip().lstrip("#%").strip()
        (row,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
        return [cell.strip() for cell in row]

    header = cells(first) if first.strip() else []
    rows: list[list[str]] = []
    if header and all(map(_is_number, header)):
        rows.append(header)
        named = cells(comments[-1]) if comments and comments[-1].strip() else []
        # As numpy.savetxt writes it, the names may be in a comment.
        numbered = [str(k) for k in range(len(header))]
        header = named if len(named) == len(header) else numbered
    elif not header and comments:
        header = cells(comments[-1])
    if len(header) > MAX_COLUMNS:
        raise RobooptError(
            f"`path` must have at most {MAX_COLUMNS} columns, but {path} has "
            f"{len(header)}."
        )
    lines = csv.reader(text, delimiter=delimiter, skipinitialspace=True)
    for row in lines:
        while blanks and row and not row[-1]:
            row.pop()
        if row and not row[0].startswith("#"):
            rows.append(row)
    if not rows:
        raise RobooptError(f"`path` must hold samples, but {path} holds none.")
    width = len(header)
    wrong = next((k for k, row in enumerate(rows) if len(row) < width), None)
    if wrong is not None:
        if wrong < len(rows) - 1 or not wrong:
            raise RobooptError(
                f"`path` must hold {width} cells in each row, but {path} has "
                f"{len(rows[wrong])} in sample {wrong}."
            )
        rows.pop()  # The last row is cut off where a recorder was stopped.
        options.note(f"the last row of {path.name} is cut off: left out.")
    whole = (row[:width] for row in rows)
    columns = [np.array(cell, object) for cell in zip(*whole, strict=True)]
    return Table(str(path), tuple(header), dict(enumerate(columns)))


def _lines(file: TextIOWrapper, path: Path) -> Iterator[str]:
    """Yield the lines of a table, refused where one or all of them go on and on."""
    left = limit = expansion_limit(path, SMALL)
    while line := file.readline(MAX_LINE + 1):
        left -= len(line)
        if len(line) > MAX_LINE or left < 0:
            what = "all" if left < 0 else "line"
            most = limit if left < 0 else MAX_LINE
            raise RobooptError(
                f"`path` must be a table of at most {most} characters in {what}, but "
                f"{path} goes on."
            )
        yield line


def _open(path: Path) -> TextIOWrapper:
    if path.suffix == ".gz":
        return TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")


def _is_number(cell: str) -> bool:
    return (
        re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|nan|inf", cell) is not None
    )
