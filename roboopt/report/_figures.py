"""Figures, one panel a picture: inline SVG that takes its ink from the page.

A panel is drawn for a width of some 350 px and placed beside others by the page, so
that a wide screen shows three in a row and a phone one under the other. Matplotlib is
imported where a panel is drawn: summaries need none.
"""

import contextlib
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from roboopt._core import AnyArray
from roboopt.report._drawing import INK, STYLE, Drawing

BEFORE_AFTER = {"before": "#d9772b", "after": "#2f80c9"}
"""Told apart by the color-blind too, on white and on black."""
GRAY = "#7a7f87"
TOLERANCE = "#2f9e68"
COLORS = {
    **BEFORE_AFTER,
    "demonstrator": BEFORE_AFTER["before"],
    "clone": BEFORE_AFTER["after"],
    "started from": BEFORE_AFTER["before"],
    "untrained": BEFORE_AFTER["before"],
    "learned": BEFORE_AFTER["after"],
}
"""The color of each label that the figures know."""
PANEL_SIZE = 3.9, 2.55  # inches of 96 px
PLACE = 0.15, 0.18, 0.82, 0.7  # of the axes, before their texts are measured
MAX_TITLE = 38  # characters in a line
MAX_GROUPS = 60  # of neighboring values in a panel of `spread`
MIN_GROUP_SIZE = 5
BAND = (0.1, 0.9)  # quantiles
MAX_MINOR = {"x": 10.0, "y": 1e3}
"""Values that span more have ticks at powers of ten alone."""
MINOR_TICKS = {"x": (2.0, 3.0, 5.0, 7.0), "y": tuple(range(2, 10))}
"""Numbers on the horizontal axis stand side by side."""
MIN_SPAN = 1e-6  # of values, over the largest: less would be numbers of many digits
LOG_RATIO = 30.0  # Values that span more are drawn on a logarithmic axis.
MATHTEXT = re.compile(r"\$\\mathdefault\{(.*)\}\$")
POWER = re.compile(r"\^\{([−\d]+)\}")
SUPERSCRIPTS = str.maketrans("−0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@contextlib.contextmanager
def panel(
    title: str,
    axis: str,
    value: str,
    *,
    label: str,
    height: float = PANEL_SIZE[1],
) -> Iterator[Drawing]:
    """Yield an empty panel to draw in; afterwards it is complete.

    Args:
        title: above the panel.
        axis: under the horizontal axis.
        value: beside the vertical axis.
        label: what the picture shows, for readers who do not see it.
        height: [in].
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import AutoLocator, LogLocator, NullLocator

    with rc_context(STYLE):
        figure = Figure((PANEL_SIZE[0], height), facecolor="none", dpi=72)
        FigureCanvasAgg(figure)  # measures texts faster than that of SVG
        axes = figure.add_axes(PLACE, facecolor="none")
        for each in (axes.xaxis, axes.yaxis):
            each.set_major_formatter(_formatter())
        axes.set_title(textwrap.fill(title, MAX_TITLE))
        axes.set_xlabel(axis.removesuffix("[1]").rstrip())  # no unit: dimensionless
        axes.set_ylabel(value.removesuffix("[1]").rstrip())
        made = Drawing(axes, title, label)
        yield made
        if isinstance(axes.xaxis.get_major_locator(), AutoLocator):
            made.ticks()  # Other ticks than those measured would be cut off.
        low, high = axes.get_ylim()
        if abs(high - low) < MIN_SPAN * (most := max(abs(low), abs(high))):
            half, middle = MIN_SPAN * most / 2, (low + high) / 2
            axes.set_ylim(middle - half, middle + half)
        for name, each in (("x", axes.xaxis), ("y", axes.yaxis)):
            if each.get_scale() == "log":
                each.set_major_formatter(_log_formatter())
                each.set_minor_formatter(_log_formatter())
                low, high = each.get_view_interval()
                minor = LogLocator(subs=MINOR_TICKS[name])
                wide = high > MAX_MINOR[name] * low
                each.set_minor_locator(NullLocator() if wide else minor)


def curves(
    history: Mapping[str, np.ndarray],
    units: Mapping[str, str],
    *,
    best: int | None = None,
    titles: Mapping[str, str] | None = None,
    parts: np.ndarray | None = None,
) -> list[Drawing]:
    """Draw each quantity of a descent over its steps.

    Args:
        history: (steps + 1,), or (steps + 1, starts) of descents side by side.
        units: of each; a quantity without one is dimensionless.
        best: the step whose model was kept, marked.
        titles: of each panel, by default the quantity's name.
        parts: (steps + 1,), the number of the round or fit that each step belongs to;
            curves are broken where another begins.
    """
    color, drawn = BEFORE_AFTER["after"], []
    for name, given in history.items():
        values = np.asarray(given, float).reshape(len(given), -1)
        values = np.where(np.isfinite(values), values, np.nan)
        title, unit = (titles or {}).get(name, name), f"[{units.get(name, '1')}]"
        label = over(title, "gradient steps")
        with panel(title, "gradient step", unit, label=label) as made:
            alpha = 1.0 if values.shape[1] == 1 else 0.5
            drawn_at = broken(np.arange(len(values)), values, parts)
            made.axes.plot(*drawn_at, color=color, alpha=alpha, label=title)
            if best is not None:
                row = values[best]
                kept = np.nanmin(row) if np.isfinite(row).any() else np.nan
                made.axes.plot(best, kept, "o", color=color, markersize=5)
            finite = values[np.isfinite(values)]
            if finite.size and 0 < LOG_RATIO * finite.min() < finite.max():
                made.axes.set_yscale("log")
        drawn.append(made)
    return drawn


def over(title: str, axis: str) -> str:
    """Return what a panel shows over an axis, which is said once, without its unit."""
    return f"{title.removesuffix(' over time')} over {axis.partition(' [')[0]}"


def broken(
    places: np.ndarray, values: np.ndarray, parts: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return places and values with NaN where the number of the part changes."""
    if parts is None:
        return places, values
    ends = np.flatnonzero(np.diff(parts)) + 1
    apart = np.insert(values.astype(float), ends, np.nan, axis=0)
    return np.insert(places.astype(float), ends, np.nan), apart


def spread(
    title: str,
    places: Float[AnyArray, " value"],
    values: Float[AnyArray, " value"],
    *,
    axis: str,
    unit: str = "1",
    level: float | None = None,
    logs: bool | None = None,
) -> Drawing:
    """Draw many noisy values as a median and a band from 10 to 90 %.

    Neighbors are taken together in groups of about equal size, so that ten thousand
    values are as readable as fifty.

    Args:
        title: of the panel.
        places: where each value is, in rising order.
        values: those that are not finite are left out.
        axis: name of the horizontal axis.
        unit: of the values.
        level: drawn dashed.
        logs: whether both axes are logarithmic, where they can be; if None, the
            vertical axis is where the medians span decades.
    """
    values = np.asarray(values, float)
    finite = np.isfinite(values)
    places, values = np.asarray(places, float)[finite], values[finite]
    label = over(title, axis)
    with panel(title, axis, f"[{unit}]", label=label) as made:
        if len(values):
            _draw_band(made.axes, places, values, logs)
        if level is not None:
            made.axes.axhline(level, color=INK, ls="--", lw=1)
    return made


def neighbors(places: Float[np.ndarray, " value"]) -> list[np.ndarray]:
    """Return the indices of noisy values that are drawn as one.

    Values of one place, such as episodes that end together, stay together.
    """
    count = len(places)
    fewer = count if count < 2 * MAX_GROUPS // MIN_GROUP_SIZE else count // 5
    groups = np.array_split(np.arange(count), max(1, min(MAX_GROUPS, fewer)))
    first = np.searchsorted(places, places[[group[0] for group in groups]])
    return np.split(np.arange(count), np.unique(first)[1:])


def _draw_band(
    axes: Any, places: np.ndarray, values: np.ndarray, logs: bool | None
) -> None:
    groups, color = neighbors(places), BEFORE_AFTER["after"]
    middle = np.array([places[g].mean() for g in groups])
    median = np.array([np.median(values[g]) for g in groups])
    low, high = np.array([np.quantile(values[g], BAND) for g in groups]).T
    ends = np.concatenate([middle, middle[::-1]]), np.concatenate([low, high[::-1]])
    band = f"{BAND[0]:.0%} to {BAND[1]:.0%} of the values".replace("%", " %")
    faint: dict[str, Any] = {"color": color, "alpha": 0.22, "gid": band}
    axes.fill(*ends, lw=0, **faint)
    marker = "o-" if len(groups) == 1 else "-"
    axes.plot(middle, median, marker, color=color, markersize=5, label="median")
    for share, edge in zip(BAND, (low, high), strict=True):
        axes.plot(
            middle, edge, label=f"{share:.0%} of the values below", lw=0.5, **faint
        )
    decades = median.max() > LOG_RATIO * median.min()
    if low.min() > 0 and (decades if logs is None else logs):
        axes.set_yscale("log")
    if logs and middle.min() > 0:
        axes.set_xscale("log")


def _formatter() -> Any:
    """Return a formatter of ticks that writes powers of ten without mathtext.

    Matplotlib's own takes longer over mathtext than over the rest of a panel.
    """
    from matplotlib.ticker import ScalarFormatter

    class PowersOfTen(ScalarFormatter):
        def get_offset(self) -> str:
            power = super().get_offset().removeprefix("1e")
            return power and f"×10{power.translate(SUPERSCRIPTS)}"

    formatter = PowersOfTen()
    formatter.set_powerlimits((-4, 6))  # A power stands apart from its ticks.
    return formatter


def _log_formatter() -> Any:
    """Return a formatter of logarithmic axes that does without mathtext, too."""
    from matplotlib.ticker import LogFormatterSciNotation

    class PowersOfTen(LogFormatterSciNotation):
        def __call__(self, x: float, pos: int | None = None) -> str:
            said = MATHTEXT.sub(r"\1", super().__call__(x, pos))
            said = said.replace(r"\times", "×").replace("-", "−")
            return POWER.sub(lambda found: found[1].translate(SUPERSCRIPTS), said)

    return PowersOfTen()
