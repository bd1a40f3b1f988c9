"""Figures of an identification: intervals, forecast errors, predicted motion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from roboopt.report._figures import (
    BEFORE_AFTER,
    INK,
    ROUND,
    SIZE,
    STYLE,
    inline_svg,
    panel_of,
)

MODELS = {
    "fitted": BEFORE_AFTER["after"],
    "URDF": BEFORE_AFTER["before"],
    "constant velocity": "#7a7f87",
}
"""Colors of the models that are compared."""
ROW_IN = 0.19
MARGINS_IN = 1.05 + 0.28  # above and below the rows
MIN_MARGIN = 1e-6  # of an axis, on either side
MAX_OVERSHOOT = 0.6  # of the measured range, beyond which a curve is cut off


@dataclass(frozen=True)
class Change:
    """The change of one parameter from the start to the estimate."""

    name: str
    change: float
    lower: float
    upper: float
    """Ends of the interval, infinite where there is none."""
    true: float | None = None
    """The true value less the start, where it is known."""

    @property
    def known(self) -> bool:
        """Return whether the change has an interval."""
        return bool(np.isfinite([self.lower, self.upper]).all())


def whiskers(title: str, unit: str, rows: Sequence[Change]) -> str:
    """Draw changes one under the other, with their intervals.

    Changes without an interval are hollow; crosses mark true values.
    """
    from matplotlib import rc_context
    from matplotlib.ticker import MaxNLocator

    with rc_context(STYLE):
        height = max(MARGINS_IN + ROW_IN * len(rows), 0.7 * SIZE[1])
        figure, axes = panel_of(title, height)
        color = MODELS["fitted"]
        for place, row in enumerate(rows):
            if row.known:
                axes.plot([row.lower, row.upper], [place] * 2, color=color, lw=2.2)
            filled = color if row.known else "none"
            axes.plot(row.change, place, "o", mfc=filled, mec=color, ms=4.5)
            if row.true is not None:
                axes.plot(row.true, place, "x", color=INK, ms=5.5, mew=1.3)
        axes.axvline(0, color=MODELS["URDF"], lw=1.2, zorder=0)
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(*_limits(rows))
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND))
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"estimate − start [{unit}]")
        return inline_svg(figure, f"{title}: estimates with intervals")


def forecast_errors(
    title: str,
    unit: str,
    seconds: Sequence[float],
    errors: Mapping[str, Float[np.ndarray, " time"]],
) -> str:
    """Draw root mean square errors by forecast time.

    Args:
        title: title of the panel.
        unit: unit of the errors.
        seconds: forecast times [s].
        errors: errors by label, one of `MODELS`.
    """
    from matplotlib import rc_context

    with rc_context(STYLE):
        figure, axes = panel_of(title)
        for label, values in errors.items():
            seen = np.where(np.isfinite(values) & (values > 0), values, np.nan)
            axes.plot(seconds, seen, "o-", color=MODELS[label], ms=4)
        axes.set_yscale("log")
        axes.set_xlim(0, 1.05 * max(seconds))
        axes.set_xlabel("forecast after [s]")
        axes.set_ylabel(f"RMSE [{unit}]")
        return inline_svg(figure, f"{title}: forecast errors")


def predictions(
    title: str,
    unit: str,
    time: Float[np.ndarray, " time"],
    measured: Float[np.ndarray, " time"],
    predicted: Mapping[str, Float[np.ndarray, "window node"]],
) -> str:
    """Draw windows of predicted motion over the measured motion.

    Args:
        title: title of the panel.
        unit: unit of the values.
        time: times of the measured samples [s].
        measured: measured values.
        predicted: values by label, in consecutive windows that share their ends.
    """
    from matplotlib import rc_context
    from matplotlib.ticker import MaxNLocator

    with rc_context(STYLE):
        figure, axes = panel_of(title)
        axes.plot(time, measured, color=INK, alpha=0.35, lw=3.5)
        for label, windows in predicted.items():
            steps = windows.shape[1] - 1
            for number, values in enumerate(windows):
                first = number * steps
                along = time[first : first + steps + 1]
                axes.plot(along, values, color=MODELS[label], lw=1.2)
        low, high = np.nanmin(measured), np.nanmax(measured)
        room = MAX_OVERSHOOT * max(high - low, 1e-9)
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, low - room), min(top, high + room))
        axes.set_xlim(time[0], time[-1])
        axes.set_xlabel("time [s]")
        axes.set_ylabel(f"[{unit}]")
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
        return inline_svg(figure, f"{title}: predicted and measured")


def _limits(rows: Sequence[Change]) -> tuple[float, float]:
    """Return the limits that show all changes, their intervals and 0."""
    seen = [0.0, *(row.change for row in rows)]
    seen += [end for row in rows if row.known for end in (row.lower, row.upper)]
    seen += [row.true for row in rows if row.true is not None]
    low, high = min(seen), max(seen)
    spare = max(0.06 * (high - low), MIN_MARGIN)
    return low - spare, high + spare
