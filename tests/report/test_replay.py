"""The replay in 3D: its numbers, and what a browser draws of them."""

import base64
import json
import re
import zlib
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from browser import chromium, needs_chromium, opened
from PIL import Image
from scipy.spatial.transform import Rotation
from shown_robots import motion, scara

from roboopt.report import (
    Figure,
    Replay,
    Section,
    Video,
    curves,
    encode,
    replay_section,
    write_report,
)
from roboopt.view import RobotMotions, Scene

ARM = """<robot name="arm"><link name="base"/><link name="arm">
<inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1"/></inertial>
<visual><origin xyz="0.5 0 0.1"/><geometry><sphere radius="0.08"/></geometry>
<material name="red"><color rgba="1 0 0 1"/></material></visual>
<visual><geometry><box size="0.2 0.2 0.2"/></geometry>
<material name="gray"><color rgba="0.6 0.6 0.6 1"/></material></visual></link>
<joint name="turn" type="continuous"><origin xyz="0.1 -0.2 0.4"/><parent link="base"/>
<child link="arm"/><axis xyz="0 0 1"/></joint></robot>"""
RATE = 1 / 240  # s


def data_of(replay):
    text = re.search(r'json">(.*)</script>', replay.html())
    assert text is not None
    return json.loads(text[1])


def numbers(text, kind="<i2"):
    return np.frombuffer(base64.b64decode(text), kind)


def test_poses_and_triangles_are_those_of_the_scene(tmp_path):
    scene = Scene.of_urdf(scara(tmp_path))
    runs = [motion(4, 241), motion(4, 121)]
    replay = Replay(
        RobotMotions(scene, {"before": [-q for q in runs], "after": runs}, RATE)
    )
    data = data_of(replay)
    shape = 2, data["starts"], data["frames"], data["joints"], 4, 3
    assert shape == (2, 2, 31, 6, 4, 3) and data["rate"] == 30
    poses = numbers(data["poses"]).reshape(shape) / 32767
    for k, start in enumerate(runs):
        for frame in (0, 10, 30):
            q = start[min(8 * frame, len(start) - 1)]  # A short motion stands still.
            (there,) = scene.poses(q[None])
            turns = Rotation.from_quat(there[:, 3:]).as_matrix().swapaxes(-1, -2)
            np.testing.assert_allclose(poses[1, k, frame, 1:, :3], turns, atol=2e-5)
            shift = poses[1, k, frame, :, 3] * data["unit"]
            shift = shift[1:] - shift[0]  # The world's origin comes first.
            np.testing.assert_allclose(shift, there[:, :3], atol=4e-5 * data["unit"])
    corners = numbers(data["buffers"][0]).reshape(-1, 3) / 32767
    corners = corners * data["scale"] * data["unit"]
    faces = numbers(data["buffers"][1], "<u2")
    for (joint, color, first, count), own, part in zip(
        data["parts"], scene.joints, scene.parts, strict=True
    ):
        assert joint == own + 1 and tuple(color) == part.color
        drawn = corners[faces[first : first + count]].reshape(-1, 3, 3)
        expected = part.vertices[part.faces]
        np.testing.assert_allclose(drawn, expected, atol=2e-5)


def test_a_robot_whose_meshes_cannot_be_read_is_not_replayed(tmp_path):
    (tmp_path / "arm.urdf").write_text(ARM)
    scene = Scene.of_urdf(tmp_path / "arm.urdf")
    runs = {"after": [np.zeros((3, 1))]}
    assert replay_section(RobotMotions(scene, runs, RATE), "The robot.") is not None
    scene = replace(scene, parts=(), joints=())
    assert replay_section(RobotMotions(scene, runs, RATE), "The robot.") is None


def test_long_motions_of_many_starts_stay_small(tmp_path):
    scene = Scene.of_urdf(scara(tmp_path))
    q = motion(4, 24_001)
    replay = Replay(RobotMotions(scene, {"before": [q] * 30, "after": [q] * 30}, RATE))
    data = data_of(replay)
    assert 2 < data["starts"] <= 9 and data["frames"] <= 241
    assert data["duration"] == pytest.approx(100)
    assert len(replay.html()) < 700_000


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def page_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "arm.urdf").write_text(ARM)
    scene = Scene.of_urdf(folder / "arm.urdf")
    turning = np.linspace(0, 2, 481)[:, None]
    goals = [np.array([[0.2, 0.3, 0.8]]), np.array([[0, 0, 0], [0, 0, 1.0]])]
    motions = {"before": [turning - 1, turning], "after": [turning, -turning]}
    replay = Replay(RobotMotions(scene, motions, RATE, goals), "a caption")
    path, sections = folder / "page.html", [Section("In 3D", [replay])]
    write_report(path, title="A robot", verdict=["Good."], sections=sections)
    return path, data_of(replay), scene


def projected(data, point, canvas):
    """Return where a point of the world is in the picture, at the first view."""
    center = numbers(data["poses"])[9:12] / -32767 * data["unit"]
    x, y, z = np.asarray(point) - center
    yaw, pitch = 0.5, 0.3
    right = x * np.cos(yaw) + y * np.sin(yaw)
    ahead = y * np.cos(yaw) - x * np.sin(yaw)
    up = z * np.cos(pitch) + ahead * np.sin(pitch)
    depth = (
        ahead * np.cos(pitch) - z * np.sin(pitch) + (data["distance"] * data["unit"])
    )
    width, height = canvas
    zoom = 2.72 * height / 2
    return width / 2 + zoom * right / depth, height / 2 - zoom * up / depth


def picture(page):
    shot = page.locator("canvas").screenshot()
    return np.asarray(Image.open(BytesIO(shot)).convert("RGB"), int)


def middle(seen):
    rows, columns = np.nonzero(seen)
    return columns.mean(), rows.mean()


def move_to(page, time):
    page.evaluate(
        "t => { const s = document.querySelector('.time'); s.value = t;"
        " s.dispatchEvent(new Event('input')); }",
        time,
    )


@needs_chromium
@pytest.mark.parametrize("width, scheme", [(1280, "light"), (390, "dark")])
def test_a_browser_draws_the_robot_where_it_is(browser, page_path, width, scheme):
    path, data, scene = page_path
    calm = {"color_scheme": scheme, "reduced_motion": "reduce"}
    with opened(browser, path, width, **calm) as page:
        page.evaluate(
            "window.told = []; document.addEventListener('roboopt:time',"
            " e => told.push(e.detail.time))"
        )
        page.get_by_label("before").uncheck()
        for time in (0.5, 1.5):
            move_to(page, time)
            seen = picture(page)
            size = seen.shape[1], seen.shape[0]
            red, green, blue = np.moveaxis(seen, -1, 0)
            # The ball's middle, by the forward kinematics; the goal stands still.
            (there,) = scene.poses(np.array([[time]]))
            ball = Rotation.from_quat(there[0, 3:]).apply([0.5, 0, 0.1]) + there[0, :3]
            found = middle((red > 100) & (green < 60) & (blue < 60))
            np.testing.assert_allclose(found, projected(data, ball, size), atol=3)
            goal = (green > 110) & (red < 60)
            # It is round, and shaded: what is flat has another shape from each side.
            rows, columns = np.nonzero(goal)
            box = np.ptp(rows) + 1, np.ptp(columns) + 1
            assert abs(box[0] - box[1]) <= 2
            assert goal.sum() == pytest.approx(np.pi / 4 * box[0] * box[1], rel=0.15)
            assert np.ptp(green[goal]) > 15
            found = middle(goal)
            np.testing.assert_allclose(
                found, projected(data, (0.2, 0.3, 0.8), size), atol=2
            )
        assert page.evaluate("told") == [0.5, 1.5]
        without = picture(page)
        page.get_by_label("before").check()
        ghost = np.abs(picture(page) - without).sum(-1) > 30
        (there,) = scene.poses(np.array([[0.5]]))  # what "before" does at 1.5 s
        ball = Rotation.from_quat(there[0, 3:]).apply([0.5, 0, 0.1]) + there[0, :3]
        column, row = map(round, projected(data, ball, size))
        assert ghost[row, column]
        page.locator("canvas").focus()
        page.keyboard.press("ArrowLeft")
        assert (np.abs(picture(page) - without).sum(-1) > 30).mean() > 0.005
        page.get_by_label("start").select_option("1")
        path_of_goal = np.moveaxis(picture(page), -1, 0)
        assert ((path_of_goal[1] > 130) & (path_of_goal[0] < 60)).any()
        page.evaluate(
            "document.dispatchEvent(new CustomEvent('roboopt:time',"
            " {detail: {time: 0.25, source: null}}))"
        )
        assert page.locator("output").inner_text() == "0.25 s"
        before = picture(page)
        page.get_by_role("button", name="Play").click()
        page.wait_for_function("+document.querySelector('.time').value > 0.4")
        page.get_by_role("button", name="Pause").click()
        assert (picture(page) != before).any()
        assert page.evaluate("told.length") > 4


@needs_chromium
def test_a_robot_moves_by_itself_while_it_is_seen(browser, page_path):
    page = browser.new_page(viewport={"width": 800, "height": 300})
    page.goto(page_path[0].as_uri())
    page.locator("canvas").scroll_into_view_if_needed()
    page.wait_for_function("+document.querySelector('.time').value > 0.1")
    page.evaluate("document.body.style.paddingTop = '3000px'; scrollTo(0, 0)")
    page.wait_for_timeout(300)
    stopped = page.locator(".time").input_value()
    page.wait_for_timeout(300)
    assert page.locator(".time").input_value() == stopped
    page.close()


@needs_chromium
def test_paper_shows_the_end_of_what_moves(browser, page_path):
    page = browser.new_page()
    page.goto(page_path[0].as_uri())
    page.locator("canvas").scroll_into_view_if_needed()
    pdf = page.pdf()
    assert page.locator("output").inner_text() == "2.00 s"
    pictures = re.findall(rb"/Subtype /Image.*?stream\n(.*?)\nendstream", pdf, re.S)
    inks = [np.frombuffer(zlib.decompress(x), np.uint8) for x in pictures]
    red, green, blue = max(inks, key=len).reshape(-1, 3).astype(int).T
    assert ((red > 100) & (green < 60) & (blue < 60)).sum() > 20  # the ball
    page.emulate_media(media="print")
    assert not page.locator(".time").is_visible()
    page.close()


@needs_chromium
def test_each_click_stops_or_starts_what_the_video_moves(browser, page_path, tmp_path):
    scene = page_path[2]
    # A minute: the video, which loops, does not begin anew during the test.
    turning = RobotMotions(scene, {"after": [np.linspace(0, 2, 481)[:, None]]}, 1 / 8)
    film = Video(encode(np.zeros((60, 16, 16, 3), np.uint8), 1.0))
    loss = Figure(curves({"loss": np.array([2.0, 1.0])}, {}))
    sections = [Section("Both", [Replay(turning), film, loss])]
    path = tmp_path / "page.html"
    write_report(path, title="A robot", verdict=["Good."], sections=sections)
    with opened(browser, path, 1280) as page:
        button, video = page.locator(".bar button"), page.locator("video")
        clock = page.locator(".time")

        def moved():
            """Return the times of the replay and the video, and how far they move."""
            seen = []
            for _ in range(2):
                page.wait_for_timeout(150)
                film_time = video.evaluate("v => v.currentTime")
                seen.append([float(clock.input_value()), film_time])
            assert button.inner_text() == ("Play" if seen[0] == seen[1] else "Pause")
            return seen[0], seen[1][0] - seen[0][0]

        page.wait_for_function("document.querySelector('video').currentTime > 0.4")
        assert moved()[1] > 0  # The video plays by itself, and the replay follows.
        button.click()
        (stopped, film_time), step = moved()
        assert step == 0 and stopped > 0.4 and film_time == pytest.approx(stopped)
        for _ in range(2):
            button.click()
            (goes, _), step = moved()
            assert step > 0 and goes > stopped
            button.click()
            (stopped, _), step = moved()
            assert step == 0
        video.evaluate("v => v.play()")
        page.wait_for_timeout(100)
        assert button.inner_text() == "Pause"
        video.evaluate("v => v.pause()")
        assert moved()[1] == 0


def test_without_javascript_there_is_a_sentence(page_path):
    (said,) = re.findall("<noscript>(.*)</noscript>", page_path[0].read_text("utf-8"))
    assert "needs JavaScript" in said and "canvas, .bar { display: none }" in said


@needs_chromium
def test_without_webgl_there_is_a_sentence(browser, page_path):
    page = browser.new_page()
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(page_path[0].as_uri())
    assert "needs WebGL 2" in page.locator(".replay").inner_text()
    page.close()
