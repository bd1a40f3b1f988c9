"""`reinforce`: what it chooses, that it learns, what ends it, and what it keeps."""

import os
import signal
import threading
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest

import roboopt as ro
from roboopt.rl import Returns
from roboopt.rl._recipe import Wishes
from roboopt.rl._recipes import recipe
from roboopt.rl._setting import Setting
from roboopt.rollouts import Episode

SMALL: Any = {"width": 8, "depth": 1}


class Walk(gymnasium.Env):
    """A point on a line that is to stay near 0, and something that can go wrong."""

    def __init__(self, wrong="", at=300):
        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (1,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float64)
        self._wrong, self._left = wrong, at

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._place, self._taken = self.np_random.uniform(-1, 1, 1), 0
        return self._place.copy(), {}

    def step(self, action):
        self._taken, self._left = self._taken + 1, self._left - 1
        if self._left == 0 and self._wrong == "raises":
            raise RuntimeError("the gripper is stuck")
        self._place = np.clip(self._place + 0.3 * action, -10, 10)
        reward = -float(self._place[0] ** 2)
        return self._place.copy(), reward, False, self._taken >= 20, {}


def walk(wrong="", **settings: Any):
    settings = {"timesteps": 2048, "envs": 2, **SMALL, **settings}
    return ro.reinforce(lambda: Walk(wrong), **settings)


@pytest.fixture(scope="module")
def learned():
    return walk(timesteps=8192)


def test_it_learns_in_an_environment_of_ones_own(learned):
    returns = learned.returns.column("return")
    assert returns[-50:].mean() > returns[:50].mean() + 1.0
    assert (learned.reason, learned.gradient) == ("steps", "likelihood")
    assert learned.timesteps == 8192
    assert learned.fresh and learned.horizon is None
    # Without chance it goes home from either side.
    right, left = (float(learned.policy(np.array([x]))[0]) for x in (1.0, -1.0))
    assert right < 0 < left


def test_the_choice_is_in_words(learned):
    assert set(learned.choice) == {"policy", "gradient", "experience", "ends"}
    assert "PPO" in learned.choice["gradient"]
    assert "8192" in learned.choice["ends"]


def test_the_history_tells_of_the_gradients_health(learned):
    for name in ("gradient_norm", "gradient_snr", "approximate_kl", "clip_fraction"):
        assert np.isfinite(learned.history[name]).all(), name
    assert all(finding.severity == "warning" for finding in learned.health)


def test_a_target_ends_it():
    learned = walk(target=-1e9, timesteps=10**6)
    assert learned.reason == "target"
    assert learned.timesteps < 10**5
    assert "and the target, -1e+09, with it" in learned.message


def test_a_callback_sees_the_returns_and_ends_it():
    seen = []

    def stop(learning):
        seen.append(learning)
        return learning.episodes > 0

    learned = walk(callback=stop, timesteps=10**6)
    assert learned.reason == "callback"
    assert seen[-1].timesteps == learned.timesteps
    assert np.isfinite([seen[-1].mean_return, seen[-1].spread]).all()


def test_seconds_end_it():
    learned = walk(seconds=1e-3, timesteps=10**7)
    assert learned.reason == "seconds"


def test_an_interrupt_keeps_what_was_learned():
    def interrupt(learning):
        if learning.timesteps > 1000:
            os.kill(os.getpid(), signal.SIGINT)

    assert threading.current_thread() is threading.main_thread()
    learned = walk(callback=interrupt, timesteps=10**6)
    assert learned.reason == "interrupted"
    assert learned.timesteps > 1000
    assert np.isfinite(learned.policy(np.zeros(1))).all()


def test_an_environment_that_fails_ends_it_and_nothing_is_lost():
    learned = walk("raises", timesteps=10**6)
    assert learned.reason == "source"
    assert "the gripper is stuck" in learned.message
    assert len(learned.returns) > 0


def test_it_goes_on_from_its_checkpoint(tmp_path):
    files = {"checkpoint": tmp_path / "c.npz", "log": tmp_path / "returns.csv"}
    first = walk(callback=lambda x: x.timesteps >= 512, timesteps=2048, **files)
    assert first.timesteps < 2048
    second = walk(timesteps=2048, **files)
    assert second.timesteps >= 2048 and second.reason == "steps"
    # Every episode is there once, those before and those after.
    steps = second.returns.column("timestep")
    assert steps[0] <= first.timesteps < steps[-1]
    assert np.all(np.diff(steps) >= 0)
    assert len(Returns.read(files["log"])) == len(second.returns)


def test_it_goes_on_from_a_policy(learned):
    again = walk(policy=learned.policy, timesteps=256)
    assert not again.fresh
    np.testing.assert_allclose(
        again.began(np.ones(1)), learned.policy(np.ones(1)), rtol=1e-12
    )
    # A policy without chance is given some.
    line = ro.policies.LinearFeedback(jax.numpy.array([[0.5]]))
    tuned = walk(policy=line, timesteps=256)
    assert isinstance(tuned.policy, ro.policies.LinearFeedback)
    assert "chance around it" in tuned.choice["policy"]


@pytest.mark.slow
def test_an_arm_is_learned_through_its_twin():
    learned = ro.reinforce(
        "roboopt/ArmReach-v0", options={"duration": 0.1}, timesteps=16 * 24 * 3
    )
    assert (learned.gradient, learned.horizon) == ("analytic", 24)
    assert isinstance(learned.policy, ro.policies.PDGravityCompensation)
    assert not learned.fresh
    returns = learned.returns.column("return")
    assert len(returns) >= 16
    assert np.isfinite(learned.history["gradient_norm"]).any()
    assert learned.norm_by_horizon is not None
    assert learned.norm_by_horizon(learned.began).horizons[-1] == 24


@pytest.mark.parametrize(
    "gradient",
    [
        pytest.param("analytic", marks=pytest.mark.slow),
        pytest.param("likelihood", marks=pytest.mark.slow),
        pytest.param("smoothed", marks=pytest.mark.slow),
        pytest.param("mixed", marks=pytest.mark.slow),
    ],
)
def test_every_gradient_works_where_there_is_a_twin(gradient):
    learned = ro.reinforce(
        "roboopt/CartPoleBalance-v0",
        options={"duration": 0.2},
        gradient=gradient,
        timesteps=4096,
        envs=4,
        **SMALL,
    )
    assert learned.gradient == gradient
    assert np.isfinite(learned.policy(np.zeros(4))).all()
    assert np.isfinite(learned.history["gradient_snr"]).all()
    assert len(learned.returns)


def test_gains_are_drawn_where_they_are_to_be_learned_from_what_was_tried():
    weak = ro.policies.LinearFeedback(np.array([[1.0]]))
    learned = walk(
        policy=weak, gradient="likelihood", timesteps=8000, envs=4, max_steps=20
    )
    assert learned.gradient == "likelihood" and not learned.fresh
    assert "8 from each of 4 starts" in learned.choice["gradient"]
    assert learned.timesteps == 13 * 32 * 20  # whole steps of all the episodes
    assert len(learned.returns) == 13 * 32
    # Best is to be at 0 after one step, with a gain of 1/0.3.
    assert isinstance(learned.policy, ro.policies.LinearFeedback)
    assert 1.5 < learned.policy.gains[0, 0] < 5.0
    assert learned.history["gradient_snr"][0] > 0.1 and learned.health == []
    # It goes on from the gains and from how closely it looks at them.
    setting = Setting.of(lambda: Walk(), None, 20)
    made = recipe(setting, Wishes(policy=learned.agent, gradient="likelihood"))
    made.close()
    assert made.agent is learned.agent
    assert made.said["policy"] == "the ParameterNoise given"


def test_many_weights_are_not_drawn_but_actions_are():
    policy = ro.policies.MLPPolicy.of(
        ro.data.Demonstrations(np.eye(1), np.eye(1)),
        width=16,
        depth=2,
        key=jax.random.key(0),
    )
    made = recipe(
        Setting.of(lambda: Walk(), None, 20),
        Wishes(policy=policy, gradient="likelihood"),
    )
    made.close()
    assert "(PPO)" in made.said["gradient"]


@pytest.mark.parametrize(
    "gradient, said, a_step",
    [
        # Two starts of three steps; four gains: there and back, where it is, and where
        # the search ends.
        ("smoothed", "4 pairs of perturbations, one for each parameter", 10 * 2 * 3),
        ("mixed", "of one pair of perturbations", 3 * 2 * 3),
    ],
)
def test_a_few_gains_are_perturbed_one_by_one_unless_a_twin_helps(
    gradient, said, a_step
):
    setting = Setting.of("roboopt/ArmReach-v0", None, 3)
    try:
        made = recipe(setting, Wishes(gradient=gradient, envs=2))
    finally:
        setting.env.close()
    made.close()
    assert said in made.said["gradient"]
    assert made.timesteps_of(0) == a_step


@pytest.mark.parametrize(
    "env, settings, match",
    [
        (3, {}, "`env` must be an id"),
        ("CartPole-v1", {"gradient": "exact"}, "`gradient` must be one of"),
        ("CartPole-v1", {"gradient": "analytic"}, "has none: choose 'likelihood'"),
        ("CartPole-v1", {"gradient": "smoothed"}, "sees no small change"),
        ("CartPole-v1", {"policy": "pd"}, "is for the arms"),
        ("CartPole-v1", {"policy": "deep"}, "`policy` must be 'network' or 'pd'"),
        ("CartPole-v1", {"timesteps": 0}, "`timesteps` must be at least 1"),
        ("CartPole-v1", {"envs": 0}, "`envs` must be at least 1"),
        ("CartPole-v1", {"max_steps": 0}, "`max_steps` must be at least 1"),
        ("Blackjack-v1", {}, "FlattenObservation"),
    ],
)
def test_what_cannot_be_learned_is_refused(env, settings, match):
    with pytest.raises(ValueError, match=match):
        ro.reinforce(env, **settings)


def test_returns_are_written_and_read(tmp_path):
    returns = Returns()
    returns.note([Episode(2.5, 7, None), Episode(-1.0, 9, True)], 64, 0.5)
    returns.note([Episode(4.0, 3, False)], 128, 0.75)
    returns.write(tmp_path / "r.csv")
    again = Returns.read(tmp_path / "r.csv")
    np.testing.assert_array_equal(again.column("return"), [2.5, -1.0, 4.0])
    np.testing.assert_array_equal(again.column("success"), [np.nan, 1.0, 0.0])
    np.testing.assert_array_equal(again.recent(2), [-1.0, 4.0])
    assert len(again.until(64)) == 2
    with pytest.raises(ValueError, match="`name` must be one of"):
        returns.column("reward")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="must be of returns"):
        Returns.read(tmp_path / "other.csv")
