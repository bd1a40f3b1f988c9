"""How noisy recorded positions are, and where in frequency the noise takes over."""

from collections.abc import Sequence
from math import comb

import numpy as np
from jaxtyping import Float

from roboopt._core import AnyArray
from roboopt._errors import RobooptError

ORDER = 8  # of the differences
ABOVE = 4.0  # times the noise's floor: signal
SEGMENTS = 8  # that a spectrum is the mean of
LINES = 5  # of a spectrum, whose mean says no more by chance what is signal
LEAST_SAMPLES = 64


def noise_share(positions: Float[AnyArray, "sample joint"]) -> float:
    """Return the noise's standard deviation over the RMS of one step's motion.

    The noise of each joint is taken from eighth differences, in which a smooth motion
    is next to nothing and white noise √(16 over 8) = 113 times itself (after von
    Neumann). The largest of all joints that move.
    """
    q = np.asarray(positions, float)
    if len(q) <= ORDER + 1:
        return 0.0
    noise = np.std(np.diff(q, ORDER, axis=0), axis=0) / np.sqrt(comb(2 * ORDER, ORDER))
    motion = np.sqrt(np.mean(np.diff(q, axis=0) ** 2, axis=0))
    moves = motion > 0
    return float(np.max(noise[moves] / motion[moves], initial=0.0))


def cutoff_frequency(
    runs: Sequence[Float[AnyArray, "sample joint"]], time_step: float
) -> float:
    """Return the frequency [Hz] above which positions are more noise than motion.

    The floor is the median of the upper half of the mean spectrum, where robots do not
    move; what stands out of it farthest up in the lower half is the last of the motion.
    What is returned lies within 1 Hz (or four lines of the spectrum, if these are
    farther apart) and 0.4 of the sampling rate.

    Args:
        runs: positions of each recording, evenly sampled.
        time_step: [s]

    Raises:
        RobooptError: if there are fewer than 64 samples in each.
    """
    from scipy import signal  # A dependency of JAX, and slow to import.

    length = min(len(run) for run in runs)
    if length < LEAST_SAMPLES:
        raise RobooptError(
            f"`runs` must hold at least {LEAST_SAMPLES} samples each, got {length}."
        )
    segment = max(LEAST_SAMPLES, 2 * length // SEGMENTS)
    spectra, frequencies = [], np.zeros(0)
    for run in runs:
        frequencies, power = signal.welch(
            np.asarray(run, float), 1 / time_step, nperseg=segment, axis=0
        )
        spectra.append(power)
    power = np.mean(spectra, axis=0)
    half = len(power) // 2
    floor = np.median(power[half:], axis=0)
    least = max(1.0, 4 * float(frequencies[1]))
    most = 0.4 / time_step
    ends = []
    for joint in range(power.shape[1]):
        mean = np.convolve(power[:, joint], np.ones(LINES) / LINES, "same")
        signal_lines = np.flatnonzero(mean[:half] > ABOVE * floor[joint])
        last = int(signal_lines[-1]) if signal_lines.size else 0
        ends.append(float(frequencies[last + 1]))
    return float(np.clip(max(ends), least, max(least, most)))
