"""Tables and paragraphs as plain text of a given width.

A table that is too wide first loses the columns of the lowest priority, and says so,
then wraps the cells of its text columns. Numbers are never wrapped or cut short: where
nothing else fits, a table of numbers goes on below, and a row with text is stacked, one
cell a line.
"""

import itertools
import math
import re
from collections.abc import Iterator, Sequence

from roboopt._display import display_width, left, right, wrapped
from roboopt.report._page import GAP, UNIT, Table, column_width, total_width

MIN_TEXT = 14  # characters of a text column that is wrapped
INDEX = re.compile(r"(?<=,) (?=\d+[,\]])")
"""The space in an index such as [0, 1]."""
NAME_PARTS = re.compile(r"(?<=[._/])(?=\w)|(?=\[)")
"""Where a long name may be cut."""


def paragraph(text: str, width: int) -> str:
    """Return `text` wrapped at `width` columns, without breaking words."""
    return "\n".join(_wrapped(text, width))


def table_text(table: Table, width: int) -> str:
    """Return the table as text of at most `width` columns."""
    for pieces in (_words, _pieces):  # Names are cut where nothing else helps.
        kept = list(range(len(table.header)))
        for dropped in [None, *table.optional]:
            if dropped is not None:
                kept.remove(dropped)
            found = [[row[i] for row in (table.header, *table.rows)] for i in kept]
            widths = [max(map(display_width, cells)) for cells in found]
            least = [
                min(wide, max(MIN_TEXT, *map(display_width, pieces(cells)), 0))
                if i in table.text
                else column_width(cells)
                for i, cells, wide in zip(kept, found, widths, strict=True)
            ]
            if total_width(least) <= width:
                return _fitted(table, kept, widths, least, width)
    if not table.optional and (parts := table.cut(width)):
        return "\n\n".join(table_text(part, width) for part in parts)
    lines = []
    for row in table.rows:
        lines.append(paragraph(row[0], width))
        for head, cell in zip(table.header[1:], row[1:], strict=True):
            lines.append(paragraph(f"  {head}: {cell}", width))
    return "\n".join(lines)


def _fitted(
    table: Table, kept: list[int], widths: list[int], least: list[int], width: int
) -> str:
    """Return the kept columns as text, and the names of the others."""
    lines = map(str.rstrip, _grid(table, kept, widths, least, width))
    hidden = [name for i, name in enumerate(table.header) if i not in kept]
    said = f"(not shown: {', '.join(hidden)})"
    return "\n".join([*lines, *([paragraph(said, width)] if hidden else [])])


def _words(column: Sequence[str]) -> list[str]:
    return INDEX.sub("\N{NO-BREAK SPACE}", " ".join(column)).split(" ")


def _pieces(column: Sequence[str]) -> list[str]:
    """Return the parts of a column of text that are not cut."""
    return [piece for word in _words(column) for piece in NAME_PARTS.split(word)]


def _wrapped(text: str, width: int) -> list[str]:
    bound = INDEX.sub("\N{NO-BREAK SPACE}", UNIT.sub("\N{NO-BREAK SPACE}", text))
    words = (part for word in bound.split(" ") for part in _parts(word, width))
    lines = wrapped(" ".join(words), width)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _parts(word: str, width: int) -> Iterator[str]:
    """Yield a name in parts that fit, cut behind a dot or before a bracket."""
    line = ""
    for piece in NAME_PARTS.split(word) if display_width(word) > width else [word]:
        if line and display_width(line + piece) > width:
            yield line
            line = ""
        line += piece
    yield line


def _grid(
    table: Table, kept: list[int], widths: list[int], least: list[int], width: int
) -> Iterator[str]:
    """Yield the lines of the kept columns, narrowed from `widths` towards `least`."""
    while total_width(widths) > width:
        spare = [(w - low, w) for w, low in zip(widths, least, strict=True)]
        widths[spare.index(max(spare))] -= 1
    if table.groups:
        yield _group_line(table, kept, widths)
    for number, row in enumerate((table.header, *table.rows)):
        cells = [_wrapped(row[i], w) or [""] for i, w in zip(kept, widths, strict=True)]
        for parts in itertools.zip_longest(*cells, fillvalue=""):
            yield (" " * GAP).join(
                left(part, wide) if i in table.text else right(part, wide)
                for part, i, wide in zip(parts, kept, widths, strict=True)
            )
        if number == 0:
            yield "─" * total_width(widths)


def _group_line(table: Table, kept: list[int], widths: list[int]) -> str:
    """Return the headings over the columns, each over the first it spans."""
    line, first = "", 0
    for name, span in table.groups:
        inside = [p for p, index in enumerate(kept) if first <= index < first + span]
        first += span
        if name and inside:
            place, room = inside[0], total_width([widths[p] for p in inside])
            start = sum(widths[:place]) + GAP * place
            # A name that is longer than its columns begins before them.
            own = display_width(name)
            line = left(line, start - max(0, own - room))
            line += right(name, min(room, max(widths[place], own)))
    return line


def sentence(text: str) -> str:
    """Return `text` with a capital letter first and a full stop last."""
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def number(value: float) -> str:
    """Return a number with four digits, a count below a million with all of its."""
    if float(value).is_integer() and 1e4 <= abs(value) < 1e6:
        return f"{value:.0f}".replace("-", "−")
    return f"{value + 0.0:.4g}".replace("-", "−")  # −0 + 0 is 0.


def interval(estimate: tuple[float, float, float]) -> str:
    """Return a value with the ends of its 95 % confidence interval."""
    value, low, high = map(number, estimate)
    return f"{value} (95 % interval {low} to {high})"


def change(before: float, after: float) -> str:
    """Return by how many percent the size of a number rose, or how many times.

    A negative number that falls has risen in size: −2 that becomes −3 by 50 %.
    """
    if not (math.isfinite(before) and math.isfinite(after)) or before == 0:
        return "–"
    if before * after < 0:
        return "changes sign"
    percent = 100 * (after / before - 1)
    if percent > 900:
        return f"×{after / before:.3g}"
    return f"{percent:+.1f} %".replace("-", "−")


def parts(name: str) -> tuple[str, str]:
    """Return the quantity and the unit of a name such as "Joule loss [J]"."""
    found = re.fullmatch(r"(.+) \[([^\]]+)\]", name)
    return (found[1], found[2]) if found else (name, "")
