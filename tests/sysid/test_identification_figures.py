"""The figures of an identification are drawn."""

import numpy as np

from roboopt.sysid import Parameter
from roboopt.sysid._figures import forecast_errors, predictions, whiskers
from roboopt.sysid._report import _liveliest


def test_the_figures_of_an_identification_are_drawn():
    known, not_known = "identified", "not excited"
    first = Parameter("mass[a]", "kg", 1.0, 2.0, 1.9, 2.1, known, known, true=2.0)
    ends = -np.inf, np.inf
    other = Parameter("mass[b]", "kg", 1.0, 3.0, *ends, not_known, not_known)
    drawn = whiskers("Mass", "kg", [("a", first), ("b", other)]).svg
    assert 'aria-label="Mass: estimates' in drawn
    # An interval and a cross belong to the first parameter alone.
    alone = whiskers("Mass", "kg", [("b", other)]).svg
    assert drawn.count("<path") > alone.count("<path")
    errors = {"fitted": np.array([1e-9, np.nan]), "URDF": np.array([0.0, 1.0])}
    assert "<svg" in forecast_errors("elbow", "rad", [0.1, 0.2], errors).svg
    windows = {"fitted": np.array([[0.0, 1.0, 99.0], [1.0, 2.0, 3.0]])}
    time = np.arange(5) / 10
    assert "<svg" in predictions("elbow", "rad", time, time, windows).svg


def test_the_motion_that_is_drawn_is_not_a_rest():
    # At rest for 10 of 20 steps, then at 1 rad/s.
    speed = np.repeat([0.0, 1.0], 10)
    states = np.stack([np.cumsum(speed), speed], 1)
    assert _liveliest(states, 5) == 10
    # What moves at first begins at first.
    assert _liveliest(states[::-1] + 0.0, 5) == 0
