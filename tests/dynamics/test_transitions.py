import numpy as np
import pytest

from roboopt.data import Trajectory
from roboopt.dynamics import Transitions


def recorded(*shape, observation=2, action=1, time_step=0.1, **more):
    *batch, steps = shape
    count = int(np.prod(batch, dtype=int)) * (steps + 1) * observation
    observations = np.arange(count, dtype=float)
    return Trajectory(
        observations.reshape(*batch, steps + 1, observation),
        np.zeros((*batch, steps, action)),
        time_step,
        **more,
    )


def test_steps_by_hand():
    # Observations [0, 1], [2, 3], [4, 5]: two steps.
    steps = Transitions.of(recorded(2))
    np.testing.assert_array_equal(steps.states, [[0, 1], [2, 3]])
    np.testing.assert_array_equal(steps.next_states, [[2, 3], [4, 5]])
    assert (steps.actions.shape, steps.time_step) == ((2, 1), 0.1)


def test_batches_singles_and_lists_join_without_steps_between_them():
    steps = Transitions.of([recorded(3, 2), recorded(4)])
    assert steps.states.shape == (3 * 2 + 4, 2)
    np.testing.assert_array_equal(steps.next_states - steps.states, 2.0)


def test_a_goal_is_left_out():
    steps = Transitions.of(recorded(2, observation=3), joints=1)
    np.testing.assert_array_equal(steps.states, [[0, 1], [3, 4]])


@pytest.mark.parametrize(
    "trajectories, joints, match",
    [
        ([], None, "`trajectories` must hold at least one, got 0"),
        (
            [recorded(2), recorded(2, observation=4)],
            None,
            r"`trajectories` must be of one robot.*\[\(2, 1\), \(4, 1\)\]",
        ),
        (
            [recorded(2), recorded(2, time_step=0.2)],
            None,
            r"at one time step.*\[0.1, 0.2\] s",
        ),
        (
            recorded(2, times=np.array([0.0, 0.1, 0.3])),
            None,
            "`trajectories` must be evenly spaced in time",
        ),
        (recorded(2, observation=3), None, "`joints` must be given.*of 3 numbers"),
        (recorded(2), 2, "`joints` must be between 1 and 1, got 2"),
        (recorded(2), 0, "`joints` must be between 1 and 1, got 0"),
        (
            Trajectory(np.full((2, 2), np.nan), np.zeros((1, 1)), 0.1),
            None,
            "`trajectories` must be finite, got observations that are not",
        ),
    ],
)
def test_what_is_no_recording_of_one_robot_is_refused(trajectories, joints, match):
    with pytest.raises(ValueError, match=match):
        Transitions.of(trajectories, joints)
