"""Tables in text files: one row a sample, one column a quantity."""

import bz2
import codecs
import csv
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import expansion_limit
from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._cell_lists import LIST_SIGN, split_lists
from roboopt.data.io._joint_states import (
    flat_messages,
    is_number,
    is_yaml,
    read_joint_states,
)
from roboopt.data.io._read_table import read_table
from roboopt.data.io._table import Table
from roboopt.data.io._text_columns import TextColumns
from roboopt.data.io._thousands import grouped_cells, grouped_columns
from roboopt.data.io._times import is_date
from roboopt.data.io._twincat import read_scope
from roboopt.data.io._units import KNOWN, canonical

MAX_LINE = BLOCK_SIZE = 2**22  # characters
SMALL = 2**24  # bytes of text, of which rows take up to a hundred times as much memory
FEW = 2**18  # lines, which a compressed file of any size may have
MAX_COLUMNS = MAX_COMMENTS = 10_000
MAX_PREAMBLE = 200  # lines
MAX_SIGN = 6  # bytes
BROKEN = (
    *(UnicodeError, csv.Error, EOFError, OSError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)
"""What reading a file raises that is no table, or is packed in another way."""
DECIMAL_COMMA = re.compile(r"(?<![^;\s])[-+]?\d*,\d+([eE][-+]?\d+)?(?![^;\s])")
COMMA_NUMBER = r"[-+]?\d+(,\d+)?([eE][-+]?\d+)?"
COMMA_NUMBERS = re.compile(rf"{COMMA_NUMBER}([;\s]+{COMMA_NUMBER})+")
DELIMITERS = ",;\t|"
PACKED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": lambda path: gzip.open(path),
    b"BZh": lambda path: bz2.open(path),
    b"\xfd7zXZ\0": lambda path: lzma.open(path),
    b"PK\3\4": lambda path: _only_member(path),
}
"""How to open a compressed file by its first bytes, whatever its name says."""


def read_csv(path: Path, options: ReadOptions) -> Iterator[tuple[str, Arrays]]:
    """Yield the arrays of each recording in a table.

    Its first row names the columns; columns without a name are called by their number,
    from 0. Cells are separated by commas, semicolons, tabs, bars or blanks; rows that
    begin with # are comments, and so are those with % before the names. A row of units
    may follow the names. Where commas separate no cells, they may be decimal.
    """
    try:
        table = _read(path, options)
    except BROKEN as error:
        raise RobooptError(f"`path` must be a table, but {path}: {error}") from error
    return read_table(table, options)


def _read(path: Path, options: ReadOptions) -> Table:
    """Return the table of a file in UTF-8 or UTF-16, else in Latin-1, with a note."""
    try:
        with _open(path) as file:
            return _table(_Text(file, path), path, options)
    except UnicodeDecodeError:
        with _open(path, "latin-1") as file:
            first = _Text(file, path).line()
            if "\0" in first or not first.strip():
                raise
    options.note(f"{path.name} is no UTF-8: read as Latin-1.")
    with _open(path, "latin-1") as file:
        return _table(_Text(file, path), path, options)


def _table(text: "_Text", path: Path, options: ReadOptions) -> Table:
    """Return the table of a text."""
    comment, first, before, second = "", text.line(), 0, ""
    while first and (first.startswith(("#", "sep=", "---")) or not first.strip()):
        comment, first, before = first, text.line(), before + 1
        if before > MAX_COMMENTS:
            raise RobooptError(
                f"`path` must begin with at most {MAX_COMMENTS} lines of comments, "
                f"but {path} goes on."
            )
    if first.lstrip().lower().startswith(("<!doctype", "<html", "<?xml")):
        raise RobooptError(
            f"`path` must be a table, but {path} is a web page (HTML or XML), such as "
            "that of a download that failed."
        )
    while first.startswith("%"):
        second = text.line()
        if all(first.count(d) == second.count(d) for d in DELIMITERS):
            break  # It names the columns.
        first = second
        second, before = "", before + 1
        if before > MAX_COMMENTS:
            break
    lines = [second.rstrip("\n")] * bool(second) + text.lines()
    if scope := read_scope([first, *lines], path, options):
        return scope
    if is_yaml(first):
        first, *lines = flat_messages(lines) or [""]
    elif skipped := _preamble([first, *lines[:MAX_PREAMBLE]]):
        options.note(
            f"{path.name}: {skipped} line{'s' * (skipped > 1)} before the names of "
            "columns left out."
        )
        first, lines = lines[skipped - 1], lines[skipped:]
    delimiter = _delimiter(first)
    blanks = delimiter == " "

    def cells(line: str) -> list[str]:
        return _cells(line, delimiter)

    header = cells(first) if first.strip() else []
    joined = cells(re.sub(r"\s+(?=[\[(])", "", first)) if blanks and header else []
    if joined not in ([], header) and lines and len(joined) == len(cells(lines[0])):
        header = joined  # as in `t [s] q1 [deg]`
    if states := read_joint_states([first.rstrip("\n"), *lines], options.joints):
        header, lines, note = states
        if note:
            options.note(f"{path.name}: {note}")
    elif header and all(map(is_number, (cell.replace(",", ".") for cell in header))):
        lines.insert(0, _bare(first).replace('"', ""))
        named = cells(comment) if comment.strip() else []
        # As numpy.savetxt writes it, the names may be in a comment.
        numbered = [str(k) for k in range(len(header))]
        header = named if len(named) == len(header) else numbered
    elif not header and comment:
        header = cells(comment)
    if header and not header[0] and lines:  # the index of a data frame
        dated = is_date(cells(lines[0])[0])
        header = ["time" if dated else "index", *header[1:]]
    if len(header) > MAX_COLUMNS:
        raise RobooptError(
            f"`path` must have at most {MAX_COLUMNS} columns, but {path} has "
            f"{len(header)}."
        )
    lines = [*filter(str.strip if blanks else None, lines)]
    if lines and (units := _units(cells(lines[0]), len(header))):
        header = [f"{n} [{u}]" if u else n for n, u in zip(header, units, strict=True)]
        lines = lines[1:]
    if "#" in text.marks:
        lines = [line for line in lines if not line.lstrip(" ").startswith("#")]
    quoted = '"' in text.marks and any('"' in line for line in lines)
    quoted = quoted or bool(lines and LIST_SIGN.search(lines[0]))
    decimal_comma = "," in text.marks and (quoted or delimiter != ",")
    written = lines
    if decimal_comma and not quoted and any(map(DECIMAL_COMMA.search, lines)):
        lines = [line.replace(",", ".") for line in lines]
    if blanks or quoted:
        rows, whole = _rows(lines, delimiter, quoted)
        if whole < len(lines):
            lines = lines[:whole]
            options.note(f"the last row of {path.name} is cut off: left out.")
        counts = [len(row) for row in rows]
    else:
        rows, counts = lines, [line.count(delimiter) + 1 for line in lines]
    _require_names(rows, counts, len(header), delimiter, path)
    if _is_cut_off(counts, len(header), path):
        lines, rows = lines[:-1], rows[:-1]
        options.note(f"the last row of {path.name} is cut off: left out.")
    if quoted:
        whole = zip(*(row[: len(header)] for row in rows), strict=True)
        header, columns = split_lists(
            header, [np.array(cells, object) for cells in whole]
        )
        named = dict(zip(header, columns.values(), strict=True))
        grouped = grouped_cells(named) if decimal_comma else {}
        _note_grouped(grouped, path, options)
        if decimal_comma and any(
            any(map(DECIMAL_COMMA.fullmatch, cells)) for cells in columns.values()
        ):
            columns = {
                k: np.array([cell.replace(",", ".") for cell in cells], object)
                for k, cells in columns.items()
            }
        columns |= {header.index(name): found for name, found in grouped.items()}
        return Table(str(path), tuple(header), columns)
    separator = None if blanks else delimiter
    texts = TextColumns(lines, separator, len(header))
    if delimiter != ",":
        grouped = grouped_columns(header, written[: len(lines)], separator)
        _note_grouped([header[place] for place in grouped], path, options)
        for place, numbers in grouped.items():
            texts = texts.replaced(place, numbers)
    return Table(str(path), tuple(header), texts)


def _note_grouped(names: Iterable[str], path: Path, options: ReadOptions) -> None:
    """Note columns whose separators of thousands are left out."""
    if said := ", ".join(names):
        options.note(
            f"{path.name}: the numbers of {said} have separators of thousands, which "
            "are left out: 1.010 is read as 1010."
        )


def _delimiter(line: str) -> str:
    """Return what separates the cells of a line, the blank for any number of blanks."""
    delimiter = max(DELIMITERS, key=line.count)
    if delimiter == "," and COMMA_NUMBERS.fullmatch(line.strip()):
        delimiter = next((d for d in ";\t" if d in line), " ")
    return delimiter if delimiter in line or len(line.split()) < 2 else " "


def _cells(line: str, delimiter: str) -> list[str]:
    (row,) = csv.reader([_bare(line)], delimiter=delimiter, skipinitialspace=True)
    return [cell.strip() for cell in row]


def _preamble(lines: list[str]) -> int:
    """Return how many lines stand before the names of columns: a title, or settings.

    Names are followed by as many numbers, or by units and these.
    """
    for k, (line, below) in enumerate(pairwise(lines)):
        delimiter = _delimiter(below)
        numbers = [cell.replace(",", ".") for cell in _cells(below, delimiter)]
        if len(numbers) < 2 or not all(not n or is_number(n) for n in numbers):
            continue
        names = _cells(line, delimiter)
        if len(names) == len(numbers) and not any(map(is_number, names)):
            first = k - (_units(names, len(names)) is not None)
            sizes = {len(_cells(one, delimiter)) for one in lines[:first]}
            return 0 if len(names) in sizes else first
    return 0


def _rows(
    lines: list[str], delimiter: str, quoted: bool
) -> tuple[list[list[str]], int]:
    """Return the cells of each line, and of how many lines; blanks at ends are none.

    The last line is left out where its quote has no end.
    """
    lines = lines[:-1] if quoted and lines and not lines[-1] else lines
    reading: Any = {"delimiter": delimiter, "skipinitialspace": True, "strict": quoted}
    whole = len(lines)
    try:
        rows = list(csv.reader(lines, **reading))
    except csv.Error:
        whole -= 1
        rows = list(csv.reader(lines[:whole], **reading))
    for row in rows if delimiter == " " else ():
        while row and not row[-1]:
            row.pop()
    return [row for row in rows if row], whole


def _require_names(
    rows: Sequence[Any], counts: list[int], width: int, delimiter: str, path: Path
) -> None:
    """Raise a `RobooptError` if cells beyond the last name hold anything."""
    if max(counts, default=0) <= width:
        return
    for k, (row, count) in enumerate(zip(rows, counts, strict=True)):
        cells = row.split(delimiter) if isinstance(row, str) else row
        if count > width and any(cell.strip() for cell in cells[width:]):
            raise RobooptError(
                f"`path` must name each column, but {path} has {width} names and "
                f"{count} cells in sample {k}: a name is missing, or decimal commas "
                "separate cells, too."
            )


def _is_cut_off(counts: list[int], width: int, path: Path) -> bool:
    """Return whether only the last row lacks cells, as where a recorder was stopped."""
    if not counts:
        raise RobooptError(
            f"`path` must hold samples, but {path} holds none, only the names of "
            f"{width} columns."
            if width
            else f"`path` must hold samples, but {path} holds none: it is empty."
        )
    if min(counts) >= width:
        return False
    wrong = next(k for k, count in enumerate(counts) if count < width)
    if wrong < len(counts) - 1 or not wrong:
        raise RobooptError(
            f"`path` must hold {width} cells in each row, but {path} has "
            f"{counts[wrong]} in sample {wrong}."
        )
    return True


class _Text:
    """The lines of a file, refused where one or all of them go on and on."""

    def __init__(self, file: TextIOWrapper, path: Path):
        self._file, self._path = file, path
        self._left = self._limit = expansion_limit(path, SMALL)
        self._most = max(path.stat().st_size, FEW)
        self.marks: set[str] = set()
        """Which of #, " and the comma the lines hold."""

    def line(self) -> str:
        """Return the next line with its end; an empty text after the last."""
        line = self._file.readline(MAX_LINE + 1)
        self._count(line, [line])
        return line

    def lines(self) -> list[str]:
        """Return all other lines without their ends."""
        lines: list[str] = []
        rest = ""
        while block := self._file.read(BLOCK_SIZE):
            *whole, rest = (rest + block).split("\n")
            self._count(block, [*whole, rest])
            self.marks |= {mark for mark in '#",' if mark in block}
            lines += whole
            if len(lines) > self._most:
                raise RobooptError(
                    f"`path` must be a table of at most {self._most} lines, as many as "
                    f"it has bytes, but {self._path} goes on."
                )
        return [*lines, rest]

    def _count(self, text: str, lines: list[str]) -> None:
        self._left -= len(text)
        self.marks |= {mark for mark in '#",' if mark in text}
        if self._left < 0 or max(map(len, lines)) > MAX_LINE:
            what = "all" if self._left < 0 else "line"
            most = self._limit if self._left < 0 else MAX_LINE
            raise RobooptError(
                f"`path` must be a table of at most {most} characters in {what}, but "
                f"{self._path} goes on."
            )


def _bare(line: str) -> str:
    """Return a line without the sign of a comment."""
    return line.strip().lstrip("#%").strip()


def _units(cells: list[str], width: int) -> list[str] | None:
    """Return the units of the columns, None where cells are not a row of these.

    At least half of them are known; none is a number.
    """
    texts = ["" if cell == "-" else cell.strip("[]() ") for cell in cells]
    told = [text for text in texts if text]
    known = sum(canonical(text) in KNOWN for text in told)
    fits = len(texts) == width and 2 * known >= len(told) > 0
    return texts if fits and not any(map(is_number, told)) else None


def _open(path: Path, encoding: str = "utf-8-sig") -> TextIOWrapper:
    with open(path, "rb") as file:
        begin = file.read(MAX_SIGN)
    opened = next((x for sign, x in PACKED.items() if begin.startswith(sign)), None)
    with opened(path) if opened else open(path, "rb") as file:
        marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if marked else encoding
    if opened:
        return TextIOWrapper(opened(path), encoding=encoding)
    return open(path, encoding=encoding)


def _only_member(path: Path) -> Any:
    """Return the only file of an archive, as Windows and macOS pack one."""
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if not n.startswith("__MACOSX/")]
        if len(names) != 1:
            raise RobooptError(
                f"`path` must be an archive of one table, but {path} holds "
                f"{len(names)} files: unpack it, and name the folder."
            )
        try:
            return archive.open(names[0])
        except (RuntimeError, NotImplementedError) as error:  # such as a password
            raise zipfile.BadZipFile(str(error)) from error
