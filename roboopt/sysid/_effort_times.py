"""When the recorded efforts acted: at samples, over steps after them, or earlier.

Efforts f that come τ late are f(t − τ) ≈ f(t) − τ ḟ(t): least squares in the base
parameters get one more column, −ḟ of the efforts that they fitted, whose number is τ.
Left in, a delay makes up damping, τ I ω² of an inertia I that swings at ω. A filter or
a log delays all joints alike; what a model lacks of a gear does not, and is no delay.
Intervals count what is left of a delay, by its standard deviation.
"""

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roboopt.data import Trajectory, sample_times
from roboopt.diagnose import Finding, score_covariance
from roboopt.dynamics import ParametricTwin
from roboopt.objectives import InverseDynamicsError
from roboopt.sysid._condensed import (
    MIN_SINGULAR,
    Condensed,
    effort_rows,
    is_condensable,
)
from roboopt.sysid._fitter import Fitter, effort_windows
from roboopt.sysid._friction_velocity import MIN_GAIN, with_friction_velocity
from roboopt.sysid._nearest_possible import free_numbers
from roboopt.sysid._preparation import (
    after_steps,
    evenly,
    impulse_response,
    outlasts,
    smoothed,
)
from roboopt.sysid._smoothing import (
    Smoothing,
    halved,
    least_squares_numbers,
    noisier_samples,
)

MAX_CHOICE_SAMPLES = 4000  # to choose the cutoff, or the timing of efforts
MIN_SIGNIFICANCE = 4.0  # standard errors of a delay
MIN_DELAY_STEPS = 0.2  # recorded ones
MAX_DIFFERENCE = 0.2  # of a joint from the common delay, beside three standard errors
MAX_REST = 0.1  # of a delay, that is left once efforts are taken earlier
MAX_SHIFTS = 4
MAX_DELAY_INSTANTS = 3000


def timed(
    fitter: Fitter,
    runs: Sequence[Trajectory],
    tests: Sequence[Trajectory],
    cutoff: float,
) -> tuple[Sequence[Trajectory], Sequence[Trajectory], bool]:
    """Return the recordings with efforts at the times that they show.

    Sets `fitter.staggered`, and `fitter.late` where all are late alike. The last tells
    whether they may be a simulation's, whose effort moves the next sample; a real one
    moves those around it.
    """
    fitter.staggered = False
    if fitter.commanded or fitter.swings:
        return runs, tests, True
    step, given = runs[0].time_step, fitter.samples
    fitter.staggered = True
    late = fitter.passive or fitter.late or _take_earlier(fitter, step, cutoff)
    instants, others = (evenly(part, step, held=False) for part in fitter.samples)
    measured, held = (smoothed(part, cutoff) for part in (instants, runs))
    like_simulated = _excess(fitter, measured, held, held=False) > 0
    fitter.staggered = not like_simulated
    if fitter.passive:
        earlier = [after_steps(run) for run in held]
        count = 2 * cutoff * sum(run.time_step * run.steps for run in runs)
        gain = 2 * count * _excess(fitter, measured, earlier, held=True)
        fitter.staggered = gain <= MIN_GAIN
    if fitter.staggered:
        runs, tests = instants, others
        if isinstance(late, Finding) and fitter.late is None:
            fitter.late = late
            warnings.warn(str(late), stacklevel=2)
    else:
        fitter.samples, fitter.delay, fitter.delays_left = given, 0.0, None
    return runs, tests, like_simulated


def _excess(
    fitter: Fitter,
    measured: Sequence[Trajectory],
    other: Sequence[Trajectory],
    *,
    held: bool,
) -> float:
    """Return how much more efforts at the samples leave than those of whole steps.

    The latter are `held` in fact, and at each sample the mean of both steps; or as they
    are in a simulation. The result is the logarithm of the errors' ratio.
    """
    left = []
    for staggered, runs in ((True, measured), (held, other)):
        windows = effort_windows(runs)
        settings = {"staggered": staggered, "every": sparsely(runs)}
        error = fitter.effort_error(windows, **settings)
        if not is_condensable(error, fitter.start):
            return -np.inf
        condensed = Condensed.of(error, fitter.start, windows)
        # That of a passive joint, 0, is explained by a robot without mass.
        driven = condensed.factors[list(fitter.start.actuated)]
        condensed = Condensed(driven, condensed.instants)
        numbers = least_squares_numbers(condensed, fitter.start)
        left.append(np.log(np.maximum(condensed.rms(numbers), 1e-300)).sum())
    return float(left[0] - left[1])


def _take_earlier(fitter: Fitter, step: float, cutoff: float) -> Finding | None:
    """Take efforts of `fitter.samples` earlier if those of all joints are late alike.

    Returns what is to be said, and sets `fitter.delay` and `fitter.delays_left`. Motion
    ends at `cutoff` [Hz].
    """
    if not is_condensable(fitter.effort_error(fitter.samples[0][0]), fitter.start):
        return None
    try:
        found = _delay(fitter, step, cutoff)
    finally:
        fitter.response = None
    if found is None:
        return None
    delay, deviation = found.common, found.deviation
    fitter.delays_left = found.left(step)
    if not found.is_taken(step):
        return None
    fitter.delay = delay
    fitter.samples = tuple(
        [_earlier(run, delay) for run in part] for part in fitter.samples
    )
    late, early = ("late", "earlier") if delay > 0 else ("early", "later")
    joints = "all joints" if fitter.start.joints > 1 else "the joint"
    makers = "filters, logs and `resample`" if fitter.resampled else "filters and logs"
    return Finding(
        "late_efforts",
        "warning",
        f"the efforts of {joints} come {1000 * abs(delay):.2f} ± "
        f"{2000 * deviation:.2g} ms {late} against the positions, as {makers} make "
        f"them: they are taken so much {early} here.",
    )


@dataclass(frozen=True)
class _Lateness:
    """How late the efforts of the joints are, with standard deviations [s]."""

    each: np.ndarray
    deviations: np.ndarray
    common: float
    deviation: float
    settled: bool = False
    """Whether little is left once efforts are taken so much earlier."""

    @property
    def is_common(self) -> bool:
        """Return whether all joints may have the common delay."""
        apart = np.abs(self.each - self.common) - 3 * self.deviations
        return not np.any(apart > MAX_DIFFERENCE * abs(self.common))

    def is_taken(self, step: float) -> bool:
        """Return whether the efforts are to be taken earlier by the common delay."""
        clear = np.abs(self.each) > MIN_SIGNIFICANCE * self.deviations
        significant = abs(self.common) > MIN_SIGNIFICANCE * self.deviation
        several = np.sum(clear) >= min(2, self.each.size)
        large = abs(self.common) >= MIN_DELAY_STEPS * step
        return bool(
            self.is_common and self.settled and significant and several and large
        )

    def is_negligible(self, step: float) -> bool:
        """Return whether the common delay is for sure less than could be taken."""
        most = abs(self.common) + MIN_SIGNIFICANCE * self.deviation
        return self.is_common and most < MIN_DELAY_STEPS * step

    def left(self, step: float) -> np.ndarray:
        """Return what delays are left, as `Estimate.delays_left`."""
        if not self.is_common:
            return np.diag(np.hypot(self.each, self.deviations))
        given = 0.0 if self.is_taken(step) else self.common
        return np.full((self.each.size, 1), np.hypot(given, self.deviation))


def _delay(fitter: Fitter, step: float, cutoff: float) -> _Lateness | None:
    """Return how late the efforts are, None if recordings are too short to tell.

    Motion is smoothed above the cutoff [Hz] at which the delay is known best: noise is
    more above a high one, and filters delay fast motion less than slow one.
    """
    best = model = None
    for low in halved(cutoff):
        search = _Search(fitter, step, low, model)
        found = search.lateness()
        if found is None or (best and found.deviation > best.deviation):
            break
        best, model = found, search.model
        if found.is_negligible(step):
            break
    return best


@dataclass
class _Search:
    """The search for the delays of efforts in motion below a cutoff."""

    fitter: Fitter
    step: float  # even one of the recordings [s]
    cutoff: float  # [Hz]
    model: ParametricTwin | None = None
    """The robot with velocity scales of friction; found from recordings if None."""

    def lateness(self) -> _Lateness | None:
        """Return how late the efforts are, None if recordings are too short."""
        total, shifts, given = 0.0, 0, self.fitter.samples[0]
        while True:
            sampled = [_earlier(run, total) for run in given]
            found = self.left(evenly(sampled, self.step, held=False))
            if found is None:
                return None
            total += found.common
            least = max(2 * found.deviation, MAX_REST * abs(total))
            settled, shifts = abs(found.common) <= least, shifts + 1
            if settled or shifts == MAX_SHIFTS:
                break
        # What as much noise again changes; both signs, free of what is linear in it.
        more = (noisier_samples(sampled, self.step, sign) for sign in (1, -1))
        noisy = [one.common for one in map(self.left, more) if one is not None]
        bias = float(np.mean(noisy)) - found.common
        # A first-order filter delays an oscillation ω by atan(ω τ)/ω ≈ τ − τ (ω τ)²/3.
        less = total * (2 * np.pi * self.cutoff * total) ** 2 / 3
        known = float(np.linalg.norm([found.deviation, bias, less]))
        each = found.each + total - found.common
        return _Lateness(each, found.deviations, total, known, settled)

    def left(self, runs: Sequence[Trajectory]) -> _Lateness | None:
        """Return the delays of even recordings, None if they are too short."""
        if (seen := _prepared(self.fitter, runs, self.cutoff)) is None:
            return None
        error, windows, _ = seen
        if self.model is None:
            self.model, _ = with_friction_velocity(self.fitter.start, *seen)
        return _delays(error, self.model, windows)


def _earlier(run: Trajectory, delay: float) -> Trajectory:
    """Return a run whose efforts are those that come `delay` [s] later.

    Those beyond its end are the last.
    """
    if not delay:
        return run
    times = sample_times(run)[:-1]
    columns = np.asarray(run.actions, float).T
    moved = [np.interp(times + delay, times, column) for column in columns]
    return dataclasses.replace(run, actions=np.stack(moved, 1))


def _prepared(
    fitter: Fitter, runs: Sequence[Trajectory], cutoff: float
) -> tuple[InverseDynamicsError, Trajectory, float] | None:
    """Return the error of efforts filtered as the model's, windows, and oversampling.

    Sets `fitter.response`. None where runs are too short for the filter.
    """
    made = Smoothing(cutoff, (), np.zeros(0), response=np.ones(1), staggered=True)
    made = dataclasses.replace(made, runs=tuple(made.prepared(runs)))
    response = impulse_response(cutoff, made.runs[0].time_step)
    if not outlasts(made.runs, response):
        return None
    fitter.response = response
    windows = effort_windows(made.runs, response)
    error = made.effort_error(fitter, windows)
    instants = int(np.prod(windows.actions.shape[:-1])) / error.every
    if instants > MAX_DELAY_INSTANTS:
        steps = round(windows.steps * MAX_DELAY_INSTANTS / instants) + response.size
        seen, efforts = map(np.asarray, (windows.observations, windows.actions))
        parts = seen[..., : steps + 1, :], efforts[..., :steps, :]
        windows = Trajectory(*parts, windows.time_step)
    return error, windows, max(1.0, made.oversampling / error.every)


def _delays(
    error: InverseDynamicsError, model: ParametricTwin, windows: Trajectory
) -> _Lateness:
    """Return each joint's delay, and that of all together, by least squares."""
    at, parts = zip(*effort_rows(error, model, windows), strict=True)
    rows = np.concatenate(parts, 1)[:, np.argsort(np.concatenate(at))]
    factors: Any = np.linalg.qr(rows, mode="r")
    numbers = least_squares_numbers(Condensed(factors, rows.shape[1]), model)
    fitted = rows[..., :-1] @ numbers
    left = rows[..., -1] - fitted
    joints, instants = left.shape
    count = int(np.prod(windows.actions.shape[:-2]))
    spacing = windows.time_step * error.every
    later: Any = np.gradient(fitted.reshape(joints, count, -1), spacing, axis=2)
    later = later.reshape(joints, instants)
    noise = np.maximum(np.sqrt(np.mean(left**2, 1)), 1e-300)[:, None]
    columns = rows[..., :-1][..., free_numbers(model)[0]] / noise[..., None]
    columns = columns.reshape(joints * instants, -1)
    columns /= np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    own = np.zeros((joints, joints, instants))
    own[range(joints), range(joints)] = -later / noise
    targets = np.vstack([own.reshape(joints, -1), (left / noise).reshape(1, -1)]).T
    # What is left of both by least squares in all other columns (Frisch and Waugh).
    known = np.linalg.lstsq(columns, targets, rcond=MIN_SINGULAR)[0]
    targets = targets - columns @ known
    slopes, errors = targets[:, :-1], targets[:, -1]
    found = []
    for one in (slopes, slopes.sum(1, keepdims=True)):
        inverse = np.linalg.pinv(one.T @ one)
        delays = inverse @ (one.T @ errors)
        rest = (errors - one @ delays).reshape(joints, -1)
        scores = np.einsum("jti,jt->ti", one.reshape(joints, instants, -1), rest)
        spread = inverse @ score_covariance(rest.T, scores) @ inverse
        found += [delays, np.sqrt(np.diag(spread))]
    each, deviations, common, deviation = found
    return _Lateness(each, deviations, float(common[0]), float(deviation[0]))


def sparsely(runs: Sequence[Trajectory]) -> int:
    """Return the step from one instant to the next that is enough for a choice."""
    return max(1, sum(run.steps for run in runs) // MAX_CHOICE_SAMPLES)
