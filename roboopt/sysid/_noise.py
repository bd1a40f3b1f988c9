"""Noise of recorded positions: its size, and the frequency where it takes over."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from roboopt._core import AnyArray
from roboopt._errors import require

DIFFERENCE_ORDER = 8
MIN_SIGNAL_RATIO = 4.0  # of a spectrum to the noise floor
SEGMENT_COUNT = 8  # that a spectrum is the mean of
SMOOTHED_LINES = 5  # of a spectrum, averaged against chance
MIN_SAMPLES = 64


def noise_share(positions: Float[AnyArray, "sample joint"]) -> float:
    """Return the noise's standard deviation over the RMS of one step's motion.

    The share is the largest of all moving joints.
    """
    q = np.asarray(positions, float)
    noise = noise_deviation(q)
    motion = np.sqrt(np.mean(np.diff(q, axis=0) ** 2, axis=0))
    moves = motion > 0
    return float(np.max(noise[moves] / motion[moves], initial=0.0))


def noise_deviation(
    samples: Float[AnyArray, "sample joint"],
    times: Float[AnyArray, " sample"] | None = None,
) -> Float[np.ndarray, " joint"]:
    """Return the standard deviation of white noise in each joint's samples.

    Eighth differences (divided ones, at uneven `times`) nearly remove a smooth motion;
    those of even samples multiply white noise by √(16 over 8) = 113 (after von
    Neumann). 0 where samples are too few to tell.
    """
    q = np.asarray(samples, float)
    count = len(q) - DIFFERENCE_ORDER
    if count <= 1:
        return np.zeros(q.shape[1])
    t = np.arange(len(q)) if times is None else np.asarray(times, float)
    t = (t - t[0]) / np.mean(np.diff(t))
    near = [t[i : i + count] for i in range(DIFFERENCE_ORDER + 1)]
    weights = [
        1 / np.prod([one - other for other in near if other is not one], 0)
        for one in near
    ]
    difference = sum(w[:, None] * q[i : i + count] for i, w in enumerate(weights))
    size = np.sqrt(np.sum(np.square(weights), 0))
    return np.std(difference / size[:, None], 0)


def noise_density(
    samples: Float[AnyArray, "sample joint"], times: Float[AnyArray, " sample"]
) -> Float[np.ndarray, " joint"]:
    """Return the spectral density of each joint's white noise, at low frequencies.

    In units²/Hz: 2 σ² Δt of even samples. Between uneven ones signals are interpolated,
    and each counts for the mean w of the steps beside it: 2 σ² ⟨w²⟩/⟨w⟩.
    """
    w = np.gradient(np.asarray(times, float))
    return 2 * noise_deviation(samples, times) ** 2 * np.mean(w**2) / np.mean(w)


def cutoff_frequency(
    runs: Sequence[Float[AnyArray, "sample joint"]], time_step: float
) -> float:
    """Return the frequency [Hz] above which positions are more noise than motion.

    The noise floor is the median of the upper half of the mean spectrum, where robots
    do not move; the highest line of the lower half that exceeds the floor is the end of
    the motion. The frequency lies between 1 Hz (or four lines of the spectrum, if these
    are farther apart) and 0.4 of the sampling rate.

    Args:
        runs: positions of each recording, evenly sampled.
        time_step: time between samples [s].

    Raises:
        RobooptError: if there are fewer than 64 samples in each.
    """
    from scipy import signal  # A dependency of JAX, and slow to import.

    length = min(len(run) for run in runs)
    rule = f"hold at least {MIN_SAMPLES} samples each"
    require(length >= MIN_SAMPLES, "runs", rule, length)
    segment = max(MIN_SAMPLES, 2 * length // SEGMENT_COUNT)
    spectra = [
        signal.welch(np.asarray(run, float), 1 / time_step, nperseg=segment, axis=0)
        for run in runs
    ]
    frequencies = spectra[-1][0]
    power = np.mean([power for _, power in spectra], axis=0)
    half = len(power) // 2
    floor = np.median(power[half:], axis=0)
    window = np.ones(SMOOTHED_LINES) / SMOOTHED_LINES
    last = 0
    for line, noise in zip(power.T, floor, strict=True):
        mean = np.convolve(line, window, "same")[:half]
        above = np.flatnonzero(mean > MIN_SIGNAL_RATIO * noise)
        last = max(last, int(above.max(initial=0)))
    least = max(1.0, 4 * float(frequencies[1]))
    return float(np.clip(frequencies[last + 1], least, max(least, 0.4 / time_step)))
