"""How large parameters and recorded signals are."""

import dataclasses
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Float

from roboopt.data import Trajectory
from roboopt.diagnose import IdentifiabilityReport
from roboopt.dynamics import ParametricTwin, Twin
from roboopt.sysid._parameters import IDENTIFIED, NOT_EXCITED

QUANTILE = NormalDist().inv_cdf(0.975)
MAX_STANDARD_ERROR = 0.1  # of a parameter's size: beyond, it is not known


def sizes(
    model: ParametricTwin, runs: Sequence[Trajectory] = ()
) -> Float[np.ndarray, " parameter"]:
    """Return the size of each coordinate: an error of it would matter.

    A joint's damping, friction and rotor inertia may be as large as the efforts in the
    recordings, or as the motors can make where commands were recorded, where these say
    more than `ParametricTwin.spans`. Accelerations are those of a sine with the
    recorded positions and speeds: differences would have their noise.
    """
    spans = np.where(model.positive, 1.0, model.spans())
    if runs:
        means = [
            (rms(np.concatenate([np.asarray(getattr(run, name)) for run in runs])))
            for name in ("actions", "observations")
        ]
        joints = model.joints
        effort, speed = np.zeros(joints), means[1][joints : 2 * joints]
        effort[np.array(model.actuated, int)] = means[0]
        moved = np.where(speed > 0, speed, np.inf)
        if model.inner.effort_axes is not None:
            effort[np.array(model.actuated, int)] = _largest_efforts(model.inner)
        along = np.concatenate([np.asarray(run.observations) for run in runs])
        felt = {"damping": effort / moved, "friction": effort, "effort_offset": effort}
        felt["armature"] = effort * np.std(along[:, :joints], 0) / moved**2
        for number, name in enumerate(model.names):
            what, _, where = name.partition(" = ")[0].removesuffix("]").partition("[")
            if what in felt:
                joint = model.robot.joint_names.index(where)
                spans[number] = max(spans[number], felt[what][joint])
    return np.where(model.positive, 1.0, np.maximum(np.abs(model.coordinates), spans))


def judged_by_size(
    report: IdentifiabilityReport, model: ParametricTwin, runs: Sequence[Trajectory]
) -> IdentifiabilityReport:
    """Return the report; what is small beside the recorded efforts is identified.

    An offset that is known to a hundredth of the efforts is no less excited where it
    is about zero. The intervals of rotors' inertia end at 0.
    """
    half = (report.upper - report.lower) / 2
    spans = np.where(model.positive, 0.0, sizes(model, runs))
    known = half <= QUANTILE * MAX_STANDARD_ERROR * spans
    pairs = zip(report.verdicts, known, strict=True)
    verdicts = tuple(IDENTIFIED if k and v == NOT_EXCITED else v for v, k in pairs)
    rotors = [name.startswith("armature[") for name in model.names]
    lower = np.where(rotors, np.maximum(report.lower, 0.0), report.lower)
    return dataclasses.replace(report, verdicts=verdicts, lower=lower)


def _largest_efforts(twin: Twin) -> np.ndarray:
    """Return the largest effort of each motor, 0 where it is not known."""
    efforts, drive = np.asarray(twin.effort_limits, float), twin.drive
    if drive is not None and drive.resistance is not None:
        volts = np.inf if drive.supply_voltage is None else drive.supply_voltage
        stall = drive.gear_ratio * drive.torque_constant * volts / drive.resistance
        efforts = np.minimum(efforts, np.asarray(stall))
    return np.where(np.isfinite(efforts), efforts, 0.0)


def rms(values: Any) -> np.ndarray:
    """Return the root mean square of each column."""
    values = np.asarray(values)
    return np.sqrt(np.mean(values**2, tuple(range(values.ndim - 1))))
