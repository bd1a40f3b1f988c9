import jax
import jax.numpy as jnp
import numpy as np
import pytest
from demonstrators import KEY, check_saving, chunks, linear, samples

import roboopt as ro


def errors(policy, batch):
    """The root mean square error of each axis, in its spread."""
    actions = jax.jit(jax.vmap(policy))(batch.observations)
    return np.sqrt(np.mean((actions - batch.actions) ** 2, 0)) / batch.actions.std(0)


def squared(policy, batch):
    scaled = jax.jit(jax.vmap(policy.outputs))(batch.actions)
    said = jax.jit(jax.vmap(lambda o: policy.outputs(policy(o))))(batch.observations)
    return 0.5 * jnp.mean((said - scaled) ** 2)


def test_keeps_within_its_limits():
    policy = ro.policies.MLPPolicy.bounded(
        np.ones(3), np.array([2.0, 5.0]), key=jax.random.key(0), width=8
    )
    actions = jax.jit(jax.vmap(policy))(
        1e3 * jax.random.normal(jax.random.key(1), (100, 3))
    )
    assert (jnp.abs(actions) <= jnp.array([[2.0, 5.0]])).all()
    assert jnp.abs(actions).max() > 2.05


def test_is_a_perceptron_in_units():
    policy = ro.policies.MLPPolicy.bounded([2.0, 4.0], [3.0], key=KEY, width=5, depth=1)
    first, last = policy.network.perceptron.layers
    o = np.array([1.0, -3.0])
    hidden = np.tanh(first.weight @ (o / np.array([2.0, 4.0])) + np.asarray(first.bias))
    expected = 3.0 * np.tanh(last.weight @ hidden + np.asarray(last.bias))
    np.testing.assert_allclose(policy(o), expected, rtol=1e-12)


def test_starts_at_the_controller_if_that_is_linear():
    batch = samples(linear)
    # What is left is the perceptron's last layer, 1 % of a usual one.
    assert errors(ro.policies.MLPPolicy.of(batch, key=KEY), batch).max() < 0.01
    zero = ro.policies.MLPPolicy.of(batch, key=KEY, skip=False)
    assert zero.network.matrix is None and errors(zero, batch).min() > 0.5


def test_starts_beyond_the_limits_that_cut_a_linear_controller_off():
    wanted = samples(linear)
    low, high = np.array([112.0, -0.9]), np.array([119.0, np.inf])
    batch = ro.data.Demonstrations(
        wanted.observations,
        np.clip(wanted.actions, low, high),
        low=np.broadcast_to(low, (400, 2)),
        high=np.broadcast_to(high, (400, 2)),
    )
    assert (batch.actions == wanted.actions).all(1).mean() < 0.5
    assert errors(ro.policies.MLPPolicy.of(batch, key=KEY), wanted).max() < 0.02
    uncut = ro.data.Demonstrations(batch.observations, batch.actions)
    assert errors(ro.policies.MLPPolicy.of(uncut, key=KEY), wanted).max() > 0.2


def test_learns_what_is_linear_and_what_is_not():
    def controller(o, rng):
        return linear(o, rng) + 5 * np.sin(2 * o[:, 1:2])

    batch, held_out = samples(controller), samples(controller, np.random.default_rng(1))
    start = ro.policies.MLPPolicy.of(batch, key=KEY, width=16)
    assert errors(start, held_out).max() > 0.3
    result = ro.minimize(squared, start, batch, batch_size=100, steps=1500)
    assert errors(result.model, held_out).max() < 0.15


def test_inputs_and_outputs_are_normalized_by_the_samples():
    batch = samples(linear)
    policy = ro.policies.MLPPolicy.of(batch, key=KEY)
    np.testing.assert_allclose(
        policy.network.inputs.mean(), batch.observations.mean(0), rtol=1e-12
    )
    np.testing.assert_allclose(policy.outputs.scale(), batch.actions.std(0), rtol=1e-12)
    result = ro.minimize(squared, policy, batch, steps=2)
    assert (result.model.outputs.mean() == batch.actions.mean(0)).all()


def test_a_chunk_is_normalized_axis_by_axis_where_it_counts():
    whole = samples(chunks)
    assert ro.policies.MLPPolicy.of(whole, key=KEY)(whole.observations[0]).shape == (
        3,
        2,
    )
    weights = np.ones((400, 3))
    weights[:, 2] = 0
    batch = ro.data.Demonstrations(whole.observations, whole.actions, weights)
    scale = ro.policies.MLPPolicy.of(batch, key=KEY).outputs.scale()
    counted = whole.actions[:, :2].reshape(-1, 2)
    np.testing.assert_allclose(scale, np.tile(counted.std(0), (3, 1)), rtol=1e-12)
    # They are laid out as the samples are; the places of a chunk, 1 apart, are the most
    # of the second axis' scale.
    fitted = ro.policies.MLPPolicy.of(whole, key=KEY)
    assert errors(fitted, whole).max() < 0.1


def test_a_turn_of_an_angle_makes_no_difference():
    batch = samples(linear)
    policy = ro.policies.MLPPolicy.of(batch, key=KEY, angles=(0,))
    o = batch.observations[0]
    turned = o + np.array([2 * np.pi, 0.0, 0.0])
    np.testing.assert_allclose(policy(turned), policy(o), rtol=1e-9)


def test_is_saved_and_jitted(tmp_path):
    batch = samples(chunks)
    policy = ro.policies.MLPPolicy.of(
        batch, key=KEY, activation=jax.nn.silu, angles=(1,)
    )
    check_saving(policy, tmp_path, batch.observations[0])


def test_works_in_single_precision():
    with jax.enable_x64(False):
        batch = samples(linear)
        policy = ro.policies.MLPPolicy.of(batch, key=KEY)
        action = policy(jnp.asarray(batch.observations[0]))
        assert action.dtype == jnp.float32
        assert errors(policy, batch).max() < 0.01


BAD = [
    (
        lambda b: ro.policies.MLPPolicy.bounded([1.0, -1.0], [1.0], key=KEY),
        "`scale` must be positive",
    ),
    (
        lambda b: ro.policies.MLPPolicy.bounded([1.0], [np.inf], key=KEY),
        "`limits` must be positive",
    ),
    (
        lambda b: ro.policies.MLPPolicy.bounded([1.0], [1.0], key=KEY, depth=0),
        "`depth` must be at least 1, got 0",
    ),
    (
        lambda b: ro.policies.MLPPolicy.of(b, key=KEY, width=0),
        "`width` must be at least 1, got 0",
    ),
    (
        lambda b: ro.policies.MLPPolicy.of(b, key=KEY, angles=(3,)),
        "`angles` must name axes 0 to 2",
    ),
    (
        lambda b: ro.policies.MLPPolicy.of(
            ro.data.Demonstrations(b.observations, np.ones((400, 1), int)), key=KEY
        ),
        "`samples` must have real-valued actions, got int64",
    ),
    (
        lambda b: ro.policies.MLPPolicy.of(
            ro.data.Demonstrations(b.observations, np.full((400, 1), np.nan)), key=KEY
        ),
        "`samples` must be finite",
    ),
    (
        lambda b: ro.policies.MLPPolicy.of(b, key=KEY)(jnp.ones(4)),
        r"`x` must have the network's 3 inputs, got \(4,\)",
    ),
]


@pytest.mark.parametrize("make, match", BAD)
def test_bad_input_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make(samples(linear))
