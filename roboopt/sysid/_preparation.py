"""Preparation of recordings for a fit: one even step, smoothing, and windows."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from roboopt._core import AnyArray
from roboopt._errors import argument_called
from roboopt.data import Trajectory, low_pass, resample, sample_times, smooth
from roboopt.dynamics import ParametricTwin, Twin
from roboopt.sysid._recordings import moves_by_next_velocity

MEMORY_S = 0.2  # of actions that a lag or a delay is judged on
ROUNDING = 1e-6  # relative
RESPONSE_PERIODS = 2.5  # of the cutoff, after which a filter has responded
MAX_MARGIN_SHARE = 0.45  # of the sampling rate
DENSE_PER_PERIOD = 64  # of the cutoff: differences are derivatives to 0.1 % there
EDGE_PERIODS = 0.5  # of the cutoff, cut off at either end of a smoothed recording


def evenly(
    runs: Sequence[Trajectory], step: float, *, held: bool = True
) -> list[Trajectory]:
    """Return the runs with one even step [s], resampled where their own is another.

    Efforts are `held` until the next sample, as commands are, or interpolated, as those
    that were measured at the samples.
    """
    return [
        run
        if run.times is None and abs(run.time_step - step) <= ROUNDING * step
        else _resampled(run, step, held)
        for run in runs
    ]


def _resampled(run: Trajectory, step: float, held: bool) -> Trajectory:
    made = resample(run, step)
    if held:
        return made
    times, efforts = sample_times(run)[:-1], np.asarray(run.actions)
    grid = np.minimum(times[0] + step * np.arange(made.steps), times[-1])
    if run.times is None:
        actions = _spline(times, efforts)(grid)
    else:  # A spline swings between uneven samples with noise.
        actions = np.stack([np.interp(grid, times, column) for column in efforts.T], 1)
    return dataclasses.replace(made, actions=actions)


def _spline(times: np.ndarray, samples: AnyArray) -> Any:
    from scipy.interpolate import CubicSpline  # Slow to import.

    return CubicSpline(times, np.asarray(samples))


def steps_as_simulated(run: Trajectory, twin: Twin) -> bool:
    """Return whether positions move by the next velocity, as simulated ones do."""
    if abs(run.time_step - twin.time_step) > ROUNDING * twin.time_step:
        return False
    return moves_by_next_velocity(run, twin.joints, ROUNDING)


def smoothed(
    runs: Sequence[Trajectory],
    cutoff: float,
    *,
    edge: float | None = None,
    efforts: bool = True,
    positions: bool = True,
    margin: float = 1.0,
) -> list[Trajectory]:
    """Return the runs smoothed, without the ends that the filter disturbs.

    Velocities become differences of the smoothed positions, as in the twin: with its
    own q' = q + Δt q̇' no error of a fit is the integrator's. (A driver's velocities are
    such differences too, filtered once more and so later.) At either end `edge` [s] is
    left out, but never more than a quarter of a run. An equation of motion needs
    smoothed efforts too, a simulation needs them as they were, and an error of the
    positions needs those as they were too: a filter blunts the motion. Positions are
    smoothed above `margin` times the cutoff.
    """
    edge = EDGE_PERIODS / cutoff if edge is None else edge
    result = []
    for run in runs:
        with argument_called("cutoff_hz", "cutoff"):
            made = smooth(run, cutoff)
        most = max(cutoff, min(margin * cutoff, MAX_MARGIN_SHARE / run.time_step))
        wide = made if most == cutoff else smooth(run, most)
        q = np.asarray(wide.observations)[:, : made.observations.shape[-1] // 2]
        rates = np.diff(q, axis=0) / run.time_step
        q = q if positions else np.asarray(run.observations)[:, : q.shape[1]]
        observations = np.hstack([q[1:], rates])
        actions = np.asarray((made if efforts else run).actions)[1:]
        steps = len(actions)
        out = min(int(np.ceil(edge / run.time_step)), (steps - 2) // 4)
        kept = observations[out : steps + 1 - out], actions[out : steps - out]
        result.append(Trajectory(*kept, run.time_step))
    return result


def interpolated(runs: Sequence[Trajectory], cutoff: float) -> list[Trajectory]:
    """Return even recordings with samples enough for motion below `cutoff` [Hz].

    Differences of positions over a step h are less than derivatives, of an oscillation
    at f accelerations by (π f h)²/3. Between the samples, efforts at which are those of
    their instants, cubic splines interpolate.
    """
    result = []
    for run in runs:
        count = int(np.ceil(DENSE_PER_PERIOD * cutoff * run.time_step))
        if count > 1:
            last = run.steps - 1
            grid = np.arange(count * last + 1) / count
            observations = np.asarray(run.observations)[: last + 1]
            samples = np.arange(last + 1)
            efforts = _spline(samples, run.actions)(grid)
            observations = _spline(samples, observations)(grid)
            run = Trajectory(observations, efforts[:-1], run.time_step / count)
        result.append(run)
    return result


def as_simulated(
    runs: Sequence[Trajectory], every: int, step: float, *, instants: bool
) -> list[Trajectory]:
    """Return smoothed recordings as a simulation in steps of `step` [s] has them.

    Its velocities are differences over its last step, half a step before the positions,
    and by efforts at the positions they become the next. Between the differences over
    longer recorded steps, and between efforts of `instants`, these are interpolated.

    Args:
        runs: recordings, of which every n-th sample is kept.
        every: n.
        step: 0 for a simulation that is extrapolated to steps of no length [s].
        instants: whether efforts are those at the samples; held after them if not.
    """
    result = []
    for run in thinned(runs, every, instants=instants):
        later = 0.5 * (1 - min(1.0, step / run.time_step))
        q, slopes = np.split(np.asarray(run.observations), 2, axis=1)
        observations = np.hstack([q, _between(slopes, later)])
        actions = _between(run.actions, later if instants else 0.0)
        result.append(Trajectory(observations, actions, run.time_step))
    return result


def after_steps(run: Trajectory) -> Trajectory:
    """Return a run whose efforts are held with the mean of the steps at each sample."""
    later = np.asarray(run.actions, float)
    actions = 0.5 * (later + np.concatenate([later[:1], later[:-1]]))
    return dataclasses.replace(run, actions=actions)


def _between(values: AnyArray, share: float) -> np.ndarray:
    """Return each row, and a share of the change to the next."""
    rows = np.asarray(values, float)
    return rows + share * (np.concatenate([rows[1:], rows[-1:]]) - rows)


def impulse_response(cutoff: float, time_step: float) -> np.ndarray:
    """Return the weights of the samples around each by which `smoothed` filters."""
    half = int(np.ceil(RESPONSE_PERIODS / (cutoff * time_step)))
    impulse = np.zeros((2 * half + 1, 1))
    impulse[half] = 1.0
    response = low_pass(impulse, cutoff, time_step)[:, 0]
    return response / response.sum()


def independent_rate(cutoff: float) -> float:
    """Return how many independent samples a second white noise has once smoothed [Hz].

    The Butterworth filter of third order, forwards and backwards, passes as much of it
    as one that stops at ∫ dx/(1 + x⁶)² = 5π/18 of its cutoff.
    """
    return 2 * (5 * np.pi / 18) * cutoff


def outlasts(runs: Sequence[Trajectory], response: AnyArray | None) -> bool:
    """Return whether at least half of each run is free of a filter's end effects."""
    steps = min(run.steps for run in runs)
    return response is None or steps > 2 * np.size(response)


def thinned(
    runs: Sequence[Trajectory], every: int, *, instants: bool = False
) -> list[Trajectory]:
    """Return every n-th sample of even recordings, with means of the actions.

    Those of `instants` are means around each sample, others of the step after it.
    Velocities are differences of the positions, as `smoothed` makes them.
    """
    if every == 1:
        return list(runs)
    result = []
    for run in runs:
        count, step = run.steps // every, every * run.time_step
        q = np.asarray(run.observations)[::every, : run.observations.shape[-1] // 2]
        q, actions = q[: count + 1], np.asarray(run.actions)
        if instants:
            actions = _centered(actions, every)
        observations = np.hstack([q[1:], np.diff(q, axis=0) / step])
        means = actions[: count * every].reshape(count, every, -1).mean(1)
        result.append(Trajectory(observations, means[1:], step))
    return result


def _centered(values: np.ndarray, count: int) -> np.ndarray:
    """Return rows moved so that means of `count` from each are means around it."""
    before, odd = divmod(count, 2)
    early = np.concatenate([values[:before][::-1], values])[: len(values)]
    return early if odd else _between(early, 0.5)


def common_length(runs: Sequence[Trajectory], lead: int = 0) -> int:
    """Return the length of windows in which the runs overlap themselves least.

    Each window follows `lead` steps that do not count.
    """
    counts = [run.steps - lead for run in runs]
    shortest = min(counts)

    def repeated(length: int) -> int:
        return sum(-(-count // length) * length - count for count in counts)

    lengths = [shortest // parts for parts in range(1, 11) if shortest // parts >= 10]
    return min(lengths or [shortest], key=lambda n: (repeated(n), -n))


def lead_steps(model: ParametricTwin, time_step: float) -> int:
    """Return the steps before a prediction that feed a lag or a delay."""
    remembers = any(name.startswith(("lag", "delay")) for name in model.names)
    return int(np.ceil(MEMORY_S / time_step)) if remembers else 0
