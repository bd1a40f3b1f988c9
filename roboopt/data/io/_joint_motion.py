"""From episodes of observations and actions to the motion and the efforts of joints."""

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._trajectory import Trajectory
from roboopt.data._windows import at_samples, sample_times
from roboopt.data.io._arrays import located
from roboopt.data.io._gaps import whole_samples


def joint_motion(
    run: Trajectory, joints: Sequence[str], actuated: Sequence[int] | None, where: str
) -> list[Trajectory]:
    """Return positions and velocities as observations, and efforts as actions.

    The actions of joints that nothing drives are 0. A few samples without a finite
    number are left out with a warning; a recording is cut where they are many.

    Args:
        run: a single recording.
        joints: the robot's, in its order.
        actuated: the numbers of the joints that a motor drives; None for all.
        where: the source, for errors.

    Raises:
        RobooptError: if the recording does not fit the joints, or lacks too many
            numbers.
    """
    count, names = len(joints), ", ".join(joints)
    size = run.observations.shape[-1]
    if size < 2 * count:
        raise RobooptError(
            f"`path` must hold positions and velocities of the {count} joints {names}, "
            f"but {where} has observations of size {size}."
        )
    efforts = np.asarray(run.actions, float)
    if run.efforts is not None and run.efforts.shape[-1] == count:
        efforts = np.asarray(run.efforts, float)
    elif actuated is not None and efforts.shape[-1] == len(actuated) < count:
        measured = efforts
        efforts = np.zeros((len(measured), count))
        efforts[:, list(actuated)] = measured
    if efforts.shape[-1] != count:
        raise RobooptError(
            f"`path` must hold one action for each actuated joint, but {where} holds "
            f"{efforts.shape[-1]} and the robot has the joints {names}: name the "
            "driven ones by `actuated`."
        )
    observations = np.asarray(run.observations[..., : 2 * count], float)
    driven = np.isin(range(count), range(count) if actuated is None else actuated)
    efforts = np.where(~driven & np.isnan(efforts).all(0), 0.0, efforts)
    run = dataclasses.replace(run, observations=observations, actions=efforts)
    return _whole(run, joints, where)


def _whole(run: Trajectory, joints: Sequence[str], where: str) -> list[Trajectory]:
    """Return the parts of a recording without samples that lack a finite number."""
    count, times = len(joints), sample_times(run)
    lacking = {"`times`": ~np.isfinite(times)}
    for k, joint in enumerate(joints):
        lacking[f"position of {joint}"] = ~np.isfinite(run.observations[:, k])
        lacking[f"velocity of {joint}"] = ~np.isfinite(run.observations[:, count + k])
        # The last effort acts after the last observation.
        unknown = np.append(~np.isfinite(run.actions[:, k]), False)
        lacking[f"effort of {joint}"] = unknown
    samples = np.arange(len(times))
    if lacking["`times`"].any():
        times = run.time_step * samples
    with located(where):
        parts, note = whole_samples(lacking, times, samples)
    if note:
        warnings.warn(f"{where}: {note}", stacklevel=4)
    return [run if keep.all() else at_samples(run, keep) for keep in parts]
