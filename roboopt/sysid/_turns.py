"""Joints that turn beyond the limits in their file, told from positions in degrees.

Positions far beyond the limits that would keep to them in degrees are in degrees, or
the joint turns several times, and its limits of ±π mean any angle. Velocities agree
with the positions' rates in either unit, but gravity is a sine of radians: the efforts
are met clearly better in the right unit, by least squares in all that is free, or where
the robot hardly moves by the weight of the robot as given.
"""

from collections.abc import Sequence

import jax
import numpy as np

from roboopt.data import Trajectory
from roboopt.diagnose import Finding
from roboopt.dynamics import ParametricTwin
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._condensed import is_condensable
from roboopt.sysid._fitter import effort_windows
from roboopt.sysid._noise import MIN_SAMPLES, cutoff_frequency
from roboopt.sysid._preparation import EDGE_PERIODS, evenly, smoothed
from roboopt.sysid._sizes import rms
from roboopt.sysid._smoothing import least_squares_of, positions

MAX_INSTANTS = 6000
MIN_GAIN = 1.5  # ratio of errors in both units, that tells which
SLOW_SHARE = 0.1  # of the root mean square speed
MIN_SLOW = 50  # instants that tell of the weight


def turning_joints(
    findings: Sequence[Finding], start: ParametricTwin, runs: Sequence[Trajectory]
) -> list[int]:
    """Return the joints of findings on degrees whose efforts are those of radians.

    None where efforts do not tell: of a robot with joints that nothing drives, or whose
    efforts are not linear in what is free.
    """
    names = start.robot.joint_names
    named = {f.where.rpartition(" of ")[0] for f in findings if f.code == "degrees"}
    joints = [j for j, name in enumerate(names) if f"joint {name}" in named]
    step = float(np.median([run.time_step for run in runs]))
    runs = [run for run in evenly(runs, step) if run.steps > 2 * MIN_SAMPLES]
    steps = sum(run.steps for run in runs)
    every, scale = max(1, steps // MAX_INSTANTS), np.ones(start.joints)
    error = InverseDynamicsError(staggered=True, every=every, scale=scale)
    driven = start.actuated == tuple(range(start.joints))
    if not joints or not runs or not driven or not is_condensable(error, start):
        return []

    unit = np.ones(start.joints)
    unit[joints] = np.pi / 180
    in_degrees = [_scaled(run, np.tile(unit, 2)) for run in runs]
    gains = []
    for errors in (
        lambda runs: _left(error, start, runs),
        lambda runs: _unbalanced(start, runs, every),
    ):
        ratio = np.maximum(errors(in_degrees), 1e-300) / np.maximum(
            errors(runs), 1e-300
        )
        gains.append(float(np.exp(np.mean(np.log(ratio[joints])))))
    return joints if max(gains) > MIN_GAIN and min(gains) > 1 / MIN_GAIN else []


def _left(
    error: InverseDynamicsError, model: ParametricTwin, runs: Sequence[Trajectory]
) -> np.ndarray:
    """Return what least squares leave of each joint's efforts [N·m or N]."""
    cutoff = cutoff_frequency(positions(runs), runs[0].time_step)
    made = smoothed(runs, cutoff, edge=EDGE_PERIODS / cutoff)
    numbers, condensed = least_squares_of(error, model, effort_windows(made))
    return condensed.rms(numbers)


def _unbalanced(
    model: ParametricTwin, runs: Sequence[Trajectory], every: int
) -> np.ndarray:
    """Return the efforts less the weight where the robot hardly moves [N·m or N].

    The same for all joints where it always moves.
    """
    states = np.concatenate([np.asarray(run.observations)[:-1] for run in runs])
    efforts = np.concatenate([np.asarray(run.actions) for run in runs])
    q, velocity = np.split(states, 2, axis=1)
    slow = (np.abs(velocity) <= SLOW_SHARE * rms(velocity)).all(1)
    if np.count_nonzero(slow) < MIN_SLOW * every:
        return np.ones(model.joints)
    q, efforts = q[slow][::every], efforts[slow][::every]
    still = np.zeros_like(q[0])
    weight = jax.jit(jax.vmap(lambda x: model.inverse_dynamics(x, still, still)))(q)
    return rms(efforts - np.asarray(weight))


def _scaled(run: Trajectory, factors: np.ndarray) -> Trajectory:
    observations = np.asarray(run.observations) * factors
    return Trajectory(observations, run.actions, run.time_step, times=run.times)
