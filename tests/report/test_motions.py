"""The sections that several verbs share: motions, a video, and the history."""

import csv
import warnings
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import roboopt_envs  # noqa: F401  registers the environments

import roboopt as ro
from roboopt.report import (
    NoVideo,
    Performance,
    ceiling_notes,
    motions,
    padded,
    performance,
    write_history,
)
from roboopt.rollouts import EnvSpec, Evaluation, evaluate, signals


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
    assert page.count("<svg") == 5 and "test episodes 0 to 1 of 2" in page
    assert "data-film" not in page and "tolerance" not in page


def test_an_interval_beyond_the_highest_return_is_explained():
    def found(*lengths):
        episodes = [
            ro.Trajectory(
                np.zeros((t + 1, 1)), np.zeros((t, 1)), 1.0, rewards=np.ones(t)
            )
            for t in lengths
        ]
        return Evaluation.of(ro.Trajectory.from_episodes(episodes))

    # Three of four are 50, and the mean 46 ± 3.18 · 4: up to 58.73.
    (said,) = ceiling_notes({"clone": found(50, 34, 50, 50), "other": found(5, 7, 9)})
    assert (
        said.startswith("Most episodes of clone") and "50" in said and "58.73" in said
    )
    assert ceiling_notes({"same": found(50, 50, 50)}) == []


def test_the_tolerances_of_a_task_are_shaded_and_its_criterion_is_told():
    spec = EnvSpec("roboopt_envs:roboopt/CartPoleBalance-v0", {"duration": 1.5})
    policies = {"clone": lambda o: np.array([2.0, 40.0, 4.0, 10.0]) @ o[:, None]}
    names = signals(spec.make())
    assert names.tolerances[:2] == (((-0.1, 0.1),), ((-0.05, 0.05),))
    assert names.tolerances[2:] == ((), ()) and names.window == 1.0
    found = {"clone": evaluate(spec, policies["clone"], episodes=2, seed=3)}
    film = performance(spec, policies, seed=3)
    assert isinstance(film, Performance)
    page = motions(names, found, film).html()
    # Two panels have one interval each: twice shaded, and with two edges.
    assert page.count('data-key="tolerance"') == 8
    assert "data-film" in page and "for the last 1 s" in page
    other = performance(spec, policies, seed=4)
    assert "data-film" not in motions(names, found, other).html()


def test_a_video_is_made_from_the_spec():
    film = performance(
        EnvSpec("CartPole-v1"), {"clone": lambda o: 1}, seed=0, max_steps=10
    )
    assert isinstance(film, Performance) and film.mp4[4:8] == b"ftyp"
    [seen] = film.motions["clone"].episodes()
    assert film.shows({"clone": seen})
    assert not film.shows({"clone": replace(seen, observations=-seen.observations)})
    assert not film.shows({"clone": seen, "demonstrator": seen})  # which was not saved
    with pytest.warns(UserWarning, match="no video"):
        none = performance(None, {"clone": lambda o: 1}, seed=0)
    # The page says why.
    assert isinstance(none, NoVideo) and not none.shows({"clone": seen})
    assert "There is no video: The environment was not" in none.section().html()


def test_an_environment_without_pictures_is_named_once():
    class Blind(gymnasium.Env):
        metadata = {"render_modes": []}
        observation_space = action_space = gymnasium.spaces.Box(0, 1, (1,))

    blind: Any = Blind
    gymnasium.register("Blind-v0", blind)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert isinstance(
            performance(EnvSpec("Blind-v0"), {"a": lambda o: o}, seed=0), NoVideo
        )
    assert len(seen) == 1 and "no video" in str(seen[0].message)
    assert "`render_modes` of Blind-v0" in str(seen[0].message)


class Counter(gymnasium.Env):
    """Tells no time step: nothing about it knows seconds."""

    metadata = {"render_modes": ["rgb_array"]}
    observation_space = action_space = gymnasium.spaces.Box(0, 1, (1,))

    def __init__(self, render_mode=None, **told):
        self.render_mode = render_mode
        vars(self).update(told)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.ones(1, np.float32), 0.0, False, False, {}

    def render(self):
        return np.zeros((16, 16, 3), np.uint8)


gymnasium.register("Counter-v0", f"{__name__}:Counter", max_episode_steps=30)


@pytest.mark.parametrize(
    "told, given, axis, end, rate, speed",
    [
        ({}, None, "step", 30, 15, "15 steps a second"),
        ({}, 0.05, "time [s]", 1.5, 1, "in real time"),
        ({"dt": 0.1}, None, "time [s]", 3, 1, "in real time"),
        ({"dt": 0.1}, 0.05, "time [s]", 3, 1, "in real time"),
    ],
)
def test_motions_are_over_seconds_where_these_are_known_or_else_over_steps(
    told, given, axis, end, rate, speed
):
    spec, still = EnvSpec("Counter-v0", told), {"clone": lambda o: o}
    found = {"clone": evaluate(spec, still["clone"], episodes=2, seed=0)}
    film = performance(spec, still, seed=0, time_step=given)
    assert isinstance(film, Performance)
    assert film is not None and film.speed == speed
    page = motions(signals(spec.make()), found, film, given).html()
    assert f'data-axis="{axis}"' in page and f'data-film="{rate}"' in page
    assert f'data-x="0 {end}' in page
    assert ("data-integer" in page) == (axis == "step")


def test_a_video_imports_no_package_that_a_file_names(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise SystemExit('ran')")
    monkeypatch.syspath_prepend(tmp_path)
    ro.save(tmp_path / "x.npz", EnvSpec("stranger:Trap-v0"))
    spec = ro.load(tmp_path / "x.npz")
    with pytest.warns(UserWarning, match="allow it by `load"):
        assert isinstance(performance(spec, {"clone": lambda o: 1}, seed=0), NoVideo)


def test_the_history_is_a_table_with_units(tmp_path):
    write_history(tmp_path / "h.csv", {"loss": np.array([2.0, 1.0])}, {"loss": "J"})
    rows = list(csv.reader((tmp_path / "h.csv").read_text().splitlines()))
    assert rows == [["step", "loss [J]"], ["0", "2.0"], ["1", "1.0"]]
