"""Chance in a policy's parameters."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.arm import ArmReach
from scipy.stats import norm

import roboopt as ro

KEY = jax.random.key(0)
SEEN = np.array([0.3, -1.0, 2.0])


def test_policies_are_drawn_about_the_one_given():
    gains = ro.policies.LinearFeedback(
        np.array([[100.0, -300.0, 0.0], [0.0, 0.0, 200.0]])
    )
    agent = ro.rl.ParameterNoise(gains, 0.05)
    np.testing.assert_allclose(agent(SEEN), gains(SEEN), rtol=1e-12)
    drawn = jax.jit(jax.vmap(agent.draw))(jax.random.split(KEY, 4000))
    matrices = jax.jit(jax.vmap(lambda d: agent.at(d).gains))(drawn)
    size = np.sqrt(np.mean(np.asarray(gains.gains) ** 2))
    np.testing.assert_allclose(matrices.mean(0), gains.gains, atol=0.1 * 0.05 * size)
    np.testing.assert_allclose(matrices.std(0), 0.05 * size, rtol=0.05)  # 4000 of them
    moved = eqx.tree_at(lambda a: a.shift, agent, jnp.arange(6.0))
    expected = gains.gains + 0.05 * size * np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(moved.policy.gains, expected, rtol=1e-12)


def test_densities_are_of_what_was_drawn():
    agent = ro.rl.ParameterNoise(ro.policies.LinearFeedback(np.ones((1, 3))), 0.1)
    where = (jnp.array([1.0, 0.0, -2.0]), jnp.log(jnp.array([0.5, 1.0, 2.0])))
    agent = eqx.tree_at(lambda a: (a.shift, a.log_deviation), agent, where)
    deviation = np.array([0.5, 1.0, 2.0])
    found = agent.log_prob(SEEN, jnp.array([0.1, 0.2, 0.3]))
    expected = np.sum(norm.logpdf([0.1, 0.2, 0.3], [1.0, 0.0, -2.0], deviation))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(
        agent.entropy(SEEN), norm.entropy(0, deviation).sum(), rtol=1e-12
    )


def test_what_is_frozen_stays():
    env = ArmReach()
    robot = ro.Twin.from_env(env).robot
    policy = ro.policies.PDGravityCompensation.from_limits(
        robot, env.effort_limits, env.time_step
    )
    env.close()
    agent = ro.rl.ParameterNoise(policy)
    assert agent.shift.shape == (4,)
    other = agent.at(agent.draw(KEY))
    assert eqx.tree_equal(other.robot, policy.robot)
    assert (np.asarray(other.log_damping) != np.asarray(policy.log_damping)).all()


def test_it_comes_back_from_a_file(tmp_path):
    agent = ro.rl.ParameterNoise(ro.policies.LinearFeedback(np.ones((1, 3))), 0.2)
    agent = eqx.tree_at(lambda a: a.shift, agent, jnp.array([1.0, 2.0, 3.0]))
    ro.save(tmp_path / "agent.npz", agent)
    assert eqx.tree_equal(ro.load(tmp_path / "agent.npz"), agent)


@pytest.mark.parametrize("spread", [0.0, -1.0, np.inf, np.nan])
def test_bad_spreads_are_refused(spread):
    with pytest.raises(ValueError, match="`spread` must be positive and finite"):
        ro.rl.ParameterNoise(ro.policies.LinearFeedback(np.ones((1, 3))), spread)


def test_bad_parts_are_refused():
    with pytest.raises(ValueError, match="`policy` must have a floating-point array"):
        ro.rl.ParameterNoise(jnp.tanh)
    agent = ro.rl.ParameterNoise(ro.policies.LinearFeedback(np.ones((1, 3))))
    with pytest.raises(ValueError, match=r"`drawn` must have shape \(3,\), got \(2,\)"):
        agent.at(np.zeros(2))
    with pytest.raises(ValueError, match=r"`drawn` must have shape \(3,\), got \(2,\)"):
        agent.log_prob(SEEN, np.zeros(2))
