"""`Clipped`: actions within limits, for every kind of policy."""

from typing import Any, cast

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roboopt import RobooptError
from roboopt.data import load, save
from roboopt.policies import (
    ActionChunking,
    ActorCritic,
    Clipped,
    GaussianExploration,
    LinearFeedback,
    OpenLoop,
    OpenLoopSpline,
    StatefulPolicy,
    TimeVaryingPolicy,
    act,
    initial_carry,
    within_limits,
)


class Ramp(TimeVaryingPolicy):
    """Acts by observation plus time."""

    def __call__(self, observation, time):  # pyright: ignore
        return observation + time


def test_clips_by_hand_per_axis_and_with_infinite_limits():
    policy = Clipped(lambda o: 3.0 * o, [-1.0, -np.inf], [np.inf, 2.0])
    np.testing.assert_array_equal(policy(jnp.array([-5.0, -5.0])), [-1.0, -15.0])
    np.testing.assert_array_equal(policy(jnp.array([5.0, 5.0])), [15.0, 2.0])
    chunks = Clipped(lambda o: jnp.outer(o, o), -np.inf, [0.5, 3.0])
    np.testing.assert_array_equal(
        chunks(jnp.array([1.0, 2.0])), [[0.5, 2.0], [0.5, 3.0]]
    )


def test_the_limits_of_an_environment_hold():
    # The gains ask for 4 N·m and more, of which Pendulum's motor gives 2.
    space: Any = gymnasium.make("Pendulum-v1").action_space
    policy = Clipped(LinearFeedback(np.array([[4.0, 1.0, 1.0]])), space.low, space.high)
    for observation in ([1.0, 0.0, 8.0], [-1.0, 0.0, -8.0], [0.1, 0.0, 0.0]):
        assert space.contains(np.asarray(policy(jnp.array(observation)), np.float32))


def test_only_a_space_with_limits_clips():
    policy, box = LinearFeedback(jnp.ones((1, 1))), cast(Any, gymnasium.spaces.Box)
    for space in (None, gymnasium.spaces.Discrete(2), box(-np.inf, np.inf, (1,))):
        assert within_limits(policy, space) is policy
    above = within_limits(policy, box(-np.inf, 1.0, (1,), np.float64))
    np.testing.assert_array_equal(above(jnp.array([-5.0])), [1.0])
    np.testing.assert_array_equal(above(jnp.array([5.0])), [-5.0])


def test_every_kind_of_policy_keeps_its_kind():
    now, seen = jnp.asarray(4.0), jnp.array([1.0])
    plan = Clipped(OpenLoopSpline(np.array([[0.0], [10.0]]), 1.0), -1.0, 2.0)
    assert isinstance(plan, OpenLoop) and isinstance(plan, Clipped)
    np.testing.assert_array_equal(plan(now), [2.0])
    ramp = Clipped(Ramp(), -1.0, 2.0)
    assert isinstance(ramp, TimeVaryingPolicy)
    np.testing.assert_array_equal(ramp(seen, now), [2.0])
    plain = Clipped(lambda o: o, -1.0, 2.0)
    assert not isinstance(plain, OpenLoop | TimeVaryingPolicy | StatefulPolicy)


def test_a_policy_with_memory_is_clipped_step_by_step():
    chunks = ActionChunking(lambda o: o[None] + jnp.arange(3.0)[:, None], 1, None)
    policy = Clipped(chunks, -np.inf, 1.0)
    assert isinstance(policy, StatefulPolicy)
    carry = initial_carry(policy)
    actions = []
    for time in range(4):
        carry, action = act(policy, carry, jnp.zeros(1), jnp.asarray(1.0 * time))
        actions.append(float(action[0]))
    assert actions == [0.0, 1.0, 1.0, 0.0]


def test_samples_are_clipped_and_have_no_density():
    inner = GaussianExploration(LinearFeedback(np.array([[0.0]])), 5.0)
    policy = Clipped(inner, -1.0, 1.0)
    drawn = jax.jit(jax.vmap(lambda k: policy.sample(jnp.ones(1), k)))(
        jax.random.split(jax.random.key(0), 100)
    )
    assert jnp.abs(drawn).max() == 1.0
    assert not hasattr(policy, "log_prob")
    assert not hasattr(Clipped(lambda o: o, -1.0, 1.0), "sample")
    agent = ActorCritic.around(policy, 1, key=jax.random.key(1))
    assert agent.policy is inner


def test_limits_are_not_trained_and_are_saved(tmp_path):
    policy = Clipped(LinearFeedback(np.array([[3.0]])), -1.0, 1.0)
    gradient = jax.jit(jax.grad(lambda p: p(jnp.array([0.1]))[0]))(policy)
    assert gradient.policy.gains == -0.1
    assert gradient.low.value == gradient.high.value == 0.0
    save(tmp_path / "policy.npz", policy)
    back = load(tmp_path / "policy.npz")
    assert isinstance(back, Clipped)
    np.testing.assert_array_equal(back(jnp.array([9.0])), [-1.0])


@pytest.mark.parametrize(
    ("policy", "low", "high", "named"),
    [
        (3.0, -1.0, 1.0, "policy"),
        (len, np.nan, 1.0, "low"),
        (len, -1.0, [[1.0]], "high"),
        (len, [-1.0, -1.0], [1.0], "low"),
        (len, 1.0, 1.0, "low"),
    ],
)
def test_wrong_settings_are_refused(policy, low, high, named):
    with pytest.raises(RobooptError, match=f"`{named}`"):
        Clipped(policy, low, high)


def test_wrong_actions_are_refused():
    with pytest.raises(RobooptError, match="`low`"):
        Clipped(lambda o: o, [-1.0, -1.0], 1.0)(jnp.zeros(3))
    with pytest.raises(RobooptError, match="`policy`"):
        Clipped(lambda o: jnp.arange(2), -1.0, 1.0)(jnp.zeros(3))
