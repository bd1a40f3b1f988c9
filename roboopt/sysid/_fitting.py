"""Fitting a parametric twin to recordings, by their efforts, their motion, or both.

    first fit → noise of each joint → fit weighted by it, with a prior

The weights of the second fit are one over the residuals' standard deviations in the
first, as in weighted least squares (Gautier and Khalil, 1992); a wide prior around the
robot as given holds what the data do not determine.

Noisy recordings may be fitted by their efforts alone, or by their efforts and by their
motion over a horizon: the fit that forecasts the recordings better is kept. The fit of
the efforts is the efficient one where only noise separates robot and model; a real
gear's friction is not the model's, and then the motion must count too.
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
from roboopt.sysid._forecast import forecasts
from roboopt.sysid._noise import cutoff_frequency
from roboopt.sysid._preparation import (
    common_length,
    largest_noise_share,
    smoothed,
    steps_as_simulated,
)

MIN_NOISE_SHARE = 1e-4  # of a step's motion: below, recordings are clean
MAX_UNEXPLAINED_SHARE = 0.5  # of the efforts, in a fit of clean recordings
MIN_SCALE_SHARE = 1e-9  # of a signal: smaller residuals are rounding
MEMORY_S = 0.2  # of actions that a lag or a delay is judged on
FORECAST_S = 0.2  # after which forecasts choose among fits
MAX_HALVINGS = 5  # of the cutoff that are tried
MIN_CUTOFF_HZ = 2.0  # that is tried
SAMPLES_PER_PERIOD = 8  # of the cutoff, that a fit takes
MAX_CUTOFF_SAMPLES = 4000  # to choose a cutoff by
MAX_SIMULATED_STEPS = 10_000  # of all windows whose motion is fitted
CLEAN_TOLERANCE = 1e-10
NOISY_TOLERANCE = 1e-4  # of the loss: less is little beside the effect of the noise
BETTER_RATIO = 0.9  # of another fit's forecast error


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
        return result

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


def fit_clean(
    fitter: Fitter, runs: Sequence[Trajectory], error: str
) -> Estimate | None:
    """Return the fit to recordings whose motion is free of noise, None if it is not.

    Positions that move by the next velocity come from a simulation. They count as clean
    unless a fit leaves most of the efforts unexplained.
    """
    twin = fitter.start.origin.value
    simulated = all(steps_as_simulated(run, twin) for run in runs)
    noise = largest_noise_share(runs, fitter.start.joints)
    if not simulated and noise >= MIN_NOISE_SHARE:
        return None
    # The effort on a joint that nothing drives is 0, as without any mass: only the
    # motion shows the mass.
    if error == "auto":
        error = "motion" if fitter.passive or not simulated else "effort"
    parts, data = {}, {}
    if error in ("effort", "both"):
        data["effort"] = fitter.effort_windows(runs)
        parts["effort"] = fitter.effort_error(
            data["effort"],
            central=not simulated,
            driven_only=fitter.passive and error == "both",
        )
    if error in ("motion", "both"):
        data["motion"] = fitter.motion_windows(runs)
        lead = lead_steps(fitter.start, runs[0].time_step)
        parts["motion"] = PredictionError.for_data(
            fitter.start, data["motion"], horizon=1, lead=lead
        )
    found = fitter.fit(parts, data, tolerance=CLEAN_TOLERANCE)
    if "effort" in parts:
        whole, left = (np.asarray(p["effort"].scale) for p in (parts, found.parts))
        finite = np.isfinite(whole)
        if np.median(left[finite] / whole[finite]) > MAX_UNEXPLAINED_SHARE:
            return None
    return found


def fit_noisy(
    fitter: Fitter,
    runs: Sequence[Trajectory],
    tests: Sequence[Trajectory],
    error: str,
    cutoff: float | None,
    horizon: float,
) -> Estimate:
    """Return the fit to noisy recordings, smoothed above `cutoff` [Hz]."""
    step = runs[0].time_step
    positions = [np.asarray(r.observations)[:, : fitter.start.joints] for r in runs]
    noise_begins = cutoff_frequency(positions, step)
    finest = noise_begins if cutoff is None else max(noise_begins, cutoff)
    shown = smoothed(runs, finest, efforts=False)
    if fitter.passive and error in ("auto", "motion", "both"):
        found = _by_passive_motion(
            fitter, runs, shown, error, cutoff or noise_begins, horizon
        )
        cutoff = cutoff or noise_begins
    else:
        if cutoff is None:
            cutoff = _best_cutoff(fitter, runs, shown, noise_begins)
        found = _by_efforts_first(fitter, runs, shown, error, cutoff, horizon)
    return dataclasses.replace(
        found,
        cutoff=cutoff,
        training=tuple(shown),
        held_out=tuple(smoothed(tests, finest, efforts=False)),
    )


def _noisy_effort(
    fitter: Fitter,
    runs: Sequence[Trajectory],
    cutoff: float,
    *,
    driven_only: bool = False,
) -> tuple[Any, Trajectory]:
    """Return the error of smoothed efforts, and its data."""
    data = fitter.effort_windows(smoothed(runs, cutoff))
    every = max(1, int(1 / (SAMPLES_PER_PERIOD * cutoff * runs[0].time_step)))
    error = fitter.effort_error(
        data, central=False, every=every, driven_only=driven_only
    )
    return error, data


def _by_passive_motion(
    fitter: Fitter,
    runs: Sequence[Trajectory],
    shown: Sequence[Trajectory],
    error: str,
    cutoff: float,
    horizon: float,
) -> Estimate:
    """Fit the motion, then with "both" the efforts of the driven joints too."""
    data = {"motion": fitter.motion_windows(shown, horizon)}
    by_motion = fitter.fit({"motion": fitter.motion_error(data["motion"])}, data)
    if error != "both":
        return by_motion
    effort, data["effort"] = _noisy_effort(fitter, runs, cutoff, driven_only=True)
    effort = weighted(effort, by_motion.model, data["effort"])
    parts = {"effort": effort, "motion": by_motion.parts["motion"]}
    return fitter.fit(parts, data, begin=by_motion.model, weigh=False)


def _by_efforts_first(
    fitter: Fitter,
    runs: Sequence[Trajectory],
    shown: Sequence[Trajectory],
    error: str,
    cutoff: float,
    horizon: float,
) -> Estimate:
    """Fit the efforts, then the motion, then both."""
    effort, data_effort = _noisy_effort(fitter, runs, cutoff)
    data = {"effort": data_effort}
    by_effort = fitter.fit({"effort": effort}, data)
    if error == "effort":
        return by_effort
    data["motion"] = fitter.motion_windows(shown, horizon)
    motion = fitter.motion_error(data["motion"])
    motion = weighted(motion, by_effort.model, data["motion"])
    by_motion = fitter.fit({"motion": motion}, data, begin=by_effort.model)
    if error == "motion":
        return by_motion
    parts = {"effort": by_effort.parts["effort"], "motion": by_motion.parts["motion"]}
    by_both = fitter.fit(parts, data, begin=by_motion.model, weigh=False)
    if error == "both":
        return by_both
    gain = _forecast_error(by_both.model, shown) - _forecast_error(
        by_effort.model, shown
    )
    return by_both if gain < np.log(BETTER_RATIO) else by_effort


def _best_cutoff(
    fitter: Fitter,
    runs: Sequence[Trajectory],
    shown: Sequence[Trajectory],
    highest: float,
) -> float:
    """Return the cutoff whose fit of the efforts forecasts the recordings best.

    Noise in the accelerations biases a fit; too little motion determines nothing.
    """
    tried = [highest / 2**k for k in range(MAX_HALVINGS)]
    tried = [cutoff for cutoff in tried if cutoff >= MIN_CUTOFF_HZ] or [highest]
    every = max(1, sum(run.steps for run in runs) // MAX_CUTOFF_SAMPLES)
    scores = {}
    for cutoff in tried:
        data = fitter.effort_windows(smoothed(runs, cutoff, edge=0.5 / tried[-1]))
        part = fitter.effort_error(data, central=False, every=every)
        scores[cutoff] = _forecast_error(fitter.fit_once("effort", part, data), shown)
    return min(scores, key=lambda cutoff: (scores[cutoff], cutoff))


def _forecast_error(model: ParametricTwin, runs: Sequence[Trajectory]) -> float:
    """Return the mean logarithm of the positions' forecast errors."""
    step = runs[0].time_step
    after = min(FORECAST_S, 0.5 * step * min(run.steps for run in runs))
    made = forecasts({"model": model}, runs, (after,), lead=lead_steps(model, step))
    errors = made.rmse["model"][-1, : model.joints]
    score = float(np.mean(np.log(np.maximum(errors, 1e-300))))
    return score if np.isfinite(score) else np.inf


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
