"""`roboopt export` as a user runs it: from a run's folder to files that act."""

import json
import subprocess
import sys
from importlib.util import find_spec

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.cli import main

GAINS = np.array([[1.0, 2.0, 3.0, 4.0]])


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "runs" / "x"
    made.mkdir(parents=True)
    ro.save(made / "controller.npz", ro.policies.LinearFeedback(GAINS))
    return made


def acts(folder, observation):
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import policy\n"
    code += f"print(policy.Policy()({observation}).tolist())"
    command = [sys.executable, "-I", "-c", code]
    return subprocess.run(command, capture_output=True, text=True).stdout


def test_a_run_becomes_files_that_act(folder, capsys):
    assert main(["export", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "Largest difference on 100 random observations: " in out
    assert str(folder / "export" / "policy.npz") in out
    assert "from policy import Policy" in out
    assert "action = policy(observation)\n" in out
    # −(1 + 2 + 3 + 4)
    assert acts(folder / "export", [1.0] * 4) == "[-10.0]\n"


def test_a_file_goes_where_it_is_told(folder, capsys):
    out = folder / "robot"
    file = folder / "controller.npz"
    assert main(["export", str(file), "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"policy.npz", "policy.py"}


def test_the_size_is_the_recorded_one(folder, capsys):
    settings = {"environment": {"observation_size": 6}}
    (folder / "settings.json").write_text(json.dumps(settings))
    assert main(["export", str(folder)]) == 0
    assert acts(folder / "export", [1.0] * 6) == "[-10.0]\n"
    assert acts(folder / "export", [1.0] * 4) == ""


def test_the_size_is_that_of_recorded_motions(folder, capsys):
    motions = ro.Trajectory(np.zeros((2, 3, 5)), np.zeros((2, 2, 1)), 0.1)
    motions.save(folder / "after.npz")
    assert main(["export", str(folder)]) == 0
    assert acts(folder / "export", [1.0] * 5) == "[-10.0]\n"


def test_an_actor_begins_anew_and_a_plan_takes_the_time(folder, capsys):
    chunks = eqx.tree_at(
        lambda p: p.gains, ro.policies.LinearFeedback(GAINS), jnp.ones((2, 4))
    )
    history = ro.policies.ObservationHistory(chunks, 2, 2)
    ro.save(folder / "controller.npz", history)
    assert main(["export", str(folder), "--observation-size", "2"]) == 0
    assert "policy.reset()  # at the beginning of an episode" in capsys.readouterr().out
    ro.save(folder / "controller.npz", ro.policies.OpenLoopSpline(np.ones((3, 2)), 1.0))
    assert main(["export", str(folder)]) == 0
    assert "action = policy(observation, time)" in capsys.readouterr().out


class Mine(eqx.Module):
    scale: jax.Array

    def __call__(self, observation):
        return self.scale * observation


def refusal(capsys, *arguments):
    assert main(["export", *map(str, arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("roboopt: error: ")
    assert printed.err.count("\n") == 1
    return printed.err


def test_what_is_wrong_is_said_in_a_line(folder, capsys, tmp_path):
    def refused(*arguments):
        return refusal(capsys, *arguments)

    file = folder / "controller.npz"
    assert "is missing" in refused(tmp_path / "none")
    assert "holds no controller.npz or policy.npz" in refused(tmp_path)
    assert "--format must be one of numpy, onnx" in refused(folder, "--format", "tf")
    few = refused(folder, "--observation-size", "0")
    assert "--observation-size must be at least 1, got 0" in few
    assert "--out must be a folder" in refused(folder, "--out", file)
    few = refused(folder, "--observation-size", "3")
    assert "--observation-size must be 4, the size of an observation" in few
    assert few.rstrip().endswith("got 3.")
    (tmp_path / "text.npz").write_text("none")
    assert "must be an .npz archive" in refused(tmp_path / "text.npz")
    ro.save(file, {"gains": GAINS})
    assert "must hold a policy, got a dict" in refused(folder)
    ro.save(file, jnp.tanh)
    assert "give --observation-size" in refused(folder)
    ro.save(file, Mine(jnp.ones(())))
    assert "Mine, which is not a class of roboopt" in refused(folder)
    assert not (folder / "export").exists()


@pytest.mark.skipif(find_spec("jax2onnx") is not None, reason="jax2onnx is here")
def test_onnx_needs_its_extra(folder, capsys):
    said = refusal(capsys, folder, "--format", "onnx")
    assert "pip install 'roboopt[onnx]'" in said
