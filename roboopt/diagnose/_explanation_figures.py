"""The figures of an `Explanation`: pull, prediction, the loss on a line, and time."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from roboopt.diagnose._explanation_words import LONG_STEP, SHORT_STEP
from roboopt.report import (
    BEFORE_AFTER,
    GRAY,
    INK,
    PANEL_SIZE,
    Drawing,
    panel,
    readable,
    shortened,
)

if TYPE_CHECKING:
    from roboopt.diagnose._explanation import Explanation, TimeSplit

TERM_COLORS = ("#2f80c9", "#d9772b", "#4a9d6e", "#8a63b8", "#b8864b", "#c05a7a")
RISES = "#b3261e"  # no color of a term
LOG_RANGE = 30.0
MAX_LABEL, MAX_LABELS = 28, 34  # characters of one name, and of all side by side
ROW_HEIGHT = 0.19  # [in]
MARGIN = 0.15  # of the heights, for words below a curve
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 8}
LEGEND["bbox_to_anchor"] = (0.2, 0, 0.8, 1)  # Zoomed panels have numbers on the left.


def pull_panel(found: "Explanation") -> Drawing:
    """Draw the change of the loss that the slopes predict for 1 % more of each row."""
    effect = 0.01 * found.derivatives[:, :-1] * np.array(found.scales)[:, None]
    count, terms = effect.shape
    title, label = "Predicted ΔL if raised by 1 %", "change of L"
    names = shortened(found.names, MAX_LABEL)
    lying = sum(map(len, names)) > MAX_LABELS
    axes = (label, "") if lying else ("parameter", label)
    height = max(PANEL_SIZE[1], ROW_HEIGHT * count) if lying else PANEL_SIZE[1]
    said = f"{title}, by term" if terms > 1 else title
    with panel(title, *axes, label=said, height=height) as made:
        made.rows = "parameter", found.names
        _bars(found, made.axes.barh if lying else made.axes.bar, effect)
        if lying:
            made.axes.axvline(0, color=INK, lw=0.4)
            made.axes.set_yticks(np.arange(count), names, fontsize=7)
            made.axes.invert_yaxis()
            made.ticks(4)
        else:
            made.axes.axhline(0, color=INK, lw=0.4)
            made.axes.set_xticks(np.arange(count), names)
        made.axes.grid(axis="y" if lying else "x", visible=False)
    return made


def layer_panel(found: "Explanation") -> Drawing:
    """Draw the norm of the derivatives of each layer, the first on top, by term."""
    layers, norms = list(found.layers()), found.layer_norms()
    norms = norms[:, :-1] if len(found.terms) > 1 else norms[:, -1:]
    count, terms = norms.shape
    title = "Norm of dL/dp, layer by layer"
    height = max(PANEL_SIZE[1], ROW_HEIGHT * count * max(1.0, terms / 2))
    with panel(title, "norm of dL/dp", "", label=title, height=height) as made:
        _bars(found, made.axes.barh, norms)
        positive = norms[norms > 0]
        if len(positive) and positive.max() > LOG_RANGE * positive.min():
            made.axes.set_xscale("log")
        made.rows = "layer", layers
        names = shortened(layers, MAX_LABEL)
        made.axes.set_yticks(np.arange(count), names, fontsize=7)
        made.axes.invert_yaxis()
        made.axes.grid(axis="y", visible=False)
    return made


def _bars(found: "Explanation", draw: Callable, sizes: np.ndarray) -> None:
    """Draw a group of bars for each row of `sizes`, with a bar for each term."""
    count, terms = sizes.shape
    width = 0.8 / terms
    for i in range(terms):
        places = np.arange(count) + (i - (terms - 1) / 2) * width
        own = {"color": TERM_COLORS[i % len(TERM_COLORS)]}
        draw(places, sizes[:, i], 0.9 * width, gid=readable(found.terms[i].name), **own)


def step_panel(found: "Explanation") -> Drawing:
    """Draw the predicted and the actual decrease of the loss over the learning rate."""
    title = "Decrease of the loss by one step"
    rates, falls = found.learning_rates, found.actual < 0
    rises = np.isfinite(found.actual) & (found.actual > 0)
    with panel(title, "learning rate η", "decrease of L", label=title) as made:
        axes, color = made.axes, BEFORE_AFTER["after"]
        if found.gradient_norm > 0:
            axes.plot(rates, -found.predicted, "--", color=GRAY, label="predicted")
        own = {"color": color, "markersize": 5}
        axes.plot(rates[falls], -found.actual[falls], "o-", label="actual", **own)
        if rises.any():
            own = {"color": RISES, "markersize": 7}
            foot = {"transform": axes.get_xaxis_transform(), "clip_on": False}
            axes.plot(
                rates[rises], 0 * rates[rises], "x", label="L rises", **own, **foot
            )
        axes.set_xscale("log")
        if found.gradient_norm > 0:
            axes.set_yscale("log")
        axes.legend(**LEGEND)
    return made


def line_panel(found: "Explanation") -> Drawing:
    """Draw the loss along −gradient with its tangent, and steps of three lengths."""
    title = "The loss along −η · gradient"
    rates, losses = found.line_rates, found.loss + found.line
    best = 1 / found.curvature
    with panel(title, "learning rate η", "L", label=title) as made:
        axes, color = made.axes, BEFORE_AFTER["after"]
        axes.plot(rates, losses, color=color, label="L")
        # A long step may make L infinite, or not a number.
        low = np.min(losses[np.isfinite(losses)], initial=found.loss)
        tangent = found.loss - found.gradient_norm**2 * rates
        shown = tangent >= low - 0.25 * (found.loss - low)
        own = {"color": GRAY, "label": "slope at the start"}
        axes.plot(rates[shown], tangent[shown], "--", **own)
        axes.plot(0, found.loss, "o", color=INK, markersize=5)
        bottom, top = axes.get_ylim()
        heights = np.interp(
            (SHORT_STEP * best, LONG_STEP * best, rates[-1]), rates, losses
        )
        level = abs(heights[1] - heights[0]) < MARGIN * (top - bottom)
        for rate, height in zip(
            (SHORT_STEP * best, LONG_STEP * best, rates[-1]), heights, strict=True
        ):
            kept = (found.loss - height) / (found.gradient_norm**2 * rate)
            said = f"keeps {100 * kept:.0f} %" if kept > 0 else "L rises"
            marker, own = ("o", color) if kept > 0 else ("x", RISES)
            axes.plot(rate, height, marker, color=own, markersize=7)
            # The words lie side by side, and on the side that the curve leaves free.
            falling = np.interp(0.99 * rate, rates, losses) > height
            below = falling or (level and rate == LONG_STEP * best)
            right = rate < best or (below and not falling)
            shift = (6 if right else -6, -12 if below and rate > best else 6)
            own = {"textcoords": "offset points", "fontsize": 8}
            own["ha"] = "left" if right else "right"
            axes.annotate(said, (rate, height), shift, **own)
        axes.margins(y=MARGIN)
        axes.legend(**LEGEND)
    return made


def time_panel(split: "TimeSplit") -> Drawing:
    """Draw dL/da over time, the root mean square over the starts."""
    title = "How much L depends on each action"
    with panel(title, "time [s]", "rms dL/da", label=f"{title}, over time") as made:
        times = np.arange(len(split.sensitivity)) * split.time_step
        own = {"color": BEFORE_AFTER["after"], "label": "rms dL/da"}
        made.axes.plot(times, split.sensitivity, **own)
        positive = split.sensitivity[split.sensitivity > 0]
        if len(positive) and positive.max() > LOG_RANGE * np.median(positive):
            made.axes.set_yscale("log")
    return made
