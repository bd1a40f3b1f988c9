"""Panels of an identification: intervals, forecasts, and predicted motion."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from roboopt.report import (
    BEFORE_AFTER,
    GRAY,
    INK,
    PANEL_SIZE,
    Drawing,
    panel,
    shortened,
)
from roboopt.sysid._forecast import NO_ERROR
from roboopt.sysid._parameters import Parameter

COLORS = {
    "fitted": BEFORE_AFTER["after"],
    "URDF": BEFORE_AFTER["before"],
    "constant velocity": GRAY,
}
"""The color of each model's forecasts."""
ROW_HEIGHT = 0.19  # inches
FRAME_HEIGHT = 1.33  # inches above and below the rows: title, axis
MAX_LABEL = 22  # characters of a name beside an axis, which takes the rest
MIN_MARGIN = 1e-6  # of an axis to either side
MAX_RATIO = 10.0  # of losses on a linear axis
MAX_OVERSHOOT = 0.6  # of the measured range; curves that go further are cut off
STILL = 1e-6  # of its value, which a joint at rest varies by at most
MAX_STILL_ROOM = 1.0  # rad, m, rad/s or m/s: around the line of a joint at rest


def whiskers(title: str, unit: str, rows: Sequence[tuple[str, Parameter]]) -> Drawing:
    """Draw named parameters less their starts, one under the other, with intervals.

    Those without an interval are hollow; crosses mark true values.
    """
    height = max(FRAME_HEIGHT + ROW_HEIGHT * len(rows), 0.7 * PANEL_SIZE[1])
    label, under = f"{title}: estimates with intervals", f"estimate − start [{unit}]"
    color, seen = COLORS["fitted"], [0.0]
    with panel(title, under, "", label=label, height=height) as made:
        axes = made.axes
        for place, (_, row) in enumerate(rows):
            ends = [row.lower - row.start, row.upper - row.start]
            known = row.identified and bool(np.isfinite(ends).all())
            if known:
                axes.plot(ends, [place] * 2, color=color, lw=2.2, gid="estimate")
                seen += ends
            change, filled = row.estimate - row.start, color if known else "none"
            own = {"mfc": filled, "mec": color, "ms": 4.5, "gid": "estimate"}
            axes.plot(change, place, "o", **own)
            seen.append(change)
            if row.true is not None:
                own = {"color": INK, "ms": 5.5, "mew": 1.3, "gid": "true value"}
                axes.plot(row.true - row.start, place, "x", **own)
                seen.append(row.true - row.start)
        axes.axvline(0, color=COLORS["URDF"], lw=1.2, zorder=0, gid="start")
        names = shortened([name for name, _ in rows], MAX_LABEL)
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        margin = max(0.06 * (max(seen) - min(seen)), MIN_MARGIN)
        axes.set_xlim(min(seen) - margin, max(seen) + margin)
        axes.grid(axis="y", visible=False)
        made.ticks(4 if max(map(len, names)) <= MAX_LABEL // 2 else 3)
    return made


def forecast_errors(
    title: str,
    unit: str,
    seconds: Sequence[float],
    errors: Mapping[str, Float[np.ndarray, " time"]],
) -> Drawing:
    """Draw root mean square errors, by model, over how far ahead was forecast."""
    label = f"{title}: forecast errors"
    with panel(title, "forecast after [s]", f"RMSE [{unit}]", label=label) as made:
        for name, values in errors.items():
            drawn = np.isfinite(values) & (values > NO_ERROR)
            seen = np.where(drawn, values, np.nan)
            made.axes.plot(seconds, seen, "o-", color=COLORS[name], ms=4, label=name)
        made.axes.set_yscale("log")
        made.axes.set_xlim(0, 1.05 * max(seconds))
    return made


def predictions(
    title: str,
    unit: str,
    time: Float[np.ndarray, " time"],
    measured: Float[np.ndarray, " time"],
    predicted: Mapping[str, Float[np.ndarray, "window node"]],
    *,
    label: str | None = None,
) -> Drawing:
    """Draw predicted motion, in windows that share ends, over the measured one."""
    label = f"{title}: predicted and measured" if label is None else label
    bottom, top = _view(measured, predicted)
    span = top - bottom
    with panel(title, "time [s]", f"[{unit}]", label=label) as made:
        own = {"color": INK, "alpha": 0.35, "lw": 3.5, "label": "measured"}
        made.axes.plot(time, measured, **own)
        for name, windows in predicted.items():
            steps = windows.shape[1] - 1
            for number, values in enumerate(windows):
                along = time[number * steps : (number + 1) * steps + 1]
                own = {"color": COLORS[name], "lw": 1.2, "label": name}
                # Far out, the number is of no interest and breaks the drawing.
                values = np.clip(values, bottom - span, top + span)
                made.axes.plot(along, values, **own)
        made.axes.set_ylim(bottom, top)
        made.axes.set_xlim(time[0], time[-1])
    return made


def _view(
    measured: Float[np.ndarray, " time"],
    predicted: Mapping[str, Float[np.ndarray, "window node"]],
) -> tuple[float, float]:
    """Return what the vertical axis spans: the measured motion, and some around it.

    A joint at rest has no range that errors could be judged by: its axis spans these.
    """
    low, high = float(np.nanmin(measured)), float(np.nanmax(measured))
    curves = np.concatenate([np.ravel(windows) for windows in predicted.values()])
    curves = curves[np.isfinite(curves)]
    least, room = STILL * max(abs(low), abs(high), STILL), MAX_OVERSHOOT * (high - low)
    if high - low <= least:
        far = max(low - curves.min(initial=low), curves.max(initial=high) - high)
        room = max(min(1.1 * far, MAX_STILL_ROOM), least)
    seen = np.clip(np.append(curves, [low, high]), low - room, high + room)
    margin = 0.05 * (seen.max() - seen.min()) or room
    return max(seen.min() - margin, low - room), min(seen.max() + margin, high + room)


def fit_losses(history: Mapping[str, Float[np.ndarray, " step"]]) -> Drawing:
    """Draw the loss of each fit over the steps of all, that of the last in color."""
    loss, fits = (np.asarray(history[name], float) for name in ("loss", "fit"))
    label = "loss of each fit over its steps"
    with panel("loss", "gradient step", "[1]", label=label) as made:
        for fit in np.unique(fits):
            steps = np.flatnonzero(fits == fit)
            color = COLORS["fitted"] if fit == fits[-1] else GRAY
            own = {"color": color, "ms": 3, "label": f"fit {fit:.0f}"}
            made.axes.plot(steps, loss[steps], "o-", **own)
        if (loss > 0).all() and loss.max() > MAX_RATIO * loss.min():
            made.axes.set_yscale("log")
    return made
