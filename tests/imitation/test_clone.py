"""`clone` of arrays in memory."""

from typing import Any

import numpy as np
import pytest

import roboopt as ro

SEEN = np.random.default_rng(0).standard_normal((40, 3))
DONE = SEEN @ np.array([[1.0], [-2.0], [0.5]])
SHORT: dict[str, Any] = {"steps": 5, "width": 4, "depth": 1}


@pytest.mark.parametrize(
    "given",
    [
        (SEEN, DONE),
        {"obs": SEEN, "acts": DONE},
        {"observation.state": SEEN, "action": DONE},
        ro.data.Demonstrations(SEEN, DONE),
    ],
)
def test_arrays_are_one_episode(given):
    result = ro.clone(given, **SHORT)
    run = ro.Trajectory(np.vstack([SEEN, SEEN[-1:]]), DONE, 1.0)
    assert result.mismatch == ro.clone(run, **SHORT).mismatch


@pytest.mark.parametrize("given", [3, {"x": SEEN}, (SEEN, DONE, DONE), []])
def test_other_things_are_refused(given):
    with pytest.raises(ro.RobooptError, match="`demonstrations` must"):
        ro.clone(given, **SHORT)
