"""Actions of many environments: clipped, chosen, or refused."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

import roboopt as ro
from roboopt.rollouts._action_reader import RefusedAction, action_reader

BOTH = np.array([True, True])
NUMBER, CHOICE = Box(-2.0, 2.0, (1,), np.float64), Discrete(3, start=1)


@pytest.mark.parametrize(
    "space, actions, active, taken",
    [
        (NUMBER, [[np.inf], [-1.0]], BOTH, [[2.0], [-1.0]]),
        # Who does nothing may say anything.
        (NUMBER, [[np.nan], [1.0]], [False, True], [[0.0], [1.0]]),
        (CHOICE, [1.0, 3.0], BOTH, [[1], [3]]),
        (CHOICE, [[9], [3]], [False, True], [[1], [3]]),
        (MultiDiscrete([2, 3]), [[1, 2], [0, 1]], BOTH, [[1, 2], [0, 1]]),
    ],
)
def test_actions_are_clipped_and_choices_whole(space, actions, active, taken):
    found = action_reader(space, 2)(np.array(actions), np.array(active))
    np.testing.assert_array_equal(found, taken)
    assert found.dtype.kind == ("f" if space is NUMBER else "i")


@pytest.mark.parametrize(
    "space, actions, row, match",
    [
        (NUMBER, [0.0, 0.0], 0, "must return numbers of shape"),
        (NUMBER, [[0.0], [np.nan]], 1, "must return finite actions"),
        (NUMBER, [[True], [False]], 0, "must return numbers"),
        (CHOICE, [1, 0], 1, "from 1 to 3, got 0"),
        (CHOICE, [1.5, 2.0], 0, "got 1.5"),
        (CHOICE, [[1, 1], [1, 1]], 0, "must return an integer"),
        (MultiDiscrete([2, 2]), [[0, 1], [0, 2]], 1, "must choose integers"),
    ],
)
def test_what_is_no_action_is_refused_and_says_whose(space, actions, row, match):
    with pytest.raises(RefusedAction, match=match) as caught:
        action_reader(space, 2)(np.array(actions), BOTH)
    assert caught.value.row == row


def test_there_is_one_action_for_each_environment():
    with pytest.raises(ro.RobooptError, match="one for each of 2"):
        action_reader(NUMBER, 2)(np.zeros((1, 1)), BOTH)
