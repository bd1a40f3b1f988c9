"""Cutting recordings into windows of one length."""

import jax.numpy as jnp
import numpy as np
import pytest

from roboopt.data import Trajectory, sliding_windows


def recording(steps, first=0.0, time_step=0.5, **extra):
    """Observation k is [first + k, -k] and action k is [10 (first + k)]."""
    k = np.arange(steps + 1.0)
    return Trajectory(
        np.stack([first + k, -k], axis=1),
        10 * (first + k[:-1, None]),
        time_step,
        **extra,
    )


def test_windows_by_hand():
    # Five steps in windows of 1 + 2: they start at 0 and 2, and 2 + 3 is the end.
    # The predicted actions are 1, 2 and 3, 4: all but the first `lead` = 1.
    cut = sliding_windows(recording(5), horizon=2, lead=1)
    np.testing.assert_array_equal(
        cut.observations[..., 0], [[0, 1, 2, 3], [2, 3, 4, 5]]
    )
    np.testing.assert_array_equal(cut.observations[..., 1], -cut.observations[..., 0])
    np.testing.assert_array_equal(cut.actions[..., 0], [[0, 10, 20], [20, 30, 40]])
    assert cut.time_step == 0.5 and cut.times is None
    assert cut.rewards is None and cut.efforts is None
    assert isinstance(cut.observations, np.ndarray)


def test_the_last_window_is_shifted_back_to_the_end():
    # Seven steps in windows of 3: 0, 3, and 6 would end at 9, so 4.
    cut = sliding_windows(recording(7), horizon=3)
    np.testing.assert_array_equal(cut.observations[:, 0, 0], [0, 3, 4])


@pytest.mark.parametrize("steps", [4, 5, 9, 10, 11])
@pytest.mark.parametrize("lead, stride", [(0, None), (2, None), (1, 1), (0, 2)])
def test_every_action_after_the_lead_is_predicted(steps, lead, stride):
    cut = sliding_windows(recording(steps), horizon=2, lead=lead, stride=stride)
    predicted = np.unique(cut.actions[:, lead:, 0] / 10)
    np.testing.assert_array_equal(predicted, np.arange(lead, steps))


def test_recordings_of_different_lengths_join_with_what_all_of_them_have():
    efforts = np.arange(8.0).reshape(4, 2)
    full = recording(4, rewards=np.arange(4.0), efforts=efforts)
    cut = sliding_windows(
        [full, recording(2, 100.0, rewards=np.array([7.0, 8.0]))], horizon=2
    )
    np.testing.assert_array_equal(cut.observations[:, 0, 0], [0, 2, 100])
    np.testing.assert_array_equal(cut.rewards, [[0, 1], [2, 3], [7, 8]])
    assert cut.efforts is None
    cut = sliding_windows([full, full], horizon=4)
    np.testing.assert_array_equal(cut.efforts, np.stack([efforts] * 2))


def test_batches_are_taken_apart():
    one, other = recording(4), recording(4, 100.0)
    batch = Trajectory(
        jnp.stack([one.observations, other.observations]),
        jnp.stack([one.actions, other.actions]),
        0.5,
    )
    together, apart = (
        sliding_windows(batch, horizon=2),
        sliding_windows([one, other], horizon=2),
    )
    np.testing.assert_array_equal(together.observations, apart.observations)
    np.testing.assert_array_equal(together.actions, apart.actions)


def test_times_count_from_the_beginning_of_each_window():
    # Windows of the first: 5.0, 5.1, 5.3 and 5.3, 5.6, 6.0. The second has no times, so
    # they are its time step's. The mean of the steps is (0.3 + 0.7 + 0.4)/6.
    times = np.array([5.0, 5.1, 5.3, 5.6, 6.0])
    uneven, even = (
        recording(4, times=times, time_step=0.25),
        recording(2, time_step=0.2),
    )
    cut = sliding_windows([uneven, even], horizon=2)
    assert cut.times is not None
    np.testing.assert_allclose(
        cut.times, [[0, 0.1, 0.3], [0, 0.3, 0.7], [0, 0.2, 0.4]], atol=1e-12
    )
    assert cut.time_step == pytest.approx(1.4 / 6)


def test_with_times_the_time_steps_may_differ():
    times = np.array([0.0, 0.1, 0.3])
    runs = [recording(2), recording(2, time_step=0.2), recording(2, times=times)]
    cut = sliding_windows(runs, horizon=2)
    assert cut.times is not None
    np.testing.assert_allclose(cut.times[:, -1], [1.0, 0.4, 0.3])


@pytest.mark.parametrize(
    "runs, arguments, match",
    [
        ([], {"horizon": 2}, "`recordings` must hold at least one, got none"),
        ([recording(4)], {"horizon": 0}, "`horizon` must be at least 1, got 0"),
        ([recording(4)], {"horizon": 2, "lead": -1}, "`lead` must be at least 0"),
        ([recording(4)], {"horizon": 2, "stride": 0}, "`stride` must be at least 1"),
        (
            [recording(4), recording(3)],
            {"horizon": 3, "lead": 1},
            r"`lead \+ horizon` = 4 steps, but recording 1 holds 3",
        ),
        (
            [recording(4), recording(4, time_step=0.25)],
            {"horizon": 2},
            "one `time_step`, but recording 0 has 0.5 s and recording 1 has 0.25 s",
        ),
        (
            [recording(4), Trajectory(np.ones((5, 3)), np.ones((4, 1)), 0.5)],
            {"horizon": 2},
            r"`recordings` must have observations of one size, got \[2, 3\]",
        ),
        (
            [recording(4), Trajectory(np.ones((5, 2)), np.ones((4, 2)), 0.5)],
            {"horizon": 2},
            r"`recordings` must have actions of one size, got \[1, 2\]",
        ),
    ],
)
def test_what_cannot_be_cut_is_refused(runs, arguments, match):
    with pytest.raises(ValueError, match=match):
        sliding_windows(runs, **arguments)
