"""The motions section of a report: every observation and action over time."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from roboopt.report._figures import COLORS
from roboopt.report._motion_figures import Panel, traces
from roboopt.report._page import Figure, Section
from roboopt.rollouts import Evaluation, Signals

MAX_PANELS, MAX_EPISODES = 24, 9


def motions(
    signals: Signals,
    evaluations: Mapping[str, Evaluation],
) -> Section:
    """Return the section with the first motions of each policy.

    Args:
        signals: names and units of the axes.
        evaluations: by the policy's name, one of `COLORS`.
    """
    episodes = {
        name: found.trajectories.episodes()[:MAX_EPISODES]
        for name, found in evaluations.items()
    }
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
    legend = {name: COLORS[name] for name in evaluations}
    return Section("Motions", [Figure(drawn, caption, legend)])


def padded(rows: Sequence[np.ndarray]) -> Float[np.ndarray, "row time"]:
    """Return rows of different lengths as one array, with NaN after each row's end."""
    array = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, values in zip(array, rows, strict=True):
        row[: len(values)] = values
    return array
