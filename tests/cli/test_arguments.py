"""What a user gets wrong is one line on stderr, exit code 2, and leaves nothing."""

import importlib
import subprocess
import sys

import pytest

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
        # A slow machine may have shown signs of life before.
        said = [x for x in printed.err.splitlines() if not x.startswith("... ")]
        assert len(said) == 1 and said[0].startswith("roboopt: error: ")
        made = set(tmp_path.rglob("*")) - kept
        assert made <= {tmp_path / "runs"}
        return said[0]

    return run


wrong = {
    "tune cart-pol": "env must be one of cart-pole, arm",
    "tune cart-pole --task swing": "--task must be one of balance, swing-up",
    "tune arm --robot kuka": "--robot must be one of two-link, iiwa, panda, got 'kuka'",
    "tune cart-pole --robot iiwa": "--robot is for arm, got cart-pole",
    "tune arm --robot iiwa --urdf x.urdf": "--robot must be left out with --urdf",
    "tune arm --urdf x.urdf": "--urdf must be a file, got x.urdf",
    "tune cart-pole --steps 0": "--steps must be at least 1, got 0",
    "tune cart-pole --work-weight -1": "--work-weight",
    "tune cart-pole --joule-weight nan": "--joule-weight",
    "tune cart-pole --name ../x": "--name must be the name of a folder, got '../x'",
    "tune CartPole-v1": "`effort_limits`, `task`",
    "reinforce CartPole-v1 --algorithm pgpe --clip 1": "--clip must be among the",
    "reinforce CartPole-v1 --clip -1": "--clip must be positive, got -1.0",
    "tune cart-pole --name ..": "--name must be the name of a folder",
    "tune cart-pole --model none": "--model must be a run of `roboopt identify`",
    "tune cart-pole --duration 1e-9": "--duration must be",
}


@pytest.mark.parametrize("line", wrong)
def test_what_is_wrong_is_said_in_a_line(line, refused):
    assert wrong[line] in refused(line)


def test_a_bad_urdf_is_said_in_a_line(tmp_path, refused):
    (tmp_path / "bad.urdf").write_text("<robot")
    for command in ("tune --urdf bad.urdf", "identify --collect --urdf bad.urdf"):
        message = refused(command)
        assert "not valid XML" in message and "--urdf" in message
        assert "--robot" not in message


def test_a_folder_that_exists_is_left_alone(tmp_path, refused):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert "exists already" in refused("tune cart-pole --name mine")


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


def test_python_collects_no_garbage_as_a_command_ends():
    code = """
import gc
import sys
from roboopt.cli import main
sys.argv = ["roboopt", "--help"]
main()
assert gc.get_freeze_count() > len(gc.get_objects())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_mistyped_command_is_answered_with_those_there_are(refused):
    message = refused("tun")
    assert all(name in message for name in COMMANDS) and "mean tune?" in message


def test_a_mistyped_flag_is_answered_with_the_nearest(refused):
    assert "mean --steps?" in refused("tune cart-pole --stps 3")


def test_a_fit_cannot_be_watched_and_the_message_says_what_shows_it(refused):
    message = refused("identify recordings --urdf arm.urdf --watch")
    assert "identify has no --watch" in message
    assert "roboopt view" in message and "--log" in message


def test_the_version_is_that_of_the_package(capsys):
    import roboopt

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"roboopt {roboopt.__version__}\n"


def test_the_module_ends_with_the_code_of_the_command():
    words = [sys.executable, "-m", "roboopt"]
    assert subprocess.run([*words, "tun"], capture_output=True).returncode == 2
    assert subprocess.run([*words, "--version"], capture_output=True).returncode == 0
