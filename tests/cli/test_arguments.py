"""What a user gets wrong is one line on stderr, exit code 2, and leaves nothing."""

import importlib
import json
import subprocess
import sys

import jax.numpy as jnp
import pytest
from roboopt_envs.cart_pole import URDF

import roboopt as ro
from roboopt.cli import main
from roboopt.cli._main import COMMANDS


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    """Return a function that runs a command and gives back its one line."""
    monkeypatch.chdir(tmp_path)

    def run(line):
        kept = set(tmp_path.rglob("*"))
        code = main(line.split())
        printed = capsys.readouterr()
        assert code == 2
        assert printed.out == ""
        assert printed.err.startswith("roboopt: error: ")
        assert printed.err.count("\n") == 1
        made = set(tmp_path.rglob("*")) - kept
        assert made <= {tmp_path / "runs"}
        return printed.err

    return run


wrong = {
    "tune": "one of cart-pole, arm",
    "tune cart-pol": "must be one of cart-pole, arm, got 'cart-pol'; did you mean",
    "tune cart-pole --task swing": "must be one of balance, swing-up, got 'swing'",
    "tune arm --task balance": "--task of arm must be one of reach, got 'balance'",
    "tune arm --robot kuka": "--robot must be one of two-link, iiwa, panda, got 'kuka'",
    "tune cart-pole --robot iiwa": "--robot is for arm, got cart-pole",
    "tune arm --robot iiwa --urdf x.urdf": "exclude each other",
    "tune arm --urdf x.urdf": "--urdf must be a file, got x.urdf",
    "tune cart-pole --steps 0": "--steps must be at least 1, got 0",
    "tune cart-pole --episodes -1": "--episodes must be at least 1, got -1",
    "tune cart-pole --starts 0": "--starts must be at least 1, got 0",
    "tune cart-pole --seconds 0": "--seconds must be positive and finite, got 0",
    "tune cart-pole --duration inf": "--duration must be positive and finite, got inf",
    "tune cart-pole --work-weight -1": "--work-weight must be 0 or more and finite",
    "tune cart-pole --joule-weight nan": "--joule-weight must be 0 or more and finite",
    "tune cart-pole --seed -1": "--seed must be 0 or more, got -1",
    "tune cart-pole --name ../x": "--name must be the name of a folder, got '../x'",
    "tune cart-pole --name ..": "--name must be the name of a folder",
    "tune --model none": "--model must be a run of `roboopt identify` or its model.npz",
    "tune cart-pole --model none": "got none, which is not there",
    "tune cart-pole --duration 1e-9": "--duration must be finite and at least one",
}


@pytest.mark.parametrize("line", wrong)
def test_what_is_wrong_is_said_in_a_line(line, refused):
    assert wrong[line] in refused(line)


def test_a_bad_urdf_is_said_in_a_line(tmp_path, refused):
    (tmp_path / "bad.urdf").write_text("<robot")
    assert "not valid XML" in refused("tune --urdf bad.urdf")


def test_a_model_that_is_none_is_said_in_a_line(tmp_path, refused):
    folder = tmp_path / "fitted"
    folder.mkdir()
    assert "fitted holds no model.npz" in refused("tune cart-pole --model fitted")
    file = folder / "model.npz"
    file.write_bytes(b"PK nothing")
    assert "is not a saved model" in refused("tune cart-pole --model fitted")
    ro.save(file, ro.policies.LinearFeedback(jnp.ones((1, 4))))
    message = refused("tune cart-pole --model fitted/model.npz")
    assert "must be of a fitted robot, got a LinearFeedback in fitted/model" in message


def test_a_model_of_another_robot_is_said_in_a_line(tmp_path, refused):
    (tmp_path / "fitted").mkdir()
    ro.save(tmp_path / "fitted" / "model.npz", ro.Twin(ro.load_urdf(URDF), 1 / 240))
    message = refused("tune arm --model fitted")
    assert (
        "must have the joints ['shoulder', 'elbow'], in this order, got ['c" in message
    )


def test_the_robot_of_a_model_is_found_or_asked_for(tmp_path, refused):
    folder = tmp_path / "fitted"
    folder.mkdir()
    ro.save(folder / "model.npz", ro.Twin(ro.load_urdf(URDF), 1 / 240))
    ask = "name an environment, one of cart-pole, arm, or give --urdf"
    assert ask in refused("tune --model fitted")
    settings = folder / "settings.json"
    for text in ("", "[]", "{}", '{"robot": 3}', '{"robot": {}}'):
        settings.write_text(text)
        assert ask in refused("tune --model fitted")
    settings.write_text(json.dumps({"robot": {"urdf": "gone.urdf"}}))
    message = refused("tune --model fitted")
    assert "the robot in gone.urdf, which is not there: give --urdf" in message
    settings.write_text(json.dumps({"robot": {"environment": "arm", "robot": "iiwa"}}))
    assert "must have the joints ['lbr_iiwa_joint_1'" in refused("tune --model fitted")
    # What the command line names counts more.
    message = refused("tune arm --robot two-link --model fitted/model.npz")
    assert "must have the joints ['shoulder'" in message


def test_a_folder_that_exists_is_left_alone(tmp_path, refused):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert "exists already" in refused("tune cart-pole --name mine")


def test_overwriting_takes_only_the_folders_of_runs(tmp_path, refused):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "thesis.txt").write_text("")
    message = refused("tune cart-pole --name mine --overwrite")
    assert "holds something other than a run" in message
    assert (tmp_path / "runs" / "mine" / "thesis.txt").exists()


def test_a_folder_that_cannot_be_written_is_found_before_any_work(tmp_path, refused):
    (tmp_path / "file").write_text("")
    assert "cannot write to" in refused("tune cart-pole --runs file")


def test_extras_that_are_missing_are_named(refused, monkeypatch):
    import roboopt.cli._main as command

    found = command.find_spec
    monkeypatch.setattr(
        command, "find_spec", lambda name: None if name == "pybullet" else found(name)
    )
    message = refused("tune cart-pole")
    assert "needs pybullet: pip install 'roboopt[all]'" in message


def test_help_is_one_line_a_command(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in COMMANDS:
        assert sum(line.startswith(f"  {name} ") for line in out.splitlines()) == 1
    assert max(map(len, out.splitlines())) <= 80
    assert main([]) == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_is_wrapped_between_words(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    described, _, flags = out.partition("usage:")
    assert max(map(len, out.splitlines())) <= 80
    module, _, kind = COMMANDS[name].partition(":")
    doc = getattr(importlib.import_module(module), kind).__doc__
    assert described.split() == doc.split() and "--" in flags


def test_help_does_not_wait_for_jax():
    code = """
import sys
from roboopt.cli import main
from roboopt.cli._main import COMMANDS
main(["--help"])
for name in sys.argv[1:]:
    try:
        main([name, "--help"])
    except SystemExit:
        pass
slow = {"jax", "numpy", "matplotlib"} & set(sys.modules)
assert not slow, slow
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *COMMANDS], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_mistyped_command_is_answered_with_those_there_are(refused):
    message = refused("tun")
    assert all(name in message for name in COMMANDS) and "mean tune?" in message


def test_a_mistyped_flag_is_answered_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["tune", "cart-pole", "--stps", "3"])
    assert ended.value.code == 2
    assert "--steps" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys):
    import roboopt

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"roboopt {roboopt.__version__}\n"
