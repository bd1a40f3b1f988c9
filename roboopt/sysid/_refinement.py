"""The time step of a fitted simulation, so short that its error is below the noise.

Halving a step changes extrapolated residuals by δr, three quarters of the integrator's
error, which is of second order. The estimates follow its projection P δr on the columns
of the Jacobian: with the residuals' standard deviation s they are off by ‖4/3 P δr‖ / s
of their standard errors, and a step shorter by the root of it hides that.

Where the efforts were fitted, the forecasts are to be free of that error. Friction that
changes its sign within a step leaves one of first order: twice the change by half a
step, against what a step of no length would leave.
"""

import dataclasses
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from roboopt._core import Frozen
from roboopt._programs import called
from roboopt.data import sliding_windows
from roboopt.dynamics import ParametricTwin, Twin
from roboopt.objectives import PredictionError
from roboopt.optimize import Fit
from roboopt.sysid._estimate import Estimate
from roboopt.sysid._sizes import rms

BIAS = 0.5  # of a standard error
SHARE = 0.5  # of the error of forecasts
MAX_EXCESS = 2.0  # times these, up to which another fit is not worth its time
FORECAST_S = 0.2  # after which forecasts choose steps, and among fits
MIN_STEP_S = 1e-4
RANK_TOLERANCE = 1e-6  # of the largest singular value


def finer_step(found: Estimate) -> float:
    """Return the time step [s] that a fit of noisy recordings needs."""
    motion = found.parts.get("motion")
    if motion is not None and motion.extrapolate:
        excess = _bias(found) / BIAS
        parts = math.sqrt(excess)
    else:
        excess = parts = _forecast_share(found) / SHARE
    step = found.model.time_step
    most = max(1, math.floor(step / MIN_STEP_S + 1e-6))
    worth = math.isfinite(excess) and excess > MAX_EXCESS
    parts = math.ceil(parts) if worth else 1
    return step / min(max(parts, 1), most)


def in_steps(found: Estimate, time_step: float) -> Estimate:
    """Return a fit of efforts, which do not depend on the steps [s], in others."""
    assert found.in_steps is not None
    training, held_out = map(tuple, found.in_steps(time_step))
    model = with_time_step(found.model, time_step)
    result = dataclasses.replace(found.result, model=model)
    return dataclasses.replace(
        found, result=result, training=training, held_out=held_out
    )


def _forecast_share(found: Estimate) -> float:
    """Return the integrator's error in forecasts of positions over all other error."""
    runs, model = found.training, found.model
    step, joints = runs[0].time_step, model.joints
    shortest = min(run.steps for run in runs)
    horizon = max(1, min(round(FORECAST_S / step), shortest // 2))
    data = sliding_windows(runs, horizon, stride=horizon)
    error = PredictionError(horizon=horizon)
    models = model, with_time_step(model, model.time_step / 2)
    whole, half = (np.asarray(called(error.errors, m, data)) for m in models)
    change, left = (rms(x[..., :joints]) for x in (whole - half, 2 * half - whole))
    return 2 * float(np.max(change / np.maximum(left, 1e-300)))


def _bias(found: Estimate) -> float:
    """Return the integrator's error in estimates from motion, over standard errors."""
    objective, data, model = found.parts["motion"], found.data["motion"], found.model
    fit = Fit.of(objective, model, data)
    residuals, slopes = map(np.asarray, fit.jacobian(jnp.asarray(fit.start())))
    half = with_time_step(model, model.time_step / 2)
    change = np.ravel(objective.residuals(half, data)) - residuals
    length = np.linalg.norm(slopes, axis=0)
    unit = slopes[:, length > 0] / length[length > 0]
    left, singular, _ = np.linalg.svd(unit, full_matrices=False)
    seen = left[:, singular > RANK_TOLERANCE * singular.max(initial=1e-300)]
    counted = np.count_nonzero(residuals)
    noise = np.linalg.norm(residuals) / math.sqrt(max(counted - seen.shape[1], 1))
    return float(4 / 3 * np.linalg.norm(seen.T @ change) / max(noise, 1e-300))


def with_time_step(model: ParametricTwin, time_step: float) -> ParametricTwin:
    """Return the model of a twin with another time step [s]."""
    was = model.origin.value
    twin = Twin(
        was.robot,
        time_step,
        actuated=was.actuated,
        effort_limits=was.effort_limits,
        joint_limits=was.joint_limits,
        motors=was.motors,
        implicit_damping=was.implicit_damping,
        interface=was.interface,
        drive=was.drive,
    )
    return eqx.tree_at(lambda m: m.origin, model, Frozen(twin))
