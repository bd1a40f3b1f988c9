"""The command as a user runs it: a process of its own, a folder, a Ctrl-C."""

import base64
import csv
import dataclasses
import importlib
import inspect
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from browser import check_page

import roboopt as ro
from roboopt import Trajectory
from roboopt.cli import main
from roboopt.cli._flags import all_flags
from roboopt.cli._main import COMMANDS
from roboopt.cli.tune import Tune
from roboopt.optimize import NOTES
from roboopt.tuning import tune

ROOT = Path(__file__).parents[2]
SMALL = ("--duration", "0.5", "--starts", "2", "--episodes", "3")
KEPT = {
    *("controller.npz", "history.csv", "settings.json", "result.npz"),
    *("checkpoint.npz", "metrics.json"),
}
"""Files of a run that was interrupted."""
FILES = {
    "checkpoint.npz",
    *("report.html", "controller.npz", "history.csv", "settings.json"),
    *("before.npz", "after.npz", "result.npz", "metrics.json"),
}
SEGMENT = """<link name="link{k}"><inertial><origin xyz="0 0 0.06"/>
<mass value="{mass}"/>
<inertia ixx="1e-3" ixy="0" ixz="0" iyy="1e-3" iyz="0" izz="1e-3"/></inertial>
<visual><origin xyz="0 0 0.06"/><geometry><cylinder radius="0.03" length="0.12"/>
</geometry></visual></link><joint name="left_leg_joint_{k}_motor" type="revolute">
<parent link="{parent}"/><child link="link{k}"/><origin xyz="0 0 0.12"/>
<axis xyz="{k_even} {k_odd} 0"/><limit lower="-2" upper="2" effort="{effort}"
velocity="8"/><dynamics damping="0.05" friction="0"/></joint>"""
ACTS = "import sys, roboopt, numpy; print(roboopt.load(sys.argv[1])(numpy.ones(4)))"
# Says when a step is taken and when judging begins, and waits there for a Ctrl-C.
TELLING = """
import sys, time
from roboopt.cli import main
from roboopt.tuning import _rounds, _tune
minimize, judge = _rounds.minimize, _tune._test
def say(text, until):
    print(text, flush=True)
    time.sleep(until)
def step(status):
    wait = status.step >= 2 and "--wait" not in sys.argv
    say(f"step {status.step}", 60 if wait else 0)
def telling(*args, **kwargs):
    return minimize(*args, **{**kwargs, "callback": step})
def judging(*args, **kwargs):
    say("judging", 60 if "--wait" in sys.argv else 0)
    return judge(*args, **kwargs)
_rounds.minimize, _tune._test = telling, judging
sys.exit(main([a for a in sys.argv[1:] if a != "--wait"]))
"""


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """Return the folder of a run of three steps, and what it printed."""
    runs = tmp_path_factory.mktemp("runs")
    done = run(
        *(sys.executable, "-m", "roboopt", "tune", "cart-pole", "--steps", "3"),
        *("--runs", str(runs), *SMALL),
    )
    assert done.returncode == 0, done.stderr
    return runs / "cart-pole-balance", done


def test_the_gradient_of_a_run_is_explained(tuned, capsys):
    folder, _ = tuned
    assert main(["explain", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.count("The gradient at a loss of") == 2
    assert "N·s/rad" in said and "lowering it" in said
    assert max(map(len, said.splitlines())) <= 80


def test_only_a_run_with_gradients_is_explained(tmp_path, capsys):
    ro.save(tmp_path / "result.npz", {"a": np.zeros(2)})
    assert main(["explain", str(tmp_path)]) == 2
    assert "FOLDER" in capsys.readouterr().err.upper()
    assert main(["explain", str(tmp_path / "gone")]) == 2
    assert "gone, which does not exist" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "empty").mkdir()
    assert main(["explain", str(tmp_path / "empty")]) == 2
    assert "which holds no result.npz" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "notes").write_text("hi\n")
    assert main(["explain", str(tmp_path / "notes")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "another kind of file" in said and "pickle" not in said


def test_every_file_is_left(tuned):
    folder, _ = tuned
    assert {path.name for path in folder.iterdir()} == FILES


def test_every_term_is_printed_in_its_unit(tuned):
    _, done = tuned
    for name in (
        *("objective", "task cost [s]", "mechanical work [J]", "Joule loss [J]"),
        *("peak force [N]", "success [of 3 test starts]", "angles [rad]"),
    ):
        assert re.search(rf"^ ?{re.escape(name)} +\S", done.stdout, re.M), name
    assert "The twin and PyBullet agree" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_metrics_are_those_of_the_table(tuned):
    folder, done = tuned
    said = json.loads((folder / "metrics.json").read_text("utf-8"))["metrics"]
    for name in ("objective", "task cost [s]", "Joule loss [J]", "peak force [N]"):
        row = re.search(rf"^ ?{re.escape(name)} +\S+ +(\S+)", done.stdout, re.M)
        assert row is not None and float(row[1]) == pytest.approx(said[name], rel=1e-3)
    index = (folder.parent / "index.html").read_text("utf-8")
    assert f'href="{folder.name}/report.html"' in index


def test_the_controller_loads_and_acts_in_a_new_process(tuned):
    folder, _ = tuned
    done = run(sys.executable, "-c", ACTS, str(folder / "controller.npz"))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\[.*\d.*\]\n", done.stdout)


def test_the_history_holds_every_term_of_every_step(tuned):
    folder, _ = tuned
    with (folder / "history.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[:2] == ["step", "loss"]
    terms = {"task_cost [s]", "mechanical_work [J]", "joule_loss [J]"}
    assert set(header[2 : 2 + len(terms)]) == terms
    units = {"cart": "N/m", "pole": "N/rad"}
    units |= {"cart velocity": "N·s/m", "pole velocity": "N·s/rad"}
    gains = {f"gains[cart, {state}]": unit for state, unit in units.items()}
    path = {f"{name} [{unit}]" for name, unit in gains.items()}
    path |= {f"dL/d {name}" for name in gains}
    assert set(header[2 + len(terms) :]) - set(NOTES) == path | {"round"}
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    # Each round notes its start too, and there are at most four.
    steps = settings["result"]["steps"]
    assert [int(row[0]) for row in rows] == list(range(len(rows)))
    assert steps + 1 <= len(rows) <= steps + 4
    losses = [float(row[1]) for row in rows]
    weights = settings["objective"]
    weighed = sum(
        weights[weight] * float(rows[0][header.index(name)])
        for weight, name in {
            "task_weight": "task_cost [s]",
            "work_weight": "mechanical_work [J]",
            "joule_weight": "joule_loss [J]",
        }.items()
    )
    np.testing.assert_allclose(losses[0], weighed, rtol=1e-12)
    # Of the round that does best on fresh starts.
    assert settings["result"]["loss"] == pytest.approx(
        min(losses, key=lambda loss: abs(loss - settings["result"]["loss"])), rel=1e-9
    )


def test_the_settings_are_exact(tuned):
    folder, _ = tuned
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    assert settings["flags"]["duration"] == 0.5
    assert settings["run"]["steps"] == 3 and settings["run"]["starts"] == 2
    assert settings["environment"]["horizon"] == 120
    assert settings["environment"]["task"]["Balance"]["angle_scale"] == 0.2
    assert settings["platform"]["jax_enable_x64"] is True
    assert {"roboopt", "jax", "numpy", "pybullet", "python"} <= set(
        settings["versions"]
    )


def test_the_motions_are_kept(tuned):
    folder, _ = tuned
    for name in ("before.npz", "after.npz"):
        motions = Trajectory.load(folder / name)
        assert motions.actions.shape == (3, 120, 1)
        assert motions.efforts is not None


def test_the_report_is_one_file_with_every_section(tuned):
    folder, _ = tuned
    check_page(folder / "report.html")
    page = (folder / "report.html").read_text("utf-8")
    for section in (
        *("Before and after", "Video", "The descent", "Gradient"),
        *("Motions before and after",),
        *("Energy by joint", "The controller", "Settings"),
    ):
        assert f"<h2>{section}</h2>" in page
    assert "http:" not in page and "https:" not in page
    sources = re.findall(r'\b(?:src|href)="([^"]{0,20})', page)
    assert all(source.startswith(("data:video/mp4", "#")) for source in sources)
    # Four curves, three of the cart and two of the pole, two of energy; of the gradient
    # two and two by term at either end, one for each gain, and two of its size.
    assert page.count("<svg") == 4 + 5 + 2 + (4 + 4 + 4 + 2)


def test_the_video_decodes(tuned, tmp_path):
    folder, _ = tuned
    page = (folder / "report.html").read_text("utf-8")
    data = re.search(r'data:video/mp4;base64,([^"]+)"', page)
    assert data is not None
    path = tmp_path / "film.mp4"
    path.write_bytes(base64.b64decode(data[1]))
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    raw = ("-f", "rawvideo", "-pix_fmt", "gray", "pipe:")
    film = subprocess.run([ffmpeg, "-i", str(path), *raw], capture_output=True)
    assert b"960x404" in film.stderr and b"15 fps" in film.stderr
    # 120 steps of 1/240 s, one picture at the start and after every 16 steps.
    assert len(film.stdout) == 8 * 960 * 404


@pytest.fixture
def start(tmp_path):
    """Return a function that starts the command, to be interrupted."""
    command = [sys.executable, "-u", "-c", TELLING, "tune", "cart-pole", *SMALL]

    def begin(*arguments):
        return subprocess.Popen(
            [*command, "--runs", str(tmp_path), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


def wait_for(process, pattern):
    for line in process.stdout:
        if re.search(pattern, line):
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_so_far(tmp_path, start):
    process = start("--no-video")
    wait_for(process, r"step [2-9]")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    folder = tmp_path / "cart-pole-balance"
    found = {path.name for path in folder.iterdir()}
    assert found == KEPT
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    assert settings["result"]["reason"] == "interrupted"
    assert "Traceback" not in err and "interrupted after" in out
    ro.load(folder).report(tmp_path / "report.html", video=False)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Interrupted after" in page and "<video" not in page


@pytest.mark.slow
def test_ctrl_c_while_judging_keeps_the_controller(tmp_path, start):
    process = start("--steps", "2", "--wait")
    wait_for(process, "judging")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    folder = tmp_path / "cart-pole-balance"
    found = {path.name for path in folder.iterdir()}
    assert found == KEPT
    assert "Traceback" not in err and "roboopt.load" in out


def test_a_descent_that_cannot_begin_is_said_in_a_line(tmp_path, monkeypatch, capsys):
    from roboopt import RobooptError

    def refuse(*args, **kwargs):
        raise RobooptError("`objective` must be finite at the start; it is not.")

    monkeypatch.setattr("roboopt.tuning._rounds.minimize", refuse)
    assert main(["tune", "cart-pole", "--runs", str(tmp_path), *SMALL]) == 2
    assert not list(tmp_path.iterdir())
    assert "roboopt: error: `objective` must be finite" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["tune", "identify", "clone", "reinforce"])
def test_every_flag_is_a_keyword_of_the_verb_or_says_what_is(verb):
    module, _, name = COMMANDS[verb].partition(":")
    flags = all_flags(getattr(importlib.import_module(module), name))
    function = getattr(ro, verb)
    known = function.keywords
    first = {"identify": ("arm", "x"), "clone": ("x",)}.get(verb, ("cart-pole",))
    for flag in sorted(flags.keys() - {*known}):
        with pytest.raises(ro.RobooptError, match=f"`{flag}` is no argument") as raised:
            function(*first, **{flag: 1})
        assert re.search("in Python it is `|algorithm=rl", str(raised.value)), flag


def test_a_robots_keywords_are_keywords_of_the_verb():
    with pytest.raises(ro.RobooptError, match="`locked` must be given once"):
        tune("arm", options={"locked": []}, locked=["elbow"])
    for verb in (ro.tune, ro.reinforce):
        with pytest.raises(ro.RobooptError, match="shoulderr"):
            verb("roboopt/ArmReach-v0", locked=["shoulderr"])
    urdf = "examples/furuta/furuta.urdf"
    with pytest.raises(ro.RobooptError, match="shoulderr"):
        ro.identify(ROOT / urdf, ROOT, locked=["shoulderr"])
    with pytest.raises(ro.RobooptError, match="did you mean `episodes`"):
        tune(**{"episode": 3})  # type: ignore


def test_the_flags_are_the_parameters_of_the_verb():
    parameters = inspect.signature(tune).parameters
    flags = {field.name: field.default for field in dataclasses.fields(Tune)}
    # The flags of the simulated robot are the keywords in `options`.
    assert flags.pop("output") is not None and "simulation" in flags
    del flags["simulation"]
    expected = {n: p.default for n, p in parameters.items()}
    assert flags.pop("ray") is None  # the `workers` of the verb
    assert flags["delay"] == "0" and expected["delay"] == 0  # one number, or two
    flags["delay"] = expected["delay"]
    others = {"progress", "callback", "options", "checkpoint", "workers", "log"}
    others |= {"keep", "simulated"}
    assert expected.keys() - flags.keys() == others
    assert flags == {name: expected[name] for name in flags}


@pytest.mark.slow
def test_the_report_of_a_robot_of_many_joints_is_small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    robot, parent = '<robot name="many"><link name="base"/>', "base"
    for k in range(20):
        numbers = {"mass": 0.5 * 0.85**k, "effort": 40 * 0.85**k, "parent": parent}
        robot += SEGMENT.format(k=k, k_even=k % 2, k_odd=1 - k % 2, **numbers)
        parent = f"link{k}"
    Path("many.urdf").write_text(f"{robot}</robot>")
    words = "--steps", "1", "--starts", "2", "--episodes", "10", "--duration", "3"
    assert main(["tune", "--urdf", "many.urdf", *words, "--name", "many"]) == 0
    page = Path("runs/many/report.html")
    check_page(page)
    text = page.read_text("utf-8")
    assert "The first 16 of 20 joints are drawn." in text
    assert "and test starts 1, 2, 3." in text  # with the bold one four
    assert "left_leg_joint_15_motor: torque over time" in text
    assert "left_leg_joint_16_motor: torque over time" not in text
