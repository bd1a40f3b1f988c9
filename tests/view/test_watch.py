"""Watching a robot learn: what is shown, and that it changes nothing."""

import urllib.request
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
import roboopt_envs  # noqa: F401  registers the environments

import roboopt as ro
from roboopt.view import Viewer, Watch

SMALL: dict[str, Any] = {
    "steps": 3,
    "episodes": 2,
    "starts": 3,
    "processes": 0,
    "duration": 0.25,
}


@pytest.fixture
def shown(monkeypatch):
    """Return a list that receives what viewers show, with what a browser gets."""
    found = []
    show = Viewer.show

    def noted(self, motions):
        show(self, motions)
        with urllib.request.urlopen(self.address) as answer:
            found.append((motions, answer.status, self))

    monkeypatch.setattr(Viewer, "show", noted)
    monkeypatch.setattr("roboopt.view._watch.MAX_SHARE", 1e6)  # at every chance
    yield found
    for _, _, viewer in found:
        viewer.close()


def leaves(tree):
    return [np.asarray(x) for x in jax.tree.leaves(tree) if hasattr(x, "shape")]


@pytest.mark.slow
def test_a_watched_controller_is_tuned_to_the_same_bits(shown):
    steps = []
    plain = ro.tune("cart-pole", seed=1, **SMALL)
    watch = Watch(18_100, period=1e-6)
    seen = ro.tune(
        "cart-pole", seed=1, watch=watch, log=lambda k, _: steps.append(k), **SMALL
    )
    for one, other in zip(leaves(plain.result), leaves(seen.result), strict=True):
        if one.dtype.kind == "f" and one.size > 1:
            np.testing.assert_array_equal(one, other)
    for one, other in zip(
        leaves(plain.controller), leaves(seen.controller), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert steps == [*range(len(seen.result.history["loss"]))]
    assert len(shown) > 1 and all(status == 200 for _, status, _ in shown)
    first, *_, last = (motions for motions, _, _ in shown)
    for before, after in zip(first.runs["before"], first.runs["after"], strict=True):
        np.testing.assert_array_equal(before, after)
    # The last one shown is of a controller on the way, from the first tuning starts.
    np.testing.assert_array_equal(last.runs["before"], first.runs["before"])
    assert not np.array_equal(last.runs["after"][0], last.runs["before"][0])
    rows = [run[0] for run in last.runs["after"]]
    np.testing.assert_allclose(rows, seen.starts[:3, :2], atol=1e-12)
    plots = shown[-1][2]._curves
    history = seen.result.history["loss"]
    assert plots["task_cost [s]"].title == "task cost [s]"
    known, values = plots["objective"].data
    np.testing.assert_array_equal(values, history[known.astype(int)])
    with urllib.request.urlopen(shown[0][2].address) as answer:
        assert answer.status == 200  # also after the descent
    watch.close()
    with pytest.raises(OSError):
        urllib.request.urlopen(shown[0][2].address, timeout=1)


@pytest.mark.parametrize("folded", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_watched_clone_is_trained_to_the_same_bits(shown, folded):
    env: Any = gymnasium.make("roboopt/CartPoleBalance-v0", duration=0.25)
    expert = ro.policies.LinearFeedback(np.array([[-9.0, -65.0, -10.0, -14.0]]))
    demonstrations = ro.rollouts.collect(env, expert, episodes=10, seed=0)
    how: dict[str, Any] = {"steps": 40, "episodes": 2, "width": 4, "seed": 1}
    if not folded:
        how |= {"policy": "mlp", "history": 2}
    plain = ro.clone(demonstrations, env, **how)
    seen = ro.clone(demonstrations, env, watch=Watch(18_140, period=1e-6), **how)
    for one, other in zip(leaves(plain.policy), leaves(seen.policy), strict=True):
        np.testing.assert_array_equal(one, other)
    first, *_, last = (motions for motions, _, _ in shown)
    assert len(shown) > 1 and all(status == 200 for _, status, _ in shown)
    # A linear policy begins at the least squares, which a linear expert's are.
    stays = np.array_equal(last.runs["after"][0], first.runs["after"][0])
    assert stays == seen.description["policy"].startswith("linear")
    starts = env.unwrapped.sample_starts(4, seed=1)
    rows = [run[0] for run in last.runs["after"]]
    np.testing.assert_allclose(rows, starts[:, :2], atol=1e-12)


def test_what_cannot_be_watched_is_refused(monkeypatch):
    with pytest.raises(ro.RobooptError, match="`watch`"):
        ro.reinforce("CartPole-v1", watch=Watch(), timesteps=8192, envs=1)
    arrays = np.zeros((20, 4)), np.zeros((20, 1))
    with pytest.raises(ro.RobooptError, match="`watch`.*`env` with a robot.*urdf"):
        ro.clone(arrays, watch=Watch())
    with pytest.raises(ro.RobooptError, match="`period` must be positive"):
        Watch(period=0.0)
    monkeypatch.setattr("roboopt.view._watch.find_spec", lambda name: None)
    with pytest.raises(ro.RobooptError, match=r"pip install 'roboopt\[view\]'"):
        Watch()


def test_the_last_policy_is_shown_when_the_learning_is_over(shown):
    env = gymnasium.make("roboopt/CartPoleBalance-v0", duration=0.25)
    world: Any = env.unwrapped
    starts = world.sample_starts(2, seed=0)
    still, pushing = (
        ro.policies.LinearFeedback(np.array([[0.0, gain, 0.0, 0.0]]), np.zeros(4))
        for gain in (0.0, 5.0)
    )
    watch = Watch(18_100, period=1e9)
    log = watch.log(None)
    with watch.open(env, starts, still, "cart-pole"):
        for step in range(3):
            log(step, {"loss": 3.0 - step})
            watch.update(pushing)
        assert len(shown) == 1
    (first, *_), (last, _, viewer) = shown
    assert not np.array_equal(last.runs["after"][0], first.runs["after"][0])
    assert viewer._curves["loss"].data[1].tolist() == [3.0, 2.0, 1.0]
    env.close()


@pytest.mark.slow
def test_a_policy_is_watched_while_it_learns(shown):
    settings: dict[str, Any] = {
        "options": {"duration": 0.2},
        "timesteps": 4096,
        "envs": 4,
        "episodes": 0,
        "width": 8,
        "depth": 1,
        "gradient": "likelihood",
    }
    env = "roboopt/CartPoleBalance-v0"
    seen = ro.reinforce(env, watch=Watch(18_100, period=1e-6), **settings)
    plain = ro.reinforce(env, **settings)
    for one, other in zip(leaves(plain.agent), leaves(seen.agent), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(shown) > 1 and "loss" in shown[-1][2]._curves


def test_a_wrapped_observation_is_not_taken_for_the_joints():
    class Shifted(gymnasium.ObservationWrapper):
        def observation(self, observation):
            return observation + 1.0

    def made():
        return Shifted(gymnasium.make("roboopt_envs:roboopt/CartPoleBalance-v0"))

    with pytest.raises(ro.RobooptError, match="`watch`"):
        ro.reinforce(made, watch=Watch(), timesteps=8192, envs=1)
