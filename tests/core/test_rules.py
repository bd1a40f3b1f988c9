"""Rules that arguments are held to, where no other test meets them."""

import numpy as np
import pytest

import roboopt as ro
from roboopt._errors import require_bool


@pytest.mark.parametrize("value", ["yes", 1, None, np.zeros(1)])
def test_a_switch_is_true_or_false(value):
    # The types of `PPO` and others are checked in tests alone.
    require_bool(scale_rewards=True, sample_actions=False)
    with pytest.raises(ro.RobooptError, match="`scale_rewards` must be True or False"):
        require_bool(scale_rewards=value)
