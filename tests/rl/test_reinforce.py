"""`reinforce`: what it chooses, that it learns, what ends it, and what it keeps."""

import dataclasses
import os
import runpy
import signal
import threading
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest

import roboopt as ro
from roboopt.rl import PPO, Returns

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

    def step(self, action) -> Any:
        self._taken, self._left = self._taken + 1, self._left - 1
        if self._left == 0 and self._wrong == "raises":
            raise RuntimeError("the gripper is stuck")
        self._place = np.clip(self._place + 0.3 * action, -10, 10)
        reward = -float(self._place[0] ** 2)
        return self._place.copy(), reward, False, self._taken >= 20, {}


def walk(wrong="", **settings: Any):
    settings = {"timesteps": 2048, "envs": 2, "episodes": 0, **SMALL, **settings}
    return ro.reinforce(lambda: Walk(wrong), **settings)


@pytest.fixture(scope="module")
def learned():
    return walk(timesteps=8192, episodes=3)


def test_it_learns_in_an_environment_of_ones_own(learned):
    returns = learned.returns.returns
    assert returns[-50:].mean() > returns[:50].mean() + 1.0
    assert (learned.reason, learned.gradient) == ("steps", "likelihood")
    assert learned.timesteps == 8192
    assert learned.fresh and learned.horizon is None
    # Without chance it goes home from either side.
    right, left = (float(learned.policy(np.array([x]))[0]) for x in (1.0, -1.0))
    assert right < 0 < left


def test_the_choice_is_in_words(learned):
    assert set(learned.choice) == {"policy", "algorithm", "environment", "budget"}
    assert "PPO" in learned.choice["algorithm"]
    assert "8192" in learned.choice["budget"]
    assert learned.algorithm == "PPO" and learned.settings["discount"] == 0.99


def test_it_is_evaluated_beside_its_start(learned):
    assert len(learned.evaluation.returns) == 3
    better = learned.evaluation.returns - learned.start_evaluation.returns
    assert (better > 0).all()
    text = str(learned)
    assert "learned" in text and "untrained" in text


def test_a_result_is_saved_and_reported(learned, tmp_path):
    learned.save(tmp_path)
    again = ro.load(tmp_path)
    assert str(again) == str(learned)
    assert again.policy(np.ones(1)) == learned.policy(np.ones(1))
    assert {x.name for x in tmp_path.iterdir()} == {
        "result.npz",
        "policy.npz",
        "episodes.npz",
        "history.csv",
        "returns.csv",
        "metrics.json",
    }
    policy = ro.load(tmp_path / "policy.npz")
    assert policy(np.ones(1)) == learned.policy(np.ones(1))
    pytest.importorskip("matplotlib")
    titles = [section.title for section in learned.sections(video=False)]
    middle = ["Learning", "Gradient", "Gradient health", "Loss", "Motions"]
    assert titles == ["Evaluation", *middle, "Settings"]


def test_the_history_tells_of_the_gradients_health(learned):
    for name in (
        "gradient_norm",
        "relative_gradient_norm",
        "gradient_snr",
        "approximate_kl",
        "clip_fraction",
    ):
        assert np.isfinite(learned.history[name]).all(), name
    assert all(finding.severity == "warning" for finding in learned.health)


def test_a_target_ends_it():
    learned = walk(target=-1e9, timesteps=10**6)
    assert learned.reason == "target"
    assert learned.timesteps < 10**5
    assert "-1e+09" in learned.message


def test_a_callback_sees_the_returns_and_ends_it():
    seen = []

    def stop(learning):
        seen.append(learning)
        return learning.episodes > 0

    learned = walk(callback=stop, timesteps=10**6)
    assert learned.reason == "callback"
    assert seen[-1].timesteps == learned.timesteps
    assert np.isfinite([seen[-1].mean_return, seen[-1].std_return]).all()


@pytest.mark.slow
def test_seconds_end_it():
    learned = walk(seconds=20.0, timesteps=10**8)
    assert learned.reason == "seconds" and learned.steps > 0
    assert 18 <= learned.seconds <= 22


def test_seconds_that_leave_no_time_for_a_step_are_refused():
    with pytest.raises(ro.RobooptError, match="`seconds`.* 0 steps"):
        walk(seconds=1e-3, timesteps=10**6)


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
    files = {"checkpoint": tmp_path / "c.npz", "returns_file": tmp_path / "returns.csv"}
    first = walk(callback=lambda x: x.timesteps >= 512, timesteps=2048, **files)
    assert first.timesteps < 2048
    second = walk(timesteps=2048, **files)
    assert second.timesteps >= 2048 and second.reason == "steps"
    # Every episode is there once, those before and those after.
    steps = second.returns.timesteps
    assert steps[0] <= first.timesteps < steps[-1]
    assert np.all(np.diff(steps) >= 0)
    assert len(Returns.read(files["returns_file"])) == len(second.returns)


def test_whole_episodes_count_on_after_a_checkpoint(tmp_path):
    weak = ro.policies.LinearFeedback(np.array([[1.0]]))
    settings: dict[str, Any] = {
        "policy": weak,
        "gradient": "zeroth-order",
        "max_steps": 20,
        "timesteps": 2000,
        "checkpoint": tmp_path / "c.npz",
        "returns_file": tmp_path / "returns.csv",
    }
    first = walk(callback=lambda learning: learning.timesteps >= 300, **settings)
    assert 300 <= first.timesteps < 1000
    second = walk(**settings)
    # A step takes 2 starts × 4 runs × 20 steps, and as many as 12 more in its search.
    assert second.reason == "timesteps" and 2000 - 680 < second.timesteps <= 2000
    steps = second.returns.timesteps
    assert steps[0] <= first.timesteps < steps[-1]
    assert np.all(np.diff(steps) >= 0)


@pytest.mark.parametrize(
    "gained, said",
    [
        ([1.0, 1.2, 1.1], "The policy's mean return"),
        # 0.1 ± 4.30 · 0.36: as likely by chance.
        (
            [0.5, -0.2, 0.0],
            "Not improved: the learned policy is no better than the unt",
        ),
        ([0.0, 0.0, 0.0], "Not improved: the learned policy is no better than the unt"),
        ([-1.0, -1.2, -1.1], "Not improved: the learned policy is worse than the untr"),
        ([5.0], "One episode cannot tell"),
    ],
)
def test_a_policy_that_is_no_better_than_its_start_says_so_first(learned, gained, said):
    start = dataclasses.replace(
        learned.evaluation, returns=-np.arange(len(gained)) * 9.0
    )
    found = dataclasses.replace(start, returns=start.returns + gained)
    both = {"evaluation": found, "start_evaluation": start}
    made = dataclasses.replace(learned, **both)
    first = made.summary().sentences[0]
    assert first.startswith(said) and "algorithm" not in first or "`timesteps`" in first
    if gained[0] < 0:
        given = dataclasses.replace(made, fresh=False).summary().sentences[0]
        assert "worse than the start" in given and "keep the start" in given


def test_the_report_of_half_an_evaluation_names_no_second(learned):
    alone = dataclasses.replace(
        learned,
        start_evaluation=None,
        evaluation_failure="the evaluation was interrupted",
    )
    whole, half = (
        "".join(section.html() for section in result.sections(video=False))
        for result in (learned, alone)
    )
    assert "from the same starts for both" in whole
    assert "fresh episodes without exploration." in half and "both" not in half


def test_it_goes_on_from_a_policy(learned):
    again = walk(policy=learned.policy)
    assert not again.fresh
    np.testing.assert_allclose(
        again.start(np.ones(1)), learned.policy(np.ones(1)), rtol=1e-12
    )
    # A policy without chance is given some.
    line = ro.policies.LinearFeedback(jax.numpy.array([[0.5]]))
    tuned = walk(policy=line, timesteps=512)
    assert isinstance(tuned.policy.policy, ro.policies.LinearFeedback)
    assert tuned.algorithm == "PPO" and "exploration" in tuned.choice["policy"]


@pytest.mark.slow
def test_an_arm_is_learned_through_its_twin(tmp_path):
    learned = ro.reinforce(
        "roboopt/ArmReach-v0",
        options={"duration": 0.1},
        timesteps=16 * 24 * 3,
        episodes=2,
    )
    assert (learned.gradient, learned.horizon) == ("analytic", 24)
    assert isinstance(learned.policy.policy, ro.policies.PDGravityCompensation)
    assert not learned.fresh
    returns = learned.returns.returns
    assert len(returns) >= 16
    for name in ("gradient_norm", "relative_gradient_norm", "learning_rate"):
        assert np.isfinite(learned.history[name]).any()
    assert learned.gradient_by_horizon is not None
    assert learned.gradient_by_horizon.horizons[-1] == 24
    for found in learned.gradients().values():
        by_joint = dict(zip(found.names, found.units, strict=True))
        assert by_joint == {
            "stiffness[shoulder]": "N·m/rad",
            "stiffness[elbow]": "N·m/rad",
            "damping[shoulder]": "N·m·s/rad",
            "damping[elbow]": "N·m·s/rad",
        }
    # Three gradient steps played 3 · 16 episodes; the policy was judged on others.
    assert learned.judged_beside and len(returns) % 16 == 0
    learned.report(tmp_path / "report.html", video=False)
    page = (tmp_path / "report.html").read_text()
    assert f"{learned.timesteps} environment steps, 48 episodes and 3" in page
    for said in ("was judged on {}", "The {} of the policy beside the descent"):
        assert said.format(f"{len(returns)} episodes") in page
    assert "exploration included" not in page and "last block" not in page


@pytest.mark.parametrize(
    "gradient",
    [
        pytest.param("analytic", marks=pytest.mark.slow),
        pytest.param("likelihood", marks=pytest.mark.slow),
        pytest.param("zeroth-order", marks=pytest.mark.slow),
        pytest.param("mixed", marks=pytest.mark.slow),
    ],
)
def test_every_gradient_works_where_there_is_a_twin(gradient):
    learned = ro.reinforce(
        "roboopt/CartPoleBalance-v0",
        options={"duration": 0.2},
        gradient=gradient,
        timesteps=8192,
        envs=4,
        episodes=2,
        **SMALL,
    )
    assert learned.gradient == gradient
    assert np.isfinite(learned.policy(np.zeros(4))).all()
    assert np.isfinite(learned.history["gradient_snr"]).all()
    assert len(learned.returns)


def test_gains_are_drawn_where_a_policy_has_few():
    weak = ro.policies.LinearFeedback(np.array([[1.0]]))
    settings: Any = {"gradient": "likelihood", "envs": 4, "max_steps": 20}
    learned = walk(policy=weak, timesteps=8000, **settings)
    assert learned.algorithm == "PGPE" and not learned.fresh
    assert "8 policies from each of 4 starts" in learned.choice["algorithm"]
    assert learned.timesteps == 12 * 32 * 20  # whole steps of all the episodes
    assert len(learned.returns) == 12 * 32
    # Best is to be at 0 after one step, with a gain of 1/0.3.
    assert isinstance(learned.policy.policy, ro.policies.LinearFeedback)
    assert 1.5 < learned.policy.policy.gains[0, 0] < 5.0
    assert learned.history["gradient_snr"][0] > 0.1 and learned.health == []
    # It goes on from the gains and from their standard deviations.
    again = walk(policy=learned.agent, timesteps=640, **settings)
    assert again.choice["policy"].startswith("the ParameterNoise given")
    assert again.start(np.ones(1)) == learned.policy(np.ones(1))


class Short(Walk):
    """Walks whose episodes terminate after 5 of 20 steps."""

    def step(self, action) -> Any:
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, self._taken >= 5, truncated, info


class Counted(Walk):
    """Walks that count the steps of all of them."""

    steps = 0

    def step(self, action):
        Counted.steps += 1
        return super().step(action)


@pytest.mark.parametrize(
    "algorithm, per_step",
    [
        # Two starts: three runs each for the gradient, one and up to 12 in the search.
        (ro.rl.ZerothOrderGradient(), 2 * 16 * 20),
        (ro.rl.PGPE(), 2 * 8 * 20),
        (PPO(steps=100), 200),
    ],
)
def test_a_budget_is_kept_and_every_step_is_counted(algorithm, per_step):
    weak = ro.policies.LinearFeedback(np.array([[1.0]]))
    limited = {"max_steps": 20, "policy": weak, "algorithm": algorithm}
    settings: Any = {"envs": 2, "episodes": 0, **SMALL, **limited}
    Counted.steps = 0
    learned = ro.reinforce(Counted, timesteps=1900, **settings)
    assert learned.timesteps == Counted.steps
    # The first policy is also run by itself, beside the steps.
    assert 1900 - per_step - 40 < learned.timesteps <= 1900
    Counted.steps = 0
    with pytest.warns(UserWarning, match="`timesteps` is 3"):
        learned = ro.reinforce(Counted, timesteps=3, **settings)
    assert learned.timesteps == Counted.steps and learned.steps > 0
    assert "shortest" in learned.choice["budget"]
    assert 2 * per_step + 80 > learned.timesteps


@pytest.mark.parametrize("timesteps, said", [(390, True), (215, True), (410, False)])
def test_a_budget_that_blocks_leave_unused_is_said(timesteps, said):
    settings: Any = {"algorithm": PPO(steps=100, epochs=1), "max_steps": 20, **SMALL}
    learned = ro.reinforce(Walk, timesteps=timesteps, envs=2, episodes=0, **settings)
    assert learned.timesteps == timesteps // 200 * 200
    why = f"budget of {timesteps} timesteps holds 1 block of 200"
    assert (why in learned.message) == said


@pytest.mark.parametrize("gradient", ["likelihood", "zeroth-order"])
def test_episodes_that_end_early_count_by_their_lengths(gradient):
    weak = ro.policies.LinearFeedback(np.array([[1.0]]))
    learned = ro.reinforce(
        Short,
        policy=weak,
        gradient=gradient,
        envs=4,
        max_steps=20,
        timesteps=1600,
        episodes=0,
    )
    # A step of PGPE is 4 starts × 8 policies × 5 steps. One of L-BFGS on one gain is
    # 4 × 3 × 5 for the gradient, and up to 12 × 4 × 5 for the search along the line.
    per_step = 160 if gradient == "likelihood" else 300
    assert 1600 - per_step <= learned.timesteps <= 1600 + per_step
    assert learned.steps >= 1600 // per_step - 1


def test_many_weights_are_not_drawn_but_actions_are():
    policy = ro.policies.MLPPolicy.of(
        ro.data.Demonstrations(np.eye(1), np.eye(1)),
        width=16,
        depth=2,
        key=jax.random.key(0),
    )
    settings: Any = {"gradient": "likelihood", "max_steps": 20, "timesteps": 512}
    assert walk(policy=policy, **settings).algorithm == "PPO"


@pytest.mark.slow
@pytest.mark.parametrize(
    "gradient, pairs, a_step",
    [
        # Two starts of three steps; four gains: there and back, where it is, and where
        # the search ends.
        ("zeroth-order", 4, 10 * 2 * 3),
        ("mixed", 1, 3 * 2 * 3),
    ],
)
def test_a_few_gains_are_perturbed_one_by_one_unless_a_twin_helps(
    gradient, pairs, a_step
):
    with pytest.warns(UserWarning, match="`timesteps` is 1"):
        learned = ro.reinforce(
            "roboopt/ArmReach-v0",
            gradient=gradient,
            envs=2,
            max_steps=3,
            timesteps=1,
            episodes=0,
        )
    assert learned.settings["pairs"] == pairs
    # The start and what one step finds, and up to 3 runs of a policy by itself.
    assert 2 * (a_step - 6) + 12 <= learned.timesteps <= 2 * a_step + 18


class Doubled(gymnasium.RewardWrapper):
    """Rewards of which only the action counts: the best is to push right."""

    def reward(self, reward):
        return float(vars(self.env.unwrapped)["pushed"])


class Pushing(Walk):
    """Walks whose last action can be asked for."""

    def step(self, action):
        self.pushed = float(action[0])
        return super().step(action)


def test_a_reward_wrapper_is_what_is_optimized():
    learned = ro.reinforce(
        lambda: Doubled(Pushing()), timesteps=8192, envs=2, episodes=0, **SMALL
    )
    assert learned.returns.returns[-20:].mean() > learned.returns.returns[:20].mean()
    # Home would be the best without the wrapper.
    assert float(learned.policy(np.ones(1))[0]) > 0.5


class Pushed(gymnasium.RewardWrapper):
    """A reward that is constant, whatever the cart-pole does."""

    def reward(self, reward):
        return 1.0


def test_the_twin_of_another_reward_is_not_used():
    def made():
        return Pushed(gymnasium.make("roboopt_envs:roboopt/CartPoleBalance-v0"))

    with pytest.raises(ro.RobooptError, match="Pushed"):
        ro.reinforce(made, gradient="analytic", timesteps=256)
    learned = ro.reinforce(made, timesteps=2048, envs=2, episodes=0, **SMALL)
    assert learned.gradient == "likelihood"
    np.testing.assert_array_equal(learned.returns.returns, learned.returns.lengths)


# Gymnasium's own warning, where it wraps a box without limits.
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_actions_are_those_of_the_wrapped_environment():
    def made():
        env = gymnasium.make("roboopt_envs:roboopt/CartPoleBalance-v0", duration=0.5)
        return gymnasium.wrappers.RescaleAction(env, np.float64(-1), np.float64(1))

    learned = ro.reinforce(
        made, gradient="likelihood", timesteps=2048, envs=2, episodes=0, **SMALL
    )
    loud = 1e3 * np.ones(4)
    assert abs(float(learned.policy(loud)[0])) <= 1.0


def test_a_policy_keeps_to_the_action_space(learned):
    for observation in (-1e3, 1e3):
        assert abs(float(learned.policy(np.array([observation]))[0])) <= 1.0


class Endless(Walk):
    """Walks that never end."""

    def step(self, action):
        observation, reward, *_, info = super().step(action)
        return observation, reward, False, False, info


def test_an_environment_that_never_ends_is_noticed_first():
    with pytest.raises(ro.RobooptError, match="`max_steps`"):
        ro.reinforce(Endless, timesteps=512)


class Dying(Walk):
    """Walks that take their process with them; nothing states their time limit."""

    def step(self, action):
        os._exit(7)


def test_an_environment_that_fails_at_first_is_named_and_cannot_end_the_program():
    with pytest.raises(ro.rollouts.EnvError, match="Dying.*code 7, at step 0.*action"):
        ro.reinforce(Dying, timesteps=512, processes=1)
    with pytest.raises(ro.rollouts.EnvError, match="Walk.*stuck, at step 2.*action"):
        ro.reinforce(lambda: Walk("raises", 3), timesteps=512)


def test_wrappers_are_kept_and_their_time_limit_counts():
    def made():
        return gymnasium.wrappers.TimeLimit(Walk(), 5)

    weak = ro.policies.LinearFeedback(np.array([[1.0]]))
    settings: Any = {"policy": weak, "gradient": "zeroth-order", "episodes": 0}
    learned = ro.reinforce(made, timesteps=300, envs=2, **settings)
    assert learned.max_steps == 5 and learned.name == "Walk"
    pendulum = gymnasium.make("Pendulum-v1", max_episode_steps=7)
    wrapped = gymnasium.wrappers.RescaleAction(pendulum, np.float32(-1), np.float32(1))
    settings["policy"] = ro.policies.LinearFeedback(np.array([[1.0, 2.0, 0.0]]))
    learned = ro.reinforce(wrapped, timesteps=300, envs=2, **settings)
    assert learned.max_steps == 7 and learned.name == "Pendulum-v1"
    assert np.abs(learned.policy(np.full(3, 9.0))) == [1.0]


def test_every_setting_is_a_keyword_of_its_algorithm():
    ppo = PPO(discount=0.9, gae_lambda=0.5, clip=None, steps=64, epochs=2)
    learned = walk(algorithm=ppo, timesteps=256)
    assert learned.settings == {**PPO().__dict__, **ppo.__dict__}
    assert learned.steps == 2 * 2 * 8
    with pytest.raises(ro.RobooptError, match="`discount`"):
        walk(discount=0.9)
    with pytest.raises(ro.RobooptError, match="`algorithm`"):
        walk(algorithm="sac")
    with pytest.raises(ro.RobooptError, match="`gradient`"):
        walk(algorithm=PPO(), gradient="likelihood")


@pytest.mark.slow
def test_shac_is_an_algorithm_like_the_others():
    learned = ro.reinforce(
        "roboopt/CartPoleBalance-v0",
        options={"duration": 0.2},
        algorithm=ro.rl.SHAC(horizon=24),
        timesteps=4 * 24 * 3,
        envs=4,
        episodes=2,
        **SMALL,
    )
    assert (learned.algorithm, learned.horizon, learned.timesteps) == ("SHAC", 24, 288)
    assert len(learned.returns)


@pytest.mark.parametrize(
    "env, settings, match",
    [
        (3, {}, "`env` must be a Gymnasium id"),
        ("CartPole-v1", {"gradient": "exact"}, "`gradient` must be one of"),
        ("CartPole-v1", {"gradient": "analytic"}, "has no twin.*'likelihood'"),
        ("CartPole-v1", {"gradient": "zeroth-order"}, "cannot see small changes"),
        ("CartPole-v1", {"policy": "pd"}, "is for arms"),
        ("CartPole-v1", {"widht": 3}, "`widht` .* did you mean `width`"),
        ("CartPole-v1", {"clip": 0.1}, r"`clip` .* algorithm=rl.PPO\(clip=...\)"),
        ("CartPole-v1", {"policy": "deep"}, "`policy` must be 'network' or 'pd'"),
        ("CartPole-v1", {"policy": 3}, "`policy` must map observations to actions, "),
        ("CartPole-v1", {"timesteps": 0}, "`timesteps` must be at least 1"),
        ("CartPole-v1", {"episodes": -1}, "`episodes` must be at least 0"),
        ("CartPole-v1", {"envs": 0}, "`envs` must be at least 1"),
        ("CartPole-v1", {"max_steps": 0}, "`max_steps` must be at least 1"),
        ("Blackjack-v1", {}, "FlattenObservation"),
    ],
)
def test_what_cannot_be_learned_is_refused(env, settings, match):
    with pytest.raises(ValueError, match=match):
        ro.reinforce(env, **settings)


def test_returns_are_written_and_read(tmp_path):
    rows = [
        (64, 0.5, 2.5, 7, np.nan),
        (64, 0.5, -1.0, 9, 1.0),
        (128, 0.75, 4.0, 3, 0.0),
    ]
    Returns.from_rows(rows).write(tmp_path / "r.csv")
    again = Returns.read(tmp_path / "r.csv")
    np.testing.assert_array_equal(again.returns, [2.5, -1.0, 4.0])
    np.testing.assert_array_equal(again.successes, [np.nan, 1.0, 0.0])
    np.testing.assert_array_equal(again.lengths, [7, 9, 3])
    assert len(again) == 3 and len(Returns.from_rows()) == 0
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ro.RobooptError, match="`path`"):
        Returns.read(tmp_path / "other.csv")


def test_a_registered_twin_needs_neither_a_robot_nor_starts_of_its_own():
    path = Path(__file__).parents[2] / "examples" / "own_environment.py"
    own = runpy.run_path(str(path))
    rollout = ro.Rollout(own["PuckDynamics"](), 20, own["reward"])
    ro.rollouts.register_twin(own["Puck"], lambda env: rollout)
    result = ro.reinforce(
        lambda: gymnasium.wrappers.TimeLimit(own["Puck"](), 20),
        policy=ro.policies.LinearFeedback(np.array([[1.0, 0.0]])),
        algorithm="analytic",
        timesteps=2000,
        episodes=4,
    )
    assert result.evaluation is not None and result.start_evaluation is not None
    before, after = result.start_evaluation.returns, result.evaluation.returns
    assert after.mean() > before.mean()
    assert [axis.name for axis in result.signals.actions] == ["action 0"]
