"""How noisy recordings are smoothed for a fit of their efforts.

Smoothed efforts pass from one sign of friction to the other as slowly as the filter
responds, and lack the upper harmonics that products of velocities have: where only
noise is left then, the model's efforts are filtered too (Gautier, 1997), and the
positions no more than keeps their noise out of the products. A real gear's friction is
not the model's; filtering that of the model would fit the efforts more closely, and
forecast the motion worse.

Noise in the positions, and so in accelerations, biases least squares toward 0. The bias
is what more such noise changes (Cook and Stefanski, 1994): as long as it is more than a
share of the standard errors, a lower cutoff is taken.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from roboopt.data import Trajectory, sample_times, smooth
from roboopt.dynamics import ParametricTwin, linear_parameters
from roboopt.sysid._condensed import Condensed
from roboopt.sysid._fitter import Fitter, effort_windows
from roboopt.sysid._friction_velocity import with_friction_velocity
from roboopt.sysid._nearest_possible import free_numbers
from roboopt.sysid._noise import noise_density, noise_deviation
from roboopt.sysid._preparation import (
    evenly,
    impulse_response,
    independent_rate,
    interpolated,
    outlasts,
    smoothed,
)

MAX_HALVINGS = 5  # of the cutoff that are tried
MIN_CUTOFF_HZ = 2.0  # that is tried
SAMPLES_PER_PERIOD = 8  # of the cutoff, that a fit takes
MAX_NOISE_RATIO = 1.5  # of what a fit of the efforts leaves to their noise
MARGIN = 2.0  # of the positions' cutoff to that of filtered efforts
MAX_BIAS = 0.5  # standard errors, of any combination of numbers


@dataclass(frozen=True)
class Smoothing:
    """Recordings smoothed above a cutoff, and the noise that they have then."""

    cutoff: float
    """[Hz]"""
    runs: tuple[Trajectory, ...]
    noise: Float[np.ndarray, " joint"]
    """Root mean square of what a fit of the efforts may leave [N·m or N]."""
    response: Float[np.ndarray, " sample"] | None = None
    """The filter's weights, where the efforts of the model are filtered too."""
    model: ParametricTwin | None = None
    """The robot with the velocity scales of friction that the recordings then show."""
    asked: tuple[str, ...] = ()
    """The names of these scales."""
    staggered: bool = False
    """Whether efforts are those of the instants of samples."""
    excess: Float[np.ndarray, " joint"] | None = None
    """What least squares leave over the noise, where that is too much to be noise."""

    @property
    def oversampling(self) -> float:
        """Return how many samples there are for each independent one."""
        return 1 / (independent_rate(self.cutoff) * self.runs[0].time_step)

    def prepared(self, runs: Sequence[Trajectory]) -> list[Trajectory]:
        """Return other recordings smoothed likewise."""
        margin = 1.0 if self.response is None else MARGIN
        if self.staggered:
            runs = interpolated(runs, self.cutoff)
        return smoothed(runs, self.cutoff, margin=margin)

    def effort_error(self, fitter: Fitter, data: Trajectory, **settings: Any) -> Any:
        """Return the error of efforts, at a few instants of a cutoff's period."""
        period = 1 / (self.cutoff * self.runs[0].time_step)
        every = max(1, int(period / SAMPLES_PER_PERIOD))
        staggered = fitter.staggered
        return fitter.effort_error(data, staggered=staggered, every=every, **settings)


def smoothing(
    fitter: Fitter, runs: Sequence[Trajectory], cutoff: float, *, lower: bool = True
) -> Smoothing:
    """Return the recordings smoothed above `cutoff` [Hz], or a `lower` one.

    Sets `fitter.response`, the filter of friction.
    """
    plain = _plain(fitter, runs, cutoff)
    fitter.response = None
    if fitter.passive:
        return plain
    chosen, least = plain, np.inf
    for tried in halved(cutoff) if lower else [cutoff]:
        filtered, bias = _filtered(fitter, runs, _plain(fitter, runs, tried))
        if filtered.response is None:
            if chosen is plain:
                chosen = dataclasses.replace(plain, excess=filtered.excess)
            break
        if bias < least:
            chosen, least = filtered, bias
        if bias <= MAX_BIAS:
            break
    fitter.response = chosen.response
    return chosen


def halved(cutoff: float) -> list[float]:
    """Return the cutoff, its half, and so on, as low as is tried [Hz]."""
    tried = [cutoff / 2**k for k in range(MAX_HALVINGS)]
    return [one for one in tried if one >= MIN_CUTOFF_HZ] or [cutoff]


def positions(runs: Sequence[Trajectory]) -> list[np.ndarray]:
    """Return the positions of each recording, (sample, joint)."""
    return [np.split(np.asarray(run.observations), 2, axis=1)[0] for run in runs]


def least_squares_of(
    error: Any, model: ParametricTwin, windows: Trajectory
) -> tuple[np.ndarray, Condensed]:
    """Return the numbers of unconstrained least squares, and what they fit."""
    condensed = Condensed.of(error, model, windows)
    return least_squares_numbers(condensed, model), condensed


def least_squares_numbers(condensed: Condensed, model: ParametricTwin) -> np.ndarray:
    """Return the numbers of unconstrained least squares."""
    free = free_numbers(model)[0]
    return condensed.unconstrained(np.asarray(linear_parameters(model)), free)


def _plain(fitter: Fitter, runs: Sequence[Trajectory], cutoff: float) -> Smoothing:
    fast = [
        (np.asarray(run.actions) - np.asarray(smooth(run, cutoff).actions)) ** 2
        for run in runs
    ]
    noise = np.sqrt(np.mean(np.concatenate(fast), 0))
    made = Smoothing(cutoff, (), noise, staggered=fitter.staggered)
    return dataclasses.replace(made, runs=tuple(made.prepared(runs)))


def _filtered(
    fitter: Fitter, runs: Sequence[Trajectory], plain: Smoothing
) -> tuple[Smoothing, float]:
    """Return the smoothing with filtered friction, and the bias by noise.

    It is plain if more than noise is left. The bias is the largest of all combinations
    of numbers, over their standard errors.
    """
    response = impulse_response(plain.cutoff, plain.runs[0].time_step)
    if not outlasts(plain.runs, response):
        return plain, np.inf
    sampled, step = fitter.samples[0] or runs, runs[0].time_step
    made = dataclasses.replace(plain, response=response)
    made = dataclasses.replace(made, runs=tuple(made.prepared(runs)))
    windows = effort_windows(made.runs, response)
    fitter.response = response
    error = plain.effort_error(fitter, windows)
    oversampling = max(1.0, plain.oversampling / error.every)
    start = fitter.start
    model, asked = with_friction_velocity(start, error, windows, oversampling)
    if not asked:
        return plain, np.inf
    numbers, condensed = least_squares_of(error, model, windows)
    left = condensed.rms(numbers)

    def noisier(sign: int) -> Condensed:
        more = made.prepared(noisier_samples(sampled, step, sign))
        return Condensed.of(error, model, effort_windows(more, response))

    # Noise like that of the positions, once more, adds what it added before.
    first = noisier(1)
    added = first.rms(numbers) ** 2 - left**2
    share = min(independent_rate(plain.cutoff) * step, 0.999)  # of all frequencies
    # A filter of first order that delays efforts by τ takes 1 − 1/(1 + 2 τ/Δt) of white
    # noise away, and twice so many decibels of that of the highest frequency.
    passing = 1 + 2 * max(fitter.delay, 0.0) / step
    passed = passing * plain.noise**2 * share / (1 - share)
    if any(run.times is not None or run.time_step != step for run in sampled):
        # Interpolated samples no longer tell the noise.
        efforts = [
            noise_density(run.actions, sample_times(run)[:-1]) for run in sampled
        ]
        density = passing**2 * np.mean(efforts, 0)
        passed = independent_rate(plain.cutoff) / 2 * density
    expected = np.sqrt(passed + np.maximum(added, 0.0))
    if not np.all(left <= MAX_NOISE_RATIO * expected):
        excess = left / np.where(expected > 0, expected, np.inf)
        return dataclasses.replace(plain, excess=excess), np.inf
    # The mean of both signs is free of what is linear in the noise.
    both = [least_squares_numbers(one, model) for one in (first, noisier(-1))]
    shift = np.mean(both, 0) - numbers
    noise = np.where(left > 0, left, np.inf) * np.sqrt(oversampling)
    moved = condensed.factors[:, :, :-1] @ shift / noise[:, None]
    noise_of = np.maximum(plain.noise, expected)
    made = dataclasses.replace(made, noise=noise_of, model=model, asked=asked)
    return made, float(np.linalg.norm(moved))


def noisier_samples(
    sampled: Sequence[Trajectory], step: float, sign: int
) -> list[Trajectory]:
    """Return the recordings with twice the variance of their positions' noise.

    It is that of the samples, before these are interpolated in even steps [s].
    """
    random, result = np.random.default_rng(0), []
    for run, q in zip(sampled, positions(sampled), strict=True):
        noise = noise_deviation(q, sample_times(run)) * random.standard_normal(q.shape)
        observations = np.array(run.observations, float)
        observations[:, : q.shape[1]] += sign * noise
        result.append(dataclasses.replace(run, observations=observations))
    return evenly(result, step, held=False)
