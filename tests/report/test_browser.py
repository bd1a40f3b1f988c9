"""What a report does in a browser: the cursor, zoom, legend, and the video's time."""

import re

import numpy as np
import pytest
from browser import (
    WIDTHS,
    assert_no_table_scrolls,
    chromium,
    needs_chromium,
    opened,
)

from roboopt.report import (
    Details,
    Figure,
    Panel,
    Section,
    Table,
    Video,
    bars,
    curves,
    encode,
    spread,
    traces,
    write_report,
)
from roboopt.report._page import _file, short

pytestmark = needs_chromium

TIME_STEP, STEPS = 0.01, 200
TIME = TIME_STEP * np.arange(STEPS + 1)
RUNS = {
    "before": np.stack([np.cos(3 * TIME), np.sin(TIME)]),
    "after": np.stack([np.exp(-TIME), -np.sin(TIME)]),
}
LEGEND = {"before": "#d9772b", "after": "#2f80c9", "goal": "currentColor dashed"}
CAPTION = "Two motions."
TELL = (
    "document.dispatchEvent(new CustomEvent('roboopt:time', "
    "{{detail: {{time: {}, source: 'test'}}}}))"
)
SCRIPTS = "report.js", "replay.js"
LOSSES = 10.0 ** -np.arange(9)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    panels = [Panel("angle", "rad", RUNS, goals=[0.0]), Panel("speed", "rad/s", RUNS)]
    names = ["test start 3", "test start 0"]
    motions = Figure(traces(panels, TIME_STEP, names), CAPTION, LEGEND, filmed=True)
    counted = Figure(traces([Panel("count", "1", RUNS)], None), filmed=100.0)
    film = encode(np.zeros((20, 16, 16, 3), np.uint8), 10.0)
    descent = Figure(curves({"loss": LOSSES}, {}))
    noisy = np.random.default_rng(0).normal(size=999)
    learning = Figure(
        [
            spread("Return", np.arange(999.0), noisy, axis="steps"),
            spread("Loss", np.arange(99.0), noisy[:99], axis="steps"),
        ]
    )
    joules = {k: np.array([1.0, 2.0]) for k in ("one", "two")}
    energy = Figure(
        [bars("energy", "J", joules, ["a", "b"])], "", dict.fromkeys(joules, "#7a7f87")
    )
    blocks = [Video(film), motions, counted, descent, learning, energy]
    path = tmp_path_factory.mktemp("page") / "report.html"
    sections = [Section("Everything", blocks)]
    write_report(path, title="A run", verdict=["Improved."], sections=sections)
    return path


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


# A tablet is between the other two.
@pytest.fixture(
    params=[pytest.param(x, marks=[pytest.mark.slow] * (x == 768)) for x in WIDTHS]
)
def view(request, browser, page):
    with opened(browser, page, request.param) as found:
        # The video pauses, and its mark is away from where the tests drag.
        found.evaluate(TELL.format(1.9))
        yield found


def panel(view, label):
    """Return the panel of a label, in sight."""
    found = view.locator(f'svg[aria-label="{label}"]')
    found.scroll_into_view_if_needed()
    return found


def place(found, x, y=0.5):
    """Return the point at shares of the axes' width and height, on the screen."""
    left, top, right, bottom, _ = map(float, found.get_attribute("data-box").split())
    box, width = (
        found.bounding_box(),
        found.evaluate("svg => svg.viewBox.baseVal.width"),
    )
    scale = box["width"] / width
    across, down = left + x * (right - left), top + y * (bottom - top)
    return box["x"] + scale * across, box["y"] + scale * down


def said(found):
    """Return the numbers in the read-out of a panel."""
    text = found.locator("xpath=..").locator("output").inner_text()
    return [float(n) for n in re.findall(r"-?[\d.]+(?:e-?\d+)?", text)]


def test_the_cursor_reads_every_curve_in_all_panels_over_time(view):
    view.mouse.move(*place(panel(view, "angle over time"), 0.317))
    for label in ("angle over time", "speed over time"):
        time, *values = said(panel(view, label))
        assert time == pytest.approx(0.634, abs=0.01)  # a pixel is 0.006 s
        expected = [np.cos(3 * time), np.exp(-time)]
        # Curves are drawn by every other value, 1/50 point apart at most.
        np.testing.assert_allclose(values, expected, atol=2e-3)
    assert said(panel(view, "loss over gradient steps")) == []


def test_steps_are_read_one_by_one_also_on_a_logarithmic_axis(view):
    found = panel(view, "loss over gradient steps")
    view.mouse.move(*place(found, 0.5))
    step, value = said(found)
    assert (step, value) == (4, pytest.approx(LOSSES[4], rel=1e-3))


def test_dragging_zooms_the_figure_and_a_double_click_ends_it(view):
    found, other = panel(view, "angle over time"), panel(view, "speed over time")
    view.mouse.move(*place(found, 0.25))
    view.mouse.down()
    view.mouse.move(*place(found, 0.5), steps=3)
    view.mouse.up()
    for each in (found, other):
        ticks = [float(t) for t in each.locator(".grid text").all_text_contents()]
        assert ticks and min(ticks[:3]) >= 0.49 and max(ticks[:3]) <= 1.01
        assert not each.locator("[class=tick]").first.is_visible()
    view.mouse.move(*place(panel(view, "angle over time"), 0.6))
    time, value, _ = said(found)
    assert time == pytest.approx(0.8, abs=0.01)
    assert value == pytest.approx(np.cos(3 * time), abs=2e-3)
    view.mouse.dblclick(*place(panel(view, "angle over time"), 0.5))
    assert found.locator(".grid text").count() == 0


def test_a_panel_of_another_range_is_not_zoomed_along(view):
    found, other = panel(view, "Return over steps"), panel(view, "Loss over steps")
    drawn = other.locator("[data-key] path").first.get_attribute("d")
    found.scroll_into_view_if_needed()
    view.mouse.move(*place(found, 0.25))
    view.mouse.down()
    view.mouse.move(*place(found, 0.5), steps=3)
    view.mouse.up()
    assert found.locator(".grid text").count() > 0
    assert other.locator(".grid text").count() == 0
    view.mouse.dblclick(*place(found, 0.5))
    assert other.locator("[data-key] path").first.get_attribute("d") == drawn


def test_a_key_of_the_legend_hides_its_curves(view):
    key = view.get_by_role("button", name="before")
    found = panel(view, "angle over time")
    lines = found.locator('[data-key="before"]')
    assert lines.count() == 2 and key.get_attribute("aria-pressed") == "true"
    key.focus()
    view.keyboard.press("Enter")
    assert not lines.first.is_visible()
    assert key.get_attribute("aria-pressed") == "false"
    view.mouse.move(*place(panel(view, "angle over time"), 0.5))
    assert len(said(found)) == 2
    assert view.get_by_role("button", name="goal").is_enabled()


def test_a_key_of_the_legend_hides_bars_with_their_numbers(view):
    found = panel(view, "energy by joint")
    own = found.locator('[data-key="two"]')
    assert own.count() == 4 and "<use" in own.last.inner_html()
    view.get_by_role("button", name="two").click()
    assert not any(mark.is_visible() for mark in own.all())
    assert found.locator('[data-key="one"]').last.is_visible()


def test_the_buttons_of_a_panel_leave_the_values_legible(view):
    found = panel(view, "angle over time")
    found.focus()
    view.keyboard.press("+")
    view.mouse.move(*place(panel(view, "angle over time"), 0.5))
    around = found.locator("xpath=..")
    buttons = around.locator("button")
    assert buttons.first.is_visible() and buttons.last.is_visible()
    lines = around.locator("output").evaluate(
        "node => { let all = document.createRange(); all.selectNodeContents(node);"
        " return [...all.getClientRects()].map(r => [r.right, r.bottom]); }"
    )
    assert len(lines) > 2
    figure = found.bounding_box()
    for box in (button.bounding_box() for button in buttons.all()):
        left, top = box["x"], box["y"]
        assert all(x < left or y < top for x, y in lines)
        assert top >= figure["y"] + figure["height"] - 1  # and the title


def test_the_ticks_of_a_zoomed_panel_leave_the_names_of_the_axes_legible(view):
    found = panel(view, "angle over time")
    found.focus()
    for _ in range(9):  # to numbers of many digits
        view.keyboard.press("+")
    ticks = [tick.bounding_box() for tick in found.locator(".grid .y").all()]
    assert max(tick["width"] for tick in ticks) > 25
    left, _ = place(found, 0.0)
    right, bottom = place(found, 1.0, 1.0)
    for tick in ticks:
        assert left < tick["x"] and tick["x"] + tick["width"] < right
        assert tick["y"] + tick["height"] < bottom + 2


def test_values_of_several_lines_cover_no_caption_and_no_other_panel(view):
    found = panel(view, "speed over time")
    values = found.locator("xpath=../output")
    values.evaluate("node => node.textContent = 'a curve 1.234 '.repeat(9)")
    values.evaluate("node => node.hidden = false")
    own, around = values.bounding_box(), found.locator("xpath=..").bounding_box()
    assert own["height"] > 30  # several lines
    assert own["y"] > around["y"]
    assert own["y"] + own["height"] <= around["y"] + around["height"] + 1


def test_values_in_one_line_leave_the_name_of_the_axis_legible(view):
    found = panel(view, "angle over time")
    view.mouse.move(*place(found, 0.5))
    values = found.locator("xpath=../output").bounding_box()
    assert values["height"] < 25  # one line
    assert values["y"] >= found.bounding_box()["y"] + found.bounding_box()["height"]


def test_the_video_and_the_panels_follow_each_other(view):
    found = panel(view, "speed over time")
    view.mouse.click(*place(found, 0.5))
    seconds = "document.querySelector('video').currentTime"
    assert view.evaluate(seconds) == pytest.approx(1.0, abs=0.01)
    mark = "svg => +svg.querySelector('.hand').getAttribute('d').slice(1).split(' ')[0]"
    left, _, right, *_ = map(float, found.get_attribute("data-box").split())
    assert found.evaluate(mark) == pytest.approx((left + right) / 2, abs=1)
    view.evaluate(f"{seconds} = 0.5")
    view.wait_for_timeout(200)
    assert found.evaluate(mark) == pytest.approx(left + (right - left) / 4, abs=1)
    view.evaluate(TELL.format(1.5))
    assert view.evaluate(seconds) == pytest.approx(1.5, abs=0.01)
    steps = panel(view, "count over steps")  # 100 in a second of the video
    left, _, right, *_ = map(float, steps.get_attribute("data-box").split())
    assert steps.evaluate(mark) == pytest.approx(left + 0.75 * (right - left), abs=1)
    view.mouse.click(*place(steps, 0.25))
    assert said(steps)[0] == 50
    assert view.evaluate(seconds) == pytest.approx(0.5, abs=0.01)


def test_a_panel_is_zoomed_by_the_keyboard(view):
    found = panel(view, "angle over time")
    found.focus()
    for key in ("+", "+"):  # to a half, then to a quarter
        view.keyboard.press(key)
    assert "zoomed" in found.locator("xpath=..").get_attribute("class")
    middle = found.inner_html()
    view.keyboard.press("ArrowRight")
    moved = found.inner_html()
    assert moved != middle
    for _ in range(9):  # stops at the end of the axis, and comes back as far
        view.keyboard.press("ArrowRight")
    end = found.inner_html()
    view.keyboard.press("ArrowRight")
    assert found.inner_html() == end
    view.keyboard.press("0")
    assert "zoomed" not in found.locator("xpath=..").get_attribute("class")


def test_a_panel_saves_its_curves(view):
    found = panel(view, "angle over time")
    view.mouse.move(*place(found, 0.5))
    with view.expect_download() as download:
        found.locator("xpath=..").get_by_role("button", name="CSV of ").click()
    assert download.value.suggested_filename == "angle over time, as drawn.csv"
    rows = download.value.path().read_text().splitlines()
    assert rows[0] == "curve,time [s],[rad]"
    rows = [row.split('",') for row in rows[1:]]
    assert [*dict.fromkeys(name for name, _ in rows)] == [
        '"before, test start 0',
        '"after, test start 0',
        '"before, test start 3',
        '"after, test start 3',
    ]
    first = dict(reversed(rows))['"after, test start 3']
    assert first == "0,1"  # not -2.5e-05 and 1.00012, as drawn
    assert all(len(n) <= 7 for _, numbers in rows for n in numbers.split(","))


@pytest.mark.parametrize("columns", [8, 30])
def test_wide_tables_go_on_below_where_a_computer_has_no_room(
    browser, tmp_path, columns
):
    header = ["part of", *(f"kp[lbr_iiwa_joint_{k}]" for k in range(columns))]
    rows = [[f"{k} to {k + 1}", *["−0.0001234"] * columns] for k in range(3)]
    groups = [("", 1), ("dL/dp", columns)]
    found = Table(header, rows, groups)
    path = tmp_path / "report.html"
    write_report(path, title="A", verdict=[], sections=[Section("All", [found])])
    with opened(browser, path, 1280) as view:
        assert_no_table_scrolls(view)
        cells = view.locator("td, th:not(.group)").all_inner_texts()
        assert set(header) <= set(cells) and cells.count("−0.0001234") == 3 * columns
        # A sheet of paper is narrower.
        view.emulate_media(media="print")
        view.set_viewport_size({"width": 718, "height": 900})
        assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_phone_folds_what_is_long_and_wraps_what_is_wide(browser, tmp_path):
    formula = " + ".join(f"0.{k} m·x[a_link_with_a_name_{k}]" for k in range(6))
    header = ["base parameter", "URDF", "fitted", "least squares ± σ", "known to"]
    rows = [[f"{formula} [kg·m]", "0.006", "0.01093", "0.01098 ± 2.1e-05", "± 3 %"]]
    name = "policy.network.perceptron.layers[0].weight"
    long = Table(header, [*rows * 20, [name, *rows[0][1:]]])
    joint = "_".join(["left", *["shoulder"] * 6])
    told = Table([*header[:4], "joint"], [["a", *rows[0][1:4], joint]], text=(0, 4))
    panels = [Panel(f"joint {k}", "rad", RUNS) for k in range(6)]
    figure = Figure(traces(panels, TIME_STEP), CAPTION, LEGEND)
    path, main = tmp_path / "report.html", Section("Main", [Table(["a"], [["1"]])])
    sections = [main, Section("All", [long, told, figure])]
    write_report(path, title="A", verdict=[], sections=sections)
    with opened(browser, path, 1280) as view:
        assert view.locator("td").last.is_visible()
        assert view.locator("svg").last.is_visible()
        assert not view.locator("summary").first.is_visible()
    with opened(browser, path, 390) as view:
        assert view.evaluate("document.documentElement.scrollHeight") <= 900
        for summary in view.locator("summary").all():
            summary.click()
        assert view.locator("svg").last.is_visible()
        right = "nodes => Math.max(...nodes.map(n => n.getBoundingClientRect().right))"
        assert view.locator("td:visible").evaluate_all(right) <= 390
        assert_no_table_scrolls(view)
        view.mouse.move(*place(panel(view, "joint 1 over time"), 0.5))
        assert len(said(panel(view, "joint 1 over time"))) == 3


def test_paper_shows_what_is_folded_and_tables_in_eight_points(browser, tmp_path):
    blocks = [Table(("a", "b"), [["c", "1"]]), Details("more", "long line " * 99)]
    path = tmp_path / "report.html"
    write_report(path, title="A", verdict=[], sections=[Section("All", blocks)])
    with opened(browser, path, 718) as view:
        folded = view.locator("pre")
        assert not folded.is_visible()
        view.emulate_media(media="print")
        assert folded.is_visible() and folded.bounding_box()["height"] > 100
        assert folded.evaluate("node => node.scrollWidth <= node.clientWidth")
        for text in (folded, view.locator("td").first):
            size = text.evaluate("node => parseFloat(getComputedStyle(node).fontSize)")
            assert size >= 8 * 96 / 72 - 0.01  # px in 8 points


def test_an_old_browser_unfolds_what_is_long_without_javascript(browser, tmp_path):
    long = Table(("a", "b"), [[f"row {k}", "1"] for k in range(99)])
    sections = [Section("Main", [Table(["a"], [["1"]])]), Section("All", [long])]
    path = tmp_path / "report.html"
    write_report(path, title="A", verdict=[], sections=sections)
    page = path.read_text()
    path.write_text(page.replace("::details-content", "::not-yet-known"))
    for width in (1280, 390):
        with opened(browser, path, width, java_script_enabled=False) as view:
            view.locator("summary").click()
            assert view.locator("td").last.is_visible()
            view.emulate_media(media="print")
            assert view.locator("summary").is_visible()  # It says what is folded.


def test_a_page_without_javascript_is_as_legible(browser, page):
    with opened(browser, page, 1280, java_script_enabled=False) as view:
        assert view.locator("svg .tick").first.is_visible()
        assert view.get_by_role("button", name="before").is_disabled()


def test_the_scripts_are_small():
    assert sum(len(short(_file(name))) for name in SCRIPTS) <= 10_000
