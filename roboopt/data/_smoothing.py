"""Smoothing of recordings before differentiation.

A Butterworth filter run forwards and backwards has no delay, and the same filter for
positions and efforts preserves an equation of motion that is linear in them. The filter
needs even samples: uneven ones are resampled first.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from roboopt._core import AnyArray
from roboopt._errors import RobooptError, require, require_at_least, require_positive
from roboopt.data._trajectory import Trajectory
from roboopt.data._windows import sample_times

MAX_SAMPLES = 1e8  # of a recording: more fill the memory


def low_pass(
    values: Float[AnyArray, "sample axis"],
    cutoff_hz: float,
    time_step: float,
    *,
    order: int = 3,
) -> Float[np.ndarray, "sample axis"]:
    """Filter each column of `values` forwards and backwards by a Butterworth filter.

    The amplitude of an oscillation at `cutoff_hz` is halved.

    Args:
        values: evenly spaced samples.
        cutoff_hz: cutoff frequency [Hz].
        time_step: sampling period [s].
        order: of the filter, run once.

    Raises:
        RobooptError: if `values` are not finite or too few, or a number breaks its
            rule.
    """
    from scipy import signal  # Slow to import.

    values = np.asarray(values, float)
    require_at_least(1, order=order)
    require_positive(time_step=time_step)
    nyquist = 0.5 / time_step
    # A filter of less has poles that rounding takes to 1.
    if not 1e-6 * nyquist < cutoff_hz < nyquist:
        raise RobooptError(
            "`cutoff_hz` must be above 0 and below half the sampling rate, "
            f"{nyquist:g} Hz, got {cutoff_hz}."
        )
    padding = 3 * (order + 1)
    if len(values) <= padding:
        raise RobooptError(
            f"`values` must hold more than {padding} samples for a filter of order "
            f"{order}, got {len(values)}."
        )
    if not np.isfinite(values).all():
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise RobooptError(f"`values` must be finite, got {values[bad]} at {bad}.")
    sections = signal.butter(order, cutoff_hz / nyquist, output="sos")
    return signal.sosfiltfilt(sections, values, axis=0, padlen=padding)


def differentiate(
    values: Float[AnyArray, "sample axis"], times: Float[AnyArray, " sample"]
) -> Float[np.ndarray, "sample axis"]:
    """Return the time derivative of `values`, exact for parabolas at any times.

    Raises:
        RobooptError: if there are fewer than 3 samples, or `times` [s] do not increase.
    """
    values, times = np.asarray(values, float), np.asarray(times, float)
    require(len(times) >= 3, "values", "hold at least 3 samples", len(times))
    if not (np.diff(times) > 0).all():
        at = int(np.argmin(np.diff(times) > 0))
        raise RobooptError(
            f"`times` must increase, got {times[at]} s and then {times[at + 1]} s at "
            f"sample {at + 1}."
        )
    return np.gradient(values, times, axis=0, edge_order=2)


def whole_turns(
    positions: Float[AnyArray, "sample joint"],
) -> tuple[Float[np.ndarray, "sample joint"], Bool[np.ndarray, " joint"]]:
    """Return angles that go on where those within one turn jump, and which did jump.

    Positions that stay within 2π, and jump by nearly as much from one sample to the
    next, are angles modulo 2π: no joint moves by that much at once.
    """
    positions = np.asarray(positions, float)
    within = np.ptp(positions, axis=0) <= 2 * np.pi * (1 + 1e-6)
    jumps = np.abs(np.diff(positions, axis=0)).max(0, initial=0.0) > 1.5 * np.pi
    turned = within & jumps
    return np.where(turned, np.unwrap(positions, axis=0), positions), turned


def resample(trajectory: Trajectory, time_step: float) -> Trajectory:
    """Return a recording with even samples, `time_step` [s] apart.

    Observations are interpolated by cubic splines. Actions and efforts are constant
    from one observation to the next, and averaged over each new step: their impulse is
    preserved. Rewards are dropped.

    Raises:
        RobooptError: if `trajectory` is a batch or holds fewer than 3 observations, its
            times do not increase, or `time_step` is longer than it, not positive, or so
            short that samples would fill the memory.
    """
    from scipy.interpolate import CubicSpline  # Slow to import.

    times = _times_of_one(trajectory)
    duration = times[-1] - times[0]
    rule = f"be at most the duration, {duration:g} s, and make at most {MAX_SAMPLES:g} "
    valid = 0 < duration / MAX_SAMPLES <= time_step <= duration
    require(valid, "time_step", f"{rule}samples", time_step)
    # Rounding must neither drop the last sample nor put it beyond the end.
    steps = int(np.floor(duration / time_step * (1 + 1e-9)))
    grid = np.minimum(times[0] + time_step * np.arange(steps + 1), times[-1])

    def averaged(held: AnyArray) -> np.ndarray:
        impulse = np.cumsum(np.asarray(held, float) * np.diff(times)[:, None], axis=0)
        impulse = np.concatenate([np.zeros_like(impulse[:1]), impulse])
        on_grid = [np.interp(grid, times, column) for column in impulse.T]
        return np.diff(np.stack(on_grid, axis=1), axis=0) / np.diff(grid)[:, None]

    efforts = trajectory.efforts
    return Trajectory(
        CubicSpline(times, np.asarray(trajectory.observations))(grid),
        averaged(trajectory.actions),
        float(time_step),
        efforts=None if efforts is None else averaged(efforts),
    )


def smooth(
    trajectory: Trajectory, cutoff_hz: float, *, measured_velocities: bool = True
) -> Trajectory:
    """Return a robot's recording, low-pass filtered at `cutoff_hz` [Hz].

    Positions, velocities, actions and efforts go through the same filter, `low_pass`.
    Uneven samples are resampled first, at their mean distance.

    Args:
        trajectory: a recording with observations [q, q̇].
        cutoff_hz: cutoff frequency [Hz].
        measured_velocities: whether velocities are the measured ones, filtered, or the
            derivative of the filtered positions.

    Raises:
        RobooptError: if `trajectory` is a batch, or its observations are not [q, q̇];
            and as `low_pass` and `resample`.
    """
    times = _times_of_one(trajectory)
    size = trajectory.observations.shape[-1]
    if size % 2:
        raise RobooptError(
            "`trajectory` must hold as many velocities as positions, got observations "
            f"of size {size}."
        )
    if trajectory.times is not None:
        trajectory = resample(trajectory, (times[-1] - times[0]) / trajectory.steps)
        times = sample_times(trajectory)

    def filtered(values: AnyArray) -> np.ndarray:
        return low_pass(np.asarray(values, float), cutoff_hz, trajectory.time_step)

    names = ("observations", "actions", "efforts")
    known = {n: v for n in names if (v := getattr(trajectory, n)) is not None}
    arrays = {name: filtered(values) for name, values in known.items()}
    if not measured_velocities:
        positions = arrays["observations"][:, : size // 2]
        velocities = differentiate(positions, times)
        arrays["observations"] = np.hstack([positions, velocities])
    return dataclasses.replace(trajectory, **arrays)


def _times_of_one(trajectory: Trajectory) -> np.ndarray:
    if trajectory.actions.ndim != 2:
        raise RobooptError(
            "`trajectory` must be one recording, got a batch of shape "
            f"{trajectory.actions.shape[:-2]}."
        )
    times = sample_times(trajectory)
    if len(times) < 3 or not (np.diff(times) > 0).all():
        raise RobooptError(
            "`trajectory` must hold at least 3 observations at increasing times, got "
            f"{len(times)} from {times[0]:g} s to {times[-1]:g} s."
        )
    for name in ("observations", "actions", "efforts"):
        value = getattr(trajectory, name)
        bad = np.argwhere(~np.isfinite(np.asarray(0.0 if value is None else value)))
        if len(bad):
            raise RobooptError(
                f"`trajectory` must hold finite numbers, but its {name} hold {len(bad)}"
                f" others, the first at {tuple(bad[0].tolist())}: leave such samples "
                "out, with `times` for those that stay, or split it there."
            )
    return times
