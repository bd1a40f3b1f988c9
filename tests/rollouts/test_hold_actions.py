"""`HoldActions`: a control period in environments that have none of their own."""

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.cart_pole import CartPoleBalance
from roboopt_envs.wrappers import HoldActions

import roboopt as ro
from roboopt.policies import StatefulPolicy
from roboopt.rollouts import EnvSpec, GymRollout, collect, evaluate, twin_rollout

HELD = EnvSpec("Pendulum-v1", {"control_period": 0.2})  # of 4 steps of 0.05 s


class Counting(StatefulPolicy):
    """Pushes by the number of actions so far, and by the time."""

    def init(self, key=None):
        return jnp.zeros(())

    def __call__(self, carry, observation, time):
        return carry + 1.0, (0.01 * carry + 0.1 * time)[None]


def test_actions_of_any_environment_are_held():
    held = collect(HELD, Counting(), episodes=1, seed=0)
    assert held.time_step == pytest.approx(0.2) and held.steps == 50
    env = HELD.make()
    assert isinstance(env, HoldActions) and env.substeps == 4
    ticks = np.arange(50)
    np.testing.assert_allclose(held.actions[0, :, 0], 0.01 * ticks + 0.02 * ticks)
    plain = gymnasium.make("Pendulum-v1")
    seed = ro.rollouts.episode_seed(0, 0)
    seen, rewards = [plain.reset(seed=seed)[0]], np.zeros(200)
    for k, action in enumerate(np.repeat(held.actions[0], 4, axis=0)):
        observation, rewards[k], *_ = plain.step(action)
        seen.append(observation)
    np.testing.assert_allclose(held.observations[0], np.array(seen)[::4], rtol=1e-6)
    np.testing.assert_allclose(held.returns, [rewards.sum()])
    assert held.rewards is not None
    np.testing.assert_allclose(held.rewards[0], rewards.reshape(50, 4).sum(1))


def test_every_verb_takes_the_wrapper_and_its_spec():
    def policy(observation):
        return -2.0 * observation[1:2]

    wrapped = HoldActions(gymnasium.make("Pendulum-v1"), 0.2)
    one, two = (evaluate(env, policy, episodes=3) for env in (wrapped, HELD))
    np.testing.assert_array_equal(one.returns, two.returns)
    with GymRollout(HELD, 10, envs=2, processes=2) as rollout:
        assert rollout.time_step == pytest.approx(0.2)
        assert rollout(policy, np.arange(2)).steps == 10


@pytest.mark.slow
def test_what_learns_takes_the_period_among_the_options():
    settings = {"timesteps": 2048, "options": {"control_period": 0.2}, "seed": 0}
    found = ro.reinforce("Pendulum-v1", algorithm="ppo", **settings)
    assert found.evaluation is not None
    assert found.evaluation.trajectories.time_step == pytest.approx(0.2)
    assert found.evaluation.trajectories.steps == 50


def test_the_wrapper_does_what_the_argument_of_an_environment_does():
    own = CartPoleBalance(control_period=1 / 60)
    held = HoldActions(CartPoleBalance(), 1 / 60)
    starts = own.sample_starts(2, seed=0)
    one, two = (collect(env, Counting(), starts=starts) for env in (own, held))
    names = ("observations", "actions", "efforts", "rewards")
    for name in (*names, "substep_observations", "substep_efforts"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-12)
    assert "HoldActions" in twin_rollout(held).reason
    own.close()
    held.close()


def test_a_constructor_that_hands_the_period_on_is_not_wrapped():
    spec = EnvSpec("roboopt/ArmTrack-v0", {"control_period": 1 / 60})
    env = spec.make()
    assert env.unwrapped.substeps == 4 and not isinstance(env, HoldActions)
    assert twin_rollout(env).require() is not None
    env.close()
    with pytest.raises(ro.RobooptError, match="`tol` .*reference, duration"):
        spec.require_keywords(["tol"])


def test_a_period_of_no_whole_number_of_steps_is_refused():
    for bad in (0.07, -1.0, 0.01):
        with pytest.raises(ro.RobooptError, match="`control_period`"):
            HoldActions(gymnasium.make("Pendulum-v1"), bad)
    with pytest.raises(ro.RobooptError, match="`time_step`"):
        HoldActions(gymnasium.make("Pendulum-v1"), 0.1, time_step=0.0)
    with pytest.raises(ro.RobooptError, match="`time_step` must be given: none"):
        HoldActions(gymnasium.Env(), 0.1)
