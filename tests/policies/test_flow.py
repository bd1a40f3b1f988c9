import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from demonstrators import KEY, check_saving, chunks, linear, samples, two_ways

import roboopt as ro

HERE = np.array([5.0, -2.0, 0.1])


def flow_matching(batch):
    """A source of noise and levels, and the mean squared error on them."""
    observations, actions = map(jnp.asarray, (batch.observations, batch.actions))

    def draw(model, key):
        for_rows, for_noise, for_level = jax.random.split(key, 3)
        rows = jax.random.randint(for_rows, (128,), 0, len(batch))
        noise = jax.random.normal(for_noise, (128, *actions.shape[1:]))
        level = jax.random.uniform(for_level, (128,))
        return observations[rows], actions[rows], noise, level

    def loss(policy, drawn):
        return 0.5 * jnp.mean(jax.vmap(policy.flow_error)(*drawn) ** 2)

    return loss, draw


def test_recovers_two_ways_whose_mean_nobody_goes():
    batch = samples(two_ways, count=1000)
    loss, draw = flow_matching(batch)
    start = ro.policies.FlowPolicy.of(batch, key=KEY, width=32)
    policy = ro.minimize(loss, start, draw, steps=2000).model
    drawn = eqx.filter_jit(jax.vmap(lambda k: policy.sample(HERE, k)))(
        jax.random.split(KEY, 1000)
    )[:, 0]
    left, right = drawn[drawn < 2], drawn[drawn > 2]
    assert len(left) / 1000 == pytest.approx(0.25, abs=0.07)
    np.testing.assert_allclose([left.mean(), right.mean()], [-6, 10], atol=0.6)
    # Next to nobody in between, where the mean is.
    assert float(jnp.mean((drawn > -3) & (drawn < 7))) < 0.05
    # Without noise it is the way that most go.
    assert float(policy(HERE)[0]) == pytest.approx(10.0, abs=1.0)


def test_the_error_is_the_velocity_less_that_of_the_straight_path():
    batch = samples(linear)
    policy = ro.policies.FlowPolicy.of(batch, key=KEY, skip=False)
    o, a, z = batch.observations[0], batch.actions[0], np.array([0.3, -2.0])
    y = (a - batch.actions.mean(0)) / batch.actions.std(0)
    for t in (0.0, 0.25, 1.0):
        v = policy._velocity(o, jnp.asarray((1 - t) * z + t * y), jnp.asarray(t))
        error = policy.flow_error(o, a, z, jnp.asarray(t))
        np.testing.assert_allclose(error, v - (y - z), rtol=1e-10)


class Straight(eqx.Module):
    """v(o, x, t) = (y − x)/(1 − t), which takes all noise to y."""

    y: jax.Array

    def __call__(self, observation, extra):
        x, level = extra[: len(self.y)], extra[len(self.y)]
        return (self.y - x) / (1 - level)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_noise_flows_along_straight_paths_exactly(steps):
    batch = samples(chunks)
    policy = ro.policies.FlowPolicy.of(batch, key=KEY, steps=steps)
    y = jax.jit(jax.vmap(policy.outputs))(batch.actions)[7].ravel()
    exact = eqx.tree_at(lambda p: p.network, policy, Straight(y))
    for action in (exact(HERE), exact.sample(HERE, KEY)):
        np.testing.assert_allclose(action, batch.actions[7], rtol=1e-9)


class Turning(eqx.Module):
    """v = c x + t: x(1) = e^c x(0) + (e^c − 1 − c)/c²."""

    def __call__(self, observation, extra):
        return 0.7 * extra[:1] + extra[1]


def test_the_integration_is_of_second_order():
    batch = samples(two_ways)
    exact = (np.exp(0.7) - 1 - 0.7) / 0.7**2
    units = ro.policies.FlowPolicy.of(batch, key=KEY).outputs
    errors = []
    for steps in (10, 20):
        policy = ro.policies.FlowPolicy.of(batch, key=KEY, steps=steps)
        policy = eqx.tree_at(lambda p: p.network, policy, Turning())
        errors.append(abs(float(units(policy(HERE))[0]) - exact))
    assert 3.5 < errors[0] / errors[1] < 4.5 and errors[0] < 3e-3


def test_chunks_are_saved_and_jitted(tmp_path):
    batch = samples(chunks)
    policy = ro.policies.FlowPolicy.of(batch, key=KEY)
    o, a = batch.observations[0], batch.actions[0]
    assert policy(o).shape == policy.sample(o, KEY).shape == (3, 2)
    assert policy.flow_error(o, a, np.ones((3, 2)), np.array(0.5)).shape == (3, 2)
    check_saving(policy, tmp_path, o)


def test_bad_input_is_refused():
    batch = samples(linear)
    with pytest.raises(ValueError, match="`steps` must be at least 1, got 0"):
        ro.policies.FlowPolicy.of(batch, key=KEY, steps=0)
    policy = ro.policies.FlowPolicy.of(batch, key=KEY)
    with pytest.raises(ValueError, match=r"`noise` must have shape \(2,\), got \(1,\)"):
        policy.flow_error(HERE, np.ones(2), np.ones(1), np.array(0.5))
    with pytest.raises(ValueError, match=r"`action` must have shape \(2,\)"):
        policy.flow_error(HERE, np.ones(1), np.ones(2), np.array(0.5))
