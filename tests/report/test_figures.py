import itertools
import re
import subprocess
import sys

import numpy as np
import pytest

from roboopt.report import (
    Panel,
    bars,
    curves,
    panel,
    readable,
    shortened,
    spread,
    traces,
)
from roboopt.report._motion_figures import MAX_POINTS, _common_prefix


def test_axes_without_a_unit_show_none():
    with panel("ratio", "share [1]", "[1]", label="ratio") as made:
        made.axes.plot([0, 1], [1, 2])
    assert made.axes.get_xlabel() == "share" and made.axes.get_ylabel() == ""
    assert "[1]" not in made.svg
    with panel("work", "time [s]", "[N·m]", label="work") as made:
        made.axes.plot([0, 1], [1, 2])
    assert made.axes.get_xlabel() == "time [s]" and made.axes.get_ylabel() == "[N·m]"


def test_every_quantity_of_a_descent_is_a_panel_of_its_own():
    history = {"loss": np.array([3.0, 2.0, 2.5]), "work": np.array([1.0, 4.0, 5.0])}
    panels = curves(history, {"work": "J"}, best=1)
    assert len(panels) == 2
    assert all(panel.svg.startswith("<svg") for panel in panels)
    assert 'aria-label="loss over gradient steps"' in panels[0].svg


def test_labels_name_the_panel_and_its_axis_once():
    history = {"joule_loss": np.ones(3)}
    (one,) = curves(history, {}, titles={"joule_loss": "Joule loss"})
    assert one.label == "Joule loss over gradient steps"
    over_time = [Panel("Error over time", "1", {"clone": np.ones((1, 3))})]
    assert [traces(over_time, t)[0].label for t in (0.1, None)] == [
        "Error over time",
        "Error over steps",
    ]
    values = np.ones(20)
    drawn = spread("Return over time", values, values, axis="time [s]")
    assert drawn.label == "Return over time"
    own = {"clone": np.ones(2)}
    assert bars("Other choice", "1", own, ["a", "b"], axis="").label == "Other choice"


@pytest.mark.parametrize(
    "values",
    [np.full(3, np.nan), np.array([1.0]), np.array([1.0, np.inf, 2.0])],
    ids=["nan", "one", "infinite"],
)
def test_a_descent_that_went_wrong_is_drawn_too(values):
    assert curves({"loss": values}, {}, best=0)[0].svg


def test_what_changes_by_rounding_alone_is_flat_and_has_short_numbers():
    losses = 0.688146991091 + 1e-12 * np.arange(9)
    [made] = curves({"loss": losses}, {})
    numbers = re.findall(r"<!-- ([\d.]+) -->", made.svg)
    assert numbers and max(map(len, numbers)) <= 9
    low, high = made.axes.get_ylim()
    assert low < losses.min() and losses.max() < high


@pytest.mark.parametrize("values", [[1.1e-4, 5e-3], [2.1e-4, 9e-4], [0.03, 40.0]])
def test_numbers_of_a_logarithmic_axis_stand_apart(values):
    with panel("norm", "norm of dL/dp", "", label="norm") as made:
        made.axes.barh([0, 1], values)
        made.axes.set_xscale("log")
    made.svg  # noqa: B018  # It is laid out when it is drawn.
    texts = [x for x in made.axes.get_xticklabels(which="both") if x.get_text()]
    boxes = sorted((x.get_window_extent() for x in texts), key=lambda box: box.x0)
    assert len(boxes) > 0
    for one, other in itertools.pairwise(boxes):
        assert one.x1 < other.x0


def test_episodes_that_end_together_are_drawn_as_one():
    steps = np.repeat([100.0, 200.0, 300.0], 40)
    made = spread("Return", steps, np.arange(120.0), axis="environment step")
    line = made.axes.get_lines()[0]
    np.testing.assert_array_equal(line.get_xdata(), [100, 200, 300])
    np.testing.assert_array_equal(line.get_ydata(), [19.5, 59.5, 99.5])
    assert made.integer


def test_descents_side_by_side_are_a_line_each():
    one = curves({"loss": np.ones(5)}, {})[0].svg
    many = curves({"loss": np.ones((5, 4))}, {})[0].svg
    # Each line is clipped to the axes: what is clipped, counts the lines.
    assert many.count("<path d=") - one.count("<path d=") == 3


def test_a_panel_stands_in_a_page_with_others():
    runs = {"before": np.zeros((2, 50)), "after": np.ones((2, 50))}
    drawn = traces([Panel("a", "m", runs), Panel("b", "m", runs)], 0.1)
    first, second = (panel.svg for panel in drawn)
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0] and not ids[0] & ids[1]
    for svg, own in zip((first, second), ids, strict=True):
        used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
        assert used <= own
        assert "http" not in svg
        assert "currentColor" in svg and "#000001" not in svg


def test_long_runs_are_thinned():
    short = traces([Panel("a", "m", {"after": np.zeros((1, MAX_POINTS))})], 0.1)[0].svg
    long = traces([Panel("a", "m", {"after": np.zeros((1, 100 * MAX_POINTS))})], 0.1)[
        0
    ].svg
    assert len(long) < 1.2 * len(short)


def test_limits_are_drawn_where_they_are_near_and_said_where_they_are_far():
    runs = {"after": np.array([[0.0, 1.0, 0.5]])}
    panels = [
        Panel("a", "N", runs, limits=limits)
        for limits in ([], [-1.0, 1.0], [-90.0, 90.0])
    ]
    bare, near, far = (panel.svg for panel in traces(panels, 0.1))
    assert near.count("stroke-dasharray") == bare.count("stroke-dasharray") + 2
    assert far.count("stroke-dasharray") == bare.count("stroke-dasharray")
    assert "limit ±90 N" in far and "limit ±" not in near


def test_bars_take_the_common_beginning_of_names_out():
    assert _common_prefix(["arm_joint_1", "arm_joint_2"]) == "arm_joint_"
    assert _common_prefix(["arm_1", "arm_11"]) == "arm_"
    assert _common_prefix(["shoulder", "elbow"]) == ""
    assert _common_prefix(["arm_joint_1"]) == ""
    values = {"before": np.array([1.0, 2.0]), "after": np.array([0.0, 0.0])}
    assert "<svg" in bars("work", "J", values, ["arm_joint_1", "arm_joint_2"]).svg


@pytest.mark.parametrize("count", [0, 1, 7, 5000])
@pytest.mark.parametrize("logs", [None, True, False])
def test_noisy_values_are_a_line_and_a_band(count, logs):
    values = np.random.default_rng(0).lognormal(0, 2, count)
    places = np.arange(float(count))
    svg = spread("Return", places, values, axis="steps", level=1.0, logs=logs).svg
    assert 'aria-label="Return over steps"' in svg and len(svg) < 60_000


def test_summaries_need_no_library_that_is_slow_to_import():
    code = """
import sys
import roboopt.report
slow = {"matplotlib", "PIL", "imageio_ffmpeg", "scipy"} & set(sys.modules)
assert not slow, slow
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_tolerance_is_shaded_without_changing_what_is_seen():
    runs = {"after": np.array([[0.0, 1.0, 0.5]])}
    own = {"tolerances": [(-0.2, 0.2), (8.0, 9.0)], "window": 0.1}
    bare, shaded = traces([Panel("a", "N", runs), Panel("a", "N", runs, **own)], 0.1)
    assert shaded.axes.get_ylim() == bare.axes.get_ylim()
    wide, end = shaded.axes.patches  # that out of sight is left out
    assert (wide.get_x(), wide.get_width()) == (0, 1)
    assert (end.get_x(), end.get_width()) == (0.5, 0.5)


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e6])
def test_all_texts_of_a_panel_are_inside_of_it(scale):
    # The last tick is not at the end, which is at 1.99.
    runs = {"after": scale * np.linspace(-1, 1, 200)[None]}
    [drawn] = traces([Panel("a title\nof two lines", "m", runs)], 0.01)
    assert drawn.svg
    page, seen = drawn.axes.figure.bbox, drawn.axes.get_tightbbox()
    assert seen.x0 > 0 and seen.y0 > 0 and seen.y1 < page.height
    assert max(seen.x1, drawn.axes.bbox.x1) < page.width


@pytest.mark.parametrize("end", [143.5, 145.0])
def test_ticks_are_measured_as_they_are_drawn(end):
    # A narrow axis has a tick at 150, near its end; the wide one as measured has none.
    with panel("a loss", "rate", "L", label="a loss over the rate") as drawn:
        drawn.axes.plot([0, end], [0.688147125, 0.688147275])
    assert drawn.svg
    page, seen = drawn.axes.figure.bbox, drawn.axes.xaxis.get_tightbbox()
    assert seen is not None and seen.x1 < page.width


def test_ticks_below_a_million_are_in_full():
    (drawn,) = curves({"loss": np.linspace(1e5, 9e5, 50)}, {})
    assert "×10" not in drawn.svg and "800000" in drawn.svg
    (drawn,) = curves({"loss": np.linspace(1e7, 9e7, 50)}, {})
    assert "×10" in drawn.svg


def test_the_only_step_has_the_only_tick():
    drawn = spread("Norm", np.zeros(1), np.ones(1), axis="gradient step")
    low, high = drawn.axes.get_xlim()
    ticks = [x for x in drawn.axes.get_xticks() if low <= x <= high]
    np.testing.assert_allclose(ticks, [0.0], atol=1e-12)


@pytest.mark.parametrize("width", [12, 28])
def test_names_are_shortened_and_remain_different(width):
    sides = [
        f"stiffness[{side}_arm_shoulder_{kind}_joint]"
        for side in ("left", "right")
        for kind in ("roll", "pitch")
    ]
    alike = [f"{'a' * 40}{k}{'b' * 40}" for k in range(12)]
    for names in (sides, alike, [*sides, "short", "short"]):
        found = shortened(names, width)
        assert max(map(len, found)) <= width
        assert len(set(found)) == len(set(names))
    assert shortened(["short", "elbow"], width) == ["short", "elbow"]


@pytest.mark.parametrize("count", [2, 9])
def test_bars_of_long_names_are_rows_that_stay_legible(count):
    names = [f"{chr(97 + k) * (20 + 6 * k)}_of_the_robot" for k in range(count)]
    values = {w: np.arange(1.0, count + 1) for w in ("before", "after")}
    made = bars("Joule loss", "J", values, names)
    assert made.svg
    box = made.axes.get_position()
    assert box.x0 < box.x1 - 0.3 and box.y0 < box.y1 - 0.3
    ticks = made.axes.get_yticklabels()
    assert len({tick.get_text() for tick in ticks}) == count
    tops = sorted((tick.get_window_extent() for tick in ticks), key=lambda b: b.y0)
    assert all(one.y1 <= two.y0 for one, two in itertools.pairwise(tops))
    # The table has the whole names.
    header, rows = made.table()
    assert header == ["joint", "before [J]", "after [J]"]
    assert [row[0] for row in rows] == names


def test_joints_in_the_name_of_a_quantity_are_named_as_they_are():
    assert readable("stiffness[j_6]") == "stiffness[j_6]"
    assert readable("mean_return") == "mean return"
    assert readable("joule_loss") == "Joule loss"
