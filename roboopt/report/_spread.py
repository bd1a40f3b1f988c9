"""Many noisy values over something, as what is usual of them and how far they spread.

Neighbors are taken together, about as many each time: their median is a line, their
first and last tenth the edges of a band, so that ten thousand episodes are as readable
as fifty.
"""

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.ticker import MaxNLocator

from roboopt._core import AnyArray
from roboopt.report._figures import (
    BEFORE_AFTER,
    INK,
    ROUND,
    STYLE,
    inline_svg,
    panel_of,
)

GROUPS = 60  # at most
FEWEST = 5  # in a group, where there are as many
BAND = (0.1, 0.9)
DECADES = 30.0  # Between the usual values, beyond which an axis is logarithmic.


def spread(
    title: str,
    places: Float[AnyArray, " value"],
    values: Float[AnyArray, " value"],
    *,
    axis: str,
    unit: str = "1",
    level: float | None = None,
    logs: bool | None = None,
) -> str:
    """Draw `values` at `places` as a median and a band from 10 to 90 %.

    Args:
        title: of the panel.
        places: where each value is, in rising order.
        values: those that are not finite are left out.
        axis: what the places are.
        unit: of the values.
        level: drawn dashed.
        logs: whether both axes are logarithmic, where they can be; if None, that of the
            values is where they span decades.
    """
    values = np.asarray(values, float)
    finite = np.isfinite(values)
    places, values = np.asarray(places, float)[finite], values[finite]
    with rc_context(STYLE):
        figure, axes = panel_of(title)
        if len(values):
            groups = np.array_split(np.arange(len(values)), _groups(len(values)))
            middle = np.array([places[g].mean() for g in groups])
            usual = np.array([np.median(values[g]) for g in groups])
            low, high = np.array([np.quantile(values[g], BAND) for g in groups]).T
            color = BEFORE_AFTER["after"]
            axes.fill_between(middle, low, high, color=color, alpha=0.22, lw=0)
            axes.plot(middle, usual, color=color)
            if len(groups) == 1:
                axes.plot(middle, usual, "o", color=color, markersize=5)
            decades = usual.max() > DECADES * usual.min()
            if low.min() > 0 and (decades if logs is None else logs):
                axes.set_yscale("log")
            if logs and middle.min() > 0:
                axes.set_xscale("log")
        if level is not None:
            axes.axhline(level, color=INK, ls="--", lw=1)
        axes.set_xlabel(axis)
        axes.set_ylabel(f"[{unit}]")
        if axes.get_xscale() == "linear":
            axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
        return inline_svg(figure, f"{title} over {axis}")


def _groups(count: int) -> int:
    few = count if count < 2 * GROUPS // FEWEST else count // FEWEST
    return max(1, min(GROUPS, few))
