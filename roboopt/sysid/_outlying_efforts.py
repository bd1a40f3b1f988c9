"""Stretches of recordings whose efforts are far from those of any robot: contacts.

A hand on the arm, a wall or a load adds efforts that no parameter explains, and bends
the fit. Least squares in the base parameters are fast, and what they leave shows such a
stretch: its running median, which the short errors at reversals of dry friction do not
move, is many times that of other samples. Least squares are repeated without what was
found, since it moves them.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from roboopt.data import Trajectory
from roboopt.diagnose import Finding
from roboopt.dynamics import ParametricTwin
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._condensed import Condensed, effort_rows, is_condensable
from roboopt.sysid._noise import MIN_SAMPLES, cutoff_frequency
from roboopt.sysid._preparation import evenly, smoothed
from roboopt.sysid._smoothing import least_squares_numbers, positions

OUTLYING = "outlying_efforts"
MEDIAN_S = 0.4  # of which the median is taken: half of it outlasts a reversal
EDGE_PERIODS = 2.0  # of the cutoff, left out: the filter's ends look like a contact
MAX_INSTANTS = 6000
USUAL_SHARE = 0.75  # of the samples, whose medians are at most the usual one
MIN_RATIO = 8.0  # of a median to the usual one
MIN_EFFORT_SHARE = 0.3  # of a joint's RMS effort, below which a fit is hardly bent
ROUNDS = 4


def outlying_efforts(
    start: ParametricTwin, runs: Sequence[Trajectory], names: Sequence[str]
) -> list[Finding]:
    """Return a warning for each stretch of efforts that no robot explains.

    Args:
        start: the robot, whose free parameters are those of the fit.
        runs: recordings of [q, q̇] and of the efforts on all joints.
        names: of the recordings.
    """
    step = float(np.median([run.time_step for run in runs]))
    named = list(zip(evenly(runs, step), names, strict=True))
    named = [(run, name) for run, name in named if run.steps > 2 * MIN_SAMPLES]
    every = max(1, sum(run.steps for run, _ in named) // MAX_INSTANTS)
    error = InverseDynamicsError(
        staggered=True, every=every, scale=np.ones(start.joints)
    )
    driven = start.actuated == tuple(range(start.joints))
    if not named or not driven or not is_condensable(error, start):
        return []
    cutoff = cutoff_frequency(positions([run for run, _ in named]), step)
    parts, begins = [], []
    for run, _ in named:
        (made,) = smoothed([run], cutoff, edge=EDGE_PERIODS / cutoff)
        rows = [part for _, part in effort_rows(error, start, made)]
        parts.append(np.concatenate(rows, axis=1))
        begins.append((run.steps - made.steps + 1) // 2 * step)
    left, outlying = _left(parts, start, width=int(MEDIAN_S / (every * step)) | 1)
    usual = np.sqrt([np.mean(x[~o] ** 2) for x, o in zip(left, outlying, strict=True)])
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    found, revolute = [], np.asarray(start.robot.revolute)
    for (_, name), begin, off, marks in zip(
        named,
        begins,
        np.split(left, ends, axis=1),
        np.split(outlying, ends, axis=1),
        strict=True,
    ):
        for joint in range(start.joints):
            unit = "N·m" if revolute[joint] else "N"
            for first, last in _stretches(marks[joint]):
                size = np.sqrt(np.mean(off[joint, first:last] ** 2))
                at = [begin + k * every * step for k in (first, last)]
                message = (
                    f"between {at[0]:.4g} s and {at[1]:.4g} s from its start the "
                    f"efforts are {size:.3g} {unit} from those of any robot, "
                    f"{size / usual[joint]:.0f} times as far as elsewhere: did it "
                    "touch something? The fit takes this for the robot's own. If so, "
                    "split the recording, and leave that part out."
                )
                where = f"joint {start.robot.joint_names[joint]} of {name}"
                found.append(Finding(OUTLYING, "warning", message, where))
                warnings.warn(str(found[-1]), stacklevel=4)  # long before the result
    return found


def _left(
    parts: Sequence[Float[np.ndarray, "joint instant column"]],
    start: ParametricTwin,
    width: int,
) -> tuple[Float[np.ndarray, "joint instant"], Bool[np.ndarray, "joint instant"]]:
    """Return what least squares of usual samples leave, and which are outlying."""
    from scipy.ndimage import median_filter

    rows = np.concatenate(parts, axis=1)
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    outlying = np.zeros(rows.shape[:2], bool)
    left = np.zeros(rows.shape[:2])
    for _ in range(ROUNDS):
        usual = ~outlying.any(0)
        factors: Any = np.linalg.qr(rows[:, usual], mode="r")
        condensed = Condensed(factors, int(usual.sum()))
        left = rows @ np.append(least_squares_numbers(condensed, start), -1.0)
        medians = [
            median_filter(np.abs(part), size=(1, width), mode="mirror")
            for part in np.split(left, ends, axis=1)
        ]
        medians = np.concatenate(medians, axis=1)
        size = np.sqrt(np.mean(rows[:, usual, -1] ** 2, axis=1))
        known = np.quantile(medians[:, usual], USUAL_SHARE, axis=1)
        least = np.maximum(MIN_RATIO * known, MIN_EFFORT_SHARE * size)
        found = medians > least[:, None]
        if (found == outlying).all() or found.any(0).mean() > 1 - USUAL_SHARE:
            break
        outlying = found
    return left, outlying


def _stretches(marks: Bool[np.ndarray, " instant"]) -> Iterator[tuple[int, int]]:
    """Yield the first instant, and the one after the last, of each marked stretch."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marks, [0]]).astype(int)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
