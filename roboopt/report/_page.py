"""The report: sections of tables, figures and videos in one self-contained HTML file.

Everything is inside the file: it opens from a disk, an e-mail or a memory stick, on a
computer or a phone, in light or dark, without a network, and without JavaScript, which
adds the cursor, zoom and legend to the figures. Whatever text it is given is escaped;
only figures and videos, which this package makes, go in as they are.
"""

import base64
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from importlib.resources import files
from os import PathLike
from typing import Protocol, runtime_checkable

from roboopt._display import display_width
from roboopt.data import atomic_write
from roboopt.report._drawing import Drawing
from roboopt.report._letters import share_letters

MAX_NUMBER = 40  # characters, an interval's
STACKED = ' class="stacked"'
MAX_UNBROKEN = 18  # characters of a name
MAX_PHONE = 40  # characters of a row that a phone shows
MAX_CELLS, MAX_PANELS = 50, 4  # that a phone shows unfolded
MAX_COMPUTER = 108  # characters of a row that a page shows at 1280 px
MAX_LINES = 3  # of a header
GAP = 2  # characters between columns
NONE = "–"  # a cell without a value
FLAG = re.compile(r"(?<![\w-])--\w[\w-]*")
"""An option of a command, in which no line ends."""
UNIT = re.compile(r"(?<=\d) (?=%|(?:steps|kg|ms|rad|Hz|s|m|N|J|W)(?!\w))")
"""The space between a number and its unit, where no line ends."""

EXPONENT = re.compile(r"(?<=\de)-(?=\d)")
"""The hyphen in 4e-16, where a line would end."""
NEGATIVE = re.compile(rf"(?<![^\s(\[,=])-(?=\.?\d)|{EXPONENT.pattern}")
"""The hyphens in -2 and 4e-16, which stand for minus signs."""


@runtime_checkable
class Block(Protocol):
    """Something that a section shows."""

    def html(self) -> str:
        """Return the block as HTML."""
        ...


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block]

    def html(self, *, unfold: bool = False) -> str:
        """Return the section, with an anchor made of its title.

        With `unfold` phones show a long table with which the section begins.
        """
        anchor = re.sub(r"\W+", "-", self.title.lower()).strip("-")
        count = int(unfold and isinstance(self.blocks[0], Table))
        shown = [block.html() for block in self.blocks[:count]]
        inside = "\n".join([*shown, *map(_foldable, self.blocks[count:])])
        return (
            f'<section id="{escape(anchor)}">'
            f"<h2>{escape(self.title)}</h2>\n{inside}</section>"
        )


@dataclass(frozen=True)
class Notes:
    """Paragraphs of plain text."""

    paragraphs: Sequence[str]

    def html(self) -> str:
        """Return one `<p>` a paragraph."""
        return "".join(f"<p>{marked(text)}</p>" for text in self.paragraphs)


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first column names the row, the others are numbers.

    A column in which one says more than a number is set as text.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    groups: Sequence[tuple[str, int]] = ()
    """Headings over the columns, each with how many it spans."""
    text: Sequence[int] = (0,)
    """Indices of columns of text, set flush left and wrapped where there is no room."""
    optional: Sequence[int] = ()
    """Indices of columns that narrow terminals do without, the first to go first."""
    links: Sequence[str] = ()
    """Where the name of each row leads on a page; "" for nowhere."""

    def html(self) -> str:
        """Return the table, one that is too wide in parts, one under the other.

        On a narrow screen a wide one has its cells under the name of each row.
        """
        if parts := self.cut(MAX_COMPUTER):
            return "".join(part.html() for part in parts)
        columns = list(zip(self.header, *self.rows, strict=True))
        kinds = ["left" if k in self.text[1:] else "" for k in range(len(columns))]
        for k, cells in enumerate(columns):
            if max(map(len, cells[1:]), default=0) > MAX_NUMBER:
                kinds[k] = "text"
        head = _cells("th", self.header, kinds)
        wide = self._is_wide
        labels = self._labels() if wide else None
        body = "".join(
            f"<tr>{_cells('td', row, kinds, labels, link)}</tr>"
            for row, link in zip(
                self.rows, self.links or [""] * len(self.rows), strict=True
            )
        )
        groups = "".join(
            f'<th colspan="{span}" class="group">{escape(name)}</th>'
            for name, span in self.groups
        )
        groups = f"<tr>{groups}</tr>" if groups else ""
        return (
            f'<div class="wide"><table{STACKED * wide}>'
            f"<thead>{groups}<tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )

    @property
    def folded(self) -> str:
        """Under which title a phone folds the table, "" for a short one."""
        cells = len(self.rows) * (len(self.header) if self._is_wide else 2)
        title = f"{self.header[0]}: {len(self.rows)} rows".removeprefix(": ")
        return title * (cells > MAX_CELLS)

    @property
    def _is_wide(self) -> bool:
        columns = zip(self.header, *self.rows, strict=True)
        return total_width(map(column_width, columns)) > MAX_PHONE

    def cut(self, width: int) -> "list[Table]":
        """Return a table that is too wide as tables that fit, with one first column.

        They are as few as can be, and of about one width; a row without values in one
        of them is left out there. The list is empty for a table that fits, or whose
        columns can be wrapped, or of which one alone is too wide.

        Args:
            width: characters of a row, with `GAP` between columns.
        """
        columns = zip(self.header, *self.rows, strict=True)
        widths = [column_width(cells) for cells in columns]
        if total_width(widths) <= width or tuple(self.text) != (0,):
            return []
        fewest = len(_blocks(widths, width))
        found = (_blocks(widths, limit) for limit in range(width + 1))
        blocks = next(blocks for blocks in found if len(blocks) == fewest)
        above, parts = self._above(), []
        for block in blocks:
            rows = [[row[k] for k in block] for row in self.rows]
            told = [any(cell != NONE for cell in row[1:]) for row in rows]
            spans = itertools.groupby(above[k] for k in block)
            groups = [(name, len([*same])) for name, same in spans]
            own = {
                "header": [self.header[k] for k in block],
                "rows": [*itertools.compress(rows, told)],
                "links": [*itertools.compress(self.links, told)],
                "groups": groups if self.groups else (),
                "optional": (),
            }
            parts.append(replace(self, **own))
        return parts

    def _above(self) -> list[str]:
        """Return the heading above each column."""
        spans = self.groups or [("", len(self.header))]
        return [name for name, span in spans for _ in range(span)]

    def _labels(self) -> list[str]:
        """Return the header of each column, with the heading above it."""
        above = zip(self._above(), self.header, strict=True)
        return [f"{top} {own}".strip() for top, own in above]


@dataclass(frozen=True)
class Figure:
    """Panels side by side, as many as the screen is wide, and a legend."""

    panels: Sequence[Drawing | str]
    """Drawn by this package, or SVG."""
    caption: str = ""
    legend: Mapping[str, str] = field(default_factory=dict)
    """From each label to its color and line: such as "#1f77b4" or "#1f77b4 dashed".

    What no panel shows is left out.
    """
    columns: int = 3
    """At most."""
    name: str = ""
    """In the names of files, where a section has several of a kind."""
    filmed: float = 0.0
    """How far the horizontal axis goes in a second of the video, such as 1 [s] or 15
    steps, where the bold curves of all panels are what it shows; 0 where not."""
    folds: bool = True
    """Whether a phone folds many panels."""

    def html(self) -> str:
        """Return the figure with its panels in a grid."""
        keys, panels = "", "".join(f'<div class="panel">{x}</div>' for x in self.panels)
        for label, style in self.legend.items():
            if f'data-key="{escape(label)}"' not in panels:
                continue
            color, _, line = style.partition(" ")
            border = escape(f"{line or 'solid'} {color}")
            keys += '<button type="button" class="key" disabled>'
            keys += f'<i style="border-top:3px {border}"></i>{escape(label)}</button>'
        legend = f'<div class="legend">{keys}</div>' if keys else ""
        grid = f'<div class="panels columns{self.columns}">{panels}</div>'
        film = f' data-film="{self.filmed:g}"' if self.filmed else ""
        return f"<figure{film}>{legend}{grid}{_caption(self.caption)}</figure>"

    @property
    def folded(self) -> str:
        """Under which title a phone folds the figure, "" for one of few panels."""
        drawn = [panel.title for panel in self.panels if isinstance(panel, Drawing)]
        title = f"{len(drawn)} panels: {', '.join(drawn[:MAX_PANELS])}, …"
        return title * (self.folds and len(drawn) > MAX_PANELS)


@dataclass(frozen=True)
class Video:
    """An MP4 film, played in a loop without sound."""

    mp4: bytes
    caption: str = ""

    def html(self) -> str:
        """Return the film inside a data URI."""
        data = base64.b64encode(self.mp4).decode()
        name = escape(f"Video. {self.caption}".strip().replace("`", ""))
        return (
            "<figure><video data-film controls loop muted autoplay playsinline "
            f'aria-label="{name}" src="data:video/mp4;base64,{data}"></video>'
            f"{_caption(self.caption)}</figure>"
        )


@dataclass(frozen=True)
class Details:
    """Text in a fixed pitch, folded away until asked for."""

    summary: str
    text: str

    def html(self) -> str:
        """Return the text, folded."""
        return (
            f"<details><summary>{escape(self.summary)}</summary>"
            f"<pre>{escape(self.text)}</pre></details>"
        )


def write_report(
    path: str | PathLike,
    *,
    title: str,
    verdict: Sequence[str],
    sections: Sequence[Section],
) -> None:
    """Write one HTML file that needs no other.

    Args:
        path: of the file.
        title: of the page.
        verdict: what came out, in sentences: the first thing a reader sees.
        sections: everything else, in order.
    """
    whole = (EXPONENT.sub("\N{MINUS SIGN}", sentence) for sentence in verdict)
    bound = (UNIT.sub("\N{NO-BREAK SPACE}", sentence) for sentence in whole)
    lead = "".join(f"<p>{marked(sentence)}</p>" for sentence in bound)
    body = "\n".join(s.html(unfold=k == 0) for k, s in enumerate(sections))
    style = f"<style>\n{_file('style.css')}</style>"
    needed = {"report.js": "<svg", "replay.js": 'class="replay"'}
    script = "".join(
        f"<script>{short(_file(name))}</script>\n"
        for name, mark in needed.items()
        if mark in body
    )
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n{style}\n</head>\n<body>\n<main>\n"
        f"<header><h1>{breakable(title)}</h1>\n"
        f'<div class="verdict">{lead}</div></header>\n'
        f"{body}\n</main>\n{script}</body>\n</html>\n"
    )
    with atomic_write(path) as file:
        file.write(share_letters(page).encode())


def short(script: str) -> str:
    """Return JavaScript without comments and spaces, as pages hold it.

    Strings keep their spaces, apart from shaders; regular expressions have none,
    nor quotes.
    """
    code = re.sub(r"^\s*(//.*\n)?", "", script, flags=re.MULTILINE)
    sign = r"\s*([-=+*/%<>?:&|{}\[\],;()!])\s*"

    def shortened(found: re.Match[str]) -> str:
        text, between = found.groups()
        if text and "void main" in text:
            return re.sub(sign, r"\1", text)
        return text or between

    strings = """("[^"]*"|`[^`]*`)"""
    return re.sub(rf"{strings}|(?:[;,]\s*(?=[}}\]]))?{sign}", shortened, code).strip()


def _file(name: str) -> str:
    return files("roboopt.report").joinpath(name).read_text("utf-8")


def marked(text: str) -> str:
    """Return text for HTML, with `code` in backticks set as code."""
    code = re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))
    return FLAG.sub(r'<span class="flag">\g<0></span>', code)


def breakable(text: str) -> str:
    """Return text for HTML, a long name with places where a line may end."""
    name = len(text) > MAX_UNBROKEN and re.fullmatch(r"[\w.,\[\] /-]+", text)
    places = r"(?<=[._/])(?=\w)|(?=\[)" if name else r"(?!)"
    return "<wbr>".join(map(escape, re.split(places, text)))


def column_width(cells: Sequence[str]) -> int:
    """Return how many characters a column needs, its header in up to `MAX_LINES`."""
    header, *below = cells
    words = map(display_width, UNIT.sub("\N{NO-BREAK SPACE}", header).split(" "))
    return max(
        *map(display_width, below), -(-display_width(header) // MAX_LINES), *words
    )


def total_width(widths: Iterable[int]) -> int:
    """Return how many characters a row of columns needs."""
    return sum(width + GAP for width in widths) - GAP


def _blocks(widths: Sequence[int], width: int) -> list[list[int]]:
    """Return the indices of columns in tables that fit; none where one is too wide."""
    blocks: list[list[int]] = []
    for k in range(1, len(widths)):
        if total_width([widths[0], widths[k]]) > width:
            return []
        if not blocks or total_width(widths[i] for i in (*blocks[-1], k)) > width:
            blocks.append([0])
        blocks[-1].append(k)
    return blocks


def _cells(
    tag: str,
    row: Sequence[str],
    kinds: Sequence[str],
    labels: Sequence[str] | None = None,
    link: str = "",
) -> str:
    said = [f' data-label="{escape(label)}"' for label in labels or []]
    if tag == "td":
        row = [NEGATIVE.sub("\N{MINUS SIGN}", text) for text in row]
    inside = [breakable(text) for text in row]
    if link:
        inside[0] = f'<a href="{escape(link)}">{inside[0]}</a>'
    cells = zip(inside, kinds, said or [""] * len(row), strict=True)
    made = ""
    for text, kind, label in cells:
        kind = "none" if text == NONE else kind
        text = text if kind == "text" else UNIT.sub("\N{NO-BREAK SPACE}", text)
        made += f"<{tag}{f' class={kind}' * bool(kind)}{label}>{text}</{tag}>"
    return made


def _foldable(block: Block) -> str:
    """Return a block as HTML, a long one folded on phones until asked for."""
    title = block.folded if isinstance(block, Table | Figure) else ""
    if not title:
        return block.html()
    said = f"<summary>{escape(title)}</summary>"
    return f'<details class="phone">{said}{block.html()}</details>'


def _caption(text: str) -> str:
    return f"<figcaption>{marked(text)}</figcaption>" if text else ""
