"""The recordings of `roboopt identify`: read, fitted to the robot's joints, split."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import roboopt as ro
from roboopt.cli._identify import KINDS, MINARI
from roboopt.cli._usage import UsageError
from roboopt.data import ColumnError, Columns, Trajectory

COARSEST = 1 / 240  # s, the longest step that is simulated
SAME = 1e-6  # relative
THIRD = 3
QUARTER = 0.25


@dataclass(frozen=True)
class Recorded:
    """One recording, and the name of the file that it is from."""

    source: str
    run: Trajectory


@dataclass(frozen=True)
class Split:
    """Which recordings, or parts of them, the fit sees, and which judge it."""

    training: list[Trajectory]
    held_out: list[Trajectory]
    said: str


def read(arguments: Any, subject: Any) -> tuple[list[Recorded], tuple[int, ...]]:
    """Return the recordings, and the joints that their actions drive.

    Raises:
        UsageError: if they cannot be read, or do not fit the robot.
    """
    names = subject.robot.joint_names
    actuated = _actuated(arguments, names)
    if actuated is None and subject.env is not None:
        actuated = subject.env.actuated
    driven = range(len(names)) if actuated is None else actuated
    columns = _columns(arguments, len(names), driven)
    found: list[Recorded] = []
    for source in _sources(arguments.recordings):
        table = source.endswith(KINDS[1:])
        try:
            runs = ro.data.load_recordings(
                source,
                columns=columns if table else None,
                joints=names if table else None,
            )
        except ColumnError as error:
            raise UsageError(
                f"{error.path} {error.rule}: name the columns by --time, --positions, "
                f"--velocities and --efforts; it has the columns {error.header}"
            ) from error
        except (ro.RobooptError, OSError, ImportError) as error:
            message = " ".join(str(error).split())
            raise UsageError(message.replace("`path`", "a recording")) from error
        short = source if source.startswith(MINARI) else Path(source).name
        found += [
            Recorded(short, _of_robot(run, names, actuated, source)) for run in runs
        ]
    return found, tuple(driven)


def _actuated(arguments: Any, names: tuple[str, ...]) -> tuple[int, ...] | None:
    given = arguments.names("actuated")
    if given is None:
        return None
    if len(set(given)) < len(given) or not set(given) <= set(names):
        raise UsageError(
            f"--actuated must name joints of {', '.join(names)} once each, got "
            f"{arguments.actuated}"
        )
    return tuple(names.index(name) for name in given)


def _columns(arguments: Any, joints: int, driven: Sequence[int]) -> Columns | None:
    given = {
        name: arguments.names(name) for name in ("positions", "velocities", "efforts")
    }
    efforts = given["efforts"]
    if efforts is not None and len(efforts) == len(driven) < joints:
        idle: list[str | None] = [None] * joints
        for joint, name in zip(driven, efforts, strict=True):
            idle[joint] = name
        given["efforts"] = idle
    if arguments.time is None and not any(given.values()):
        return None
    return Columns(time=arguments.time, **given)


def _sources(paths: Sequence[str]) -> list[str]:
    """Return every file, folders taken apart.

    Raises:
        UsageError: if a folder holds none.
    """
    found = []
    for path in paths:
        if path.startswith(MINARI) or Path(path).is_file():
            found.append(path)
            continue
        files = sorted(
            str(file)
            for file in Path(path).iterdir()
            if file.name.endswith(KINDS) and not file.name.startswith(".")
        )
        if not files:
            raise UsageError(f"{path} holds no recording, {', '.join(KINDS)}")
        found += files
    return found


def _of_robot(
    run: Trajectory,
    names: tuple[str, ...],
    actuated: tuple[int, ...] | None,
    where: str,
) -> Trajectory:
    """Return the run with [q, q̇] and an action for every actuated joint."""
    joints = len(names)
    size = run.observations.shape[-1]
    if size < 2 * joints:
        raise UsageError(
            f"{where} must hold positions and velocities of the {joints} joints "
            f"{', '.join(names)}, got observations of size {size}"
        )
    driven = list(range(joints) if actuated is None else actuated)
    actions = np.asarray(run.actions, float)
    if run.efforts is not None and run.efforts.shape[-1] == joints:
        actions = np.asarray(run.efforts, float)[:, driven]
    elif actions.shape[-1] == joints:
        actions = actions[:, driven]
    elif actions.shape[-1] != len(driven):
        ask = "name the joints that they drive by --actuated"
        if actuated is not None:
            ask = f"--actuated names {', '.join(names[j] for j in driven)}"
        raise UsageError(
            f"{where} holds {actions.shape[-1]} actions, but the robot has the joints "
            f"{', '.join(names)}: {ask}"
        )
    return dataclasses.replace(
        run,
        observations=np.asarray(run.observations[:, : 2 * joints], float),
        actions=actions,
        rewards=None,
        efforts=None,
    )


def simulated_step(recorded: Sequence[Recorded]) -> float:
    """Return the recorded step [s], or the largest whole fraction of up to 1/240 s."""
    step = float(np.median([one.run.time_step for one in recorded]))
    return step / max(1, math.ceil(step / COARSEST - SAME))


def split(recorded: Sequence[Recorded], share: float | None) -> Split:
    """Hold out every third recording of three or more, or the end of each.

    Args:
        recorded: all of them.
        share: of each recording's time, at its end; by default a quarter, where there
            are fewer than three.

    Raises:
        UsageError: if a recording is too short for that.
    """
    runs = [one.run for one in recorded]
    if share == 0:
        return Split(runs, [], "nothing was held out")
    if share is None and len(runs) >= THIRD:
        training = [run for i, run in enumerate(runs) if i % THIRD != THIRD - 1]
        held_out = runs[THIRD - 1 :: THIRD]
        said = f"every third of {len(runs)} recordings was held out"
        return Split(training, held_out, said)
    share = QUARTER if share is None else share
    cuts = [run.steps - round(share * run.steps) for run in runs]
    for run, cut, one in zip(runs, cuts, recorded, strict=True):
        if not 1 <= cut < run.steps:
            raise UsageError(
                f"--held-out {share:g} leaves nothing of {one.source}, which has "
                f"{run.steps} steps"
            )
    return Split(
        [_part(run, 0, cut) for run, cut in zip(runs, cuts, strict=True)],
        [_part(run, cut, run.steps) for run, cut in zip(runs, cuts, strict=True)],
        f"the last {100 * share:.3g} % of each recording was held out",
    )


def _part(run: Trajectory, first: int, last: int) -> Trajectory:
    times = None
    if run.times is not None:
        times = np.asarray(run.times)[first : last + 1]
        times = times - times[0]
    return Trajectory(
        observations=np.asarray(run.observations)[first : last + 1],
        actions=np.asarray(run.actions)[first:last],
        # Parts of uneven recordings have a mean step of their own.
        time_step=run.time_step if times is None else float(times[-1] / (last - first)),
        times=times,
    )
