"""Prediction error: the difference of a dynamics' motions from recorded ones.

    L(f) = 1/(2N) · Σ ρ((ŝ_{k+i} − s_{k+i}) / σ),    ŝ_k = s_k,   ŝ_{k+i+1} = f(ŝ_{k+i}, a_{k+i})

over windows of `horizon` steps that begin at measured states s_k and run open loop
inside (i = 1 … horizon); one step is the equation error of system identification, the
whole recording its output error (Ljung, System Identification, 1999, §7). Every
coordinate has a scale σ of its own, in its unit.
"""  # noqa: E501

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._core import AnyArray, compiled
from roboopt._errors import RobooptError, require, require_at_least
from roboopt.data import Trajectory
from roboopt.dynamics import Gaussian
from roboopt.losses import L2, Loss, as_loss
from roboopt.objectives._fitted_starts import errors_from_fitted_starts
from roboopt.objectives._objective import ResidualObjective, Term
from roboopt.objectives._prediction_windows import PredictionWindows
from roboopt.objectives._scale import check_scale, root_mean_square, scaled, wrapped


class PredictionError(ResidualObjective):
    """The error of predicted states over windows of recorded trajectories.

    `objective(dynamics, trajectory)` takes one trajectory or a batch of equal length. A
    dynamics that returns `Gaussian(mean, variance)` is judged by its likelihood
    instead; over several steps its means are followed and each step's variance is used
    as returned. `PredictionError.for_data(dynamics, trajectory)` takes the scale from
    the data, once.
    """

    horizon: int | None = eqx.field(static=True, default=None)
    """Steps predicted from each measured state; None for the whole trajectory."""
    scale: Float[AnyArray, " state"] | None = None
    """One a state coordinate, in its unit; infinite where it was not measured. With
    None there are `errors`, but no value: coordinates have different units."""
    wraps: tuple[bool, ...] | None = eqx.field(static=True, default=None)
    """Which coordinates are angles that count modulo 2π; None for none."""
    lead: int = eqx.field(static=True, default=0)
    """Steps at the beginning of a trajectory that only feed an actuator's memory."""
    loss: Loss = eqx.field(converter=as_loss, default=L2())
    """A loss, "l1", "l2", "huber", or an elementwise function of the scaled error."""
    fit_starts: bool = eqx.field(static=True, default=False)
    """Whether a window begins at the state that explains it best, instead of at the
    measured one, whose noise biases the fit. A `scale` is needed, and a window must
    hold more measured numbers than its start: the residuals grow by the square root of
    their number over their degrees of freedom, which keeps their variance."""
    extrapolate: bool = eqx.field(static=True, default=False)
    """Whether a recorded step is simulated twice, in steps of half the length the
    second time, and extrapolated to steps of no length (Richardson). It takes an
    `advance`, and is for what is not to depend on the length of a step."""

    def __check_init__(self):
        if self.horizon is not None:
            require_at_least(1, horizon=self.horizon)
        require_at_least(0, lead=self.lead)
        if self.scale is not None:
            check_scale("scale", self.scale)

    @classmethod
    def for_data(
        cls, model: Any, batch: Trajectory, **settings: Any
    ) -> "PredictionError":
        """Build the objective with a scale from data: the change over a window.

        The scale of a coordinate is the root mean square of its change from the
        beginning of a window, or 1 if it never changes. Of the dynamics `model` only
        the size of the state matters; the settings are the other fields of the class.
        """
        error = cls(**settings)
        states = PredictionWindows.of(model, batch, error.horizon, error.lead).states
        change = wrapped(states[:, 1:] - states[:, :1], error.wraps)
        return replace(error, scale=root_mean_square(change))

    def errors(
        self, model: Any, batch: Trajectory
    ) -> Float[Array, "window step state"]:
        """Return predicted less measured states, in their units.

        Raises:
            RobooptError: if the trajectories are shorter than `lead` and `horizon`, or
                their steps are not the dynamics' and it has no `advance`.
        """
        return self._errors(model, batch)[0]

    def residuals(self, model: Any, batch: Trajectory) -> Float[Array, "..."]:
        """Return the residuals, (window, step, state), of a dynamics without chance."""
        error, variance = self._scaled(model, batch)
        if variance is not None:
            raise RobooptError(
                "`model` must predict states for a sum of squares, got a Gaussian: use "
                "`minimize`, which needs no residuals."
            )
        return self.loss.residual(error)

    def terms(self, model: Any, batch: Trajectory) -> dict[str, Term]:
        """Return the prediction error, or a Gaussian's mean negative log-likelihood.

        The latter is of the states over their scales, without the constant ½ log 2π.
        """
        error, variance = self._scaled(model, batch)
        if variance is None:
            return {"prediction_error": Term(jnp.mean(self.loss(error)), 1.0, "1")}
        squared = jnp.asarray(self.scale, variance.dtype) ** 2
        measured = jnp.broadcast_to(jnp.isfinite(squared), variance.shape)
        spread = jnp.where(measured, scaled(variance, squared), 1.0)
        cost = 0.5 * error**2 / spread + 0.5 * jnp.log(spread)
        return {"negative_log_likelihood": Term(jnp.mean(cost), 1.0, "1")}

    @compiled
    def _errors(self, model: Any, batch: Trajectory) -> tuple[Array, Array | None]:
        """Return the errors, and the variance of a Gaussian."""
        windows = PredictionWindows.of(
            model, batch, self.horizon, self.lead, extrapolate=self.extrapolate
        )
        if self.fit_starts:
            self._check_starts(windows.states.shape)
            made = errors_from_fitted_starts(windows, model, self.scale, self.wraps)
            return made, None
        predicted, variance = windows.predict(model, windows.states[:, 0]), None
        if isinstance(predicted, Gaussian):
            predicted, variance = predicted.mean, predicted.variance
        return wrapped(predicted - windows.states[:, 1:], self.wraps), variance

    def _check_starts(self, shape: tuple[int, ...]) -> None:
        """Refuse to fit starts that windows of states of `shape` do not determine."""
        if self.scale is None:
            raise RobooptError("`scale` must be given with `fit_starts`, got None.")
        horizon, rule = shape[1] - 1, "be at least 3 steps with `fit_starts`"
        require(horizon >= 3, "horizon", rule, horizon)

    def _scaled(self, model: Any, batch: Trajectory) -> tuple[Array, Array | None]:
        error, variance = self._errors(model, batch)
        error = scaled(error, self.scale, source="PredictionError")
        if not self.fit_starts:
            return error, variance
        _, steps, size = error.shape
        counted = jnp.sum(jnp.isfinite(jnp.asarray(self.scale)))
        measured = steps * counted
        return error * jnp.sqrt(measured / jnp.maximum(measured - size, 1)), None
