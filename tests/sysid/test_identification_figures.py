"""The figures of an identification are drawn."""

import numpy as np

from roboopt.sysid._figures import Change, forecast_errors, predictions, whiskers


def test_the_figures_of_an_identification_are_drawn():
    rows = [Change("a", 1.0, 0.9, 1.1, true=1.0), Change("b", 2.0, -np.inf, np.inf)]
    assert [row.known for row in rows] == [True, False]
    assert 'aria-label="Mass: estimates' in whiskers("Mass", "kg", rows)
    errors = {"fitted": np.array([1e-9, np.nan]), "URDF": np.array([0.0, 1.0])}
    assert "<svg" in forecast_errors("elbow", "rad", [0.1, 0.2], errors)
    windows = {"fitted": np.array([[0.0, 1.0, 99.0], [1.0, 2.0, 3.0]])}
    time = np.arange(5) / 10
    assert "<svg" in predictions("elbow", "rad", time, time, windows)
