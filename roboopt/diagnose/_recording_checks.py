"""Checks: what is wrong with recordings, before a model is fitted to it."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import Trajectory, sample_times, single_recordings
from roboopt.diagnose._finding import Finding
from roboopt.diagnose._joint_checks import JOINT_CHECKS, STILL, Joint

UNEVEN = 1e-3  # Of the median step: less matters to nobody.
GAP = 3.0  # Median steps.
SLOW_SAMPLING = 0.5  # [s]: no dynamics are seen between samples so far apart.


def check_recordings(
    recordings: Sequence[Trajectory] | Trajectory,
    *,
    effort_limits: Any = None,
    lower: Any = None,
    upper: Any = None,
    revolute: Sequence[bool] | None = None,
    joint_names: Sequence[str] | None = None,
) -> list[Finding]:
    """Return what looks wrong in recordings of [q, q̇] and efforts, errors first.

    Their `efforts` are looked at, or else their actions, where there is one a joint.

    Args:
        recordings: of one robot; batches are taken apart.
        effort_limits: [N·m or N], one for all joints or one each; infinite for none.
        lower: positions [rad or m], likewise.
        upper: positions [rad or m], likewise.
        revolute: which joints turn, all where None.
        joint_names: for the messages; joints are numbered from 0 where None.

    Raises:
        RobooptError: if there are no recordings, observations are not [q, q̇] of one
            number of joints, or another argument does not fit that number.
    """
    runs = single_recordings(recordings)
    if not runs:
        raise RobooptError("`recordings` must hold at least one recording, got none.")
    joints = _joints(runs)
    limits = _per_joint("effort_limits", effort_limits, math.inf, joints)
    lowest = _per_joint("lower", lower, -math.inf, joints)
    highest = _per_joint("upper", upper, math.inf, joints)
    turns = [True] * joints if revolute is None else list(revolute)
    names = [str(k) for k in range(joints)] if joint_names is None else joint_names
    for name, value in (("revolute", turns), ("joint_names", names)):
        if len(value) != joints:
            raise RobooptError(
                f"`{name}` must hold one for each of {joints} joints, got {len(value)}."
            )
    findings = []
    for k, run in enumerate(runs):
        where = f"recording {k}"
        broken = [*_not_finite(run, where), *_not_increasing(run, where)]
        findings += broken
        if broken:
            continue  # Nothing that follows would mean anything.
        times = sample_times(run)
        findings += [*_timing(times, where), *_repeated(run, where)]
        efforts = run.actions if run.efforts is None else run.efforts
        for j in range(joints):
            joint = Joint(
                where=f"joint {names[j]} of recording {k}",
                times=times,
                position=np.asarray(run.observations[:, j], float),
                velocity=np.asarray(run.observations[:, joints + j], float),
                effort=(
                    np.asarray(efforts[:, j], float)
                    if efforts.shape[-1] == joints
                    else None
                ),
                effort_limit=limits[j],
                lower=lowest[j],
                upper=highest[j],
                revolute=turns[j],
            )
            for check in JOINT_CHECKS:
                findings += check(joint)
    return sorted(findings, key=lambda finding: finding.severity)


def _joints(runs: list[Trajectory]) -> int:
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


def _not_finite(run: Trajectory, where: str) -> Iterator[Finding]:
    for name in ("times", "observations", "actions", "efforts"):
        value = getattr(run, name)
        if value is None:
            continue
        bad = ~np.isfinite(np.asarray(value, float))
        if bad.any():
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            yield Finding(
                "not finite",
                f"{where} holds values of its {name} that are not finite, "
                f"{bad.sum()} in all, the first at {first}: cut the recording there.",
                "error",
            )


def _not_increasing(run: Trajectory, where: str) -> Iterator[Finding]:
    back = np.flatnonzero(np.diff(sample_times(run)) <= 0)
    if back.size:
        yield Finding(
            "time not increasing",
            f"{where} has samples not later than the one before, {back.size} in all, "
            f"the first of them sample {back[0] + 1}: drop them, or give each run a "
            "recording of its own.",
            "error",
        )


def _timing(times: np.ndarray, where: str) -> Iterator[Finding]:
    steps = np.diff(times)
    low, median, high = 1e3 * np.array([steps.min(), np.median(steps), steps.max()])
    if median > 1e3 * SLOW_SAMPLING:
        unit = "milli" if median < 5e5 else "micro" if median < 5e8 else "nano"
        yield Finding(
            "time unit",
            f"{where} has samples {median / 1e3:g} s apart: if its times are in "
            f"{unit}seconds, convert them to seconds.",
            "warning",
        )
    if high - low > UNEVEN * median:
        yield Finding(
            "uneven steps",
            f"{where} has steps of {low:.3f} to {high:.3f} ms, {median:.3f} ms in the "
            "median: keep its times, or `resample` it.",
            "warning",
        )
    gaps = np.flatnonzero(1e3 * steps > GAP * median)
    if gaps.size:
        yield Finding(
            "gap",
            f"{where} has gaps of more than {GAP:g} median steps, {gaps.size} in all, "
            f"the first of {1e3 * steps[gaps[0]]:.3f} ms after {times[gaps[0]]:.3f} s: "
            "cut it into two recordings there.",
            "warning",
        )


def _repeated(run: Trajectory, where: str) -> Iterator[Finding]:
    observations = np.asarray(run.observations, float)
    joints = observations.shape[-1] // 2
    same = (np.diff(observations, axis=0) == 0).all(axis=1)
    # At rest, rows are the same for a good reason.
    same &= np.abs(observations[1:, joints:]).max(axis=1) > STILL
    if same.any():
        yield Finding(
            "duplicate rows",
            f"{where} has samples that repeat the one before while the robot moves, "
            f"{same.sum()} in all, the first of them sample {np.argmax(same) + 1}: "
            "drop them, or record no faster than the sensors are read.",
            "warning",
        )
