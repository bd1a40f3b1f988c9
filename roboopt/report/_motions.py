"""The motions section of a report: every observation and action over time."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from roboopt.data import Trajectory
from roboopt.report._motion_figures import Panel, traces
from roboopt.report._page import Figure, Section
from roboopt.rollouts import Signals

MAX_PANELS = 24


def motions(
    signals: Signals,
    episodes: Mapping[str, Sequence[Trajectory]],
    legend: Mapping[str, str],
) -> Section:
    """Return the section with the motions of each policy.

    Args:
        signals: names and units of the axes.
        episodes: by the policy's name, a few episodes in the order of drawing.
        legend: from the policy's name to its color.
    """
    count = len(signals.observations)
    axes = [*signals.observations, *signals.actions]
    panels = []
    for k, (name, unit) in enumerate(axes[:MAX_PANELS]):
        rows = {
            policy: padded(
                [
                    np.asarray(episode.observations)[:, k]
                    if k < count
                    else np.asarray(episode.actions, float)[:, k - count]
                    for episode in shown
                ]
            )
            for policy, shown in episodes.items()
        }
        panels.append(Panel(name, unit, rows))
    *_, last = episodes.values()
    caption = (
        f"Observations and actions in {len(last)} of the episodes, the first in bold."
    )
    if len(axes) > MAX_PANELS:
        caption += f" The first {MAX_PANELS} of {len(axes)} are drawn."
    drawn = traces(panels, last[0].time_step)
    return Section("Motions", [Figure(drawn, caption, legend)])


def padded(rows: Sequence[np.ndarray]) -> Float[np.ndarray, "row time"]:
    """Return rows of different lengths as one array, with NaN after each row's end."""
    array = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, values in zip(array, rows, strict=True):
        row[: len(values)] = values
    return array
