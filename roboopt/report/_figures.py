"""Figures, one panel a picture: inline SVG that takes its ink from the page.

A panel is drawn for a width of some 350 px and placed beside others by the page, so
that a wide screen shows three in a row and a phone one under the other, each readable.
"""

import html
import io
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BEFORE_AFTER = {"before": "#d9772b", "after": "#2f80c9"}
"""Told apart by the color-blind too, on white and on black."""
COLORS = BEFORE_AFTER | {
    "demonstrator": BEFORE_AFTER["before"],
    "clone": BEFORE_AFTER["after"],
    "started from": BEFORE_AFTER["before"],
    "learned": BEFORE_AFTER["after"],
}
SIZE = 3.9, 2.55  # inches of 96 px
POINTS = 400  # of a curve: more than there are pixels is only a larger file
ABOVE: dict[str, Any] = {
    "xytext": (0, 1.5),
    "textcoords": "offset points",
    "ha": "center",
    "fontsize": 7,
}
ROUND = [1, 2, 2.5, 5, 10]  # what an axis is counted in
INK = "#123456"  # stands for the page's own text color
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-3, 4),
    "axes.formatter.useoffset": False,
    "grid.alpha": 0.18,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.7,
    "svg.fonttype": "path",
    **{f"{part}.color": INK for part in ("text", "xtick", "ytick", "grid")},
    **{f"axes.{part}color": INK for part in ("label", "edge", "title")},
}
METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


@dataclass(frozen=True)
class Panel:
    """What one panel of `traces` shows: something over time, several runs of it."""

    title: str
    unit: str
    runs: Mapping[str, Float[np.ndarray, "run time"]]
    """By label, such as "before" and "after"; the first run is drawn in bold."""
    goals: Sequence[float] = ()
    """Drawn dashed."""
    limits: Sequence[float] = ()
    """Drawn dotted where they are near, and written down where they are far."""


def curves(
    history: Mapping[str, np.ndarray],
    units: Mapping[str, str],
    *,
    best: int | None = None,
    titles: Mapping[str, str] | None = None,
) -> list[str]:
    """Draw each quantity of a descent over its steps.

    Args:
        history: (steps + 1,), or (steps + 1, starts) of descents side by side.
        units: of each; what has none is dimensionless.
        best: the step whose model was kept, marked.
        titles: of each panel, by default the quantity's name.
    """
    panels = []
    for name, values in history.items():
        with rc_context(STYLE):
            figure, axes = panel_of((titles or {}).get(name, name))
            values = np.asarray(values, float).reshape(len(values), -1)
            steps, values = (
                np.arange(len(values)),
                np.where(np.isfinite(values), values, np.nan),
            )
            alpha = 1.0 if values.shape[1] == 1 else 0.5
            axes.plot(steps, values, color=BEFORE_AFTER["after"], alpha=alpha)
            if best is not None:
                row = values[best]
                axes.plot(
                    best,
                    np.nanmin(row) if np.isfinite(row).any() else np.nan,
                    "o",
                    color=BEFORE_AFTER["after"],
                    markersize=5,
                )
            if _spans_decades(values):
                axes.set_yscale("log")
            axes.set_xlabel("gradient step")
            axes.set_ylabel(f"[{units.get(name, '1')}]")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=ROUND))
            panels.append(inline_svg(figure, f"{name} over gradient steps"))
    return panels


def traces(panels: Sequence[Panel], time_step: float) -> list[str]:
    """Draw each panel's runs over time, those of several labels over each other."""
    drawn = []
    steps = [r.shape[-1] - 1 for panel in panels for r in panel.runs.values()]
    longest = max(steps, default=1) * time_step
    for panel in panels:
        with rc_context(STYLE):
            figure, axes = panel_of(panel.title)
            lowest, highest = np.inf, -np.inf
            for label, runs in panel.runs.items():
                runs = np.asarray(runs, float)
                stride = max(1, runs.shape[-1] // POINTS)
                seen = np.arange(0, runs.shape[-1], stride)
                color = _color(label)
                time = seen * time_step
                axes.plot(time, runs[1:, seen].T, color=color, alpha=0.25, lw=0.8)
                axes.plot(time, runs[0, seen], color=color)
                finite = runs[np.isfinite(runs)]
                if finite.size:
                    lowest = min(lowest, finite.min())
                    highest = max(highest, finite.max())
            for goal in panel.goals:
                axes.axhline(goal, color=INK, ls="--", lw=1)
            _draw_limits(axes, panel, lowest, highest)
            axes.set_xlabel("time [s]")
            axes.set_ylabel(f"[{panel.unit}]")
            axes.set_xlim(0, longest)
            axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
            drawn.append(inline_svg(figure, f"{panel.title} over time"))
    return drawn


def bars(
    title: str,
    unit: str,
    values: Mapping[str, np.ndarray],
    names: Sequence[str],
    *,
    axis: str = "joint",
) -> str:
    """Draw one group of bars a name, one bar a label.

    Args:
        title: of the panel.
        unit: of the values.
        values: by label, such as "before" and "after", (names,).
        names: under the groups; what they all begin with goes under the axis.
        axis: what the names are of.
    """
    with rc_context(STYLE):
        figure, axes = panel_of(title)
        places, width = np.arange(len(names)), 0.8 / len(values)
        highest = max(float(np.max(v, initial=0.0)) for v in values.values())
        for i, (label, heights) in enumerate(values.items()):
            centers = places + (i - (len(values) - 1) / 2) * width
            axes.bar(centers, heights, 0.92 * width, color=_color(label))
            for x, height in zip(centers, heights, strict=True):
                # Numbers over many low bars would run into each other.
                if len(names) <= 3 or height > 0.05 * highest:
                    axes.annotate(_short(height), (x, height), **ABOVE)
        prefix = _common_prefix(names)
        axes.set_xticks(places, [name.removeprefix(prefix) for name in names])
        slanted = sum(len(name) - len(prefix) for name in names) > 34
        if slanted:
            for label in axes.get_xticklabels():
                label.set(rotation=30, ha="right", rotation_mode="anchor")
        axes.set_xlabel(f"{prefix}…" if prefix else axis)
        axes.grid(axis="x", visible=False)
        axes.margins(y=0.12)
        middle, half = (len(names) - 1) / 2, max(len(names), 3) / 2
        axes.set_xlim(middle - half, middle + half)
        axes.set_ylabel(f"[{unit}]")
        return inline_svg(figure, f"{title} by {axis}")


def _color(label: str) -> str:
    return COLORS.get(label, "#7a7f87")


def _short(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"


def _common_prefix(names: Sequence[str]) -> str:
    """Return what all names begin with, up to an underscore, leaving some of each."""
    prefix = os.path.commonprefix([name[:-1] for name in names]) if names[1:] else ""
    return prefix[: prefix.rfind("_") + 1]


def panel_of(title: str, height: float = SIZE[1]) -> tuple[Figure, Any]:
    """Return an empty figure of one panel's width, and its axes; height in inches."""
    figure = Figure((SIZE[0], height), facecolor="none", layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot(facecolor="none")
    axes.set_title(title)
    return figure, axes


def _draw_limits(axes: Any, panel: Panel, lowest: float, highest: float) -> None:
    """Draw the limits, or name them where drawing would flatten the curves."""
    finite = [limit for limit in panel.limits if np.isfinite(limit)]
    reach = max(abs(lowest), abs(highest)) if np.isfinite(lowest) else 0.0
    near = [limit for limit in finite if abs(limit) <= 2.5 * reach]
    for limit in near:
        axes.axhline(limit, color=INK, ls=":", lw=1.2)
    if finite and not near:
        text = " and ".join(f"{limit:+.3g}" for limit in sorted(finite))
        if len(finite) == 2 and finite[0] == -finite[1]:
            text = f"±{abs(finite[0]):.3g}"
        axes.set_title(
            f"limit {text} {panel.unit}", loc="right", fontsize=8, fontweight="normal"
        )


def _spans_decades(values: np.ndarray) -> bool:
    finite = values[np.isfinite(values)]
    if not finite.size or finite.min() <= 0:
        return False
    return bool(finite.max() > 30 * finite.min())


def inline_svg(figure: Figure, label: str) -> str:
    """Return the figure as an `<svg>` element that can stand in a page with others."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=METADATA)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg, count=2)
    svg = svg.replace(INK, "currentColor")
    # Identifiers are unique in a file; here they have to be so in the page.
    prefix = f"f{zlib.crc32(svg.encode()):08x}-"
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
    text = html.escape(label)
    return svg.replace("<svg", f'<svg role="img" aria-label="{text}"', 1)
