"""Panels of motions and energies: what several controllers or models did over time."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from roboopt._display import shortened
from roboopt.report._drawing import INK, Drawing
from roboopt.report._figures import COLORS, GRAY, PANEL_SIZE, TOLERANCE, over, panel

MAX_POINTS = 400  # of a curve: more than there are pixels is only a larger file
FAINT: dict[Any, Any] = {
    "path.simplify_threshold": 0.2
}  # of a point: no values are read from them
LIMIT_REACH = 2.5  # times the largest value, beyond which a limit is only written down
MAX_LEVEL = 34  # characters of names side by side; more are turned
MAX_STANDING = 16  # characters of a name below a bar; longer ones are before rows
MAX_LABEL, ROW_HEIGHT = 30, 0.19  # characters, inches
BAR_LABELS: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7}


@dataclass(frozen=True)
class Panel:
    """Something over time in several runs: one panel of `traces`."""

    title: str
    unit: str
    runs: Mapping[str, Float[np.ndarray, "run time"]]
    """By label, such as "before" and "after"; the first run is drawn in bold."""
    goals: Sequence[float] = ()
    """Drawn dashed."""
    limits: Sequence[float] = ()
    """Drawn dotted where they are near, and written down where they are far."""
    tolerances: Sequence[tuple[float, float]] = ()
    """Shaded intervals, in one of which a motion must be to succeed."""
    window: float = 0.0
    """The end of a motion in which it must be there, shaded darker [s]."""


def traces(
    panels: Sequence[Panel], time_step: float | None, names: Sequence[str] = ()
) -> list[Drawing]:
    """Draw each panel's runs over time, those of several labels over each other.

    Args:
        panels: in order.
        time_step: of all runs [s]; None where nothing tells it: the axis counts steps.
        names: of the runs, such as "test start 3", for tables of their values.
    """
    steps = [r.shape[-1] - 1 for shown in panels for r in shown.runs.values()]
    longest = max(steps, default=1) * (time_step or 1.0)
    return [_trace(shown, time_step, longest, names) for shown in panels]


def _trace(
    shown: Panel, time_step: float | None, longest: float, names: Sequence[str]
) -> Drawing:
    from matplotlib import rc_context

    label, axis, step = over(shown.title, "time"), "time [s]", time_step or 1.0
    if time_step is None:
        label, axis = over(shown.title, "steps"), "step"
    with panel(shown.title, axis, f"[{shown.unit}]", label=label) as made:
        reach = 0.0
        for name, runs in shown.runs.items():
            runs = np.asarray(runs, float)
            seen = np.arange(0, runs.shape[-1], max(1, runs.shape[-1] // MAX_POINTS))
            time, color = seen * step, COLORS.get(name, GRAY)
            own = {"color": color, "gid": name}
            above = {"label": name, "zorder": 2.1, **own}  # of lines, which is 2
            first = made.axes.plot(time, runs[0, seen], **above)
            with rc_context(FAINT):
                faint = {"alpha": 0.25, "lw": 0.8, **own}
                lines = made.axes.plot(time, runs[1:, seen].T, **faint)
            for line, run in zip([*first, *lines], names, strict=False):
                made.columns[line] = f"{name}, {run}"
            finite = np.abs(runs[np.isfinite(runs)])
            reach = max(reach, finite.max(initial=0.0))
        for goal in shown.goals:
            made.axes.axhline(goal, color=INK, ls="--", lw=1, gid="goal")
        _draw_limits(made.axes, shown, reach)
        _shade_tolerances(made.axes, shown, longest)
        made.axes.set_xlim(0, longest or step)
    return made


def tolerance_sentence(window: float) -> str:
    """Say what is shaded in panels of quantities with tolerances."""
    when = f"for the last {window:g} s, shaded darker" if window else "at the end"
    return f"To succeed, a motion must stay in the shaded tolerances {when}."


def _shade_tolerances(axes: Any, shown: Panel, longest: float) -> None:
    view, own = axes.get_ylim(), {"color": TOLERANCE, "lw": 0, "gid": "tolerance"}
    for low, high in shown.tolerances:
        if high >= view[0] and low <= view[1]:
            axes.axhspan(low, high, alpha=0.12, zorder=0, **own)
            for edge in (low, high):  # A narrow tolerance is a line.
                line = {"color": TOLERANCE, "lw": 0.6, "gid": "tolerance"}
                axes.axhline(edge, zorder=0, **line)
            end = (longest - shown.window) / longest, 1
            axes.axhspan(low, high, *end, alpha=0.3, zorder=0, **own)
    axes.set_ylim(view)


def _draw_limits(axes: Any, shown: Panel, reach: float) -> None:
    """Draw the limits, or name them where drawing would flatten the curves."""
    finite = [limit for limit in shown.limits if np.isfinite(limit)]
    near = [limit for limit in finite if abs(limit) <= LIMIT_REACH * reach]
    for limit in near:
        axes.axhline(limit, color=INK, ls=":", lw=1.2, gid="limit")
    if finite and not near:
        text = " and ".join(f"{limit:+.3g}" for limit in sorted(finite))
        if len(finite) == 2 and finite[0] == -finite[1]:
            text = f"±{abs(finite[0]):.3g}"
        axes.set_title(
            f"limit {text} {shown.unit}", loc="right", fontsize=8, fontweight="normal"
        )


def bars(
    title: str,
    unit: str,
    values: Mapping[str, np.ndarray],
    names: Sequence[str],
    *,
    axis: str = "joint",
) -> Drawing:
    """Draw one group of bars a name, one bar a label.

    Args:
        title: of the panel.
        unit: of the values.
        values: by label, such as "before" and "after", (names,).
        names: under the groups; their common beginning goes under the axis.
        axis: what the names are of.
    """
    prefix = _common_prefix(names)
    shown = [name.removeprefix(prefix) for name in names]
    lying = max(map(len, shown)) > MAX_STANDING
    under = f"{prefix}…" if prefix else axis
    height = max(PANEL_SIZE[1], ROW_HEIGHT * len(names) * max(2, len(values)))
    own = {"label": title + f" by {axis}" * bool(axis), "height": PANEL_SIZE[1]}
    sides = (under, f"[{unit}]")
    if lying:
        sides, own["height"] = (f"[{unit}]", ""), height
    with panel(title, *sides, **own) as made:
        made.rows = axis or "name", names
        axes, places = made.axes, np.arange(len(names))
        width = 0.8 / len(values)
        highest = max(float(np.max(v, initial=0.0)) for v in values.values())
        for i, (label, heights) in enumerate(values.items()):
            centers = places + (i - (len(values) - 1) / 2) * width
            color = {"color": COLORS.get(label, GRAY), "gid": label}
            draw = axes.barh if lying else axes.bar
            draw(centers, heights, 0.92 * width, **color)
            for x, height in zip(centers, heights, strict=True):
                # Numbers over many low bars would run into each other.
                if lying or len(names) <= 3 or height > 0.05 * highest:
                    text = f"{height:.2g}" if abs(height) < 100 else f"{height:.0f}"
                    at, shift = (
                        ((height, x), (2, 0)) if lying else ((x, height), (0, 1.5))
                    )
                    side = {"va": "center_baseline"} if lying else {"ha": "center"}
                    axes.annotate(text, at, shift, gid=label, **side, **BAR_LABELS)
        axes.grid(axis="y" if lying else "x", visible=False)
        if lying:
            axes.set_yticks(places, shortened(shown, MAX_LABEL), fontsize=7)
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.margins(x=0.15)
            made.ticks(4)
        else:
            axes.set_xticks(places, shown)
            if sum(map(len, shown)) > MAX_LEVEL:
                for label in axes.get_xticklabels():
                    label.set(rotation=30, ha="right", rotation_mode="anchor")
            axes.margins(y=0.12)
            middle, half = (len(names) - 1) / 2, max(len(names), 3) / 2
            axes.set_xlim(middle - half, middle + half)
    return made


def _common_prefix(names: Sequence[str]) -> str:
    """Return the beginning that all names share, up to an underscore."""
    prefix = os.path.commonprefix([name[:-1] for name in names]) if names[1:] else ""
    return prefix[: prefix.rfind("_") + 1]
