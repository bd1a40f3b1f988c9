"""Judging policies: estimates worked out by hand, and starts that are shared."""

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete

import roboopt as ro


class Bandit(gymnasium.Env):
    """One step; the reward is the action, and success what the info says."""

    observation_space = Box(-1.0, 1.0, (1,), np.float64)
    action_space = Discrete(10)

    def __init__(self, said=None):
        self.said = said

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 1), {}

    def step(self, action):
        said = {} if self.said is None else self.said(action)
        return np.zeros(1), float(action), True, False, said


def rewards(*values):
    """Return a policy of NumPy that does one after the other."""
    left = iter(values)
    return lambda observation: next(left)


def test_mean_return_by_hand():
    # s = √(5/3) and t = 3.182446 at 3 degrees of freedom: ± 3.182446·√(5/12).
    judged = ro.evaluate(Bandit(), rewards(1, 2, 3, 4), episodes=4)
    np.testing.assert_array_equal(judged.returns, [1, 2, 3, 4])
    np.testing.assert_array_equal(judged.lengths, [1, 1, 1, 1])
    reach = 3.182446 * np.sqrt(5 / 12)
    np.testing.assert_allclose(
        judged.mean_return, [2.5, 2.5 - reach, 2.5 + reach], rtol=1e-6
    )
    assert judged.success_rate is None and judged.successes is None
    assert str(judged) == "4 episodes: return 2.5 (0.44574 to 4.55426)"


def test_the_gain_over_another_policy_is_by_episode():
    # Differences 1, 1, 2, 4: mean 2, s = √2, ± 3.182446·√2/2.
    both = [ro.evaluate(Bandit(), rewards(*x), episodes=4) for x in (EASY, HARD)]
    reach = 3.182446 * np.sqrt(2) / 2
    expected = [2, 2 - reach, 2 + reach]
    np.testing.assert_allclose(both[0].gain_over(both[1]), expected, rtol=1e-6)
    other = ro.evaluate(Bandit(), rewards(1), episodes=1)
    with pytest.raises(ro.RobooptError, match="`other`"):
        other.gain_over(both[0])


EASY, HARD = (1, 9, 5, 8), (0, 8, 3, 4)


def test_one_episode_says_nothing_of_the_mean():
    judged = ro.evaluate(Bandit(), rewards(3), episodes=1)
    assert str(judged).startswith("1 episode: return 3 ")
    assert judged.mean_return == (3.0, -np.inf, np.inf)


@pytest.mark.parametrize(
    "successes, n, interval",
    [
        # z² = 3.841459: (0.8 + 0.192073 ± 1.96 √(0.016 + 0.0096036)) / 1.384146
        (8, 10, (0.490162, 0.943318)),
        # z²/(n + z²) is the upper end without any success, and 1 less it the other.
        (0, 10, (0.0, 3.841459 / 13.841459)),
        (10, 10, (10 / 13.841459, 1.0)),
        (1, 1, (1 / 4.841459, 1.0)),
    ],
)
def test_success_rate_by_hand(successes, n, interval):
    env = Bandit(lambda action: {"is_success": action == 1})
    did = rewards(*[1] * successes, *[0] * (n - successes))
    rate = ro.evaluate(env, did, episodes=n).success_rate
    assert rate is not None
    np.testing.assert_allclose(rate, [successes / n, *interval], atol=1e-6)
    assert rate.low >= 0 and rate.high <= 1


def test_success_is_the_infos_and_else_the_thresholds():
    spec = EnvSpec("Bandit-v0", reward_threshold=3.0)
    env = Bandit()
    env.spec = spec
    judged = ro.evaluate(env, rewards(2, 3, 4), episodes=3)
    np.testing.assert_array_equal(judged.successes, [False, True, True])
    # Said only where it was achieved; and said, it counts more than the threshold.
    env.said = lambda action: {"success": 1.0} if action == 2 else {}
    judged = ro.evaluate(env, rewards(2, 3, 4), episodes=3)
    np.testing.assert_array_equal(judged.successes, [True, False, False])
    assert str(judged).startswith("3 episodes: success 33.3 % (6.1 % to 79.2 %), ret")


def test_policies_meet_the_same_starts():
    env = gymnasium.make("CartPole-v1")
    done = []
    left = ro.evaluate(env, lambda o: 0, episodes=4, progress=done.append)
    upright = ro.evaluate(env, lambda o: int(o[2] + o[3] > 0), episodes=4)
    assert done == [1, 2, 3, 4]
    assert not np.array_equal(left.lengths, upright.lengths)
    for a, b in zip(
        left.trajectories.episodes(), upright.trajectories.episodes(), strict=True
    ):
        np.testing.assert_array_equal(a.observations[0], b.observations[0])
    np.testing.assert_array_equal(left.returns, left.lengths)
    # CartPole's threshold is 475.
    assert left.successes is not None and not left.successes.any()
    assert ro.evaluate(env, lambda o: 0, episodes=1, max_steps=2).lengths == [2]


def test_a_hundred_episodes_or_the_starts():
    assert len(ro.evaluate(Bandit(), lambda o: 0).returns) == 100
    with pytest.raises(ValueError, match="either `starts` or `episodes`.*got both"):
        ro.evaluate(Bandit(), lambda o: 0, starts=np.zeros((1, 1)), episodes=1)


def test_recorded_episodes_are_judged_as_those_just_run():
    runs = [
        ro.Trajectory(
            observations=np.zeros((1 + steps, 1)),
            actions=np.zeros((steps, 1)),
            time_step=0.1,
            rewards=np.full(steps, reward),
        )
        for steps, reward in ((2, 1.5), (1, 5.0))
    ]
    judged = ro.rollouts.Evaluation.of(ro.Trajectory.from_episodes(runs))
    np.testing.assert_array_equal(judged.returns, [3.0, 5.0])
    np.testing.assert_array_equal(judged.lengths, [2, 1])
    assert judged.successes is None
    threshold = ro.rollouts.Evaluation.of(judged.trajectories, 4.0)
    np.testing.assert_array_equal(threshold.successes, [False, True])
    with pytest.raises(ValueError, match="`episodes` must hold at least one"):
        ro.Trajectory.from_episodes([])


class Shifted(gymnasium.Wrapper):
    """A wrapper that Gymnasium cannot make again."""


def test_messages_name_what_was_given():
    policy = rewards(1)
    with pytest.raises(ro.RobooptError, match="`policy`.*environment comes first"):
        ro.evaluate(policy, Bandit(), episodes=1)
    wrapped = Shifted(gymnasium.make("CartPole-v1"))
    with pytest.raises(ro.RobooptError, match="`env` has the wrapper Shifted.*lambda"):
        ro.reinforce(wrapped, timesteps=10)
    with pytest.raises(ro.RobooptError, match="^`env` has choices"):
        ro.reinforce("CartPole-v1", algorithm="pgpe", timesteps=10)
    with pytest.raises(ro.RobooptError, match="^`env` must have a twin.*'ppo'"):
        ro.reinforce("Pendulum-v1", algorithm=ro.rl.SHAC(), timesteps=10)
    both = {"obs": np.ones((2, 1)), "state": 0, "observation": 1, "acts": 0}
    with pytest.raises(
        ro.RobooptError, match="Rename `obs` or `state` or `observation` to `obs"
    ):
        ro.clone(both)
    with pytest.raises(ro.RobooptError, match=r"array of shape \(3, 1\)"):
        data = [np.ones((3, 1)), np.ones((3, 1))]
        ro.minimize(
            ro.ActionMismatch(), ro.policies.LinearFeedback(np.ones((1, 1))), data
        )
