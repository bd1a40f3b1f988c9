"""`roboopt reinforce`, as a user runs it: processes and files."""

import csv
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from browser import check_page

import roboopt as ro
from roboopt.cli import main
from roboopt.rl._monitor import Monitor

FILES = {
    *("report.html", "policy.npz", "history.csv", "returns.csv", "settings.json"),
    *("episodes.npz", "checkpoint.npz", "result.npz", "metrics.json"),
}
SHORT = (
    *("--episodes", "3", "--width", "8", "--depth", "1", "--max-steps", "60"),
    "--no-video",
)
LEARNING = "--timesteps", "2048"
ENDLESS = "--timesteps", "100000000"
AGAIN = "--resume", "runs/CartPole-v1-reinforce"
MINE = """
import os

import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Breaking(CartPoleEnv):
    left, dies = 400, False

    def step(self, action):
        self.left -= 1
        if not self.left:
            if self.dies:
                os._exit(7)
            raise RuntimeError("the gripper is stuck")
        return super().step(action)

class Dying(Breaking):
    dies = True

gymnasium.register("Breaking-v0", Breaking, max_episode_steps=100)
gymnasium.register("Dying-v0", Dying, max_episode_steps=100)
gymnasium.register(
    "Image-v0",
    lambda **given: gymnasium.wrappers.TransformObservation(
        CartPoleEnv(**given), lambda o: o, gymnasium.spaces.Box(0, 1, (8, 8, 3))
    ),
)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a user's own environments in a module."""
    place = tmp_path_factory.mktemp("user")
    (place / "mine.py").write_text(MINE)
    return place


@pytest.fixture
def run(folder, capsys, monkeypatch):
    """Return a function that runs the command here and returns what it printed."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")

    def run_here(*arguments, code=0):
        found = main(["reinforce", *arguments])
        printed = capsys.readouterr()
        assert found == code, printed.err
        return printed.out

    return run_here


def left(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def learned(folder):
    done = subprocess.run(
        [sys.executable, "-m", "roboopt", "reinforce", "CartPole-v1"]
        + [*LEARNING, *SHORT],
        cwd=folder, capture_output=True, text=True, timeout=300,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "CartPole-v1-reinforce", done


def test_it_says_what_it_chose_and_what_came_out(learned):
    folder, done = learned
    assert left(folder) == FILES
    assert "algorithm: PPO" in done.stderr
    assert "a fresh categorical policy" in done.stderr
    assert re.search(r"^learned +", done.stdout, re.M), done.stdout
    assert re.search(r"^untrained +", done.stdout, re.M), done.stdout
    assert "mean return over 3 fresh episodes" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_files_hold_what_was_done(learned):
    folder, _ = learned
    with (folder / "returns.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["timestep", "seconds", "return", "length", "success"]
    assert rows
    with (folder / "history.csv").open(newline="") as file:
        names = next(csv.reader(file))
    assert {"gradient_norm", "step_norm", "gradient_snr", "approximate_kl"} <= set(
        names
    )
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    assert settings["learning"]["timesteps"] == 2048
    assert settings["evaluation"]["learned"]["episodes"] == 3
    assert settings["algorithm"]["name"] == "PPO"
    assert settings["algorithm"]["discount"] == 0.99
    policy = ro.load(folder / "policy.npz")
    assert policy(np.zeros(4)).shape == (1,)


def test_the_gradient_is_explained(learned, capsys):
    folder, *_ = learned
    assert main(["explain", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.count("The gradient at a loss of") == 1 and "value error" in said
    assert max(map(len, said.splitlines())) <= 80


@pytest.fixture
def strangers(learned, tmp_path, monkeypatch):
    """Return the folder of a run whose file names an environment of a module."""
    folder, _ = learned
    strangers = tmp_path / "strangers"
    shutil.copytree(folder, strangers)
    for file in ("result.npz", "settings.json"):
        path = strangers / file
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                held = dict(arrays)
            schema = str(held["schema"]).replace('"CartPole-v1"', '"canary:Song-v0"')
            np.savez(path, **held | {"schema": np.array(schema)})  # type: ignore
        else:
            text = path.read_text("utf-8").replace('"CartPole-v1"', '"canary:Song-v0"')
            path.write_text(text, "utf-8")
    (tmp_path / "canary.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    return strangers


def test_a_report_of_a_loaded_result_imports_nothing(strangers, monkeypatch):
    monkeypatch.syspath_prepend(strangers.parent)
    page = strangers.parent / "report.html"
    result = ro.load(strangers)
    with pytest.warns(UserWarning, match=r"no video.*`load\(path, allow="):
        result.report(page)
    assert page.exists() and "canary" not in sys.modules
    allowed = ro.load(strangers, allow=[ro.rollouts.EnvSpec])
    with pytest.raises(SystemExit, match="imported"):
        allowed.report(page)


def test_settings_of_a_stranger_import_nothing(strangers, capsys):
    for flag in ("--config", "--resume"):
        assert main(["reinforce", flag, str(strangers), "--timesteps", "9"]) == 2
        said = capsys.readouterr().err
        assert "names code that would be imported: give canary:Song-v0" in said
    # Named by the user, it is imported; the module is found in the folder here.
    path = list(sys.path)
    for flag in ("--config", "--resume"):
        with pytest.raises(SystemExit, match="imported"):
            main(
                ["reinforce", "canary:Song-v0", flag, str(strangers)]
                + ["--timesteps", "9"]
            )
        assert sys.path == path


def test_the_report_is_one_file_with_every_section(learned):
    folder, _ = learned
    check_page(folder / "report.html")
    page = (folder / "report.html").read_text("utf-8")
    for section in ("Evaluation", "Learning", "Gradient health", "Motions"):
        assert f"<h2>{section}</h2>" in page
    assert "http:" not in page and "https:" not in page


def test_settings_of_the_algorithm_are_flags_and_recorded(folder, run, capsys):
    given = "--discount", "0.9", "--steps", "64", "--timesteps", "512"
    assert (
        main(["reinforce", "CartPole-v1", *given, "--name", "discounted", *SHORT]) == 0
    )
    said = capsys.readouterr().err
    assert "--algorithm is ppo, of whose settings you give --discount, --steps" in said
    file = folder / "runs" / "discounted" / "settings.json"
    settings = json.loads(file.read_text("utf-8"))
    assert settings["algorithm"]["discount"] == settings["flags"]["discount"] == 0.9
    assert settings["algorithm"]["steps"] == 64


def test_the_flags_are_the_settings_of_the_algorithms():
    from roboopt.cli.reinforce import ALGORITHMS, Reinforce

    assert set(ALGORITHMS) == set(ro.rl.ALGORITHMS)
    flags = {field.name for field in dataclasses.fields(Reinforce)}
    for algorithm in ro.rl.ALGORITHMS.values():
        assert {field.name for field in dataclasses.fields(algorithm)} <= flags


def test_it_goes_on_from_a_run(run, learned):
    before = "--from", "runs/CartPole-v1-reinforce"
    said = run("CartPole-v1", *before, *LEARNING, "--name", "further", *SHORT)
    assert re.search(r"^started from +", said, re.M), said


def test_what_is_said_of_a_resumed_run_is_true(learned, run, folder):
    shutil.copytree(learned[0], folder / "runs" / "again")
    seconds = json.loads((learned[0] / "metrics.json").read_text())["metrics"]
    kept = {p.name: p.read_bytes() for p in learned[0].iterdir()}
    assert "is finished" in run("--resume", "runs/again")
    assert {
        p.name: p.read_bytes() for p in (folder / "runs" / "again").iterdir()
    } == kept
    # Judged again, and not learned: no new episodes of the learning.
    said = run("--resume", "runs/again", "--episodes", "2", "--no-video")
    assert "resumed after" not in said and "2048 timesteps" in said
    now = json.loads((folder / "runs" / "again" / "metrics.json").read_text())[
        "metrics"
    ]
    time = "optimization time [s]"
    assert now[time] == pytest.approx(seconds[time], rel=0.1)
    said = run("--resume", "runs/again", "--timesteps", "4096", "--no-video")
    assert "resumed after 2048 timesteps" in said
    now = json.loads((folder / "runs" / "again" / "metrics.json").read_text())[
        "metrics"
    ]
    assert now[time] > seconds[time]


def test_an_interrupted_run_is_kept_and_resumed(folder, run, monkeypatch):
    watch = Monitor.__call__

    def interrupted(monitor, status):
        if status.step:
            os.kill(os.getpid(), signal.SIGINT)
        return watch(monitor, status)

    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "__call__", interrupted)
        said = run("CartPole-v1", *ENDLESS, "--name", "stopped", *SHORT, code=130)
        assert "interrupted after" in said and "The learning was stopped" in said
        evaluate = re.search(r"evaluate the policy: roboopt reinforce (.*)", said)
        assert evaluate
        assert main(["report", "runs/stopped", "--no-video"]) == 0
        page = (folder / "runs" / "stopped" / "report.html").read_text("utf-8")
        assert "evaluate the policy: roboopt reinforce" in page
        assert "failed" not in page and "was interrupted." not in page
        (folder / "runs" / "stopped" / "report.html").unlink()
        settings = folder / "runs" / "stopped" / "settings.json"
        before = json.loads(settings.read_text("utf-8"))["learning"]["steps"]
        run("--resume", "runs/stopped", code=130)
    after = json.loads(settings.read_text("utf-8"))["learning"]["steps"]
    assert after > before
    assert left(settings.parent) == FILES - {"report.html", "episodes.npz"}
    # The line ends the learning with the block of samples, and evaluates the policy.
    learning = json.loads(settings.read_text("utf-8"))["learning"]
    said = run(*AGAIN[:1], "runs/stopped", *_with(evaluate[1], learning["timesteps"]))
    assert "all 80 steps taken" in said and "fresh episodes is" in said


def _with(line, timesteps):
    """Return the words after the run in a line, with the number of timesteps."""
    *words, flag, _ = line.split()
    assert flag == "--timesteps" and words[:2] == ["--resume", "runs/stopped"]
    return [*words[2:], flag, str(timesteps), "--no-video"]


@pytest.mark.parametrize(
    "env, processes, said",
    [("Breaking-v0", "0", "the gripper is stuck"), ("Dying-v0", "1", "died|ended")],
)
def test_an_environment_that_fails_is_named_and_the_rest_is_kept(
    folder, run, env, processes, said
):
    where = "--processes", processes, "--name", env
    printed = run(f"mine:{env}", *ENDLESS, *where, *SHORT)
    assert re.search(said, printed) and env in printed, printed
    assert (folder / "runs" / env / "policy.npz").is_file()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), r"give an environment, or --resume"),
        (("Nowhere-v0",), r"Nowhere"),
        (("CartPole-v1", "--gradient", "analitic"), r"did you mean analytic"),
        (("CartPole-v1", "--gradient", "analytic"), r"has no twin.*'likelihood'"),
        (("CartPole-v1", "--algorithm", "sac"), r"--algorithm must be one of"),
        (
            ("CartPole-v1", "--pairs", "2", "--clip", "0.1"),
            r"--clip, --pairs must be among the settings",
        ),
        (
            ("CartPole-v1", "--algorithm", "pgpe", "--clip", "0.1"),
            r"--clip must be among the settings of pgpe",
        ),
        (("CartPole-v1", "--discount", "2"), r"--discount must be"),
        (("CartPole-v1", "--policy", "pd"), r"is for arms"),
        (("CartPole-v1", "--timesteps", "0"), r"--timesteps must be at least 1"),
        (("CartPole-v1", "--seconds", "-1"), r"seconds"),
        (("CartPole-v1", "--seed", "-1"), r"--seed must be"),
        (("CartPole-v1", "--target", "nan"), r"--target must be finite"),
        (("CartPole-v1", "--from", "nowhere"), r"--from nowhere must be"),
        (("CartPole-v1", "--angles", "7"), r"angle"),
        (("CartPole-v1", "--width", "0"), r"--width.* at least 1, got 0"),
        (("mine:Image-v0",), r"wrap the environment"),
        (("--resume", "nowhere"), r"--resume nowhere|nowhere"),
        (("Pendulum-v1", *AGAIN), r"ENV must be left out with --resume"),
        ((*AGAIN, "--seed", "3"), r"--seed must be left out with --resume"),
        ((*AGAIN, "--normalize-observations", "False"), r"--normalize.* be left out"),
        ((*AGAIN, "--tool", "hand"), r"--tool must be left out"),
        ((*AGAIN, "--runs", "other"), r"--runs must be left out"),
        ((*AGAIN, "--config", "x"), r"--config must be left out"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(
    folder, learned, arguments, message, capsys, monkeypatch
):
    monkeypatch.chdir(folder)
    name = () if "--resume" in arguments else ("--name", "wrong")
    assert main(["reinforce", *arguments, *name]) == 2
    said = [s for s in capsys.readouterr().err.splitlines() if "error" in s]
    assert len(said) == 1 and re.search(message, said[0]), said
    assert not (folder / "runs" / "wrong").exists()
    assert not (folder / "runs" / "wrong.partial").exists()


class Blind(gymnasium.Env):
    """An environment that makes no pictures."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), float(action), False, False, {}


def test_a_video_that_no_flag_could_give_is_not_advised(folder, run, capsys):
    blind: Any = Blind
    gymnasium.register("Blind-v0", blind, max_episode_steps=10)
    run("Blind-v0", *LEARNING, *SHORT, "--name", "blind")
    for name, shows in (("blind", False), ("CartPole-v1-reinforce", True)):
        path = folder / "runs" / name / "settings.json"
        if path.exists():
            assert json.loads(path.read_text("utf-8"))["pictures"] is shows
    settings = folder / "runs" / "blind" / "settings.json"
    text = settings.read_text("utf-8").replace('"Blind-v0"', '"canary:Blind-v0"')
    settings.write_text(text, "utf-8")
    assert main(["report", "runs/blind"]) == 0
    printed = capsys.readouterr()
    assert "--allow" not in printed.out + printed.err
    assert "makes no pictures" in printed.err
    del gymnasium.registry["Blind-v0"]
