"""Evaluations of policies: their table, their record, and their motions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from roboopt.report._figures import COLORS, TOLERANCE
from roboopt.report._motion_figures import Panel, tolerance_sentence, traces
from roboopt.report._page import Figure, Section, Table
from roboopt.report._performance import NoVideo, Performance
from roboopt.report._text import number
from roboopt.rollouts import Evaluation, Signals
from roboopt.view import RobotMotions, Scene

HEADER = ("", "success", "95 % interval", "return", "95 % interval")
MAX_PANELS, MAX_EPISODES = 24, 9


def evaluation_table(evaluations: Mapping[str, Evaluation]) -> Table:
    """Return a row of success rate and mean return for each name."""
    rows = []
    for name, found in evaluations.items():
        cells = ["–", "–"]
        if found.success_rate is not None:
            value, low, high = (f"{100 * share:.0f}" for share in found.success_rate)
            cells = [f"{value} %", f"{low} to {high} %"]
        value, low, high = map(number, found.mean_return)
        rows.append([name, *cells, value, f"{low} to {high}"])
    return Table(HEADER, rows)


def ceiling_notes(evaluations: Mapping[str, Evaluation]) -> list[str]:
    """Say where Student's interval of a mean return ends above what seems the highest.

    That is a return which more than half of the episodes have, and none exceeds.
    """
    notes = []
    for name, found in evaluations.items():
        top, high = found.returns.max(), found.mean_return.high
        if np.mean(found.returns == top) > 0.5 and high > top:
            notes.append(
                f"Most episodes of {name} have the highest return, {number(top)}: its "
                f"interval ends above, at {number(high)}, since Student's knows no "
                "bound of a return."
            )
    return notes


def evaluation_metrics(found: Evaluation | None) -> dict[str, float]:
    """Return the share of successes, if they are known, and the mean return."""
    if found is None:
        return {}
    rate = found.success_rate
    success = {} if rate is None else {"success [%]": 100 * rate.value}
    return {**success, "return": found.mean_return.value}


def evaluation_record(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Return the numbers of evaluations by name, for settings.json."""
    return {
        name: {
            "episodes": len(found.returns),
            "success_rate": found.success_rate,
            "mean_return": found.mean_return,
        }
        for name, found in evaluations.items()
    }


def motions(
    signals: Signals,
    evaluations: Mapping[str, Evaluation],
    video: Performance | NoVideo | None = None,
    time_step: float | None = None,
) -> Section:
    """Return the section with the first motions of each policy.

    Args:
        signals: names and units of the axes.
        evaluations: by the policy's name, one of `COLORS`.
        video: of the policies, which follows the figure if it shows the same motions.
        time_step: [s], where the environment does not tell it.
    """
    episodes = {
        name: found.trajectories.episodes()[:MAX_EPISODES]
        for name, found in evaluations.items()
    }
    axes = [("observations", k, *s) for k, s in enumerate(signals.observations)]
    axes += [("actions", k, *s) for k, s in enumerate(signals.actions)]
    panels, within = [], any(signals.tolerances)
    for field, k, name, unit in axes[:MAX_PANELS]:
        rows = {
            policy: padded([np.asarray(getattr(e, field), float)[:, k] for e in shown])
            for policy, shown in episodes.items()
        }
        shaded = signals.tolerances[k] if field == "observations" and within else ()
        panels.append(Panel(name, unit, rows, (), (), shaded, signals.window))
    *_, found = evaluations.values()
    *_, last = episodes.values()
    caption = (
        f"Observations and actions in test episodes 0 to {len(last) - 1} of "
        f"{len(found.returns)}, from starts that the training did not use; episode 0 "
        "in bold"
    )
    first = {name: shown[0] for name, shown in episodes.items()}
    filmed = video is not None and video.shows(first)
    caption += ", which the video shows." if filmed else "."
    if within:
        caption += f" {tolerance_sentence(signals.window)}"
    if len(axes) > MAX_PANELS:
        caption += f" The first {MAX_PANELS} of {len(axes)} are drawn."
    legend = {name: COLORS[name] for name in evaluations}
    legend |= {"tolerance": TOLERANCE} if within else {}
    names = [f"test episode {k}" for k in range(len(last))]
    step = last[0].time_step if signals.timed else time_step
    drawn = traces(panels, step, names)
    rate = video.rate if isinstance(video, Performance) and filmed else 0.0
    return Section("Motions", [Figure(drawn, caption, legend, filmed=rate)])


def evaluation_motions(
    scene: Scene | None, evaluations: Mapping[str, Evaluation]
) -> RobotMotions | None:
    """Return the first motions of each policy in 3D; None without a robot."""
    if scene is None or not evaluations:
        return None
    count = len(scene.robot.joint_names)
    seen = {
        name: [
            np.asarray(episode.observations, float)
            for episode in found.trajectories.episodes()[:MAX_EPISODES]
        ]
        for name, found in evaluations.items()
    }
    *_, found = evaluations.values()
    *_, last = seen.values()
    return RobotMotions(
        scene,
        {name: [rows[:, :count] for rows in shown] for name, shown in seen.items()},
        float(found.trajectories.time_step),
        [scene.goal(rows[0]) for rows in last],
        [f"test episode {k}" for k in range(len(last))],
    )


def padded(rows: Sequence[np.ndarray]) -> Float[np.ndarray, "row time"]:
    """Return rows of different lengths as one array, with NaN after each row's end."""
    array = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, values in zip(array, rows, strict=True):
        row[: len(values)] = values
    return array
