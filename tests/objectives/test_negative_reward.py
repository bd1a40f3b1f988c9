"""Negative reward of rollouts: by hand, its gradient, and a task's cost."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import assert_derivatives
from roboopt_envs.cart_pole import CartPoleSwingUp

import roboopt as ro


class Push(eqx.Module):
    k: jax.Array

    def __call__(self, observation):
        return self.k * observation[:1]


class Line:
    """A mass of 1 on a line, whose action is its velocity for steps of 0.5 s."""

    time_step, joints, action_size = 0.5, 1, 1

    def __call__(self, state, action):
        return jnp.array([state[0] + 0.5 * action[0], action[0]])

    def clip(self, action):
        return action

    def effort(self, action):
        return action


def position(observation, action, after):
    return after[0]


def test_value_and_gradient_by_hand():
    # With v = k x each step takes x to (1 + k/2) x. At k = 1 and x₀ = 2 it is 3, then
    # 4.5; with γ = 0.5 the return is 3 + 4.5/2 = 5.25. From x₀ = 4 it is twice that,
    # and the mean 7.875. d/dk of x₀ ((1 + k/2) + (1 + k/2)²/2) is
    # x₀ (1/2 + (1 + k/2)/2) = 2.5 and 5, and in the mean 3.75.
    objective = ro.NegativeReward(ro.Rollout(Line(), 2, position), discount=0.5)
    starts = jnp.array([[2.0, 0.0], [4.0, 0.0]])
    value, grad = eqx.filter_value_and_grad(objective)(Push(jnp.array(1.0)), starts)
    np.testing.assert_allclose([value, grad.k], [-7.875, -3.75], rtol=1e-12)
    [(name, term)] = objective.terms(Push(jnp.array(1.0)), starts).items()
    assert (name, term.weight, term.unit) == ("negative_reward", 1.0, "1")


def test_it_takes_a_trajectorys_first_observations():
    objective = ro.NegativeReward(ro.Rollout(Line(), 2, position))
    starts = jnp.array([[2.0, 0.0], [4.0, 0.0]])
    recorded = ro.Trajectory(
        jnp.stack([starts, 9 + starts], 1), jnp.ones((2, 1, 1)), 1.0
    )
    policy = Push(jnp.array(1.0))
    assert objective(policy, recorded) == objective(policy, starts)


def test_gradient_matches_finite_differences():
    def reward(observation, action, after):
        return -jnp.sum(after**2) - 0.1 * action[0] ** 2

    objective = ro.NegativeReward(ro.Rollout(Line(), 4, reward), discount=0.9)
    starts = jnp.array([[0.3, 0.8], [-0.2, 0.1]])

    def loss(k):
        return objective(Push(k), starts)

    assert_derivatives(loss, (-0.7,), rtol=1e-6)


def test_of_a_task_it_is_the_tasks_cost():
    env = CartPoleSwingUp(duration=0.1)
    rollout, starts = (
        ro.rollouts.twin_rollout(env).require(),
        env.sample_starts(3, seed=0),
    )
    policy = lambda observation: 5.0 * observation[:1]  # noqa: E731
    cost = ro.EnergyTaskCost(rollout, env.task, env.actuators)
    np.testing.assert_allclose(
        ro.NegativeReward(rollout)(policy, starts), cost(policy, starts), rtol=1e-13
    )
    env.close()


def test_bad_input_is_refused():
    starts = jnp.zeros((1, 2))
    bare = ro.NegativeReward(ro.Rollout(Line(), 2))
    with pytest.raises(ValueError, match="`rollout` must return trajectories with rew"):
        bare(Push(jnp.array(1.0)), starts)
    for discount in (0.0, 1.1):
        with pytest.raises(ro.RobooptError, match="`discount`"):
            ro.NegativeReward(ro.Rollout(Line(), 2), discount=discount)


@pytest.mark.parametrize("setting", ["clip", "value_weight", "entropy_weight"])
def test_settings_of_other_objectives_are_no_fields(setting):
    with pytest.raises(TypeError):
        ro.NegativeReward(ro.Rollout(Line(), 2), **{setting: 0.5})
