"""Checks of recordings, before a model is fitted to them."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import Trajectory, sample_times, single_recordings
from roboopt.diagnose._finding import Finding, error, warning
from roboopt.diagnose._joint_checks import JOINT_CHECKS, MIN_TRAVEL, Joint

MAX_UNEVENNESS = 1e-3  # of the median step
MAX_GAP = 3.0  # median steps
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
    """Find what looks wrong in recordings of [q, q̇] and efforts, errors first.

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
    count = _joint_count(runs)
    limits = _per_joint("effort_limits", effort_limits, math.inf, count)
    lowest = _per_joint("lower", lower, -math.inf, count)
    highest = _per_joint("upper", upper, math.inf, count)
    turns = _one_each("revolute", revolute, [True] * count)
    joints = _one_each("joint_names", joint_names, [str(j) for j in range(count)])
    named = _one_each("names", names, [f"recording {k}" for k in range(len(runs))])
    findings = []
    for name, run in zip(named, runs, strict=True):
        broken = [*_not_finite(run), *_not_increasing(run)]
        # After an error in times or values the other checks would mean nothing.
        found = broken or [*_timing(sample_times(run)), *_repeated(run)]
        findings += [dataclasses.replace(f, where=name) for f in found]
        for j in range(0 if broken else count):
            joint = _joint(run, j, limits[j], lowest[j], highest[j], turns[j])
            where = f"joint {joints[j]} of {name}"
            for check in JOINT_CHECKS:
                findings += [dataclasses.replace(f, where=where) for f in check(joint)]
    return sorted(findings, key=lambda finding: finding.severity)


def _joint(
    run: Trajectory, j: int, limit: float, lower: float, upper: float, revolute: bool
) -> Joint:
    observations = np.asarray(run.observations, float)
    efforts = np.asarray(run.actions if run.efforts is None else run.efforts, float)
    count = observations.shape[-1] // 2
    return Joint(
        times=sample_times(run),
        position=observations[:, j],
        velocity=observations[:, count + j],
        effort=efforts[:, j] if efforts.shape[-1] == count else None,
        effort_limit=limit,
        lower=lower,
        upper=upper,
        revolute=revolute,
    )


def _joint_count(runs: list[Trajectory]) -> int:
    sizes = {run.observations.shape[-1] for run in runs}
    if len(sizes) > 1 or min(sizes) % 2:
        raise RobooptError(
            "`recordings` must hold observations [q, q̇] of one number of joints, got "
            f"sizes {sorted(sizes)}."
        )
    return min(sizes) // 2


def _per_joint(name: str, value: Any, default: float, joints: int) -> list[float]:
    array = np.asarray(default if value is None else value, float)
    if array.shape not in ((), (joints,)):
        raise RobooptError(
            f"`{name}` must be one number or {joints}, got shape {array.shape}."
        )
    return np.broadcast_to(array, (joints,)).tolist()


def _one_each(name: str, value: Sequence[Any] | None, default: list[Any]) -> list[Any]:
    if value is not None and len(value) != len(default):
        raise RobooptError(f"`{name}` must hold {len(default)}, got {len(value)}.")
    return default if value is None else list(value)


def _not_finite(run: Trajectory) -> Iterator[Finding]:
    for name in ("times", "observations", "actions", "efforts"):
        value = getattr(run, name)
        bad = np.argwhere(
            ~np.isfinite(np.asarray(0 if value is None else value, float))
        )
        if len(bad):
            yield error(
                "not_finite",
                f"the {name} hold {len(bad)} values that are not finite, the first at "
                f"{tuple(bad[0].tolist())}: cut the recording there.",
            )


def _not_increasing(run: Trajectory) -> Iterator[Finding]:
    back = np.flatnonzero(np.diff(sample_times(run)) <= 0)
    if back.size:
        yield error(
            "time_not_increasing",
            f"{back.size} samples are not later than the sample before, the first of "
            f"them sample {back[0] + 1}: drop them, or give each run a recording of "
            "its own.",
        )


def _timing(times: np.ndarray) -> Iterator[Finding]:
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
    if gaps.size:
        yield warning(
            "gap",
            f"{gaps.size} gaps are longer than {MAX_GAP:g} median steps, the first of "
            f"{1e3 * steps[gaps[0]]:.3f} ms after {times[gaps[0]]:.3f} s: cut the "
            "recording in two there.",
        )


def _repeated(run: Trajectory) -> Iterator[Finding]:
    observations = np.asarray(run.observations, float)
    same = (np.diff(observations, axis=0) == 0).all(axis=1)
    # A robot at rest has equal rows for a good reason.
    velocities = observations[1:, observations.shape[-1] // 2 :]
    same &= np.abs(velocities).max(axis=1) > MIN_TRAVEL
    if same.any():
        yield warning(
            "duplicate_rows",
            f"{same.sum()} samples repeat the sample before while the robot moves, the "
            f"first of them sample {np.argmax(same) + 1}: drop them, or record no "
            "faster than the sensors are read.",
        )
