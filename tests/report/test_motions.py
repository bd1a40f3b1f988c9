"""The sections that several verbs share: motions, a video, and the history."""

import csv

import gymnasium
import numpy as np
import pytest
import roboopt_envs  # noqa: F401  registers the environments

import roboopt as ro
from roboopt.report import motions, padded, performance, write_history
from roboopt.rollouts import EnvSpec, Evaluation, signals


def test_axes_are_named_by_joint_or_numbered():
    arm = signals(gymnasium.make("roboopt/ArmReach-v0"))
    assert arm.observations[0] == ("shoulder: position", "rad")
    assert arm.observations[3] == ("elbow: velocity", "rad/s")
    assert arm.actions == (("shoulder: torque", "N·m"), ("elbow: torque", "N·m"))
    cart = signals(gymnasium.make("roboopt/CartPoleBalance-v0"))
    assert len(cart.observations) == 4 and cart.actions[0].unit == "N"
    other = signals(gymnasium.make("CartPole-v1"))
    assert other.observations[2] == ("observation 2", "1")
    assert other.actions == (("action 0", "1"),)


def test_episodes_of_different_lengths_are_drawn():
    np.testing.assert_array_equal(
        padded([np.ones(1), np.zeros(2)]), [[1, np.nan], [0, 0]]
    )
    episodes = [
        ro.Trajectory(np.zeros((t + 1, 4)), np.zeros((t, 1)), 0.02, rewards=np.ones(t))
        for t in (5, 9)
    ]
    found = Evaluation.of(ro.Trajectory.from_episodes(episodes))
    names = signals(gymnasium.make("CartPole-v1"))
    page = motions(names, {"clone": found}).html()
    assert page.count("<svg") == 5


def test_a_video_is_made_from_the_spec():
    film = performance(
        EnvSpec("CartPole-v1"), {"clone": lambda o: 1}, seed=0, max_steps=10
    )
    assert film is not None and film[4:8] == b"ftyp"
    with pytest.warns(UserWarning, match="no video"):
        assert performance(None, {"clone": lambda o: 1}, seed=0) is None


def test_a_video_imports_no_package_that_a_file_names(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise SystemExit('ran')")
    monkeypatch.syspath_prepend(tmp_path)
    ro.save(tmp_path / "x.npz", EnvSpec("stranger:Trap-v0"))
    spec = ro.load(tmp_path / "x.npz")
    with pytest.warns(UserWarning, match="allow it by `load"):
        assert performance(spec, {"clone": lambda o: 1}, seed=0) is None


def test_the_history_is_a_table_with_units(tmp_path):
    write_history(tmp_path / "h.csv", {"loss": np.array([2.0, 1.0])}, {"loss": "J"})
    rows = list(csv.reader((tmp_path / "h.csv").read_text().splitlines()))
    assert rows == [["step", "loss [J]"], ["0", "2.0"], ["1", "1.0"]]
