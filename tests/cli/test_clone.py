"""`roboopt collect` and `roboopt clone`, as a user runs them: processes and files."""

import csv
import importlib
import json
import os
import re
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
from roboopt.optimize import NOTES, minimize

RULE = """
def rule(observation):
    x, v, angle, rate = observation
    return int(angle + 0.5 * rate + 0.1 * v + 0.05 * x > 0)
"""
FILES = {
    "checkpoint.npz",
    *("report.html", "policy.npz", "history.csv", "settings.json", "episodes.npz"),
    *("metrics.json", "result.npz"),
}
SHORT = ("--steps", "300", "--episodes", "3", "--width", "16", "--patience", "300")
BALANCE = "roboopt/CartPoleBalance-v0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a user's own rule in a module."""
    place = tmp_path_factory.mktemp("user")
    (place / "own_rule.py").write_text(RULE)
    return place


def run(place, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "roboopt", *arguments],
        cwd=place, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def collected(folder):
    done = run(
        folder, "collect", "CartPole-v1", "--demonstrator", "own_rule:rule",
        "--episodes", "4", "--max-steps", "120", "--out", "demos.npz",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def cloned(folder, collected):
    done = run(
        folder, "clone", "demos.npz", "--env", "CartPole-v1", "--max-steps", "120",
        "--no-video", "--demonstrator", "own_rule:rule", *SHORT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "CartPole-v1-clone", done


def test_a_users_rule_is_recorded(folder, collected):
    episodes = ro.data.load_recordings(folder / "demos.npz")
    assert [run.steps for run in episodes] == [120] * 4
    # Choices, as the rule made them on what it saw.
    for run_ in episodes:
        x, v, angle, rate = run_.observations[:-1].T
        wanted = angle + 0.5 * rate + 0.1 * v + 0.05 * x > 0
        np.testing.assert_array_equal(run_.actions[:, 0], wanted)
    assert "4 episodes, 480 samples" in collected.stdout
    command = "roboopt clone demos.npz --env CartPole-v1 --demonstrator own_rule:rule"
    assert command in collected.stdout


def test_the_clone_does_the_task_beside_its_demonstrator(cloned):
    folder, done = cloned
    assert {path.name for path in folder.iterdir() if path.is_file()} == FILES
    for name in ("demonstrator", "clone"):
        assert re.search(rf"^{name} +.*\b120\b", done.stdout, re.M), done.stdout
    assert "Traceback" not in done.stderr
    assert "no video" not in done.stderr


def test_the_policy_loads_and_acts(cloned):
    folder, _ = cloned
    policy = ro.load(folder / "policy.npz")
    right = policy(np.array([0.0, 0.0, 0.1, 0.5]))
    left = policy(np.array([0.0, 0.0, -0.1, -0.5]))
    assert (right.item(), left.item()) == (1, 0)


def test_the_result_loads_though_the_demonstrator_is_the_users_function(cloned):
    folder, done = cloned
    result = ro.load(folder)
    assert result.demonstrator is None
    assert str(result.summary().sentences[0]) in " ".join(done.stdout.split())


def test_the_gradient_is_explained(cloned, capsys):
    folder, *_ = cloned
    assert main(["explain", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.count("The gradient at a loss of") == 2 and "layers[0].weight" in said
    assert max(map(len, said.splitlines())) <= 80


def test_the_policy_is_exported(cloned, capsys):
    folder, _ = cloned
    assert main(["export", str(folder)]) == 0
    assert (folder / "export" / "policy.py").is_file()
    assert "Largest difference" in capsys.readouterr().out


def test_the_history_and_the_settings_hold_what_was_done(cloned):
    folder, _ = cloned
    with (folder / "history.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[:4] == ["step", "loss", "negative_log_likelihood", "validation"]
    assert set(header[4:]) <= set(NOTES)
    assert len(rows) == 301
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    assert settings["command"] == "clone"
    assert settings["flags"]["env"] == "CartPole-v1"
    judged = settings["evaluation"]
    assert judged["clone"]["episodes"] == judged["demonstrator"]["episodes"] == 3


def test_the_report_is_one_file_with_every_section(cloned):
    folder, _ = cloned
    check_page(folder / "report.html")
    page = (folder / "report.html").read_text("utf-8")
    for section in ("Doing the task", "The training", "The error by action", "Motions"):
        assert f"<h2>{section}</h2>" in page
    assert "http:" not in page and "https:" not in page


@pytest.mark.slow
def test_the_librarys_own_demonstrator_is_kept_asked_and_filmed(folder, tmp_path):
    done = run(
        tmp_path, "collect", BALANCE, "--option", "duration=0.5", "--episodes", "3",
        "--noise", "0.1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    demos = f"{BALANCE.partition('/')[2]}-demos.npz"
    expert = ro.load(tmp_path / demos.replace(".npz", "-demonstrator.npz"))
    episode, *_ = ro.data.load_recordings(tmp_path / demos)
    # With noise on what was done, what is recorded is what was wanted.
    wanted = [np.clip(expert(o), -10, 10) for o in episode.observations[:-1]]
    np.testing.assert_allclose(episode.actions, wanted, atol=1e-9)
    done = run(
        tmp_path, "clone", demos, "--env", BALANCE, "--option", "duration=0.5",
        "--dagger", "1", "--demonstrator", demos.replace(".npz", "-demonstrator.npz"),
        *SHORT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "runs/CartPoleBalance-v0-clone/report.html").read_text("utf-8")
    assert "<h2>Video</h2>" in page
    assert "demonstrator" in done.stdout


@pytest.mark.slow
def test_chunks_and_a_history_act_as_they_were_trained(folder, tmp_path):
    run(tmp_path, "collect", BALANCE, "--option", "duration=0.3", "--episodes", "3")
    done = run(
        tmp_path, "clone", "CartPoleBalance-v0-demos.npz", "--env", BALANCE,
        "--option", "duration=0.3", "--chunk", "3", "--history", "2", "--no-video",
        "--policy", "flow", *SHORT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    actor = ro.load(tmp_path / "runs/CartPoleBalance-v0-clone/policy.npz")
    assert isinstance(actor, ro.policies.Clipped)
    assert isinstance(actor.policy, ro.policies.ObservationHistory)
    assert isinstance(actor.policy.model, ro.policies.ActionChunking)
    assert isinstance(actor.policy.model.model, ro.policies.SampleActions)


@pytest.mark.slow
def test_what_does_not_fit_in_memory_is_read_block_by_block(
    tmp_path, folder, collected, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("roboopt.imitation._demonstration_set.MAX_BYTES_IN_MEMORY", 0)
    ro.data.save_episodes("demos", ro.data.load_recordings(folder / "demos.npz"))
    command = ["clone", "demos", "--env", "CartPole-v1", "--max-steps", "60"]
    assert main([*command, "--no-video", *SHORT]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^clone +", said, re.M), said
    page = (tmp_path / "runs/CartPole-v1-clone/report.html").read_text("utf-8")
    assert "240 for training, 120 for validation, 120 held out by episode" in page


def test_an_interrupted_training_is_kept(folder, collected, capsys, monkeypatch):
    def interrupted(*arguments, **settings):
        def watch(status):
            if status.step:
                os.kill(os.getpid(), signal.SIGINT)

        return minimize(*arguments, **settings | {"callback": watch})

    monkeypatch.chdir(folder)
    monkeypatch.setattr("roboopt.imitation._clone_training.minimize", interrupted)
    command = ["clone", "demos.npz", "--env", "CartPole-v1", "--name", "stopped"]
    short = ["--episodes", "2", "--max-steps", "50", "--width", "16", "--no-video"]
    assert main([*command, "--steps", "100000000", *short]) == 130
    said = capsys.readouterr().out
    assert "the evaluation was interrupted" in said
    kept = folder / "runs" / "stopped"
    assert (kept / "policy.npz").is_file() and not (kept / "report.html").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_the_policy_is_written_before_it_is_judged(
    folder, collected, error, monkeypatch
):
    def ended(*arguments):
        raise error

    monkeypatch.chdir(folder)
    monkeypatch.setattr("roboopt.imitation._clone._judged", ended)
    name = error.__name__
    code = main(["clone", "demos.npz", "--name", name, "--steps", "2", "--no-video"])
    interrupted = error is KeyboardInterrupt
    assert code == (130 if interrupted else 2)
    run = folder / "runs" / (name if interrupted else f"{name}.partial")
    assert callable(ro.load(run / "policy.npz")) and ro.load(run).interrupted


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--env", "Nowhere-v0"), r"--env Nowhere-v0 cannot be made"),
        (("--env", BALANCE), r"another|of a space of 4|CartPole|actions"),
        (
            ("--env", "CartPole-v1", "--policy", "gaussian"),
            r"does not fit discrete actions",
        ),
        (("--env", "CartPole-v1", "--policy", "gausian"), r"did you mean gaussian"),
        (("--env", "CartPole-v1", "--held-out", "1.5"), r"--held-out must be between"),
        (("--env", "CartPole-v1", "--angles", "7"), r"--angles must be axes 0 to 3"),
        (("--env", "CartPole-v1", "--option", "x"), r"--option must be key=value"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(
    folder, collected, arguments, message, capsys, monkeypatch
):
    monkeypatch.chdir(folder)
    assert main(["clone", "demos.npz", *arguments, "--name", "wrong"]) == 2
    said = [s for s in capsys.readouterr().err.splitlines() if "error" in s]
    assert len(said) == 1 and re.search(message, said[0]), said
    assert not list((folder / "runs").glob("wrong*"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("CartPole-v1",), r"--demonstrator must be given"),
        (("CartPole-v1", "--demonstrator", "nowhere:rule"), r"cannot be imported"),
        (("CartPole-v1", "--demonstrator", "own_rule"), r"or module:function"),
        (
            ("CartPole-v1", "--demonstrator", "own_rule:rule", "--noise", "1"),
            r"--noise",
        ),
        ((BALANCE, "--episodes", "0"), r"--episodes must be at least 1"),
        ((BALANCE, "--out", "a.csv"), r"--out must end in"),
        ((BALANCE, "--out", "nowhere/a.npz"), r"--out must lie in a folder"),
    ],
)
def test_what_cannot_be_collected_is_one_line(
    folder, arguments, message, capsys, monkeypatch
):
    monkeypatch.chdir(folder)
    assert main(["collect", *arguments]) == 2
    said = [s for s in capsys.readouterr().err.splitlines() if "error" in s]
    assert len(said) == 1 and re.search(message, said[0]), said


def test_nobody_can_be_asked_who_is_not_known(folder, collected, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    ro.data.save_episodes("alone.npz", ro.data.load_recordings("demos.npz"))
    # A download may hold a file that the user did not name: it is not loaded.
    for name in ("alone.by.npz", "alone-demonstrator.npz"):
        ro.save(name, ro.policies.LinearFeedback(np.ones((1, 4))))
    command = ["clone", "alone.npz", "--env", "CartPole-v1", "--name", "wrong"]
    assert main([*command, "--dagger", "2"]) == 2
    assert "--dagger asks the demonstrator" in capsys.readouterr().err


def test_broken_demonstrations_are_named(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = {"observations": np.zeros((11, 4)), "actions": np.zeros((10, 1), int)}
    files = {
        "short.npz": {**good, "observations": np.zeros((8, 4)), "time_step": 0.02},
        "labels.npz": {**good, "actions": np.full((10, 1), 7), "time_step": 0.02},
        "other.npz": {**good, "observations": np.zeros((11, 6)), "time_step": 0.02},
    }
    for name, arrays in files.items():
        np.savez(tmp_path / name, **arrays)
    (tmp_path / "empty.npz").write_bytes(b"")
    said = {}
    for name in (*files, "empty.npz", "missing.npz"):
        assert main(["clone", name, "--env", "CartPole-v1"]) == 2
        said[name] = capsys.readouterr().err
    assert "10" in said["short.npz"] and "observation" in said["short.npz"]
    assert "7" in said["labels.npz"] and "0 to 1" in said["labels.npz"]
    assert "6" in said["other.npz"] and "4" in said["other.npz"]
    assert "empty" in said["empty.npz"]
    assert "DEMOS must be a file" in said["missing.npz"]


OWN = """
import equinox as eqx
import jax.numpy as jnp
from gymnasium import register
from gymnasium.envs.classic_control import PendulumEnv


class Gain(eqx.Module):
    gain: jnp.ndarray

    def __call__(self, observation):
        return self.gain @ observation


register("OwnPendulum-v0", PendulumEnv, max_episode_steps=5)
"""


@pytest.mark.filterwarnings("default::UserWarning")
@pytest.mark.parametrize(
    "verb", ["clone", pytest.param("reinforce", marks=pytest.mark.slow)]
)
def test_a_run_with_an_own_policy_and_environment_is_reported(
    verb, tmp_path, monkeypatch, capsys
):
    (tmp_path / "own_gain.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    own = importlib.import_module("own_gain")
    policy, env = own.Gain(np.zeros((1, 3))), "own_gain:OwnPendulum-v0"
    if verb == "clone":
        demos = np.ones((9, 3)), np.ones((9, 1))
        result = ro.clone(demos, env, policy=policy, steps=1, episodes=1)
    else:
        brief: dict[str, Any] = {"timesteps": 80, "episodes": 1, "envs": 2, "seed": 0}
        result = ro.reinforce(env, policy=policy, algorithm="pgpe", **brief)
    result.save(tmp_path / "made")
    moved = tmp_path / "moved"
    (tmp_path / "made").rename(moved)
    monkeypatch.delitem(sys.modules, "own_gain")
    monkeypatch.delitem(gymnasium.registry, "OwnPendulum-v0")
    assert main(["report", str(moved)]) == 0
    out, said = capsys.readouterr()
    assert "own_gain:Gain" in said and "--allow own_gain" in said
    line = f"For its video: roboopt report {moved} --allow own_gain env"
    assert out.splitlines() == [str(moved / "report.html"), line]
    assert "<video" not in (moved / "report.html").read_text()
    assert main(["report", str(moved), "--allow", "own_gain", "env"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert "<video" in (moved / "report.html").read_text()
    assert main(["report", str(moved), "--allow", "no_such_module"]) == 2
    assert "--allow no_such_module" in capsys.readouterr().err


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_time_step_that_is_assumed_names_its_flag(tmp_path, capsys):
    rng = np.random.default_rng(0)
    seen, done = rng.normal(size=(3, 9, 2)), rng.normal(size=(3, 8, 1))
    np.savez(tmp_path / "demos.npz", obs=seen, acts=done)
    words = "--policy", "linear", "--steps", "1", "--runs", str(tmp_path), "--no-video"
    assert main(["clone", str(tmp_path / "demos.npz"), *words]) == 0
    assert "warning: --time-step of 1 s is assumed" in capsys.readouterr().err


def test_test_files_of_other_sizes_name_their_flag(tmp_path, capsys):
    for name, size in (("a", 2), ("b", 3)):
        seen = np.random.default_rng(0).normal(size=(9, size))
        runs = [ro.Trajectory(seen, seen[1:, :1], 0.1)] * 2
        ro.data.save_episodes(tmp_path / f"{name}.npz", runs)
    line = ["clone", f"{tmp_path}/a.npz", "--test", f"{tmp_path}/b.npz"]
    assert main([*line, "--runs", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "error: --test must have observations of size 2, as those" in said
    assert "got 3" in said


@pytest.mark.parametrize(
    "flags, said",
    [
        ("--dagger 1", "--dagger asks the demonstrator where .*: give --demonstrator"),
        ("--policy flow --dropout 0.1", "with --dagger, --policy flow and demonst"),
        ("--policy gmm --loss l1", "--loss is for --policy 'mlp'"),
        ("--policy categorical", "--policy 'categorical' does not fit"),
        ("--clip", "--clip needs an --env whose"),
        ("--option a=1", "--option .* for an --env that"),
        ("--watch", "--watch needs an --env with"),
    ],
)
def test_errors_speak_of_flags_alone(flags, said, tmp_path, capsys):
    seen = np.random.default_rng(0).normal(size=(9, 2))
    runs = [ro.Trajectory(x, x[1:, :1], 0.1) for x in (seen, -seen)]
    ro.data.save_episodes(tmp_path / "a.npz", runs)
    line = ["clone", f"{tmp_path}/a.npz", *flags.split(), "--runs", str(tmp_path)]
    assert main(line) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert re.search(said, message) and "`" not in message
