"""Fitting a parametric twin to data, weighted by the noise that a first fit leaves.

    first fit → noise of each joint → fit weighted by it, with a prior

The weights of the second fit are one over the residuals' standard deviations in the
first, as in weighted least squares (Gautier and Khalil, 1992); a wide prior around the
robot as given holds what the data do not determine.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from roboopt.data import Trajectory, sliding_windows
from roboopt.diagnose import IdentifiabilityReport, identifiability
from roboopt.dynamics import ParametricTwin
from roboopt.objectives import InverseDynamicsError, Keyed, PredictionError, Prior
from roboopt.optimize import Bound, Result, least_squares
from roboopt.sysid._preparation import common_length

MIN_SCALE_SHARE = 1e-9  # of a signal: smaller residuals are rounding
MEMORY_S = 0.2  # of actions that a lag or a delay is judged on
MAX_SIMULATED_STEPS = 10_000  # of all windows whose motion is fitted
NOISY_TOLERANCE = 1e-4  # of the loss: less is little beside the effect of the noise
STOP_REASONS = {
    "tolerance": "no further improvement",
    "steps": "the last fit took all its steps",
    "interrupted": "interrupted",
}


@dataclass(frozen=True)
class Estimate:
    """One fit: the errors that it minimized, on which data, and its outcome."""

    parts: Mapping[str, Any]
    """Objectives in units of their noise, by "effort" and "motion"."""
    data: Mapping[str, Trajectory]
    result: Result
    cutoff: float | None = None
    """Frequency above which the data are smoothed [Hz]."""
    training: tuple[Trajectory, ...] = ()
    """The recordings of the fit, as a simulation is compared with them."""
    held_out: tuple[Trajectory, ...] = ()

    @property
    def error(self) -> str:
        """Return "effort", "motion" or "both"."""
        return "both" if len(self.parts) > 1 else next(iter(self.parts))

    @property
    def model(self) -> ParametricTwin:
        """Return the fitted model."""
        return self.result.model

    def identifiability(self) -> IdentifiabilityReport:
        """Judge the parameters, by the efforts where every joint is driven.

        Residuals of efforts are noise from instant to instant; the errors within a
        window of motion are one mistake over and over.
        """
        driven = len(self.model.actuated) == self.model.joints
        by_effort = "effort" in self.parts and (driven or len(self.parts) == 1)
        kind = "effort" if by_effort else "motion"
        return identifiability(
            self.parts[kind], self.model, self.data[kind], bounds=bounds_of(self.model)
        )


def bounds_of(model: ParametricTwin) -> list[Bound]:
    """Return the bounds of a model's coordinates: frictions and times from 0 on."""
    return [Bound(lambda m: m.coordinates, model.lower(), np.inf)]


def lead_steps(model: ParametricTwin, time_step: float) -> int:
    """Return the steps before a prediction that feed a lag or a delay."""
    remembers = any(name.startswith(("lag", "delay")) for name in model.names)
    return int(np.ceil(MEMORY_S / time_step)) if remembers else 0


class Fitter:
    """Fits one parametric twin to data, by one error or by a sum of them."""

    def __init__(
        self, start: ParametricTwin, prior: float | None, steps: int, progress: bool
    ):
        self.start, self.prior = start, prior
        self.steps, self.progress = steps, progress
        self.interrupted: Result | None = None
        self.step_counts: list[int] = []
        """Steps of each fit so far."""
        self.passive = len(start.actuated) < start.joints
        """Whether a joint is driven by nothing."""

    def least_squares(
        self, objective: Any, data: Any, begin: ParametricTwin, tolerance: float
    ) -> Result:
        """Return the least-squares fit; `begin` itself after a Ctrl-C."""
        if self.interrupted is not None:
            return eqx.tree_at(lambda r: r.model, self.interrupted, begin)
        result = least_squares(
            objective,
            begin,
            data,
            bounds=bounds_of(self.start),
            tolerance=tolerance,
            steps=self.steps,
            progress=self.progress,
        )
        if result.reason == "interrupted":
            self.interrupted = result
        self.step_counts.append(result.steps)
        return result

    def outcome(self, last: Result) -> Result:
        """Return the result of the last fit, with a message on all fits together.

        The last of several fits begins where another ended, and may take no step.
        """
        count = len(self.step_counts)
        if count == 1:
            return last
        message = f"{STOP_REASONS[last.reason]} after {sum(self.step_counts)} steps"
        return dataclasses.replace(last, message=f"{message} in {count} fits")

    def fit(
        self,
        parts: dict[str, Any],
        data: Mapping[str, Trajectory],
        *,
        begin: ParametricTwin | None = None,
        weigh: bool = True,
        tolerance: float = NOISY_TOLERANCE,
    ) -> Estimate:
        """Fit, weigh by the noise that is left, and fit again with the prior."""
        first = self.start if begin is None else begin
        used = {kind: data[kind] for kind in parts}
        if weigh:
            plain = self._sum(parts, 0.0)
            first = self.least_squares(plain, used, first, tolerance).model
            parts = {k: weighted(p, first, used[k]) for k, p in parts.items()}
        # Half a mean square each: this weight makes the sum a posterior.
        count = max(p.residuals(first, used[k]).size for k, p in parts.items())
        whole = self._sum(parts, len(self.start.names) / count)
        return Estimate(parts, used, self.least_squares(whole, used, first, tolerance))

    def fit_once(
        self, kind: str, part: Any, data: Trajectory, tolerance: float = NOISY_TOLERANCE
    ) -> ParametricTwin:
        """Return the unweighted fit by one error, without the prior's weight."""
        whole = self._sum({kind: part}, 0.0)
        return self.least_squares(whole, {kind: data}, self.start, tolerance).model

    def _sum(self, parts: Mapping[str, Any], prior_weight: float) -> Any:
        whole, *others = (Keyed(kind, part) for kind, part in parts.items())
        for other in others:
            whole = whole + other
        if self.prior is None:
            return whole
        x = np.asarray(self.start.coordinates)
        spans = np.maximum(np.abs(x), self.start.spans())
        spans = np.where(self.start.positive, 1.0, spans)
        # The weight is an array: with another one, the compiled program serves again.
        center = Prior(self.start, _coordinates, jnp.asarray(self.prior * spans))
        return whole + jnp.asarray(prior_weight) * center

    def effort_error(
        self,
        data: Trajectory,
        *,
        central: bool,
        every: int = 1,
        driven_only: bool = False,
    ) -> InverseDynamicsError:
        """Return the error of the efforts over their root mean square.

        The scale of a joint that nothing drives is the effort that the robot as given
        would have needed; infinite with `driven_only`.
        """
        error = InverseDynamicsError(central=central, every=every)
        size = _rms(error.errors(self.start, data))
        if driven_only:
            size[:] = np.inf
        size[np.array(self.start.actuated)] = _rms(data.actions)
        return dataclasses.replace(error, scale=np.where(size > 0, size, 1.0))

    def effort_windows(self, runs: Sequence[Trajectory]) -> Trajectory:
        """Return the recordings in windows of one length."""
        return sliding_windows(runs, common_length(runs))

    def motion_windows(
        self, runs: Sequence[Trajectory], horizon: float | None = None
    ) -> Trajectory:
        """Return windows of about `horizon` [s], or of the longest common length."""
        step = runs[0].time_step
        lead = lead_steps(self.start, step)
        if horizon is None:
            return sliding_windows(runs, common_length(runs) - lead, lead=lead)
        shortest = min(run.steps for run in runs)
        steps = max(1, min(round(horizon / step), shortest // 2))
        apart = -(-sum(run.steps for run in runs) // MAX_SIMULATED_STEPS)
        return sliding_windows(runs, steps + lead, stride=apart * steps)

    def motion_error(self, data: Trajectory) -> PredictionError:
        """Return the error of the positions alone: velocities are not measured."""
        joints, lead = self.start.joints, lead_steps(self.start, data.time_step)
        size = _step_size(data, joints)
        scale = np.where(size > 0, size, max(size.max(), 1e-300))
        unmeasured = np.full(joints, np.inf)
        return PredictionError(
            horizon=data.steps - lead,
            lead=lead,
            scale=np.concatenate([scale, unmeasured]),
        )


def weighted(objective: Any, model: ParametricTwin, data: Trajectory) -> Any:
    """Return the objective in units of the noise that `model` leaves."""
    noise = _rms(objective.errors(model, data))
    if isinstance(objective, InverseDynamicsError):
        size = np.sqrt(np.mean(np.asarray(data.actions) ** 2))
        scale = np.maximum(noise, MIN_SCALE_SHARE * max(size, 1e-300))
        scale = np.where(np.isinf(np.asarray(objective.scale)), np.inf, scale)
        return dataclasses.replace(objective, scale=scale)
    size = _step_size(data, noise.size)
    scale = np.maximum(noise, MIN_SCALE_SHARE * np.where(size > 0, size, size.max()))
    if objective.scale is not None:
        scale = np.where(np.isinf(np.asarray(objective.scale)), np.inf, scale)
    return PredictionError(horizon=objective.horizon, lead=objective.lead, scale=scale)


def _coordinates(model: ParametricTwin) -> Any:
    return model.coordinates


def _rms(values: Any) -> np.ndarray:
    """Return the root mean square of each column."""
    values = np.asarray(values)
    return np.sqrt(np.mean(values**2, tuple(range(values.ndim - 1))))


def _step_size(data: Trajectory, columns: int) -> np.ndarray:
    """Return the root mean square of each column's change in one step."""
    return _rms(np.diff(np.asarray(data.observations)[..., :columns], axis=-2))
