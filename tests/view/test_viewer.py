"""The viewer's server, asked over HTTP and by the state of its scene."""

import builtins
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from browser import chromium, needs_chromium
from shown_robots import motion, scara

import roboopt as ro
from roboopt.cli import main
from roboopt.cli._flag_names import name_flag
from roboopt.cli.view import View
from roboopt.view import RobotMotions, Scene, Viewer

PORT = 18_080


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene.of_urdf(scara(tmp_path_factory.mktemp("scara")))


@pytest.fixture(scope="module")
def motions(scene):
    q = motion(4, 241)
    runs = {"before": [-q, q], "after": [q, 0.5 * q]}
    goals = [np.array([[0.1, 0.2, 0.3]]), np.zeros((0, 3))]
    return RobotMotions(scene, runs, 1 / 240, goals, ["first", "second"])


def until(holds):
    end = time.monotonic() + 60  # on a machine that is busy
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def named(viewer, kind) -> dict[str, Any]:
    """Return what stands on the page by its label or title."""
    handles = viewer.server.gui._gui_input_handle_from_uuid.values()
    return {h.label: h for h in handles if type(h).__name__ == f"Gui{kind}Handle"}


def placed(viewer, label, scene, q):
    """Return whether the robot of a label stands at a configuration."""
    (poses,) = scene.poses(np.asarray(q)[None])
    frames = viewer._robots[label][1:]
    found = [np.concatenate([f.position, np.roll(f.wxyz, -1)]) for f in frames]
    return np.allclose(found, poses, atol=1e-9)


def in_view(viewer, scene, q):
    """Return how far the camera sees over the size of the robot at a configuration."""
    camera = viewer.server.initial_camera
    corners = scene.corners(scene.poses(np.asarray(q, float)))
    axis = camera.look_at - camera.position
    distance = np.linalg.norm(axis)
    away = corners - camera.position
    depth = away @ axis / distance
    side = np.linalg.norm(away - np.outer(depth, axis / distance), axis=1)
    return np.tan(np.radians(37.5)) / (side / depth).max()


def test_nothing_is_drawn_once_the_viewer_is_closed(scene, motions, monkeypatch):
    drawing, drawn = threading.Event(), []
    with Viewer(scene, port=PORT) as viewer:

        def draw_slowly():
            drawing.set()
            time.sleep(0.3)
            drawn.append(viewer._over.is_set() and viewer._player.is_alive())

        monkeypatch.setattr("roboopt.view._viewer.PLOT_PERIOD_S", 0.0)
        viewer.show(motions)
        monkeypatch.setattr(viewer, "_draw_plots", draw_slowly)
        drawing.clear()
        assert drawing.wait(10)
    assert drawn[-1] and not viewer._player.is_alive()


def test_the_camera_sees_the_robot_wherever_its_joints_go(scene, motions):
    low, high = np.asarray(scene.robot.lower), np.asarray(scene.robot.upper)
    ends = np.stack(np.meshgrid(*np.stack([low, high], 1)), -1).reshape(-1, len(low))
    with Viewer(scene, port=PORT) as viewer:
        assert 1 < in_view(viewer, scene, ends) < 4
        viewer.show(motions)
        for runs in motions.runs.values():
            assert 1 < in_view(viewer, scene, np.concatenate(runs)) < 4


def test_the_server_shows_the_robot_at_the_chosen_time_and_start(scene, motions):
    with Viewer(scene, port=PORT, title="A run") as viewer:
        viewer.show(motions)
        with urllib.request.urlopen(viewer.address) as answer:
            assert answer.status == 200 and b"<html" in answer.read()
        after, before = motions.runs["after"], motions.runs["before"]
        assert placed(viewer, "after", scene, after[0][0])
        sliders, choices = named(viewer, "Slider"), named(viewer, "Dropdown")
        sliders["time [s]"].value = 0.5
        until(lambda: placed(viewer, "after", scene, after[0][120]))
        assert placed(viewer, "before", scene, before[0][120])
        frames = viewer._robots["before"][1:]
        assert any(frame.visible for frame in frames)
        choices["start"].value = "second"
        until(lambda: placed(viewer, "after", scene, after[1][120]))
        viewer.show_curves({"loss": [(0, 3.0), (1, 2.0)]})
        viewer.show_curves({"loss": [(0, 3.0), (1, 2.0), (5, 1.0)]})
        plots = viewer._curves
        assert [*plots] == [*(f"joint {n}" for n in scene.robot.joint_names), "loss"]
        np.testing.assert_array_equal(plots["loss"].data, [[0, 1, 5], [3, 2, 1]])
        times, hand, first, second = plots["joint elbow"].data
        # A line stands at the time shown; elsewhere it is under the last curve.
        (away,) = np.nonzero(hand != second)
        ends = [min(first.min(), second.min()), max(first.max(), second.max())]
        np.testing.assert_array_equal(hand[away], ends)
        np.testing.assert_allclose(times[away], 0.5, atol=1 / 240)
        rows = (times * 240).round().astype(int)
        np.testing.assert_array_equal(first, before[1][rows, 1])
        np.testing.assert_array_equal(second, after[1][rows, 1])
        faster = {k: [2 * q for q in runs] for k, runs in motions.runs.items()}
        viewer.show(RobotMotions(scene, faster, 1 / 240, motions.goals, motions.names))
        until(lambda: placed(viewer, "after", scene, 2 * after[1][120]))
        same = {"before": faster["after"], "after": faster["after"]}
        viewer.show(RobotMotions(scene, same, 1 / 240, motions.goals, motions.names))
        until(lambda: not any(frame.visible for frame in frames))  # no z-fighting
        address = viewer.address
    with pytest.raises(OSError):
        urllib.request.urlopen(address, timeout=1)


def test_titles_of_plots_fit_and_are_words(tmp_path):
    name = "shoulder_with_a_name_as_long_as_those_of_some_humanoids"
    path = tmp_path / "long.urdf"
    path.write_text(scara(tmp_path).read_text().replace('"shoulder"', f'"{name}"'))
    scene = Scene.of_urdf(path)
    motion = {"after": [np.zeros((5, len(scene.robot.joint_names)))]}
    with Viewer(scene, port=PORT) as viewer:
        viewer.show(RobotMotions(scene, motion, 0.1))
        viewer.show_curves({"joule_loss": [(0, 3.0)]})
        first, *_, last = viewer._curves.values()
        assert first.title.startswith("shou") and first.title.endswith("[rad]")
        assert len(first.title) <= 30
        assert last.title == last.series[1]["label"] == "Joule loss"


def test_a_urdf_has_a_slider_for_each_joint_between_its_limits(scene):
    with Viewer(scene, port=PORT) as viewer:
        viewer.add_sliders()
        sliders = named(viewer, "Slider")
        assert [*sliders] == ["shoulder [rad]", "elbow [rad]", "slide [m]", "left [m]"]
        slide = sliders["slide [m]"]
        assert (slide.min, slide.max, slide.value) == (-0.3, 0.1, 0)
        slide.value = -0.2
        until(lambda: placed(viewer, "robot", scene, [0, 0, -0.2, 0]))


def test_the_next_free_port_is_used(scene):
    with Viewer(scene, port=PORT) as first, Viewer(scene, port=PORT) as second:
        assert first.address != second.address


@pytest.mark.parametrize("shown", ["motions", "sliders"])
def test_a_phone_shows_the_robot_above_the_controls(scene, motions, shown):
    camera = SimpleNamespace(aspect=390 / 844, fov=np.deg2rad(75.0))
    with Viewer(scene, port=PORT) as viewer:
        if shown == "motions":
            viewer.show(motions)
            runs = np.concatenate(motions.runs["after"])
        else:
            viewer.add_sliders()
            ends = scene.robot.lower, scene.robot.upper
            runs = np.random.default_rng(1).uniform(*ends, (99, len(ends[0])))
        viewer._frame_phone(SimpleNamespace(camera=camera))
    points = scene.corners(scene.poses(runs)) - camera.position
    ahead = camera.look_at - camera.position
    ahead /= np.linalg.norm(ahead)
    side = np.cross(ahead, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    seen = points @ np.stack([side, np.cross(side, ahead)], 1)
    seen /= (points @ ahead)[:, None] * np.tan(camera.fov / 2) * [camera.aspect, 1]
    assert np.abs(seen[:, 0]).max() < 1 and seen[:, 1].max() < 1.05
    if shown == "motions":
        assert seen[:, 1].min() > 0.15  # The controls reach up to 0.2.
    else:
        assert seen[:, 1].min() > -0.25  # and four sliders up to -0.24
        assert np.abs(seen[:, 0]).max() > 0.75  # It fills the width.


def test_a_long_rail_does_not_make_a_robot_small(tmp_path):
    file = scara(tmp_path)
    sizes = []
    for limit in ("-0.3", "-30"):
        text = file.read_text().replace('lower="-0.3"', f'lower="{limit}"')
        assert limit in text
        path = tmp_path / f"rail{limit}.urdf"
        path.write_text(text)
        with Viewer(Scene.of_urdf(path), port=PORT) as viewer:
            sizes.append(viewer._size)
    assert sizes[1] < 3 * sizes[0]


@needs_chromium
def test_a_browser_plays_the_motion(scene, motions):
    with Viewer(scene, port=PORT) as viewer, chromium() as browser:
        viewer.show(motions)
        page = browser.new_page()
        faults = []
        own = viewer.address.partition("://")[2], "data:", "blob:"
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "request",
            lambda r: any(x in r.url for x in own) or faults.append(r.url),
        )
        page.goto(viewer.address)
        slider = named(viewer, "Slider")["time [s]"]
        until(lambda: slider.value > 0.05)
        assert not faults, faults


def test_a_port_that_is_taken_is_refused_where_it_was_asked_for(scene, tmp_path):
    with Viewer(scene, port=PORT) as first:
        with pytest.raises(ro.RobooptError, match="`port` must be free"):
            View(scara(tmp_path), port=first.server.get_port()).run()


def test_a_missing_viser_is_said(scene, monkeypatch):
    imported = builtins.__import__

    def missing(name, *rest):
        if name.startswith("viser"):
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ro.RobooptError, match=r"pip install 'roboopt\[view\]'"):
        Viewer(scene)


@pytest.mark.parametrize(
    "words, said",
    [
        (["nowhere"], "RUN must be the folder of a run.*does not exist"),
        (["there.urdf", "--port", "0"], "--port must be at least 1, got 0"),
        (["there.urdf", "--port", "65536"], "--port must be from 1 to 65535, got"),
        (["there.urdf"], "RUN: .*there.urdf"),
    ],
)
def test_what_cannot_be_shown_is_refused(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.urdf").write_text("nothing")
    assert main(["view", *words]) == 2
    assert re.search(f"error: .*{said}", capsys.readouterr().err)


def test_a_mesh_that_is_missing_is_said_with_the_flag(tmp_path):
    path = scara(tmp_path)
    path.write_text(path.read_text().replace("cover.obj", "package://none/gone.obj"))
    with pytest.warns(UserWarning, match="none/gone.obj") as caught:
        View(path, port=PORT)._viewer().close()
    assert name_flag(str(caught[0].message), View).endswith("['none'] by --package.")


def test_the_command_serves_until_it_is_interrupted(tmp_path):
    path = scara(tmp_path)
    words = [sys.executable, "-m", "roboopt", "view", str(path), "--port", "18090"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://localhost:\d+", line)
        assert address is not None, line
        with urllib.request.urlopen(address[0]) as answer:
            assert answer.status == 200
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(10) == 130


UNCLOSED = """
import sys, time
from pathlib import Path
from shown_robots import motion, scara
from roboopt.view import RobotMotions, Scene, Viewer
scene = Scene.of_urdf(scara(Path(sys.argv[1])))
viewer = Viewer(scene, port=18095)
viewer.show(RobotMotions(scene, {"after": [motion(4, 241)]}, 1 / 240))
time.sleep(0.5)
"""


def test_a_viewer_that_nobody_closed_ends_quietly(tmp_path):
    words = [sys.executable, "-W", "error", "-c", UNCLOSED, str(tmp_path)]
    settings = {"capture_output": True, "text": True, "timeout": 120}
    tests = Path(__file__).parents[1]  # where the robots are made
    ended = subprocess.run(words, cwd=tests, **settings)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
