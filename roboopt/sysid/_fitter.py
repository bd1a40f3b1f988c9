"""Fitting a parametric twin to data, weighted by the noise that a first fit leaves.

A first fit tells the noise of each joint. The weights of the second are one over the
residuals' standard deviations in the first, as in weighted least squares (Gautier and
Khalil, 1992); a wide prior around the robot as given holds what they do not tell.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from roboopt._core import AnyArray
from roboopt._interrupt import keep
from roboopt._progress import counted
from roboopt.data import Trajectory, sliding_windows
from roboopt.diagnose import Explanation, Finding, explain_residuals
from roboopt.dynamics import ParametricTwin
from roboopt.objectives import InverseDynamicsError, Keyed, PredictionError, Prior
from roboopt.optimize import Bound, Checkpoint, Fit, OneLog, Result, least_squares
from roboopt.sysid._condensed import Condensed, CondensedEffortError, is_condensable
from roboopt.sysid._estimate import Estimate
from roboopt.sysid._friction_velocity import bounded_scales
from roboopt.sysid._nearest_possible import nearest_possible
from roboopt.sysid._preparation import common_length, lead_steps
from roboopt.sysid._sizes import rms, sizes

MIN_SCALE_SHARE = 1e-9  # of a signal: smaller residuals are rounding
MAX_SIMULATED_STEPS = 10_000  # of all windows whose motion is fitted
MIN_FITTED_STEPS = 6  # of a window whose start is fitted
NOISY_TOLERANCE = 1e-4  # of the loss: less is little beside the effect of the noise
NOISE_TOLERANCE = 1e-3  # the same, of a fit that only tells the noise
STOP_REASONS = {
    "tolerance": "no further improvement",
    "steps": "the last fit took all its steps",
    "interrupted": "interrupted",
}


def bounds_of(model: ParametricTwin, speeds: AnyArray | None = None) -> list[Bound]:
    """Return the bounds of a model's coordinates: frictions and times from 0 on.

    With the joints' `speeds`, scales of friction that recordings can tell apart.
    """
    ends = np.array(model.lower()), np.array(model.upper())
    lower, upper = ends if speeds is None else bounded_scales(model, *ends, speeds)
    return [Bound(lambda m: m.coordinates, lower, upper)]


@dataclass
class Fitter:
    """Fits one parametric twin to data, by one error or by a sum of them."""

    start: ParametricTwin
    prior: float | None
    steps: int
    progress: bool
    checkpoint: Checkpoint | None = None
    told: OneLog = field(default_factory=lambda: OneLog(None))
    spans: np.ndarray | None = None
    """The size of each coordinate, of which the prior is a share."""
    speeds: np.ndarray | None = None
    """Root mean square speed of each joint, for scales of friction."""
    swings: bool = False
    """Whether no recording holds any effort: the robot swings freely."""
    step_is_free: bool = False
    """Whether the simulation's time step was not given."""
    extrapolate: bool = False
    """Whether motion is extrapolated to time steps of no length."""
    refine: bool = False
    """Whether the simulation's time step is to be as short as the data need."""
    begin: ParametricTwin | None = None
    """Where fits without a beginning of their own begin; None for `start`."""
    results: list[Result] = field(default_factory=list)
    """Of each fit so far."""
    last: tuple[Any, Any] | None = None
    """What the last fit minimized, and over which data, condensed where they can be."""
    cutoff: float | None = None  # above which the data of the fits are smoothed [Hz]
    staggered: bool = True
    """Whether efforts are those of the instants of noisy samples, as a real robot's;
    held over the step after each, as in a simulation, if not."""
    by_default: bool = False
    """Whether nobody said which parameters are free."""
    resampled: bool = False
    """Whether the user has all recordings resampled: efforts are means over steps."""
    samples: tuple[Sequence[Trajectory], ...] = ((), ())
    """Recordings of the fit, and held out, before they are resampled evenly."""
    late: Finding | None = None  # on efforts that are taken earlier, by `delay` [s]
    delay: float = 0.0
    delays_left: np.ndarray | None = None  # as in `Estimate`
    response: np.ndarray | None = None  # by which the model's efforts are filtered
    condensed: tuple[tuple, Condensed] | None = None
    """The condensed data of the last fit of efforts, and what they were made of."""
    suspicions: tuple[str, ...] | None = None
    """What explains the efforts better than the robot; None until that is judged."""
    kept: Estimate | None = None
    """The best fit so far, which a Ctrl-C leaves."""

    @property
    def passive(self) -> bool:
        """Whether the efforts at a joint are not recorded, or 0.

        A joint is driven by nothing, or by commands that are no efforts.
        """
        undriven = len(self.start.actuated) < self.start.joints
        return self.swings or self.commanded or undriven

    @property
    def commanded(self) -> bool:
        """Whether actions are commands to a drive, whose loop is part of the model.

        The motion is then predicted from starts that are fitted: noise in a measured
        start biases friction and gains. Of a robot without that loop a fitted start
        hides what the model lacks, and long predictions get worse: two thirds for a
        real arm over 0.5 s.
        """
        inner = self.start.inner
        return inner.effort_axes is not None or inner.interface != "torque"

    def outcome(self, last: Result, interrupted: bool) -> Result:
        """Return the last fit's result; time, history and message are of all together.

        The last of several fits begins where another ended, and may take no step.
        """
        made, count = self.results, len(self.results)
        losses = [each.history["loss"] for each in made]
        fits = np.repeat(np.arange(1, count + 1), [*map(len, losses)])
        history = {"loss": np.concatenate(losses), "fit": fits}
        seconds = sum(each.seconds for each in made)
        last = dataclasses.replace(last, seconds=seconds, history=history)
        if interrupted:
            last = dataclasses.replace(last, reason="interrupted")
        elif count == 1:
            return last
        taken = counted(sum(each.steps for each in made), "step")
        message = f"{STOP_REASONS[last.reason]} after {taken}"
        message += f" in {count} fits" * (count > 1)
        return dataclasses.replace(last, message=message)

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
        own = self.start if self.begin is None else self.begin
        first = own if begin is None else begin
        used = {kind: data[kind] for kind in parts}
        if weigh:
            enough = max(tolerance, NOISE_TOLERANCE)
            first = self.fit_once(parts, used, first, tolerance=enough).model
            parts = {k: weighted(p, first, used[k]) for k, p in parts.items()}
        # Half a mean square each: this weight makes the sum a posterior.
        count = max(_count(p, first, used[k]) for k, p in parts.items())
        prior = len(self.start.names) / count
        result = self.fit_once(parts, used, first, prior, tolerance)
        return Estimate(parts, used, result, self.cutoff)

    def fit_once(
        self,
        parts: Mapping[str, Any],
        data: Any,
        begin: ParametricTwin,
        prior_weight: float = 0.0,
        tolerance: float = NOISY_TOLERANCE,
    ) -> Result:
        """Fit the sum of the parts and the prior.

        Raises:
            KeyboardInterrupt: after a Ctrl-C, with the best so far in `kept`.
        """
        objective, batch = self._sum(parts, prior_weight), data
        part = self.checkpoint and self.checkpoint.part(
            f"fit {len(self.results) + 1}", steps=self.steps, tolerance=tolerance
        )
        minimized = functools.partial(
            least_squares,
            bounds=bounds_of(self.start, self.speeds),
            tolerance=tolerance,
            steps=self.steps,
            progress=self.progress,
            log=self.told.of_next,
            checkpoint=part,
        )
        if set(parts) == {"effort"} and is_condensable(parts["effort"], begin):
            error = CondensedEffortError(np.asarray(parts["effort"].scale))
            condensed = self._condensed(parts["effort"], data["effort"])
            objective = self._sum({"effort": error}, prior_weight)
            batch = {"effort": condensed.batch()}
            counted = np.isfinite(np.asarray(parts["effort"].scale))
            of_counted = Condensed(condensed.factors[counted], condensed.instants)
            nearest = nearest_possible(self.start, of_counted, self._deviations())
            if nearest is not None:
                if objective(nearest, batch) < objective(begin, batch):
                    begin = nearest
                steps = self.steps if prior_weight else 1  # The first tells the noise.
                minimized = functools.partial(minimized, steps=steps)
        result = minimized(objective, begin, batch)
        # An unfinished fit that began at the start may be worse than one before.
        interrupted = result.reason == "interrupted"
        if self.kept is None or not interrupted or begin is not self.start:
            self.last = objective, batch
            self.kept = Estimate(parts, data, result, self.cutoff)
        self.results.append(result)
        if interrupted:
            raise KeyboardInterrupt
        keep()  # The nearest possible robot may have been the best without a step.
        return result

    def _condensed(self, error: InverseDynamicsError, data: Trajectory) -> Condensed:
        """Return the condensed data, once for all fits of them."""
        key = data, error.every, error.central, error.staggered, self.start
        if self.condensed is None or not all(
            a is b or a == b for a, b in zip(self.condensed[0], key, strict=True)
        ):
            self.condensed = key, Condensed.of(error, self.start, data)
        return self.condensed[1]

    def _sum(self, parts: Mapping[str, Any], prior_weight: float) -> Any:
        """Return the sum of the parts and the prior."""
        whole, *others = (Keyed(kind, part) for kind, part in parts.items())
        for other in others:
            whole = whole + other
        if self.prior is not None:
            whole += prior_weight * Prior(self.start, _coordinates, self._deviations())
        return whole

    def _deviations(self) -> Array | None:
        """Return the standard deviations of the prior, if there is one."""
        spans = sizes(self.start) if self.spans is None else self.spans
        return None if self.prior is None else jnp.asarray(self.prior * spans)

    def explained(self, model: ParametricTwin) -> dict[str, Explanation]:
        """Explain the gradient of the last fit's error at the start and at `model`."""
        if self.last is None:
            return {}
        objective, data = self.last
        ends = {"start": self.start, "end": model}
        return {
            when: explain_residuals(Fit.of(objective, model, data))
            for when, model in ends.items()
        }

    def effort_error(
        self,
        data: Trajectory,
        *,
        central: bool = False,
        staggered: bool = False,
        every: int = 1,
        driven_only: bool = False,
    ) -> InverseDynamicsError:
        """Return the error of the efforts over their root mean square.

        The scale of a joint that nothing drives is the effort that the robot as given
        would have needed; infinite with `driven_only`.
        """
        ones = np.ones(self.start.joints)
        error = InverseDynamicsError(
            central=central,
            staggered=staggered,
            every=every,
            scale=ones,
            filter=self.response,
        )
        size = np.full(self.start.joints, np.inf)
        if not driven_only and len(self.start.actuated) < self.start.joints:
            size = rms(error.errors(self.start, data))
        size[np.array(self.start.actuated)] = rms(data.actions)
        return dataclasses.replace(error, scale=np.where(size > 0, size, 1.0))

    def motion_error(self, data: Trajectory) -> PredictionError:
        """Return the error of the positions alone: velocities are not measured."""
        joints, lead = self.start.joints, lead_steps(self.start, data.time_step)
        size = _step_size(data, joints)
        scale = np.where(size > 0, size, max(size.max(), 1e-300))
        scale = np.concatenate([scale, np.full(joints, np.inf)])
        steps = data.steps - lead
        fitted = self.commanded and steps >= MIN_FITTED_STEPS
        return PredictionError(
            horizon=steps,
            lead=lead,
            scale=scale,
            fit_starts=fitted,
            extrapolate=self.extrapolate,
        )

    def motion_windows(
        self, runs: Sequence[Trajectory], horizon: float | None = None
    ) -> Trajectory:
        """Return windows of about `horizon` [s], or of the longest common length."""
        step = runs[0].time_step
        lead = lead_steps(self.start, step)
        if horizon is None:
            return sliding_windows(runs, common_length(runs, lead), lead=lead)
        shortest = min(run.steps for run in runs)
        least = MIN_FITTED_STEPS if self.commanded else 1
        steps = max(1, min(max(least, round(horizon / step)), shortest // 2))
        apart = -(-sum(run.steps for run in runs) // MAX_SIMULATED_STEPS)
        return sliding_windows(runs, steps + lead, stride=apart * steps)


def effort_windows(
    runs: Sequence[Trajectory], response: AnyArray | None = None
) -> Trajectory:
    """Return the recordings in windows of one length.

    They overlap by the ends of windows that do not count with a filter's `response`.
    """
    ends = 0 if response is None else np.size(response) - 1
    return sliding_windows(runs, common_length(runs, ends), lead=ends)


def weighted(objective: Any, model: ParametricTwin, data: Trajectory) -> Any:
    """Return the objective in units of the noise that `model` leaves."""
    noise = rms(objective.errors(model, data))
    if isinstance(objective, InverseDynamicsError):
        size = max(np.sqrt(np.mean(np.asarray(data.actions) ** 2)), 1e-300)
    else:
        size = _step_size(data, noise.size)
        size = np.where(size > 0, size, size.max())
    scale = np.maximum(noise, MIN_SCALE_SHARE * size)
    scale = np.where(np.isinf(np.asarray(objective.scale)), np.inf, scale)
    return dataclasses.replace(objective, scale=scale)


def _coordinates(model: ParametricTwin) -> Any:
    return model.coordinates


def _count(objective: Any, model: ParametricTwin, data: Trajectory) -> int:
    """Return the number of residuals."""
    return eqx.filter_eval_shape(objective.residuals, model, data).size


def _step_size(data: Trajectory, columns: int) -> np.ndarray:
    """Return the root mean square of each column's change in one step."""
    return rms(np.diff(np.asarray(data.observations)[..., :columns], axis=-2))
