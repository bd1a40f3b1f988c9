"""Recordings of a robot: read from files, fitted to its joints, and split."""

import dataclasses
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError, argument_called
from roboopt.data import (
    Columns,
    Trajectory,
    at_samples,
    is_frame,
    joint_motion,
    not_among,
    recording_files,
    recordings_by_source,
    resample,
    single_recordings,
    whole_turns,
)
from roboopt.sysid._noise import noise_share

MIN_SIMULATED_STEP_S, MAX_SIMULATED_STEP_S = 1 / 500, 1 / 240
DRIVE_STEP_S = 1 / 1000  # of a motor and its firmware, which are faster than links
ROUNDING = 1e-6  # of a step
MAX_SIMULATED_NOISE = 1e-3  # over the motion in a step
PRINTED = 1e-4  # of the largest motion in a step: numbers of a table have few digits
MIN_TRAVEL = 1e-3  # rad/s or m/s; slower, equal samples are of a robot at rest
MIN_SAMPLES = 3
HELD_OUT_EVERY = 3  # recordings
HELD_OUT_SHARE = 0.25  # of each recording, where there are fewer


@dataclass(frozen=True)
class Recording:
    """One recording, and the name of its source."""

    source: str
    run: Trajectory


@dataclass(frozen=True)
class Split:
    """Recordings, or parts of them, that the fit sees, and those that judge it."""

    training: list[Trajectory]
    held_out: list[Trajectory]
    description: str


def each(sources: Any) -> Any:
    """Return the sources one by one, of which a single one needs no list."""
    single = isinstance(sources, Trajectory | str | PathLike) or is_frame(sources)
    return [sources] if single else sources


def load_all(
    sources: Any,
    joint_names: Sequence[str],
    actuated: Sequence[int] | None,
    columns: Columns | Mapping[str, Any] | None,
    *,
    commanded: bool = False,
    time_step: float | None = None,
) -> list[Recording]:
    """Return all recordings as [q, q̇] and the efforts on the actuated joints.

    If `commanded`, actions stay what they are, whatever efforts there are beside them.
    With a `time_step` [s] all are resampled.
    """
    columns = _padded(Columns.of(columns), len(joint_names), actuated)
    with argument_called("path", "recordings"):
        parts = [part for source in each(sources) for part in _parts(source)]
        files = [part for part in parts if not isinstance(part, Trajectory)]
        asked: dict[str, Any] = {"joints": joint_names, "actuated": actuated}
        advice = "and smoothed where they are noisy"
        read = iter(
            recordings_by_source(files, columns=columns, advice=advice, **asked)
        )
    found: list[Recording] = []
    for part in parts:
        if isinstance(part, Trajectory):
            runs = enumerate(single_recordings(part), len(found))
            found += [Recording(f"recording {k}", run) for k, run in runs]
        else:
            found += _named(part, next(read))
    if not found:
        raise RobooptError("`recordings` must hold at least one recording, got none.")
    if commanded:
        found = [
            Recording(one.source, dataclasses.replace(one.run, efforts=None))
            for one in found
        ]
    whole = [part for one in found for part in _of_robot(one, joint_names, actuated)]
    if time_step is None:
        return whole
    return [Recording(w.source, _resampled(w.run, time_step, w.source)) for w in whole]


def _resampled(run: Trajectory, time_step: float, source: str) -> Trajectory:
    try:
        with argument_called("time_step", "resample"):
            return resample(run, time_step)
    except RobooptError as error:
        raise RobooptError(f"{str(error).removesuffix('.')}, for {source}.") from error


def _padded(
    columns: Columns | None, joints: int, actuated: Sequence[int] | None
) -> Columns | None:
    """Return the columns with None as the effort of every joint that is not driven."""
    if columns is None or columns.efforts is None or actuated is None:
        return columns
    if not len(columns.efforts) == len(actuated) < joints:
        return columns
    named = dict(zip(actuated, columns.efforts, strict=True))
    return dataclasses.replace(columns, efforts=[named.get(j) for j in range(joints)])


def _parts(source: Any) -> list[Any]:
    """Return a trajectory or a data frame, or the files of a path."""
    return [source] if isinstance(source, Trajectory) else recording_files(source)


def _named(file: Any, runs: Sequence[Trajectory]) -> Iterator[Recording]:
    """Yield the recordings of a file or a data frame with their names."""
    name = file.name if isinstance(file, Path) else str(file)
    name = "the table" if is_frame(file) else name  # of columns, or of arrays
    for k, run in enumerate(runs):
        yield Recording(f"{name}[{k}]" if len(runs) > 1 else name, run)


def _of_robot(
    one: Recording, joint_names: Sequence[str], actuated: Sequence[int] | None
) -> Iterator[Recording]:
    """Yield the runs with [q, q̇] and an action for every actuated joint."""
    with argument_called("path", "recordings"):
        runs = joint_motion(one.run, joint_names, actuated, one.source)
    for k, run in enumerate(runs):
        source = f"{one.source}, part {k + 1}" if len(runs) > 1 else one.source
        yield Recording(source, _driven(run, source, len(joint_names), actuated))


def _driven(
    run: Trajectory, source: str, count: int, actuated: Sequence[int] | None
) -> Trajectory:
    """Return the run with angles that go on, and actions of the actuated joints."""
    positions, turned = whole_turns(run.observations[:, :count])
    if turned.any():
        warnings.warn(
            f"{source}: angles jump by a turn, as those within one do: read as "
            "angles that go on.",
            stacklevel=2,
        )
        observations = np.hstack([positions, np.asarray(run.observations)[:, count:]])
        run = dataclasses.replace(run, observations=observations)
    driven = list(range(count) if actuated is None else actuated)
    actions = np.asarray(run.actions)[:, driven]
    if not driven:
        actions = np.zeros((run.steps, count))
    run = dataclasses.replace(run, actions=actions, rewards=None, efforts=None)
    return _without_repeats(run, source)


def _without_repeats(run: Trajectory, source: str) -> Trajectory:
    """Return a run without samples that repeat the one before while the robot moves.

    They are older than their stamps: a recorder that is faster than the sensors. A
    coarse encoder repeats positions, but not the efforts beside them.
    """
    observations, actions = np.asarray(run.observations), np.asarray(run.actions)
    velocities = observations[1:, observations.shape[-1] // 2 :]
    moves = np.abs(velocities).max(axis=1) > MIN_TRAVEL
    new = (np.diff(observations, axis=0) != 0).any(1)
    new[:-1] |= (np.diff(actions, axis=0) != 0).any(1)
    keep = np.append(True, new | ~moves)
    # The last sample has no effort by which to tell.
    if keep[:-1].all() or keep.sum() < MIN_SAMPLES:
        return run
    warnings.warn(
        f"{source}: {(~keep).sum()} samples repeat the one before while the robot "
        "moves: left out.",
        stacklevel=2,
    )
    return at_samples(run, keep)


def moves_by_next_velocity(run: Trajectory, joints: int, tolerance: float) -> bool:
    """Return whether q' = q + Δt q̇' holds to a fraction of the largest motion."""
    observations = np.asarray(run.observations)
    q, velocity = np.split(observations[:, : 2 * joints], 2, axis=1)
    moved = np.diff(q, axis=0)
    gap, most = np.abs(moved - run.time_step * velocity[1:]).max(), np.abs(moved).max()
    return bool(most > 0 and gap <= tolerance * most)


def simulated_step(
    recordings: Sequence[Recording], joints: int, *, has_drive: bool = False
) -> float:
    """Return the step of the twin [s]: the shortest recorded, its fraction or multiple.

    A real robot is simulated in steps of at most 1/240 s, and of at least 1/500 s where
    samples are closer; one with a drive in steps of about 1/1000 s. Recordings without
    noise whose positions move by the next velocity are of a simulation in steps of
    their own, which other steps would not reproduce. (The driver of a real robot may
    report differences of positions as velocities, but its positions have noise.)
    Without recordings it is the longest.
    """
    if not recordings:
        return MAX_SIMULATED_STEP_S
    step = min(one.run.time_step for one in recordings)
    runs = [one.run for one in recordings]
    noise = [noise_share(np.asarray(run.observations)[:, :joints]) for run in runs]
    simulated = all(moves_by_next_velocity(run, joints, PRINTED) for run in runs)
    if simulated and max(noise) < MAX_SIMULATED_NOISE:
        return step
    least = DRIVE_STEP_S if has_drive else MIN_SIMULATED_STEP_S
    most = DRIVE_STEP_S if has_drive else MAX_SIMULATED_STEP_S
    if step < least * (1 - ROUNDING):
        return step * max(1, math.floor(most / step + ROUNDING))
    return step / max(1, math.ceil(step / most - ROUNDING))


def others_than(
    held_out: Sequence[Recording], recordings: Sequence[Recording]
) -> list[Recording]:
    """Return the recordings to fit: those that are not held out.

    Velocities do not count: where none were recorded, they are differences.
    """
    runs = [[_positions(one.run) for one in part] for part in (recordings, held_out)]
    kept = [recordings[k] for k in not_among(*runs)]
    if not kept:
        raise RobooptError(
            "`held_out` must leave recordings to fit, got all of `recordings`."
        )
    return kept


def _positions(run: Trajectory) -> Trajectory:
    """Return the recording without velocities."""
    q, _ = np.split(np.asarray(run.observations), 2, axis=1)
    return dataclasses.replace(run, observations=q)


def split(recordings: Sequence[Recording], share: float | None) -> Split:
    """Hold out a share of each recording, at its end.

    If `share` is None: every third recording of three or more, else a quarter of each.
    """
    runs = [one.run for one in recordings]
    if share == 0:
        return Split(runs, [], "nothing was held out")
    last = HELD_OUT_EVERY - 1
    if share is None and len(runs) > last:
        training = [run for i, run in enumerate(runs) if i % HELD_OUT_EVERY != last]
        said = f"every third of {len(runs)} recordings was held out"
        return Split(training, runs[last::HELD_OUT_EVERY], said)
    share = HELD_OUT_SHARE if share is None else share
    training, held_out = [], []
    for one in recordings:
        steps = one.run.steps
        cut = steps - round(share * steps)
        if not 1 <= cut < steps:
            raise RobooptError(
                f"`held_out` of {share:g} leaves nothing of {one.source}, which has "
                f"{steps} steps."
            )
        training.append(_part(one.run, 0, cut))
        held_out.append(_part(one.run, cut, steps))
    said = f"the last {100 * share:.3g} % of each recording was held out"
    return Split(training, held_out, said)


def _part(run: Trajectory, first: int, last: int) -> Trajectory:
    observations = np.asarray(run.observations)[first : last + 1]
    actions = np.asarray(run.actions)[first:last]
    if run.times is None:
        return Trajectory(observations, actions, run.time_step)
    times = np.asarray(run.times)[first : last + 1]
    # Parts of uneven recordings have a mean step of their own.
    step = float((times[-1] - times[0]) / (last - first))
    return Trajectory(observations, actions, step, times=times - times[0])
