"""The choice among fits of noisy recordings, by the forecasts of their robots."""

import dataclasses
from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from roboopt.data import Trajectory
from roboopt.dynamics import ParametricTwin
from roboopt.sysid._estimate import Estimate
from roboopt.sysid._fitter import Fitter
from roboopt.sysid._forecast import forecasts
from roboopt.sysid._preparation import lead_steps
from roboopt.sysid._refinement import FORECAST_S, with_time_step

BETTER_RATIO = 0.9  # of another fit's forecast error
WORSE_RATIO = 1.02  # the same, beyond chance
MAX_FORECASTS = 200  # which tell fits apart as well as more do
OFFSET = "effort_offset["


def forecast_error(
    model: ParametricTwin, runs: Sequence[Trajectory], finer: int | None = None
) -> float:
    """Return the mean logarithm of the positions' forecast errors.

    With `finer`, of steps that are so many times shorter, and extrapolated.
    """
    step = runs[0].time_step
    if finer is not None:
        model = with_time_step(model, model.time_step / finer)
    after = min(FORECAST_S, 0.5 * step * min(run.steps for run in runs))
    lead, extrapolate = lead_steps(model, step), finer is not None
    settings = {"lead": lead, "extrapolate": extrapolate, "most": MAX_FORECASTS}
    made = forecasts({"model": model}, runs, (after,), **settings)
    errors = made.rmse["model"][-1, : model.joints]
    score = float(np.mean(np.log(np.maximum(errors, 1e-300))))
    return score if np.isfinite(score) else np.inf


def without_offsets(
    fitter: Fitter, found: Estimate, judged: Callable[[ParametricTwin], float]
) -> Estimate:
    """Return the fit without offsets of the efforts, if that forecasts no worse.

    Offsets and gravity together stand for friction that the model lacks: what they
    explain of the efforts then misleads forecasts. Sets `fitter.start`.
    """
    start = fitter.start
    kept = np.array([not name.startswith(OFFSET) for name in start.names])
    if kept.all():
        return found
    before = start, fitter.spans, fitter.last
    groups = [n.split(" = ") for n, k in zip(start.names, kept, strict=True) if k]
    names = [name for group in groups for name in group]
    fitter.start = ParametricTwin(start.inner, names, ties=[g for g in groups if g[1:]])
    fitter.spans = None if fitter.spans is None else fitter.spans[kept]
    numbers = jnp.asarray(found.model.coordinates)[kept]
    begin = eqx.tree_at(lambda m: m.coordinates, fitter.start, numbers)
    fewer = fitter.fit(dict(found.parts), found.data, begin=begin, weigh=False)
    if judged(fewer.model) - judged(found.model) < np.log(WORSE_RATIO):
        return dataclasses.replace(fewer, without_offsets=True)
    fitter.start, fitter.spans, fitter.last = before
    return found
