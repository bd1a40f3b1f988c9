"""Recordings of a robot: read from files, fitted to its joints, and split."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import Columns, Trajectory, load_recordings, single_recordings

TABLES = (".csv", ".csv.gz")
ARRAYS = (".npz", ".hdf5", ".h5")
MINARI = "minari:"
MAX_SIMULATED_STEP_S = 1 / 240
ROUNDING = 1e-6  # of a step
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


def load_all(
    sources: Any,
    *,
    joint_names: Sequence[str],
    actuated: Sequence[int] | None,
    columns: Columns | None = None,
) -> list[Recording]:
    """Return all recordings as [q, q̇] and the efforts on the actuated joints.

    Args:
        sources: a Trajectory, the path of a file or a folder, `minari:<dataset>`, or a
            sequence of these.
        joint_names: the robot's joints.
        actuated: the joints that the actions drive; all of them if None.
        columns: the columns of tables; its efforts may be those of the actuated joints.

    Raises:
        RobooptError: if there are none, or one does not fit the robot.
    """
    columns = _padded(columns, len(joint_names), actuated)
    single = isinstance(sources, Trajectory | str | PathLike)
    found: list[Recording] = []
    for source in [sources] if single else sources:
        if isinstance(source, Trajectory):
            runs = single_recordings(source)
            names = [f"recording {len(found) + k}" for k in range(len(runs))]
            found += [Recording(n, run) for n, run in zip(names, runs, strict=True)]
            continue
        for path in _files(str(source)):
            found += _load(path, columns, joint_names)
    if not found:
        raise RobooptError("`recordings` must hold at least one recording, got none.")
    return [
        Recording(one.source, _of_robot(one, joint_names, actuated)) for one in found
    ]


def _padded(
    columns: Columns | None, joints: int, actuated: Sequence[int] | None
) -> Columns | None:
    """Return the columns with None as the effort of every joint that is not driven."""
    if columns is None or columns.efforts is None or actuated is None:
        return columns
    if not len(columns.efforts) == len(actuated) < joints:
        return columns
    efforts: list[str | None] = [None] * joints
    for joint, name in zip(actuated, columns.efforts, strict=True):
        efforts[joint] = name
    return dataclasses.replace(columns, efforts=efforts)


def _files(path: str) -> list[str]:
    """Return the path itself, or the files of recordings in a folder."""
    if path.startswith(MINARI) or not Path(path).is_dir():
        return [path]
    files = sorted(
        str(file)
        for file in Path(path).iterdir()
        if file.name.endswith(TABLES + ARRAYS) and not file.name.startswith(".")
    )
    return files or [path]


def _load(
    path: str, columns: Columns | None, joint_names: Sequence[str]
) -> list[Recording]:
    table = path.endswith(TABLES)
    runs = load_recordings(
        path,
        columns=columns if table else None,
        joints=joint_names if table else None,
    )
    name = path if path.startswith(MINARI) else Path(path).name
    several = len(runs) > 1
    return [
        Recording(f"{name}[{k}]" if several else name, run)
        for k, run in enumerate(runs)
    ]


def _of_robot(
    one: Recording, joint_names: Sequence[str], actuated: Sequence[int] | None
) -> Trajectory:
    """Return the run with [q, q̇] and an action for every actuated joint."""
    run, joints = one.run, len(joint_names)
    names = ", ".join(joint_names)
    size = run.observations.shape[-1]
    if size < 2 * joints:
        raise RobooptError(
            f"`recordings` must hold positions and velocities of the {joints} joints "
            f"{names}, but {one.source} has observations of size {size}."
        )
    driven = list(range(joints) if actuated is None else actuated)
    actions = np.asarray(run.actions, float)
    if run.efforts is not None and run.efforts.shape[-1] == joints:
        actions = np.asarray(run.efforts, float)[:, driven]
    elif actions.shape[-1] == joints:
        actions = actions[:, driven]
    elif actions.shape[-1] != len(driven):
        raise RobooptError(
            "`recordings` must hold one action for each actuated joint, but "
            f"{one.source} holds {actions.shape[-1]} and the robot has the joints "
            f"{names}: name the driven ones by `actuated`."
        )
    return dataclasses.replace(
        run,
        observations=np.asarray(run.observations[:, : 2 * joints], float),
        actions=actions,
        rewards=None,
        efforts=None,
    )


def simulated_step(recordings: Sequence[Recording]) -> float:
    """Return the recorded step [s], or its largest whole fraction of up to 1/240 s."""
    step = float(np.median([one.run.time_step for one in recordings]))
    return step / max(1, math.ceil(step / MAX_SIMULATED_STEP_S - ROUNDING))


def split(recordings: Sequence[Recording], share: float | None) -> Split:
    """Hold out every third recording of three or more, or the end of each.

    Args:
        recordings: all recordings.
        share: the share of each recording's time to hold out, at its end; if None,
            every third recording, or a quarter of each where there are fewer than
            three.

    Raises:
        RobooptError: if a recording is too short for that.
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
    cuts = [run.steps - round(share * run.steps) for run in runs]
    for one, cut in zip(recordings, cuts, strict=True):
        if not 1 <= cut < one.run.steps:
            raise RobooptError(
                f"`held_out` of {share:g} leaves nothing of {one.source}, which has "
                f"{one.run.steps} steps."
            )
    return Split(
        [_part(run, 0, cut) for run, cut in zip(runs, cuts, strict=True)],
        [_part(run, cut, run.steps) for run, cut in zip(runs, cuts, strict=True)],
        f"the last {100 * share:.3g} % of each recording was held out",
    )


def _part(run: Trajectory, first: int, last: int) -> Trajectory:
    times = None if run.times is None else np.asarray(run.times)[first : last + 1]
    return Trajectory(
        observations=np.asarray(run.observations)[first : last + 1],
        actions=np.asarray(run.actions)[first:last],
        # Parts of uneven recordings have a mean step of their own.
        time_step=(
            run.time_step
            if times is None
            else float((times[-1] - times[0]) / (last - first))
        ),
        times=None if times is None else times - times[0],
    )
