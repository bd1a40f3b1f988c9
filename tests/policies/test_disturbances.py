"""Noise, delay and lag around a policy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roboopt import RobooptError
from roboopt.policies import Delayed, LowPass, ObservationNoise


def same(observation):
    return observation[:2]


def run(policy, observations, key=None):
    """Return the actions at 0.1 s steps."""
    carry, actions = policy.init(key), []
    for k, seen in enumerate(observations):
        carry, action = policy(carry, jnp.asarray(seen), jnp.array(0.1 * k))
        actions.append(action)
    return np.array(actions)


RAMP = np.arange(10.0)[:, None] * np.ones(2)


@pytest.mark.parametrize("delay, steps", [(0.0, 0.0), (0.2, 2.0), (0.25, 2.5)])
def test_a_delay_is_interpolated_between_steps(delay, steps):
    # On a ramp of one a step, the action of k steps is k − steps, at first that of 0.
    made = run(Delayed(same, delay, time_step=0.1, action_size=2), RAMP)
    late = np.maximum(np.arange(10) - steps, 0.0)
    np.testing.assert_allclose(made[:, 0], late, atol=1e-12)


def test_each_episode_draws_its_delay():
    policy = Delayed(same, (0.1, 0.3), time_step=0.1, action_size=2)
    keys = jax.random.split(jax.random.key(0), 50)
    late = 9 - np.array([run(policy, RAMP, key)[-1, 0] for key in keys])
    assert late.min() >= 1 and late.max() <= 3 and np.ptp(late) > 1.5
    with pytest.raises(RobooptError, match="`key`"):
        policy.init(None)


def test_a_lag_by_hand():
    # From 0 at rest to 1 with T = 0.2 s in steps of 0.1 s: 1 − exp(−k/2).
    steps = np.concatenate([np.zeros((1, 2)), np.ones((3, 2))])
    made = run(LowPass(same, 0.2, action_size=2), steps)
    wanted = 1 - np.exp(-0.5 * np.arange(4))
    np.testing.assert_allclose(made[:, 0], wanted, rtol=1e-12)


def test_noise_is_on_the_first_axes_only():
    policy = ObservationNoise(lambda seen: seen, [0.5, 0.0])
    made = run(policy, np.zeros((400, 3)), jax.random.key(1))
    # The standard deviation of 400 draws is known to 4 %.
    assert abs(made[:, 0].std() - 0.5) < 0.06 and not made[:, 1:].any()
    again = run(policy, np.zeros((400, 3)), jax.random.key(1))
    np.testing.assert_array_equal(again, made)


WRONG = [
    (lambda: ObservationNoise(same, -1.0), "`scale`"),
    (lambda: Delayed(same, (0.2, 0.1), time_step=0.1, action_size=2), "`delay`"),
    (lambda: Delayed(same, (0, 0.1, 0.2), time_step=0.1, action_size=2), "`delay`"),
    (lambda: Delayed(same, 1e9, time_step=0.1, action_size=2), "from 0 to 10 s"),
    (lambda: Delayed(same, 0.1, time_step=0.0, action_size=2), "`time_step`"),
    (lambda: LowPass(same, 0.0, action_size=2), "`time_constant`"),
    (lambda: run(ObservationNoise(same, np.ones(3)), RAMP, jax.random.key(0)), "scale"),
]


@pytest.mark.parametrize("make, match", WRONG)
def test_wrong_numbers_are_refused(make, match):
    with pytest.raises(RobooptError, match=match):
        make()
