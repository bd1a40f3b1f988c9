"""Filtering, differentiating and resampling recordings."""

import numpy as np
import pytest

from roboopt.data import (
    Trajectory,
    differentiate,
    low_pass,
    resample,
    smooth,
    whole_turns,
)


def recording(times, position, velocity, effort):
    """Return one joint's recording at `times`, which are kept if they are uneven."""
    even = np.ptp(np.diff(times)) < 1e-9
    return Trajectory(
        np.stack([position(times), velocity(times)], axis=1),
        effort(times[:-1])[:, None],
        float(np.mean(np.diff(times))),
        times=None if even else times,
    )


def uneven(count, seed=0):
    steps = np.random.default_rng(seed).uniform(0.005, 0.015, count)
    return np.concatenate([[0.0], np.cumsum(steps)])


def test_a_constant_passes_and_the_cutoff_is_halved_without_delay():
    # Each way leaves 1/√2 of the amplitude at the cutoff, so both leave a half.
    times = 1e-3 * np.arange(4001)
    wave = np.sin(2 * np.pi * 10 * times)
    filtered = low_pass(np.stack([wave, np.full(4001, 3.0)], axis=1), 10.0, 1e-3)
    middle = slice(1000, 3000)
    np.testing.assert_allclose(filtered[middle, 0], wave[middle] / 2, atol=1e-6)
    np.testing.assert_allclose(filtered[:, 1], 3.0, rtol=1e-9)


def test_the_order_is_the_slope():
    # Both ways leave 1/(1 + (tan(π f Δt)/tan(π f_c Δt))^(2 n)) of the amplitude.
    times = 1e-3 * np.arange(4001)
    wave = np.sin(2 * np.pi * 20 * times)[:, None]
    for order in (1, 3):
        ratio = np.tan(np.pi * 0.02) / np.tan(np.pi * 0.01)
        filtered = low_pass(wave, 10.0, 1e-3, order=order)[1000:3000]
        np.testing.assert_allclose(
            np.sqrt(2) * filtered.std(), 1 / (1 + ratio ** (2 * order)), rtol=1e-3
        )


@pytest.mark.parametrize(
    "count, arguments, match",
    [
        (
            100,
            (50.0, 0.01),
            "`cutoff_hz` must be above 0 and below half.*50 Hz, got 50",
        ),
        (100, (0.0, 0.01), "`cutoff_hz` must be above 0"),
        (100, (1.0, 0.0), "`time_step` must be positive and finite, got 0.0"),
        (12, (1.0, 0.01), "`values` must hold more than 12 samples .* order 3, got 12"),
    ],
)
def test_what_cannot_be_filtered_is_refused(count, arguments, match):
    with pytest.raises(ValueError, match=match):
        low_pass(np.ones((count, 1)), *arguments)


def test_bad_orders_and_values_are_refused():
    with pytest.raises(ValueError, match="`order` must be at least 1, got 0"):
        low_pass(np.ones((100, 1)), 1.0, 0.01, order=0)
    values = np.ones((100, 2))
    values[7, 1] = np.nan
    with pytest.raises(
        ValueError, match=r"`values` must be finite, got nan at \(7, 1\)"
    ):
        low_pass(values, 1.0, 0.01)


def test_parabolas_are_differentiated_exactly_on_uneven_stamps():
    # d/dt (3t² − t) = 6t − 1, and at the ends too.
    times = np.array([0.0, 0.1, 0.4, 0.5, 1.0])
    values = np.stack([3 * times**2 - times, times], axis=1)
    rate = differentiate(values, times)
    np.testing.assert_allclose(rate[:, 0], 6 * times - 1, atol=1e-12)
    np.testing.assert_allclose(rate[:, 1], 1.0, atol=1e-12)


def test_differentiating_needs_three_samples_at_increasing_times():
    with pytest.raises(
        ValueError, match="`values` must hold at least 3 samples, got 2"
    ):
        differentiate(np.ones((2, 1)), np.arange(2.0))
    with pytest.raises(
        ValueError, match="`times` must increase, got 0.2 s and then 0.2 s at sample 2"
    ):
        differentiate(np.ones((4, 1)), np.array([0.0, 0.2, 0.2, 0.3]))


def test_resampling_keeps_cubics_and_impulses():
    # A cubic spline without ends of its own is exact for t³, and for its rate 3t².
    times = uneven(200)
    rough = recording(times, lambda t: t**3, lambda t: 3 * t**2, np.cos)
    even = resample(rough, times[-1] / 150)
    grid = even.time_step * np.arange(151)
    assert even.times is None and even.steps == 150
    np.testing.assert_allclose(even.observations[:, 0], grid**3, atol=1e-9)
    np.testing.assert_allclose(even.observations[:, 1], 3 * grid**2, atol=1e-9)
    impulse = np.sum(rough.actions[:, 0] * np.diff(times))
    np.testing.assert_allclose(even.actions.sum() * even.time_step, impulse, rtol=1e-12)


def test_held_efforts_are_averaged_by_hand():
    # Held: 1 until 0.1, 4 until 0.4, 2 until 0.6. Steps of 0.2: (0.1·1 + 0.1·4)/0.2,
    # 4, and 2.
    trajectory = Trajectory(
        np.zeros((4, 2)),
        np.array([[1.0], [4.0], [2.0]]),
        0.2,
        times=np.array([0.0, 0.1, 0.4, 0.6]),
        efforts=np.array([[2.0], [8.0], [4.0]]),
    )
    even = resample(trajectory, 0.2)
    assert even.efforts is not None
    np.testing.assert_allclose(even.actions[:, 0], [2.5, 4.0, 2.0])
    np.testing.assert_allclose(even.efforts[:, 0], [5.0, 8.0, 4.0])


@pytest.mark.parametrize("velocities", [True, False])
def test_smoothing_finds_the_motion_under_the_noise(velocities):
    # At 1 Hz a cutoff of 10 Hz changes 1e-6 of the amplitude, so the noise remains:
    # about a fifth of it, as the filter passes a fifth of the band up to 50 Hz.
    times = uneven(2000)
    noise = np.random.default_rng(1)

    def noisy(values):
        return values + 1e-3 * noise.standard_normal(values.shape)

    rough = recording(
        times,
        lambda t: noisy(np.sin(2 * np.pi * t)),
        lambda t: noisy(2 * np.pi * np.cos(2 * np.pi * t)),
        lambda t: noisy(np.sin(2 * np.pi * t)),
    )
    calm = smooth(rough, 10.0, measured_velocities=velocities)
    grid = calm.time_step * np.arange(calm.steps + 1)
    assert calm.steps == rough.steps and calm.times is None
    inner = slice(100, -100)
    q, velocity = calm.observations[inner].T
    np.testing.assert_allclose(q, np.sin(2 * np.pi * grid[inner]), atol=3e-3)
    expected = 2 * np.pi * np.cos(2 * np.pi * grid[inner])
    # Differentiating multiplies what is left by up to 2π · 10.
    atol = 4e-3 if velocities else 0.1
    np.testing.assert_allclose(velocity, expected, atol=atol)


def test_positions_and_efforts_stay_aligned():
    # An effort that equals the position does so after the filter, to the padding.
    times = 0.01 * np.arange(1001)
    rough = recording(times, np.sin, np.cos, np.sin)
    calm = smooth(rough, 2.0)
    np.testing.assert_allclose(
        calm.actions[200:-200, 0], calm.observations[200:-201, 0], atol=1e-9
    )


@pytest.mark.parametrize(
    "trajectory, match",
    [
        (
            Trajectory(np.ones((2, 41, 2)), np.ones((2, 40, 1)), 0.01),
            r"`trajectory` must be one recording, got a batch of shape \(2,\)",
        ),
        (
            Trajectory(np.ones((41, 3)), np.ones((40, 1)), 0.01),
            "as many velocities as positions, got observations of size 3",
        ),
        (
            Trajectory(np.ones((41, 2)), np.ones((40, 1)), 0.01, times=np.zeros(41)),
            "`trajectory` must hold at least 3 observations at increasing times",
        ),
    ],
)
def test_what_cannot_be_smoothed_is_refused(trajectory, match):
    with pytest.raises(ValueError, match=match):
        smooth(trajectory, 10.0)


@pytest.mark.parametrize("time_step", [0.0, 0.5, 1e-10, 1e-320])
def test_steps_that_do_not_fit_are_refused(time_step):
    trajectory = Trajectory(np.ones((41, 2)), np.ones((40, 1)), 0.01)
    with pytest.raises(
        ValueError, match="`time_step` must be at most .* 0.4 s, .* got"
    ):
        resample(trajectory, time_step)


def test_angles_within_a_turn_go_on_and_nothing_else_changes():
    angles = 0.3 * np.arange(60.0)
    columns = [
        (angles + np.pi) % (2 * np.pi) - np.pi,  # from -π to π
        angles % (2 * np.pi),  # from 0 to 2π
        angles,  # of several turns
        np.sin(angles),
        np.where(np.arange(60) == 30, 9.0, 0.0),  # an outlier
    ]
    found, turned = whole_turns(np.stack(columns, 1))
    assert turned.tolist() == [True, True, False, False, False]
    np.testing.assert_allclose(found[:, :2], np.stack([angles, angles], 1), atol=1e-12)
    np.testing.assert_array_equal(found[:, 2:], np.stack(columns[2:], 1))
