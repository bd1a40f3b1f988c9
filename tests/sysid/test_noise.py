import numpy as np
import pytest

from roboopt.sysid import cutoff_frequency, noise_share

TIME_STEP = 0.001


def sine(frequency, amplitude=1.0, *, samples=10_000):
    time = TIME_STEP * np.arange(samples)
    return amplitude * np.sin(2 * np.pi * frequency * time)[:, None]


def test_the_share_of_white_noise_of_known_size():
    # A motion of 0.01 a step and noise of 0.002: the steps' own mean square is
    # 0.01² + 2·0.002², and 10⁵ samples tell the noise to under a percent.
    rng = np.random.default_rng(0)
    positions = 0.01 * np.arange(100_000)[:, None]
    noisy = positions + 0.002 * rng.normal(size=positions.shape)
    expected = 0.002 / np.sqrt(0.01**2 + 2 * 0.002**2)
    assert noise_share(noisy) == pytest.approx(expected, rel=0.01)


def test_a_smooth_motion_has_next_to_none():
    # Each difference makes a sine 2 sin(π f Δt) times itself: eight of them to one are
    # its seventh power, over √12870 = 113. At 1 Hz that is below rounding.
    ratio = 2 * np.sin(np.pi * 100.0 * TIME_STEP)
    expected = ratio**7 / np.sqrt(12870)
    assert noise_share(sine(100.0)) == pytest.approx(expected, rel=1e-2)
    assert noise_share(sine(1.0)) < 1e-12
    assert noise_share(np.arange(100.0)[:, None]) == pytest.approx(0.0, abs=1e-12)


def test_too_few_samples_show_no_noise():
    assert noise_share(np.array([0.0, 1.0] * 4)[:, None]) == 0.0


def test_the_noisiest_joint_that_moves_counts():
    rng = np.random.default_rng(1)
    still, clean = np.zeros((5000, 1)), sine(1.0, samples=5000)
    noisy = clean + 0.01 * rng.normal(size=clean.shape)
    both = np.concatenate([still, clean, noisy], 1)
    assert noise_share(both) == pytest.approx(noise_share(noisy), rel=1e-12)
    assert noise_share(still) == 0.0


@pytest.mark.parametrize("frequency", [5.0, 20.0, 60.0])
def test_the_cutoff_lies_above_the_motion(frequency):
    rng = np.random.default_rng(2)
    runs = [sine(frequency) + 0.01 * rng.normal(size=(10_000, 1)) for _ in range(2)]
    found = cutoff_frequency(runs, TIME_STEP)
    # A line of the spectrum is 0.4 Hz, and its window leaks over a few.
    assert frequency < found < frequency + 5.0


def test_the_fastest_joint_decides():
    rng = np.random.default_rng(3)
    both = np.concatenate([sine(5.0), sine(50.0)], 1)
    both += 0.01 * rng.normal(size=both.shape)
    found = cutoff_frequency([both], TIME_STEP)
    assert found == cutoff_frequency([both[:, 1:]], TIME_STEP) > 50.0


def test_the_cutoff_is_within_its_limits():
    # Nothing moves: at the least, 1 Hz, or four of a short run's lines of 1/0.064 Hz.
    rng = np.random.default_rng(4)
    still = rng.normal(size=(10_000, 1))
    assert 1.0 <= cutoff_frequency([still], TIME_STEP) < 3.0
    short = cutoff_frequency([still[:64]], TIME_STEP)
    assert short >= 4 / 0.064
    # And a motion that fills the spectrum ends at 0.4 of the sampling rate.
    quick = sine(490.0) + sine(350.0) + 1e-6 * still
    assert cutoff_frequency([quick + sine(450.0)], TIME_STEP) <= 400.0


def test_the_unit_does_not_matter():
    rng = np.random.default_rng(5)
    noisy = sine(20.0) + 0.01 * rng.normal(size=(10_000, 1))
    assert cutoff_frequency([noisy], TIME_STEP) == cutoff_frequency(
        [1000.0 * noisy], TIME_STEP
    )


def test_a_short_run_is_refused():
    runs = [np.zeros((100, 1)), np.zeros((63, 1))]
    with pytest.raises(ValueError, match="`runs` must hold at least 64 samples.*63"):
        cutoff_frequency(runs, TIME_STEP)
