"""Fits of clean and of noisy recordings, by their efforts, their motion, or both.

Noisy recordings may be fitted by their efforts alone, or by their efforts and by their
motion over a horizon: the fit that forecasts the recordings better is kept. The fit of
the efforts is the efficient one where only noise separates robot and model, and is the
only one where it leaves no more than the efforts' noise; a real gear's friction is not
the model's, and then the motion must count too.
"""

import dataclasses
import functools
import warnings
from collections.abc import Sequence

import equinox as eqx
import numpy as np

from roboopt._errors import argument_called
from roboopt.data import Trajectory
from roboopt.dynamics import ParametricTwin, Twin, efforts_are_linear
from roboopt.objectives import InverseDynamicsError, PredictionError
from roboopt.sysid._choice import (
    BETTER_RATIO,
    WORSE_RATIO,
    forecast_error,
    without_offsets,
)
from roboopt.sysid._condensed import is_condensable
from roboopt.sysid._effort_times import sparsely, timed
from roboopt.sysid._estimate import Estimate
from roboopt.sysid._fitter import (
    NOISY_TOLERANCE,
    Fitter,
    effort_windows,
    weighted,
)
from roboopt.sysid._friction_velocity import (
    SCALES,
    speeds,
    with_friction_velocity,
    with_velocities,
    without_velocities,
)
from roboopt.sysid._noise import cutoff_frequency, noise_share
from roboopt.sysid._preparation import (
    EDGE_PERIODS,
    ROUNDING,
    as_simulated,
    lead_steps,
    smoothed,
    steps_as_simulated,
    thinned,
)
from roboopt.sysid._sizes import sizes
from roboopt.sysid._smoothing import (
    MAX_NOISE_RATIO,
    Smoothing,
    halved,
    positions,
    smoothing,
)
from roboopt.sysid._suspicions import suspicion_sentence, suspicions

MIN_NOISE_SHARE = 1e-4  # of a step's motion: below, recordings are clean
MAX_UNEXPLAINED_SHARE = 0.5  # of the efforts, in a fit of clean recordings
MAX_STEP_RATE = 0.4  # frequency that steps of a simulation show, over their own
CLEAN_TOLERANCE = 1e-10
MOTION_TOLERANCE = 1e-6  # a move by a standard error changes N samples' loss by 1/N
CHOICE_STEP_S = 5e-4  # to choose scales of friction, small ones of which need it


def fit_clean(
    fitter: Fitter,
    runs: Sequence[Trajectory],
    tests: Sequence[Trajectory],
    error: str,
) -> Estimate | None:
    """Return the fit to recordings whose motion is free of noise, None if it is not.

    Positions that move by the next velocity come from a simulation. They count as clean
    unless a fit leaves most of the efforts unexplained.
    """
    twin = fitter.start.origin.value
    if not are_clean(runs, twin):
        return None
    simulated = _are_simulated(runs, twin)
    # The effort on a joint that nothing drives is 0, as without any mass: only the
    # motion shows the mass. A joint that is held still moves as with an infinite one.
    if error == "auto":
        still = (np.ptp(np.vstack(positions(runs)), axis=0) == 0).any()
        by_efforts = not fitter.passive and (simulated or still)
        error = "effort" if by_efforts else "motion"
    parts, data, efforts = {}, {}, None
    if not fitter.commanded:
        judge = fitter.effort_error(effort_windows(runs), central=not simulated)
        _suspect(fitter, fitter.start, judge, runs, tests)
        efforts = None if fitter.passive else (judge, runs, tests)
    if error != "motion":
        data["effort"] = effort_windows(runs)
        only, windows = fitter.passive and error == "both", data["effort"]
        settings = {"driven_only": only, "central": not simulated}
        parts["effort"] = fitter.effort_error(windows, **settings)
    if error != "effort":
        data["motion"] = fitter.motion_windows(runs)
        settings = {"horizon": 1, "lead": lead_steps(fitter.start, runs[0].time_step)}
        windows = data["motion"]
        parts["motion"] = PredictionError.for_data(fitter.start, windows, **settings)
    found = fitter.fit(parts, data, tolerance=CLEAN_TOLERANCE)
    if "effort" in parts:
        whole, left = (np.asarray(p["effort"].scale) for p in (parts, found.parts))
        finite = np.isfinite(whole)
        if np.median(left[finite] / whole[finite]) > MAX_UNEXPLAINED_SHARE:
            return None
    return dataclasses.replace(found, efforts=efforts)


def _suspect(
    fitter: Fitter,
    model: ParametricTwin,
    error: InverseDynamicsError,
    runs: Sequence[Trajectory],
    tests: Sequence[Trajectory],
) -> None:
    """Warn once, before the fits, of what is likely wrong with the robot or columns."""
    if fitter.suspicions is not None or not is_condensable(error, model):
        return
    seen, held_out = effort_windows(runs), effort_windows(tests) if tests else None
    driven = () if fitter.swings else model.actuated
    passive = [joint for joint in range(model.joints) if joint not in driven]
    found = suspicions(error, model, seen, held_out, fitter.cutoff, passive)
    fitter.suspicions = found
    if found:
        warnings.warn(suspicion_sentence(found), stacklevel=2)


def are_clean(runs: Sequence[Trajectory], twin: Twin) -> bool:
    """Return whether the motion of even recordings is free of noise."""
    noise = max(map(noise_share, positions(runs)))
    return noise < MIN_NOISE_SHARE or _are_simulated(runs, twin)


def _are_simulated(runs: Sequence[Trajectory], twin: Twin) -> bool:
    return all(steps_as_simulated(run, twin) for run in runs)


def fit_noisy(
    fitter: Fitter,
    runs: Sequence[Trajectory],
    tests: Sequence[Trajectory],
    error: str,
    cutoff: float | None,
    horizon: float,
) -> Estimate:
    """Return the fit to noisy recordings, smoothed above `cutoff` [Hz]."""
    step, fitter.spans = runs[0].time_step, sizes(fitter.start, runs)
    with argument_called("runs", "recordings"):
        noise_begins = cutoff_frequency(positions(runs), step)
    slowest = max([step, *(run.time_step for part in fitter.samples for run in part)])
    noise_begins = min(noise_begins, MAX_STEP_RATE / slowest)
    finest = noise_begins if cutoff is None else max(noise_begins, cutoff)
    own = fitter.start.time_step
    every = max(1, round(own / step))
    wanted, fitter.response = _without_scales(fitter, runs), None
    runs, tests, like_simulated = timed(fitter, runs, tests, noise_begins)
    by_motion = fitter.passive and error != "effort"
    if by_motion and not fitter.commanded:
        _with_scales(fitter, runs)
    highest = MAX_STEP_RATE / (every * step)  # what long steps can show
    below = min(finest, highest) if every > 1 else finest
    simulated = functools.partial(as_simulated, every=every, instants=fitter.staggered)

    def in_steps(step: float) -> list[list[Trajectory]]:
        seen = (smoothed(part, below, efforts=False) for part in (runs, tests))
        return [simulated(part, step=step) for part in seen]

    shown, judging = in_steps(own)
    # Efforts held over steps of the twin may be those of a simulation like it.
    alike = like_simulated and abs(own - step) <= ROUNDING * step
    continuous = fitter.commanded or (fitter.passive and not alike)
    fitter.extrapolate = fitter.step_is_free and continuous
    fitter.refine = fitter.step_is_free and (continuous or not like_simulated)
    moved = shown
    if fitter.commanded:
        whole, edge = every > 1, EDGE_PERIODS / below
        most = max(below, highest) if whole else below
        settings = {"efforts": False, "edge": edge, "positions": whole}
        moved = thinned(smoothed(runs, most, **settings), every)
    elif fitter.extrapolate:
        moved, _ = in_steps(0.0)
    given = cutoff is not None
    if cutoff is None and by_motion:
        cutoff = noise_begins
    elif cutoff is None:
        cutoff = _best_cutoff(fitter, runs, shown, noise_begins)
    made = smoothing(fitter, runs, cutoff, lower=not given)
    fitter.cutoff, efforts = made.cutoff, None
    fit = _fit_motion_first if by_motion else _fit_efforts_first
    fitted = functools.partial(fit, fitter, made, shown, moved, error, horizon)
    scaled, asked = fitter.start, made.asked
    if not fitter.commanded:
        windows = effort_windows(made.runs, made.response)
        judge = made.effort_error(fitter, windows)
        measured = judge, made.runs, made.prepared(tests)
        known = without_velocities(fitter.start)
        if not fitter.passive:
            samples = max(1.0, made.oversampling / judge.every)
            # What is more than noise would make up intervals: none is asked for then.
            scaled = made.model
            if scaled is None:
                settings = judge, windows, samples
                scaled, _ = with_friction_velocity(fitter.start, *settings)
            efforts, known = measured, scaled
        _suspect(fitter, known, *measured)
    found, start = fitted(), fitter.start
    exact, finer = shown, None
    if fitter.refine:
        exact, _ = in_steps(0.0)
        finer = max(1, round(own / CHOICE_STEP_S))
    judged = functools.partial(forecast_error, runs=exact, finer=finer)
    if scaled is not start:
        # Scales that explain the efforts, but no motion, hide another error.
        fitter.start = scaled
        other = fitted(after=found)
        worse = judged(other.model) - judged(found.model)
        if worse < np.log(WORSE_RATIO if asked else BETTER_RATIO):
            found = other
        else:
            fitter.start, asked = start, ()
    if fitter.by_default and not fitter.passive and "motion" in found.parts:
        found = without_offsets(fitter, found, judged)
    fitter.kept = found
    return dataclasses.replace(
        found,
        velocities=(*asked, *wanted),
        excess=made.excess,
        delays_left=fitter.delays_left,
        efforts=efforts,
        training=tuple(shown),
        held_out=tuple(judging),
        in_steps=in_steps,
    )


def _without_scales(fitter: Fitter, runs: Sequence[Trajectory]) -> tuple[str, ...]:
    """Return the free scales of friction, which the fit of efforts then asks for."""
    linear = without_velocities(fitter.start)
    if fitter.passive or not efforts_are_linear(linear):
        return ()
    left_out = [name for name in fitter.start.names if name not in linear.names]
    fitter.start, fitter.spans = linear, sizes(linear, runs)
    return tuple(left_out)


def _with_scales(fitter: Fitter, runs: Sequence[Trajectory]) -> None:
    """Free the velocity scales of friction that is fitted by the motion."""
    names = [n for joined in fitter.start.names for n in joined.split(" = ")]
    rubbing = [n.partition("[")[2] for n in names if n.startswith("friction[")]
    wanted = [f"{SCALES[0]}[{joint}" for joint in rubbing]
    fitter.start = with_velocities(fitter.start, wanted)
    fitter.spans = sizes(fitter.start, runs)
    fitter.speeds = speeds(runs, fitter.start.joints)


def _fit_motion_first(
    fitter: Fitter,
    made: Smoothing,
    shown: Sequence[Trajectory],
    moved: Sequence[Trajectory],
    error: str,
    horizon: float,
) -> Estimate:
    """Fit the motion, then with "both" the efforts of the driven joints too."""
    data = {"motion": fitter.motion_windows(moved, horizon)}
    parts = {"motion": fitter.motion_error(data["motion"])}
    tolerance = MOTION_TOLERANCE if fitter.commanded else NOISY_TOLERANCE
    by_motion = fitter.fit(parts, data, tolerance=tolerance)
    if error != "both":
        return by_motion
    data["effort"] = effort_windows(made.runs, made.response)
    effort = made.effort_error(fitter, data["effort"], driven_only=True)
    effort = weighted(effort, by_motion.model, data["effort"])
    parts = {"effort": effort, **by_motion.parts}
    return fitter.fit(parts, data, begin=by_motion.model, weigh=False)


def _fit_efforts_first(
    fitter: Fitter,
    made: Smoothing,
    shown: Sequence[Trajectory],
    moved: Sequence[Trajectory],
    error: str,
    horizon: float,
    after: Estimate | None = None,
) -> Estimate:
    """Fit the efforts, then the motion, then both.

    The efforts alone, where their fit leaves no more than noise. A fit `after` one of
    motion, by a robot with other scales of friction, begins there, with its noise.
    """
    data = {"effort": effort_windows(made.runs, made.response)}
    effort = made.effort_error(fitter, data["effort"])
    by_effort = fitter.fit({"effort": effort}, data)
    left = np.asarray(by_effort.parts["effort"].scale)
    explained = np.all(left <= MAX_NOISE_RATIO * made.noise)
    if error == "effort" or (error == "auto" and explained):
        return by_effort
    if after is None or "motion" not in after.parts:
        data["motion"] = fitter.motion_windows(moved, horizon)
        motion = fitter.motion_error(data["motion"])
        motion = weighted(motion, by_effort.model, data["motion"])
        after = fitter.fit({"motion": motion}, data, begin=by_effort.model)
        if error == "motion":
            return after
    data["motion"], parts = after.data["motion"], {"motion": after.parts["motion"]}
    numbers = after.model.coordinates
    begin = eqx.tree_at(lambda m: m.coordinates, fitter.start, numbers)
    parts = parts if error == "motion" else {**by_effort.parts, **parts}
    found = fitter.fit(parts, data, begin=begin, weigh=False)
    if error in ("motion", "both"):
        return found
    both, efforts = (forecast_error(f.model, shown) for f in (found, by_effort))
    return found if both - efforts < np.log(BETTER_RATIO) else by_effort


def _best_cutoff(
    fitter: Fitter,
    runs: Sequence[Trajectory],
    shown: Sequence[Trajectory],
    highest: float,
) -> float:
    """Return the cutoff whose fit of the efforts forecasts the recordings best.

    Noise in the accelerations biases a fit; too little motion determines nothing.
    """
    tried = halved(highest)
    every = sparsely(runs)
    scores = []
    for cutoff in tried:
        fitter.cutoff, before = cutoff, fitter.kept
        data = effort_windows(smoothed(runs, cutoff, edge=0.5 / tried[-1]))
        error = fitter.effort_error(data, staggered=fitter.staggered, every=every)
        parts = {"effort": error}
        found = fitter.fit_once(parts, {"effort": data}, fitter.start)
        scores.append((forecast_error(found.model, shown), cutoff))
        if scores[-1] != min(scores):
            fitter.kept = before
    return min(scores)[1]
