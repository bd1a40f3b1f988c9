"""The figures of an identification are drawn."""

import itertools

import numpy as np
import pytest

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


@pytest.mark.parametrize(
    "name", ["left_front_leg_shoulder_pitch_joint", "a_very_long_name_" * 4]
)
@pytest.mark.parametrize("scale", [2.5e-2, 1e-8])
def test_parameters_of_joints_with_long_names_are_legible(name, scale):
    known, rows = "identified", []
    for own in (f"{name}_left", f"{name}_right"):
        ends = -scale, 1.1 * scale
        row = Parameter(own, "N·m·s/rad", 0.0, 0.5 * scale, *ends, known, known)
        rows.append((own, row))
    made = whiskers("Damping", "N·m·s/rad", rows)
    assert made.svg
    axes, page = made.axes, made.axes.figure.bbox
    assert axes.bbox.width > 0.35 * page.width
    low, high = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    texts = [text for place, text in ticks if low <= place <= high]
    shown = [text.get_window_extent() for text in texts]
    assert len(shown) > 1
    assert all(one.x1 < two.x0 for one, two in itertools.pairwise(shown))
    label = axes.xaxis.label.get_window_extent()
    power = axes.xaxis.get_offset_text()
    assert not power.get_text() or not power.get_window_extent().overlaps(label)
    assert 0 < label.x0 and label.x1 < page.width and label.y0 > 0


def test_the_motion_that_is_drawn_is_not_a_rest():
    # At rest for 10 of 20 steps, then at 1 rad/s.
    speed = np.repeat([0.0, 1.0], 10)
    states = np.stack([np.cumsum(speed), speed], 1)
    assert _liveliest(states, 5) == 10
    # What moves at first begins at first.
    assert _liveliest(states[::-1] + 0.0, 5) == 0


def test_a_prediction_off_a_joint_at_rest_is_drawn_off_it():
    # The joint never moves, and one model moves it by 4.4 mm.
    time, rest = np.arange(5) / 10, np.zeros(5)
    windows = {"fitted": rest[None], "URDF": np.linspace(0, 4.4e-3, 5)[None]}
    axes = predictions("Führung", "m", time, rest, windows).axes
    low, high = axes.get_ylim()
    np.testing.assert_allclose(axes.get_lines()[-1].get_ydata()[-1], 4.4e-3)
    assert low < 0 and 4.4e-3 < high < 6e-3
    # What leaves the axis is cut off, not drawn inside of it.
    windows["URDF"] = np.array([[0.0, 1.0, 50.0, 1e30, -1e30]])
    axes = predictions("Führung", "m", time, rest, windows).axes
    drawn, (low, high) = axes.get_lines()[-1].get_ydata(), axes.get_ylim()
    assert high < 1.2 < drawn[2] and drawn[3] > high and drawn[4] < low


def test_a_joint_at_rest_without_errors_has_a_line_within_its_axis():
    time, windows = np.arange(5) / 10, {"fitted": np.full((1, 5), 3.0)}
    low, high = predictions("a", "m", time, np.full(5, 3.0), windows).axes.get_ylim()
    assert low < 3 < high


def test_a_curve_of_zeros_is_not_drawn_on_a_logarithmic_axis():
    errors = {"fitted": np.full(2, 5e-15), "URDF": np.array([1e-3, 2e-3])}
    zero, other = forecast_errors("rail", "m", [0.1, 0.2], errors).axes.get_lines()
    assert np.isnan(zero.get_ydata()).all() and np.isfinite(other.get_ydata()).all()
