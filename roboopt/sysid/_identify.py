"""`identify`: a robot's parameters from its recordings, and what these can tell.

    recordings → smoothing, where noisy → first fit → noise of each joint → weighted fit
    → verdict → forecasts of runs that the fit has not seen

The weights of the second fit are one over the residuals' standard deviations in the
first, as of weighted least squares (Gautier and Khalil, 1992); a wide belief in the
robot as it was given holds what the data do not tell.

Noisy recordings may be fitted by their efforts alone, or by their efforts and by
their
motion over `horizon`: what forecasts the recordings themselves better is kept. The
efforts' fit is the efficient one where only noise separates robot and model; a real
gear's friction is not the model's, and then the motion must have its say.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import Trajectory, sliding_windows
from roboopt.diagnose import IdentifiabilityReport, identifiability
from roboopt.dynamics import ParametricTwin, Twin
from roboopt.objectives import InverseDynamicsError, Keyed, PredictionError, Prior
from roboopt.optimize import Bound, Result, least_squares
from roboopt.sysid._forecast import Forecasts, forecasts
from roboopt.sysid._noise import cutoff_frequency
from roboopt.sysid._preparation import (
    common_length,
    common_step,
    evenly,
    largest_noise_share,
    smoothed,
    steps_as_simulated,
)

FREE = (
    *("mass", "center_of_mass", "extent", "shear"),
    *("damping", "friction"),
)
ERRORS = ("auto", "effort", "motion", "both")
NOISY = 1e-4  # of a step's motion
UNEXPLAINED = 0.5  # of the efforts: differences of noisy positions, not accelerations
FINEST = 1e-9  # of the signal: what is closer is rounding
MEMORY = 0.2  # s of actions before what a lag or delay is judged on
JUDGED = 0.2  # s after which forecasts choose among fits
HALVINGS = 5  # of the cut-off that are tried
LOWEST = 2.0  # Hz that are tried
INSTANTS = 8  # per period of the cut-off, that a fit takes
ENOUGH = 4000  # instants to choose a cut-off by
SIMULATED = 10_000  # steps in all, of the windows whose motion is fitted
CLEAN_TOLERANCE = 1e-10
NOISY_TOLERANCE = 1e-4  # of the loss: less is nothing beside what the noise costs
BETTER = 0.9  # of the other's forecast error: clearly better


@dataclass(frozen=True)
class IdentifyResult:
    """A fitted model, what is known of its parameters, and what it was fitted to."""

    before: ParametricTwin
    """The robot as it was given."""
    model: ParametricTwin
    verdict: IdentifiabilityReport
    result: Result
    """Of the last fit."""
    objective: Any
    """Of the last fit, without what was believed before."""
    error: str
    """What was minimized: "effort", "motion" or "both"."""
    cutoff: float | None
    """[Hz], None where nothing was smoothed."""
    training: list[Trajectory]
    """As a simulation is compared with them."""
    held_out: list[Trajectory]

    def forecasts(self, times: Sequence[float] = (0.1, 0.2, 0.5)) -> Forecasts:
        """Return the errors of open-loop forecasts on the runs that were held out.

        On those of the fit if none were.
        """
        return forecasts(
            {"fitted": self.model, "URDF": self.before},
            self.held_out or self.training,
            times,
            lead=_lead(self.model, self.training[0].time_step),
        )


def identify(
    twin: Twin,
    training: Sequence[Trajectory],
    *,
    free: Sequence[str] = FREE,
    ties: Sequence[Sequence[str]] = (),
    held_out: Sequence[Trajectory] = (),
    error: str = "auto",
    cutoff: float | None = None,
    horizon: float = 0.4,
    prior: float | None = 0.5,
    steps: int = 100,
    progress: bool = False,
) -> IdentifyResult:
    """Fit the parameters of `twin` that `free` names to recordings of the robot.

    Args:
        twin: of the robot as it is known.
        training: recordings, observations [q, q̇] and commanded efforts as actions.
        free: names or patterns, as `ParametricTwin` takes them.
        ties: as `ParametricTwin` takes them.
        held_out: recordings that are only judged on.
        error: what is minimized: of the efforts, through inverse dynamics; of the
            motion, through the twin, one step ahead where recordings are clean and
            over `horizon` where they are noisy; or both. "auto" takes the efforts
            of clean recordings, if their steps are the twin's, and their motion if
            not; and of noisy ones what forecasts them better, efforts or both, or the
            motion, of robots with joints that nothing drives.
        cutoff: frequency [Hz] above which recordings are smoothed away; if None, found
            from their spectrum and their forecasts, and not done where they are clean.
        horizon: see `error` [s].
        prior: standard deviation of what is believed of each parameter beforehand, in
            what it would have to be off to matter (`ParametricTwin.spans`), such as
            the whole of a mass; None for no belief.
        steps: of each fit, at most.
        progress: whether to show a progress bar.

    Raises:
        RobooptError: if an argument breaks its rule, or the recordings do not fit.

    Warns:
        UserWarning: if the recordings do not depend on a parameter, which then stays.
    """
    _check(twin, training, held_out, error, cutoff, horizon, prior)
    start = ParametricTwin(twin, free, ties=ties)
    step = common_step([*training, *held_out])
    runs, tests = evenly(training, step), evenly(held_out, step)
    fit = _Fit(start, prior, {"steps": steps, "progress": progress})
    if cutoff is None:
        found = _clean(fit, runs, tests, error)
        if found is not None:
            return found
    return _noisy(fit, runs, tests, error, cutoff, horizon)


def _clean(
    fit: "_Fit", runs: list[Trajectory], tests: list[Trajectory], error: str
) -> IdentifyResult | None:
    """Return the fit to recordings without noise in their motion, None if they have.

    Positions that move by the next velocity are a simulation's, whatever their motion
    is, unless a fit finds the efforts to be mostly something else.
    """
    own = all(steps_as_simulated(run, fit.start.origin.value) for run in runs)
    if not own and largest_noise_share(runs, fit.start.joints) >= NOISY:
        return None
    # The effort on a joint that nothing drives is 0: so is that of no mass at all.
    passive = len(fit.start.actuated) < fit.start.joints
    by_motion = error == "motion" or (error == "auto" and (passive or not own))
    kind = "motion" if by_motion else "effort"
    data = {kind: _windows(fit, runs, kind)}
    if kind == "motion":
        lead = fit.lead(runs[0].time_step)
        error_of_motion = PredictionError.for_data(
            fit.start, data[kind], horizon=1, lead=lead
        )
        parts = {kind: error_of_motion}
    else:
        parts = {kind: fit.effort_error(data[kind], central=not own)}
    found = fit.solve(parts, data, tolerance=CLEAN_TOLERANCE)
    if kind == "effort":
        left = np.asarray(found.parts[kind].scale) / np.asarray(parts[kind].scale)
        if np.median(left) > UNEXPLAINED:
            return None
    # With nothing but rounding left, the minimum of both errors is that of each.
    return found.told(kind, None, runs, tests)


def _noisy(
    fit: "_Fit",
    runs: list[Trajectory],
    tests: list[Trajectory],
    error: str,
    cutoff: float | None,
    horizon: float,
) -> IdentifyResult:
    """Return the fit to noisy recordings."""
    step = runs[0].time_step
    joints = fit.start.joints
    positions = [np.asarray(run.observations)[:, :joints] for run in runs]
    noise_begins = cutoff_frequency(positions, step)
    finest = noise_begins if cutoff is None else max(noise_begins, cutoff)
    shown, tests = (smoothed(r, finest, efforts=False) for r in (runs, tests))
    passive = len(fit.start.actuated) < joints
    if passive and error in ("auto", "both"):
        error = "motion"  # as without noise
    if cutoff is None and not (passive and error == "motion"):
        cutoff = _best_cutoff(fit, runs, shown, noise_begins)
    elif cutoff is None:
        cutoff = noise_begins
    if passive and error == "motion":
        data = {"motion": _motion_windows(fit, shown, horizon)}
        motion = _motion_error(fit, data["motion"])
        return fit.solve({"motion": motion}, data).told(error, cutoff, shown, tests)
    filtered = smoothed(runs, cutoff)
    data: dict[str, Any] = {"effort": _windows(fit, filtered, "effort")}
    every = max(1, int(1 / (INSTANTS * cutoff * step)))
    effort = fit.effort_error(data["effort"], central=False, every=every)
    by_effort = fit.solve({"effort": effort}, data)
    if error == "effort":
        return by_effort.told("effort", cutoff, shown, tests)
    data["motion"] = _motion_windows(fit, shown, horizon)
    motion = _motion_error(fit, data["motion"])
    motion = _weighted(motion, by_effort.model, data["motion"])
    by_motion = fit.solve({"motion": motion}, data, begin=by_effort.model)
    if error == "motion":
        return by_motion.told("motion", cutoff, shown, tests)
    parts = {"effort": by_effort.parts["effort"], "motion": by_motion.parts["motion"]}
    by_both = fit.solve(parts, data, begin=by_motion.model, weigh=False)
    if error == "auto" and not _clearly_better(by_both.model, by_effort.model, shown):
        return by_effort.told("effort", cutoff, shown, tests)
    return by_both.told("both", cutoff, shown, tests)


def _motion_windows(fit: "_Fit", runs: list[Trajectory], horizon: float) -> Trajectory:
    """Return windows of about `horizon` [s] from all of the runs, not too many."""
    step = runs[0].time_step
    steps = max(1, min(round(horizon / step), min(run.steps for run in runs) // 2))
    lead = fit.lead(step)
    apart = -(-sum(run.steps for run in runs) // SIMULATED)
    return sliding_windows(runs, steps + lead, stride=apart * steps)


def _motion_error(fit: "_Fit", data: Trajectory) -> PredictionError:
    """Return the error of positions over the windows; velocities are not measured."""
    joints = fit.start.joints
    lead = fit.lead(data.time_step)
    moved = np.diff(np.asarray(data.observations)[..., :joints], axis=-2)
    size = np.sqrt(np.mean(moved**2, (0, 1)))
    scale = np.where(size > 0, size, max(size.max(), 1e-300))
    return PredictionError(
        horizon=data.steps - lead,
        lead=lead,
        scale=np.concatenate([scale, np.full(joints, np.inf)]),
    )


class _Fit:
    """Fits one parametric twin to data, by one error of them or by several."""

    def __init__(self, start: ParametricTwin, prior: float | None, options: dict):
        self.start, self.prior, self.options = start, prior, options
        self.interrupted: Result | None = None
        self.bounds = [Bound(lambda m: m.coordinates, start.lower(), np.inf)]

    def lead(self, step: float) -> int:
        """Return how many steps feed a lag or a delay."""
        return _lead(self.start, step)

    def once(
        self, objective: Any, data: Any, begin: ParametricTwin, tolerance: float
    ) -> Result:
        """Return the plain least-squares fit; where it begins, after a Ctrl-C."""
        if self.interrupted is not None:
            return eqx.tree_at(lambda r: r.model, self.interrupted, begin)
        result = least_squares(
            objective,
            begin,
            data,
            bounds=self.bounds,
            tolerance=tolerance,
            **self.options,
        )
        if result.reason == "interrupted":
            self.interrupted = result
        return result

    def effort_error(
        self, data: Trajectory, *, central: bool, every: int = 1
    ) -> InverseDynamicsError:
        """Return the error of the efforts over their root mean square.

        Of a joint that nothing drives, over what the robot as given would have needed.
        """
        error = InverseDynamicsError(central=central, every=every)
        apart = np.asarray(error.errors(self.start, data))
        size = np.sqrt(np.mean(apart**2, tuple(range(apart.ndim - 1))))
        driven = np.array(self.start.actuated)
        efforts = np.asarray(data.actions)
        size[driven] = np.sqrt(np.mean(efforts**2, tuple(range(efforts.ndim - 1))))
        return dataclasses.replace(error, scale=np.where(size > 0, size, 1.0))

    def whole(self, parts: dict[str, Any], weight: float) -> Any:
        """Return the sum of the parts and of what is believed, so much of it."""
        whole, *others = (Keyed(key, part) for key, part in parts.items())
        for other in others:
            whole = whole + other
        if self.prior is None:
            return whole
        spans = jnp.asarray(self.prior * _spans(self.start))
        # The weight is an array: with another one, what was compiled serves again.
        belief = Prior(self.start, lambda m: m.coordinates, spans)
        return whole + jnp.asarray(weight) * belief

    def solve(
        self,
        parts: dict[str, Any],
        data: dict[str, Any],
        *,
        begin: ParametricTwin | None = None,
        weigh: bool = True,
        tolerance: float = NOISY_TOLERANCE,
    ) -> "_Solved":
        """Fit, weigh by the noise that is left, and fit again with what is believed."""
        begin = self.start if begin is None else begin
        used = {key: data[key] for key in parts}
        first = begin
        if weigh:
            first = self.once(self.whole(parts, 0.0), used, begin, tolerance).model
            parts = {k: _weighted(p, first, used[k]) for k, p in parts.items()}
        # Half a mean square each: this weight makes the sum a posterior.
        count = max(p.residuals(first, used[k]).size for k, p in parts.items())
        whole = self.whole(parts, len(self.start.names) / count)
        result = self.once(whole, used, first, tolerance)
        return _Solved(self, parts, used, result)


@dataclass(frozen=True)
class _Solved:
    """One fit, and what came of it."""

    fit: _Fit
    parts: dict[str, Any]
    data: dict[str, Any]
    result: Result

    @property
    def model(self) -> ParametricTwin:
        return self.result.model

    def told(
        self,
        error: str,
        cutoff: float | None,
        training: list[Trajectory],
        held_out: list[Trajectory],
    ) -> IdentifyResult:
        """Return the identification; its verdict is by the efforts where it may be.

        Their residuals are noise from instant to instant; a window's are one mistake
        over and over.
        """
        key = "effort" if "effort" in self.parts else "motion"
        verdict = identifiability(
            self.parts[key], self.model, self.data[key], bounds=self.fit.bounds
        )
        return IdentifyResult(
            before=self.fit.start,
            model=self.model,
            verdict=verdict,
            result=self.result,
            objective=self.fit.whole(self.parts, 0.0),
            error=error,
            cutoff=cutoff,
            training=training,
            held_out=held_out,
        )


def _windows(fit: _Fit, runs: list[Trajectory], error: str) -> Trajectory:
    lead = fit.lead(runs[0].time_step) if error == "motion" else 0
    return sliding_windows(runs, common_length(runs) - lead, lead=lead)


def _best_cutoff(
    fit: _Fit, runs: list[Trajectory], shown: list[Trajectory], most: float
) -> float:
    """Return the cut-off whose fit of the efforts forecasts the recordings best.

    Accelerations of too much noise bias a fit, and too little motion tells nothing.
    """
    tried = [most / 2**k for k in range(HALVINGS) if most / 2**k >= LOWEST] or [most]
    edge = 0.5 / tried[-1]
    every = max(1, sum(run.steps for run in runs) // ENOUGH)
    scores = {}
    for cutoff in tried:
        used = smoothed(runs, cutoff, edge=edge)
        data = {"effort": _windows(fit, used, "effort")}
        parts = {"effort": fit.effort_error(data["effort"], central=False, every=every)}
        made = fit.once(fit.whole(parts, 0.0), data, fit.start, NOISY_TOLERANCE)
        scores[cutoff] = _forecast_error(made.model, shown)
    return min(scores, key=lambda cutoff: (scores[cutoff], cutoff))


def _forecast_error(model: ParametricTwin, runs: list[Trajectory]) -> float:
    """Return the mean logarithm of the positions' errors after a fifth of a second."""
    step = runs[0].time_step
    after = min(JUDGED, 0.5 * step * min(run.steps for run in runs))
    made = forecasts({"it": model}, runs, (after,), lead=_lead(model, step))
    errors = made.rmse["it"][-1, : model.joints]
    score = float(np.mean(np.log(np.maximum(errors, 1e-300))))
    return score if np.isfinite(score) else np.inf


def _clearly_better(
    model: ParametricTwin, other: ParametricTwin, runs: list[Trajectory]
) -> bool:
    gain = _forecast_error(model, runs) - _forecast_error(other, runs)
    return bool(gain < np.log(BETTER))


def _weighted(objective: Any, model: ParametricTwin, data: Trajectory) -> Any:
    """Return the objective in units of the noise that `model` leaves."""
    apart = np.asarray(objective.errors(model, data))
    noise = np.sqrt(np.mean(apart**2, tuple(range(apart.ndim - 1))))
    if isinstance(objective, InverseDynamicsError):
        size = np.full(noise.size, np.sqrt(np.mean(np.asarray(data.actions) ** 2)))
        scale = np.maximum(noise, FINEST * np.maximum(size, 1e-300))
        return dataclasses.replace(objective, scale=scale)
    moved = np.diff(np.asarray(data.observations)[..., : noise.size], axis=-2)
    size = np.sqrt(np.mean(moved**2, (0, 1)))
    scale = np.maximum(noise, FINEST * np.where(size > 0, size, size.max()))
    if objective.scale is not None:
        scale = np.where(np.isinf(np.asarray(objective.scale)), np.inf, scale)
    return PredictionError(horizon=objective.horizon, lead=objective.lead, scale=scale)


def _spans(model: ParametricTwin) -> np.ndarray:
    """Return what each coordinate would have to be off to matter."""
    x = np.asarray(model.coordinates)
    return np.where(model.positive, 1.0, np.maximum(np.abs(x), model.spans()))


def _lead(model: ParametricTwin, step: float) -> int:
    remembers = any(name.startswith(("lag", "delay")) for name in model.names)
    return int(np.ceil(MEMORY / step)) if remembers else 0


def _check(
    twin: Twin,
    training: Sequence[Trajectory],
    held_out: Sequence[Trajectory],
    error: str,
    cutoff: float | None,
    horizon: float,
    prior: float | None,
) -> None:
    if not training:
        raise RobooptError("`training` must hold at least one recording, got none.")
    if error not in ERRORS:
        raise RobooptError(f"`error` must be one of {ERRORS}, got {error!r}.")
    for name, value in (("cutoff", cutoff), ("horizon", horizon), ("prior", prior)):
        if value is not None and not 0 < value < np.inf:
            raise RobooptError(f"`{name}` must be positive and finite, got {value}.")
    for name, runs in (("training", training), ("held_out", held_out)):
        for index, run in enumerate(runs):
            sizes = run.observations.shape[-1], run.actions.shape[-1]
            if run.actions.ndim != 2 or sizes[0] < 2 * twin.joints:
                raise RobooptError(
                    f"`{name}`[{index}] must be one recording of [q, q̇] of "
                    f"{twin.joints} joints, got observations of shape "
                    f"{run.observations.shape}."
                )
            if sizes[1] != twin.action_size:
                raise RobooptError(
                    f"`{name}`[{index}] must hold an action for each of the "
                    f"{twin.action_size} actuated joints, got {sizes[1]}."
                )
