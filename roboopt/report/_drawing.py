"""One panel: Matplotlib's figure, its SVG for the page, its curves, and its files.

The SVG says what `report.js` needs to read values from it: where the axes are, what
they span, and which of its elements are which curve. No number is in the page twice.
"""

import html
import io
import itertools
import re
import warnings
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from roboopt.report._csv import write_csv
from roboopt.report._fonts import FAMILY, choose_fonts, spelled

NOTE = "note"
INK = "#000001"  # black; stands for the page's own text color
METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}
TICK_STEPS = [1, 2, 2.5, 5, 10]
MARGIN = 3.0  # of a panel [1/72 in]
TITLE_PAD, RAISED_PAD, LINE_HEIGHT = 6.0, 15.0, 11.5  # of a panel's title [1/72 in]
PLACES = re.compile(r' d="M[^"]*"|translate\([^)]*\)')
DIGITS = re.compile(r"(\.\d\d)\d+")
LEGEND_WIDTH = 45  # characters in a line of the legend of a file
RESOLUTION_DPI = 200  # of files of pixels
MARKS = "".join(f'<path class="tool {name}"/>' for name in ("hair", "hand", "pick"))
MARKS += '<g class="tool grid"></g>'
TOOLS = '<output class="tool" hidden></output>' + "".join(
    f'<button class="tool" type="button" aria-label="{name} of %s">{name}</button>'
    for name in ("reset zoom", "CSV")
)
STYLE: dict[Any, Any] = {
    "font.family": FAMILY,
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": TITLE_PAD,
    "axes.titley": 1.0,  # not measured
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.limits": (-3, 4),
    "axes.formatter.useoffset": False,
    "grid.alpha": 0.18,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.7,
    "path.simplify_threshold": 0.02,  # of a point: values are read from the paths
    "svg.fonttype": "path",
    "svg.hashsalt": "roboopt",  # the same panel is the same text
    **{f"{part}.color": INK for part in ("text", "xtick", "ytick", "grid")},
    **{f"axes.{part}color": INK for part in ("label", "edge", "title")},
}


class Drawing:
    """A panel, drawn when its picture or a file is asked for.

    A line with a label is a curve, whose values the page reads out. A line, bar or
    patch with a `gid`, or a text, belongs to the key of that name in the legend.
    """

    def __init__(self, axes: Any, title: str, label: str):
        self.axes = axes
        self.title = title
        self.label = label
        """What the picture shows, for readers who do not see it."""
        self.integer = axes.get_xlabel().endswith("step")
        """Whether the horizontal axis counts."""
        self.columns: dict[Any, str] = {}
        """Names in tables of lines that share a key."""
        self.rows: tuple[str, Sequence[str]] | None = None
        """What bars are of, and their names in tables, which ticks may shorten."""

    def ticks(self, count: int = 5) -> None:
        """Use at most `count` round numbers on the horizontal axis."""
        from matplotlib.ticker import MaxNLocator

        fewest = 1 if self.integer else 2  # One step has one tick.
        locator = MaxNLocator(
            count, steps=TICK_STEPS, integer=self.integer, min_n_ticks=fewest
        )
        self.axes.xaxis.set_major_locator(locator)

    @cached_property
    def svg(self) -> str:
        """The `<svg>` element, which can stand in a page with others."""
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        figure, buffer = self.axes.figure, io.StringIO()
        for note in (*self.axes.texts, *_offsets(self.axes)):
            if not note.get_gid():
                note.set_gid(NOTE)  # A zoomed panel hides notes, as its ticks.
        marks, keys = self._marks(), {}
        for k, artist in enumerate(marks):
            keys[artist] = artist.get_gid()
            artist.set_gid(f"mark{k}")
        style = STYLE
        if choose_fonts(self.axes):
            style = {**STYLE, "svg.fonttype": "none"}  # The browser has more fonts.
        with rc_context(style), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            self._fit()
            # `savefig` draws twice.
            FigureCanvasSVG(figure).print_svg(buffer, metadata=METADATA)
        for artist, key in keys.items():
            artist.set_gid(key)
        said, svg = list(marks.values()), buffer.getvalue()
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg, count=2)
        svg = svg.replace(INK, "currentColor")
        svg = PLACES.sub(lambda places: DIGITS.sub(r"\1", places[0]), svg)
        svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><")
        svg = re.sub(r'id="mark(\d+)">', lambda found: said[int(found[1])], svg)
        svg = re.sub(r'id="(?:note|[xy]tick_\d+)"', 'class="tick"', svg)
        # Identifiers are unique in a file; here they have to be so in the page.
        prefix = f"f{zlib.crc32(svg.encode()):08x}-"
        svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
        own = _attributes({"role": "img", "aria-label": self.label} | self._data())
        return svg.replace("<svg", f"<svg {own}", 1).replace("</svg>", f"{MARKS}</svg>")

    def __str__(self) -> str:
        """Return the `<svg>` element, and what the script needs beside it."""
        tools = TOOLS.replace("%s", html.escape(self.title))
        return self.svg + tools * bool(self._data())

    def save(self, path: Path) -> None:
        """Write a file of the kind that its suffix says; .csv holds the curves.

        A picture has the legend, which in a page stands beside the panels.
        """
        from matplotlib import rc_context

        if path.suffix == ".csv":
            write_csv(path, *self.table())
            return
        with rc_context({**STYLE, "pdf.fonttype": 42}):  # text that can be edited
            legend = self._legend()
            with spelled(self.axes, choose_fonts(self.axes)):
                self._fit()
                whole = {"bbox_inches": "tight", "pad_inches": 0.03}  # with the legend
                self.axes.figure.savefig(path, dpi=RESOLUTION_DPI, **whole)
        if legend is not None:
            legend.remove()

    def lacking(self) -> frozenset[str]:
        """Return the letters that no font of this machine has."""
        return choose_fonts(self.axes)

    def _legend(self) -> Any:
        """Draw a legend of the keys below, if there are several and it has none."""
        keys: dict[str, Any] = {}
        for artist in (*self.axes.patches, *self.axes.get_lines()):
            key = _key(artist)
            bold = _label(artist) and artist.get_alpha() is None
            if key and (key not in keys or bold):
                keys[key] = artist
        if len(keys) < 2 or self.axes.get_legend() is not None:
            return None
        columns = max(1, LEGEND_WIDTH // max(map(len, keys)))
        own = {"frameon": False, "fontsize": 8, "ncols": min(columns, len(keys))}
        below: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0)}
        figure = self.axes.figure
        return figure.legend(list(keys.values()), list(keys), **own, **below)

    def _fit(self) -> None:
        """Place the axes so that all texts are inside.

        Matplotlib's own layouts measure every text four times, which takes longer than
        drawing a panel.
        """
        axes = self.axes
        page, place = axes.figure.bbox, axes.get_position()
        x, y = (axis.get_tightbbox() for axis in (axes.xaxis, axes.yaxis))
        lines = axes.get_title("left").split("\n")
        raised = bool(axes.yaxis.get_offset_text().get_text())
        pad = RAISED_PAD if raised else TITLE_PAD
        if raised:
            axes.set_title("\n".join(lines), loc="left", pad=pad)
        top = MARGIN + pad + len(lines) * LINE_HEIGHT
        left = place.x0 + (MARGIN - min(x.x0, y.x0)) / page.width
        bottom = place.y0 + (MARGIN - min(x.y0, y.y0)) / page.height
        end = max(x.x1, place.x1 * page.width)
        right = place.x1 + (page.width - MARGIN - end) / page.width
        height = 1 - top / page.height - bottom
        axes.set_position((left, bottom, right - left, height))
        power, name = axes.xaxis.get_offset_text(), axes.xaxis.label
        if power.get_text() and power.get_window_extent().overlaps(
            name.get_window_extent()
        ):
            # A short axis has no room for both in one line.
            axes.xaxis.labelpad += LINE_HEIGHT
            self._fit()

    def table(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return the bars and curves as drawn: a header, and rows.

        The names of bars, and the places of curves, stand before those that share them.
        """
        axes, header, columns, before = self.axes, [], [], []

        def add(name: str, places: list[Any], key: str, unit: str, values: Any) -> None:
            nonlocal before
            if not columns or places != before:
                before = places
                header.append(f"{name} of {key}" if name in header else name)
                columns.append(places)
            header.append(f"{key} {unit}".strip() if key != unit else key)
            columns.append(list(map(float, values)))

        for bars in axes.containers:
            pair = [axes.xaxis, axes.yaxis]
            named, valued = pair if bars.orientation == "vertical" else pair[::-1]
            names = [label.get_text() for label in named.get_ticklabels()]
            key, unit = bars[0].get_gid() or "", valued.get_label_text()
            title, names = self.rows or (named.get_label_text(), names)
            add(title, list(names), key, unit, bars.datavalues)
        for line in axes.get_lines():
            key = _key(line)
            if key and line.get_transform() == axes.transData:  # no line right across
                x, y = line.get_data()
                name = self.columns.get(line) or _label(line) or key
                add(axes.get_xlabel(), list(map(float, x)), name, axes.get_ylabel(), y)
        return header, list(itertools.zip_longest(*columns, fillvalue=""))

    def _marks(self) -> dict[Any, str]:
        """Return what the SVG says of each line, bar, patch and the text on them."""
        titles, unit = {}, self.axes.get_ylabel()
        for bars in self.axes.containers:
            for bar, value in zip(bars, bars.datavalues, strict=True):
                titles[bar] = f"{bar.get_gid() or ''} {value:.4g} {unit}".strip()
        marks = {}
        texts = [text for text in self.axes.texts if text.get_gid() != NOTE]
        for artist in (*self.axes.get_lines(), *self.axes.patches, *texts):
            said = {"data-key": _key(artist)}
            run = {"data-run": self.columns[artist]} if artist in self.columns else {}
            label = _label(artist)
            said |= {"data-curve": label, **run} if label or run else {}
            title = html.escape(titles.get(artist, ""))
            title = f"<title>{title}</title>" if title else ""
            marks[artist] = f"{_attributes(said)}>{title}"
        return marks

    def _data(self) -> dict[str, str]:
        """Return what the values of curves are read by; nothing without curves."""
        axes, log = self.axes, {"log": " log", "linear": ""}
        labels, unit = {*map(_label, axes.get_lines())} - {""}, axes.get_ylabel()
        if not labels:
            return {}
        width, height = 72 * axes.figure.get_size_inches()
        box = axes.get_position()
        edges = box.x0 * width, (1 - box.y1) * height
        edges += box.x1 * width, (1 - box.y0) * height, width
        across, up = axes.get_xlim(), axes.get_ylim()
        data = {
            "data-box": " ".join(f"{edge:.3f}" for edge in edges),
            "data-x": "{:.9g} {:.9g}".format(*across) + log[axes.get_xscale()],
            "data-y": "{:.9g} {:.9g}".format(*up) + log[axes.get_yscale()],
            "data-axis": axes.get_xlabel(),
            "data-unit": "" if unit in labels else unit,
        }
        return data | ({"data-integer": "1"} if self.integer else {})


def _label(artist: Any) -> str:
    """Return the label of a line that is a curve, or ""."""
    label = artist.get_label() if hasattr(artist, "get_xdata") else "_"
    return "" if label.startswith("_") else label


def _key(artist: Any) -> str:
    """Return the legend's key that a line, bar or patch belongs to, or ""."""
    return artist.get_gid() or _label(artist)


def _offsets(axes: Any) -> list[Any]:
    return [axis.get_offset_text() for axis in (axes.xaxis, axes.yaxis)]


def _attributes(values: Mapping[str, str]) -> str:
    return " ".join(f'{name}="{html.escape(v)}"' for name, v in values.items())
