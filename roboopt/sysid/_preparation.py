"""Preparation of recordings for a fit: one even step, and smoothing."""

from collections.abc import Sequence

import numpy as np

from roboopt.data import Trajectory, resample, smooth
from roboopt.dynamics import Twin
from roboopt.sysid._noise import noise_share

ROUNDING = 1e-6  # relative
EDGE_PERIODS = 0.5  # of the cutoff, cut off at either end of a smoothed recording


def common_step(runs: Sequence[Trajectory]) -> float:
    """Return the step [s] that most runs have."""
    return float(np.median([run.time_step for run in runs]))


def evenly(runs: Sequence[Trajectory], step: float) -> list[Trajectory]:
    """Return the runs with one even step, resampled where their own is another."""
    return [
        run
        if run.times is None and abs(run.time_step - step) <= ROUNDING * step
        else resample(run, step)
        for run in runs
    ]


def largest_noise_share(runs: Sequence[Trajectory], joints: int) -> float:
    """Return the share of noise in a step's motion, of the noisiest joint and run."""
    return max(noise_share(np.asarray(run.observations)[:, :joints]) for run in runs)


def steps_as_simulated(run: Trajectory, twin: Twin) -> bool:
    """Return whether positions move by the next velocity, as simulated ones do."""
    observations = np.asarray(run.observations)
    q, velocity = np.split(observations[:, : 2 * twin.joints], 2, axis=1)
    if abs(run.time_step - twin.time_step) > ROUNDING * twin.time_step:
        return False
    moved = np.diff(q, axis=0)
    gap = np.abs(moved - run.time_step * velocity[1:]).max()
    return bool(gap <= ROUNDING * max(np.abs(moved).max(), 1e-300))


def smoothed(
    runs: Sequence[Trajectory],
    cutoff: float,
    *,
    edge: float | None = None,
    efforts: bool = True,
) -> list[Trajectory]:
    """Return the runs smoothed, without the ends that the filter disturbs.

    Velocities become differences of the smoothed positions, as in the twin: with its
    own q' = q + Δt q̇' no error of a fit is the integrator's. (A driver's velocities are
    such differences too, filtered once more and so later.)

    Args:
        runs: evenly sampled.
        cutoff: frequency [Hz].
        edge: time left out at either end [s]; half a period of the cutoff if None, and
            never more than a quarter of a run.
        efforts: whether to smooth the efforts too, as an equation of motion needs; a
            simulation needs them as they were.
    """
    result = []
    for run in runs:
        made = smooth(run, cutoff)
        joints = made.observations.shape[-1] // 2
        q = np.asarray(made.observations)[:, :joints]
        observations = np.hstack([q[1:], np.diff(q, axis=0) / run.time_step])
        actions = np.asarray((made if efforts else run).actions)[1:]
        out = int(
            np.ceil((EDGE_PERIODS / cutoff if edge is None else edge) / run.time_step)
        )
        steps = len(actions)
        out = min(out, (steps - 2) // 4)
        result.append(
            Trajectory(
                observations[out : steps + 1 - out],
                actions[out : steps - out],
                run.time_step,
            )
        )
    return result


def common_length(runs: Sequence[Trajectory]) -> int:
    """Return the length of windows in which the runs overlap themselves least."""
    shortest = min(run.steps for run in runs)

    def twice(length: int) -> int:
        return sum(-(-run.steps // length) * length - run.steps for run in runs)

    lengths = [shortest // parts for parts in range(1, 11) if shortest // parts >= 10]
    return min(lengths or [shortest], key=lambda n: (twice(n), -n))
