"""Forecasts: errors of open-loop predictions after some time.

Each forecast begins at a measured state of a recording that the fit has not seen, and
is compared with the measured states after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._programs import called
from roboopt.data import Trajectory, sliding_windows
from roboopt.objectives import PredictionError

FORECAST_TIMES_S = (0.1, 0.2, 0.5)
ROUNDING = 1e-9  # of the largest error: below, errors are alike
NO_ERROR = 1e-12  # rad, m, rad/s or m/s: rounding, whatever the other errors are
MIN_TRAVEL = 1e-3  # rad or m: a joint that moves by less rests
OVERLAP = 5  # forecasts that begin in the time that one takes


@dataclass(frozen=True)
class Forecasts:
    """Root mean square errors of each state coordinate after each time."""

    seconds: list[float]
    """Times; the first is one step."""
    rmse: dict[str, Float[np.ndarray, "time state"]]
    """Errors by model, in the coordinates' units."""
    moving: tuple[bool, ...] | None = None
    """Which joints move in the recordings; None where that is not known."""

    def ratio(self, model: str, other: str, joints: int) -> Float[np.ndarray, " time"]:
        """Return the ratio of `other`'s position errors to `model`'s, by time.

        The ratio is the geometric mean over the joints that move, or over all where
        none does, without those that all models forecast exactly.
        """
        errors = self.beyond_rounding()
        exact = np.max([*self.rmse.values()], 0) <= NO_ERROR
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(errors[other] / errors[model])
            logs = np.where(exact, np.nan, logs)[:, :joints]
            known = ~np.isnan(logs)
            if self.moving is not None and any(self.moving[:joints]):
                known &= np.array(self.moving[:joints])
            total = np.sum(np.where(known, logs, 0.0), axis=1)
            return np.exp(total / np.sum(known, axis=1))

    def beyond_rounding(self) -> dict[str, Float[np.ndarray, "time state"]]:
        """Return the errors, below a billionth of the worst model's one like another.

        So are those below `NO_ERROR`.
        """
        worst = np.max([*self.rmse.values()], 0)
        rounding = np.maximum(ROUNDING * worst, NO_ERROR)
        return {name: np.maximum(rmse, rounding) for name, rmse in self.rmse.items()}


class ConstantVelocity(eqx.Module):
    """The baseline that every model must beat: q' = q + Δt q̇, q̇' = q̇."""

    joints: int = eqx.field(static=True)
    time_step: float = eqx.field(static=True)

    def __call__(self, state: Array, action: Array) -> Array:
        """Return the state one step later."""
        return self.advance(state, action, self.time_step)

    def advance(self, state: Array, action: Array, duration: Any) -> Array:
        """Return the state after `duration` [s]."""
        q, velocity = jnp.split(state, 2)
        return jnp.concatenate([q + duration * velocity, velocity])


def forecasts(
    models: Mapping[str, Any],
    recordings: Sequence[Trajectory],
    times: Sequence[float] = FORECAST_TIMES_S,
    *,
    wraps: tuple[bool, ...] | None = None,
    lead: int = 0,
    extrapolate: bool = False,
    most: int | None = None,
) -> Forecasts:
    """Compute the errors of open-loop forecasts of `models` and of constant velocity.

    Args:
        models: dynamics by name.
        recordings: recordings of [q, q̇] with one time step.
        times: times [s] after which forecasts are judged, besides a single step.
        wraps: which coordinates are angles modulo 2π; none of them if None.
        lead: steps before each forecast, which feed an actuator's lag or delay.
        extrapolate: to time steps of no length, as in `PredictionError`.
        most: at most about so many forecasts, evenly apart; None for no limit.

    Raises:
        ValueError: if `recordings` are shorter than the longest of `times`.
    """
    step = recordings[0].time_step
    counts = sorted({1, *(max(1, round(t / step)) for t in times)})
    stride = max(1, counts[-1] // OVERLAP)
    if most is not None:
        stride = max(stride, sum(run.steps for run in recordings) // most)
    cut = sliding_windows(recordings, counts[-1], lead=lead, stride=stride)
    settings = {"wraps": wraps, "lead": lead, "extrapolate": extrapolate}
    error = PredictionError(horizon=counts[-1], **settings)
    joints = cut.observations.shape[-1] // 2
    known = {**models, "constant velocity": ConstantVelocity(joints, step)}
    index = np.array(counts) - 1
    rmse = {}
    for name, model in known.items():
        apart = np.asarray(called(error.errors, model, cut))[:, index]
        rmse[name] = np.sqrt(np.mean(apart**2, axis=0))
    seen = [np.asarray(run.observations)[:, :joints] for run in recordings]
    travel = np.max([np.ptp(q, axis=0) for q in seen], axis=0)
    moving = tuple((travel > MIN_TRAVEL).tolist())
    return Forecasts([count * step for count in counts], rmse, moving)
