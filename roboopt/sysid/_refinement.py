"""The time step of a fitted simulation, so short that its error is below the noise.

Halving a step changes extrapolated residuals by δr, three quarters of the integrator's
error, which is of second order. The estimates follow its projection P δr on the columns
of the Jacobian: with the residuals' standard deviation s they are off by ‖4/3 P δr‖ / s
of their standard errors, and a step shorter by the root of it hides that.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from roboopt._core import Frozen
from roboopt.dynamics import ParametricTwin, Twin
from roboopt.optimize import Fit
from roboopt.sysid._fitter import Estimate

MAX_BIAS = 0.5  # of a standard error
MIN_STEP_S = 1e-4
RANK_TOLERANCE = 1e-6  # of the largest singular value


def finer_step(found: Estimate) -> float:
    """Return the time step [s] that a fit of extrapolated motion needs."""
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
    bias = 4 / 3 * np.linalg.norm(seen.T @ change) / max(noise, 1e-300)
    most = max(1, math.floor(model.time_step / MIN_STEP_S + 1e-6))
    parts = math.ceil(math.sqrt(bias / MAX_BIAS)) if math.isfinite(bias) else 1
    return model.time_step / min(max(parts, 1), most)


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
