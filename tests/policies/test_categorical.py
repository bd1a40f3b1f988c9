import jax
import jax.numpy as jnp
import numpy as np
import pytest
from demonstrators import KEY, check_saving, log_likelihood, samples

import roboopt as ro


def rule(o, rng):
    """Of 4, 5, 6 by the sign of o₁, and of −1, 0 by the sum of two coin tosses."""
    third = 4 + (o[:, 1] > -2.5).astype(int) + (o[:, 1] > -1.5)
    coin = -1 + (rng.random(len(o)) < 0.75)
    return np.stack([third, coin], 1)


def test_learns_choices_and_how_likely_they_are():
    batch = samples(rule, count=2000)
    start = ro.policies.CategoricalPolicy.of(batch, key=KEY, width=16)
    assert (start.start, start.sizes) == ((4, -1), (3, 2))
    policy = ro.minimize(log_likelihood, start, batch, batch_size=200, steps=600).model
    told = [policy(np.array([5.0, x, 0.1])).tolist() for x in (-4.0, -2.0, 0.0)]
    assert told == [[4, 0], [5, 0], [6, 0]]
    probabilities = policy.probabilities(np.array([5.0, -2.0, 0.1]))
    assert probabilities.shape == (2, 3) and probabilities[1, 2] == 0
    np.testing.assert_allclose(probabilities.sum(1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(probabilities[1, :2], [0.25, 0.75], atol=0.06)


def test_log_prob_is_the_product_and_samples_follow_it():
    batch = samples(rule)
    policy = ro.policies.CategoricalPolicy.of(batch, key=KEY, skip=False)
    o = batch.observations[0]
    chances = policy.probabilities(o)
    expected = np.log(chances[0, 1] * chances[1, 0])
    there = policy.log_prob(o, np.array([5, -1]))
    np.testing.assert_allclose(there, expected, rtol=1e-12)
    drawn = jax.jit(jax.vmap(lambda k: policy.sample(o, k)))(
        jax.random.split(KEY, 5000)
    )
    both = ((drawn == jnp.array([[5, -1]])).all(1)).mean()
    # Three standard deviations of 5000 draws.
    assert float(both) == pytest.approx(float(np.exp(expected)), abs=0.02)


@pytest.mark.parametrize("action", [[3, 0], [7, 0], [4, 1], [4, -2]])
def test_what_is_no_choice_is_impossible(action):
    batch = samples(rule)
    policy = ro.policies.CategoricalPolicy.of(batch, key=KEY)
    assert policy.log_prob(batch.observations[0], np.array(action)) == -np.inf


def test_the_gradient_is_finite_with_axes_of_different_sizes():
    batch = samples(rule)
    policy = ro.policies.CategoricalPolicy.of(batch, key=KEY)
    gradient = jax.jit(
        jax.grad(
            lambda bias: log_likelihood(
                ro.policies.CategoricalPolicy(
                    with_bias(policy.network, bias),
                    policy.shape,
                    policy.start,
                    policy.sizes,
                ),
                batch,
            )
        )
    )(policy.network.perceptron.layers[-1].bias)
    assert np.isfinite(gradient).all() and (gradient[:5] != 0).all()


def with_bias(network, bias):
    import equinox as eqx

    return eqx.tree_at(lambda n: n.perceptron.layers[-1].bias, network, bias)


def test_choices_may_be_given():
    batch = samples(rule)
    policy = ro.policies.CategoricalPolicy.of(batch, key=KEY, start=-1, sizes=[9, 2])
    assert (policy.start, policy.sizes) == ((-1, -1), (9, 2))
    assert policy.probabilities(batch.observations[0]).shape == (2, 9)


def test_chunks_have_one_log_prob_a_step(tmp_path):
    batch = samples(lambda o, rng: np.stack([rule(o, rng)] * 3, 1))
    policy = ro.policies.CategoricalPolicy.of(batch, key=KEY)
    o = batch.observations[0]
    assert policy(o).shape == policy.sample(o, KEY).shape == (3, 2)
    assert policy.log_prob(o, batch.actions[0]).shape == (3,)
    assert jnp.issubdtype(policy(o).dtype, jnp.integer)
    check_saving(policy, tmp_path, o)


BAD = [
    ({"sizes": [3, 1]}, "`samples` must have actions from `start`"),
    ({"start": 5}, "`samples` must have actions from `start`"),
    ({"start": 0.5}, "`start` must be one integer or 2, got 0.5"),
    ({"sizes": [3, 2, 1]}, "`sizes` must be one integer or 2"),
    ({"sizes": 0}, "`sizes` must be at least 1, got 0"),
]


@pytest.mark.parametrize("settings, match", BAD)
def test_bad_settings_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        ro.policies.CategoricalPolicy.of(samples(rule), key=KEY, **settings)


def test_bad_samples_and_actions_are_refused():
    batch = samples(rule)
    real = ro.data.Demonstrations(batch.observations, batch.actions.astype(float))
    with pytest.raises(
        ValueError, match="`samples` must have integer actions, got float64"
    ):
        ro.policies.CategoricalPolicy.of(real, key=KEY)
    policy = ro.policies.CategoricalPolicy.of(batch, key=KEY)
    with pytest.raises(ValueError, match=r"`action` must have shape \(2,\)"):
        policy.log_prob(batch.observations[0], np.array([4]))
