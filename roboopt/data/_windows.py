"""Sliding windows: recordings of any length cut into one batch of equal pieces.

A window consists of `lead` steps that feed a model's memory and `horizon` steps that
the model predicts.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from roboopt._errors import RobooptError, require_at_least
from roboopt.data._trajectory import PER_STEP, Trajectory, check_episodes

TIME_STEP_TOLERANCE = 1e-6  # relative


def sliding_windows(
    recordings: Sequence[Trajectory] | Trajectory,
    horizon: int,
    *,
    lead: int = 0,
    stride: int | None = None,
) -> Trajectory:
    """Cut `recordings` into one batch of windows of `lead + horizon` steps.

    The last window of each recording ends at the end of the recording: with a `stride`
    of at most `horizon` every action after the first `lead` is predicted in some
    window. Efforts and rewards are kept if every recording has them. If any recording
    has `times`, the windows have `times` that begin at 0 [s].

    Args:
        recordings: of one robot; a batch counts as its members.
        horizon: steps to predict.
        lead: steps before these.
        stride: steps from one window to the next, by default `horizon`.

    Raises:
        RobooptError: if there are no recordings, a recording is shorter than a window,
            their time steps or the sizes of their observations or actions differ, or a
            number breaks its rule.
    """
    stride = horizon if stride is None else stride
    require_at_least(1, horizon=horizon, stride=stride)
    require_at_least(0, lead=lead)
    runs = single_recordings(recordings)
    length = lead + horizon
    timed = any(run.times is not None for run in runs)
    _check_alike(runs, length, timed)

    def cut(values: Callable[[Trajectory], np.ndarray], samples: int) -> np.ndarray:
        pieces = []
        for run in runs:
            starts = np.arange(0, run.steps - length + 1, stride)
            starts = np.union1d(starts, run.steps - length)
            pieces.append(values(run)[starts[:, None] + np.arange(samples)])
        return np.concatenate(pieces)

    arrays = {
        name: cut(lambda run, name=name: getattr(run, name), length)
        for name in PER_STEP
        if all(getattr(run, name) is not None for run in runs)
    }
    time_step = runs[0].time_step
    if timed:
        times = cut(sample_times, length + 1)
        time_step = float(np.diff(times).mean())
        arrays["times"] = times - times[:, :1]
    observations = cut(lambda run: np.asarray(run.observations), length + 1)
    return Trajectory(observations, time_step=time_step, **arrays)


def single_recordings(
    recordings: Sequence[Trajectory] | Trajectory,
) -> list[Trajectory]:
    """Return the members of batches as a list of single recordings in NumPy."""
    if isinstance(recordings, Trajectory):
        recordings = [recordings]
    return [run for recording in recordings for run in recording.episodes()]


def sample_times(recording: Trajectory) -> np.ndarray:
    """Return the time of each observation of a single recording, (T + 1,) [s]."""
    if recording.times is not None:
        return np.asarray(recording.times, float)
    return recording.time_step * np.arange(recording.steps + 1)


def at_samples(run: Trajectory, keep: np.ndarray) -> Trajectory:
    """Return a single recording with some of its observations, at their own times.

    Args:
        run: the recording.
        keep: which observations stay, (T + 1,), at least two; with each but the last
            its action stays.
    """
    arrays: dict[str, Any] = {
        name: np.asarray(value)[keep[:-1]][: keep.sum() - 1]
        for name in PER_STEP
        if (value := getattr(run, name)) is not None
    }
    arrays["observations"] = np.asarray(run.observations)[keep]
    if run.times is not None or (np.diff(np.flatnonzero(keep)) > 1).any():
        times = sample_times(run)[keep]
        arrays["times"] = times = times - times[0]
        arrays["time_step"] = float(times[-1] / (len(times) - 1))
    return dataclasses.replace(run, **arrays)


def _check_alike(runs: list[Trajectory], length: int, timed: bool) -> None:
    check_episodes(runs, "recordings")
    first = runs[0].time_step
    for k, run in enumerate(runs):
        if run.steps < length:
            raise RobooptError(
                f"`recordings` must each hold at least `lead + horizon` = {length} "
                f"steps, but recording {k} holds {run.steps}."
            )
        # A model can follow recorded times, but has only one time step otherwise.
        if not timed and abs(run.time_step - first) > TIME_STEP_TOLERANCE * first:
            raise RobooptError(
                "`recordings` without `times` must have one `time_step`, but recording "
                f"0 has {first} s and recording {k} has {run.time_step} s."
            )
