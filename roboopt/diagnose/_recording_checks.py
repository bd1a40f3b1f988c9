"""Checks of recordings, before a model is fitted to them."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt._progress import counted
from roboopt.data import Trajectory, lost_samples, sample_times, single_recordings
from roboopt.diagnose._finding import Finding, error, warning
from roboopt.diagnose._joint_checks import (
    MIN_RATIO_TRAVEL,
    MIN_TRAVEL,
    Joint,
    check_joint,
    other_time_step,
)

WRONG_UNITS = ("degrees", "revolutions", "time_unit")
"""Codes of findings that make all other numbers wrong."""
MAX_UNEVENNESS = 1e-3  # of the median step
MAX_GAP = 3.0  # median steps
MIN_CUT = 10.0  # median steps; over fewer a smooth motion is interpolated
MAX_GAPS, MAX_GAP_SHARE = 3, 0.01  # of the steps
MAX_VALUE = 1e9  # in SI units: larger ones stand for missing ones
MAX_STEP_S = 0.5  # no dynamics are seen between samples farther apart


def check_recordings(
    recordings: Sequence[Trajectory] | Trajectory,
    *,
    names: Sequence[str] | None = None,
    effort_limits: Any = None,
    lower: Any = None,
    upper: Any = None,
    revolute: Sequence[bool] | None = None,
    joint_names: Sequence[str] | None = None,
) -> list[Finding]:
    """Find what looks wrong in recordings of [q, q̇] and efforts, the worst first.

    The checks look at the recordings' `efforts`, or else at their actions, where there
    is one for each joint.

    Args:
        recordings: runs of one robot; batches are taken apart.
        names: names of the recordings, for the findings; "recording 0" and so on if
            None.
        effort_limits: limits [N·m or N], one for all joints or one each; infinite for
            none.
        lower: lower limits of the positions [rad or m], likewise.
        upper: upper limits of the positions [rad or m], likewise.
        revolute: which joints turn; all of them if None.
        joint_names: names of the joints, for the findings; numbers from 0 if None.

    Raises:
        RobooptError: if there are no recordings, observations are not [q, q̇] of one
            number of joints, or another argument does not fit that number.
    """
    runs = single_recordings(recordings)
    if not runs:
        raise RobooptError("`recordings` must hold at least one, got none.")
    sizes = {run.observations.shape[-1] for run in runs}
    if len(sizes) > 1 or min(sizes) % 2:
        raise RobooptError(
            "`recordings` must hold observations [q, q̇] of one number of joints, got "
            f"sizes {sorted(sizes)}."
        )
    count = min(sizes) // 2
    joints: list[Any] = list(
        zip(
            _one_each("joint_names", joint_names, range(count)),
            _per_joint("effort_limits", effort_limits, math.inf, count),
            _per_joint("lower", lower, -math.inf, count),
            _per_joint("upper", upper, math.inf, count),
            _one_each("revolute", revolute, [True] * count),
            strict=True,
        )
    )
    keeping = [
        any(_keeps_limits(run.observations[:, j], *known[1:3]) for run in runs)
        for j, (_, *known) in enumerate(joints)
    ]
    default = [f"recording {k}" for k in range(len(runs))]
    findings = []
    for name, run in zip(_one_each("names", names, default), runs, strict=True):
        # After an error in times or values the other checks would mean nothing.
        broken = [*_broken(run)]
        for found in broken or _sampling(run):
            findings.append(dataclasses.replace(found, where=name))
        q, velocity = np.split(np.asarray(run.observations, float), 2, axis=1)
        efforts = np.asarray(run.actions if run.efforts is None else run.efforts, float)
        moved = []
        for j, (_, *known) in enumerate([] if broken else joints):
            effort = efforts[:, j] if efforts.shape[-1] == count else None
            motion = sample_times(run), q[:, j], velocity[:, j], effort
            moved.append(Joint(*motion, *known, keeps_limits=keeping[j]))
        if step := other_time_step(moved):
            findings.append(dataclasses.replace(step, where=name))
        for (joint, *_), one in zip(joints, moved, strict=False):
            for found in check_joint(one):
                if step and found.code == "velocity_mismatch":
                    continue
                where = f"joint {joint} of {name}"
                findings.append(dataclasses.replace(found, where=where))
    return sorted(findings, key=lambda f: (f.severity, f.code not in WRONG_UNITS))


def _keeps_limits(position: Any, lower: float, upper: float) -> bool:
    """Return whether a joint moves, and its positions are within finite limits."""
    low, high = np.min(position), np.max(position)
    limited = math.isfinite(lower) and math.isfinite(upper)
    moves = bool(high - low > MIN_RATIO_TRAVEL)
    return limited and moves and bool(lower <= low and high <= upper)


def _per_joint(name: str, value: Any, default: float, joints: int) -> list[float]:
    array = np.asarray(default if value is None else value, float)
    if array.shape not in ((), (joints,)):
        raise RobooptError(
            f"`{name}` must be one number or {joints}, got shape {array.shape}."
        )
    return np.broadcast_to(array, (joints,)).tolist()


def _one_each(name: str, value: Any, default: Sequence[Any]) -> Sequence[Any]:
    if value is not None and len(value) != len(default):
        raise RobooptError(f"`{name}` must hold {len(default)}, got {len(value)}.")
    return default if value is None else value


def _broken(run: Trajectory) -> Iterator[Finding]:
    """Find values that are not finite or lost, and times that do not increase."""
    for name in ("times", "observations", "actions", "efforts"):
        value = getattr(run, name)
        value = np.asarray(0 if value is None else value, float)
        bad = np.argwhere(~np.isfinite(value))
        if len(bad):
            yield error(
                "not_finite",
                f"the {name} hold {len(bad)} values that are not finite, the first at "
                f"{tuple(bad[0].tolist())}: cut the recording there.",
            )
        large = np.argwhere(np.isfinite(value) & (np.abs(value) > MAX_VALUE))
        if len(large):
            place = tuple(large[0].tolist())
            yield error(
                "too_large",
                f"the {name} hold {len(large)} values beyond any robot's, the first "
                f"{value[place]:.3g} at {place}: remove these samples.",
            )
    positions, _ = np.split(np.asarray(run.observations, float), 2, axis=1)
    zeros = np.flatnonzero(lost_samples(positions))
    if zeros.size:
        yield error(
            "zeros",
            f"all positions of {zeros.size} samples, {zeros[0]} to {zeros[-1]}, are 0 "
            "at once, far from those around: lost samples; cut them.",
        )
    back = np.flatnonzero(np.diff(sample_times(run)) <= 0)
    if back.size:
        yield error(
            "time_not_increasing",
            f"{back.size} samples are not later than the sample before, the first of "
            f"them sample {back[0] + 1}: drop them, or give each run a recording of "
            "its own.",
        )


def _sampling(run: Trajectory) -> Iterator[Finding]:
    """Find steps that are long or uneven, gaps, and samples that repeat."""
    times = sample_times(run)
    steps = np.diff(times)
    low, median, high = steps.min(), float(np.median(steps)), steps.max()
    if median > MAX_STEP_S:
        unit = "milli" if median < 500 else "micro" if median < 5e5 else "nano"
        yield warning(
            "time_unit",
            f"the samples are {median:g} s apart: if the times are in {unit}seconds, "
            "convert them to seconds.",
        )
    if high - low > MAX_UNEVENNESS * median:
        yield warning(
            "uneven_steps",
            f"the steps are {1e3 * low:.3f} to {1e3 * high:.3f} ms long, "
            f"{1e3 * median:.3f} ms in the median: keep the times, or `resample` the "
            "recording.",
        )
    gaps = np.flatnonzero(steps > MAX_GAP * median)
    # Many are no gaps, but the uneven steps that the warning above tells of.
    if 0 < gaps.size <= max(MAX_GAPS, MAX_GAP_SHARE * steps.size):
        longest = gaps[steps[gaps].argmax()]
        advice = "cut the recording there"
        if steps[longest] < MIN_CUT * median:
            advice = "so short, it needs no cut where the motion is smooth"
        yield warning(
            "gap",
            f"{counted(gaps.size, 'gap')} of more than {MAX_GAP:g} median steps, the "
            f"longest of {1e3 * steps[longest]:.3f} ms after {times[longest]:.3f} s: "
            f"{advice}.",
        )
    observations = np.asarray(run.observations, float)
    same = (np.diff(observations, axis=0) == 0).all(axis=1)
    # A robot at rest has equal rows for a good reason.
    velocities = observations[1:, observations.shape[-1] // 2 :]
    same &= np.abs(velocities).max(axis=1) > MIN_TRAVEL
    # A coarse encoder repeats positions, but not the efforts beside them.
    efforts = np.asarray(run.actions if run.efforts is None else run.efforts)
    same[:-1] &= (np.diff(efforts, axis=0) == 0).all(axis=1)
    if same.any():
        yield warning(
            "duplicate_rows",
            f"{same.sum()} samples repeat the sample before while the robot moves, the "
            f"first of them sample {np.argmax(same) + 1}: drop them, or record no "
            "faster than the sensors are read.",
        )
