"""Open-loop simulations of whole recordings as tables, in sentences, and as a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roboopt.dynamics import ParametricTwin
from roboopt.report import Table, write_csv
from roboopt.rollouts import JointUnits
from roboopt.sysid._simulation import (
    AT_REST,
    UNSTABLE_GROWTH,
    Simulations,
)

MODELS = "URDF", "fitted"
MAX_PERCENT_SHARE = 10.0  # that is told in percent
LOST = 1e6  # of a position's unit, or of a motion: no number is of interest


def simulation_table(made: Simulations, model: ParametricTwin) -> Table:
    """Return a row a joint: its motion, the errors, and how long it is followed."""
    header = ("RMSE of simulations", "motion", *MODELS, "URDF off", "fitted off")
    motion = made.pooled(made.motion)
    errors = [made.pooled(made.rmse[name]) for name in MODELS]
    rows = [
        [
            f"{name} [{unit}]",
            _size(motion[joint]),
            *(_size(error[joint]) for error in errors),
            *(_off(made, name, joint) for name in MODELS),
        ]
        for joint, (name, unit) in enumerate(_joints(model))
    ]
    return Table(header, rows, text=(0,), optional=(2, 4))


def recording_table(
    made: Simulations, names: Sequence[str], model: ParametricTwin
) -> Table:
    """Return a row a recording: the fitted robot's error, and when a model is off."""
    joints, rows = model.robot.joint_names, []
    for row, name in enumerate(names):
        motion = made.motion[row]
        moved = motion > AT_REST
        with np.errstate(over="ignore"):
            ratio = made.rmse["fitted"][row][moved] / motion[moved]
            share = float(np.sqrt(np.mean(ratio**2))) if moved.any() else np.nan
        ends = [_time(made.left[m][row].min(), made.seconds[row]) for m in MODELS]
        left = made.left["fitted"][row]
        first = joints[int(left.argmin())] if np.isfinite(left).any() else "–"
        use = "held out" if made.held_out[row] else "fit"
        whole = f"{made.seconds[row]:.3g} s"
        rows.append([name, use, whole, _percent(share), *ends, first])
    header = ("recording", "used for", "simulated", "RMSE / motion", "URDF off")
    return Table((*header, "fitted off", "first joint off"), rows, text=(0, 1, 6))


def simulation_sentence(made: Simulations) -> str:
    """Return how long the fitted robot follows the recordings, and what limits that."""
    judged, held = made.judged, "held-out " if made.held_out.any() else ""
    whole = float(np.median(made.seconds[judged]))
    fitted, urdf = (made.followed(name) for name in ("fitted", "URDF"))
    said = f"Open-loop simulations follow the {held}recordings "
    if not np.isfinite(made.left["fitted"][judged]).any():
        share = made.share("fitted")
        if np.isnan(share):
            return said + "to their ends, but no joint moves there."
        return said + (
            f"to their ends, with errors of {100 * share:.3g} % of the "
            f"motion; those of the robot as given for {urdf:.3g} of {whole:.3g} s."
        )
    said += (
        f"for {fitted:.3g} of {whole:.3g} s until a joint is off by more than its "
        f"motion's standard deviation; those of the robot as given for {urdf:.3g} s. "
    )
    grown = float(np.median(made.unstable[judged]))
    if grown > fitted:
        return said + (
            "Nothing pulls an open-loop simulation back, and its errors add up: the "
            "forecasts over fixed times tell more of the model."
        )
    return said + (
        "The motion is unstable: a change of its start grows "
        f"{UNSTABLE_GROWTH:g} times in {grown:.3g} s, and open loop any model leaves "
        "it; the forecasts over fixed times tell more."
    )


def write_simulations(
    path: Path, names: Sequence[str], made: Simulations, model: ParametricTwin
) -> None:
    """Write a row for each recording and joint, no time where a joint is never off."""
    header = ["recording", "held out", "seconds", "joint", "unit", "motion"]
    header += [f"{name} RMSE" for name in MODELS]
    header += [f"{name} off after [s]" for name in MODELS]
    rows = []
    for row, recording in enumerate(names):
        for joint, (name, unit) in enumerate(_joints(model)):
            left = (made.left[m][row, joint] for m in MODELS)
            rows.append(
                [
                    *(recording, str(bool(made.held_out[row])).lower()),
                    *(made.seconds[row], name, unit, made.motion[row, joint]),
                    *(made.rmse[m][row, joint] for m in MODELS),
                    *(time if np.isfinite(time) else "" for time in left),
                ]
            )
    write_csv(path, header, rows)


def _joints(model: ParametricTwin) -> list[tuple[str, str]]:
    robot = model.robot
    return [
        (name, JointUnits.of(revolute).position)
        for name, revolute in zip(robot.joint_names, robot.revolute, strict=True)
    ]


def _off(made: Simulations, name: str, joint: int) -> str:
    """Return when a joint is off, in the median of the recordings."""
    left = made.left[name][made.judged, joint]
    if 2 * np.isinf(left).sum() > len(left):
        moves = (made.motion[made.judged, joint] > AT_REST).any()
        return "never" if moves else "–"
    return f"{made.followed(name, joint):.3g} s"


def _time(left: float, seconds: float) -> str:
    return f"{left:.3g} s" if left <= seconds else "never"


def _percent(share: float) -> str:
    if np.isnan(share):
        return "–"
    if share < MAX_PERCENT_SHARE:
        return f"{100 * share:.3g} %"
    return f"{share:.3g} ×" if share < LOST else "lost"


def _size(value: float) -> str:
    """Return a size with three digits; of what a simulation lost, no number."""
    return f"{value:.3g}" if value < LOST else "lost"
