import jax
import numpy as np
import pytest
from demonstrators import (
    KEY,
    check_saving,
    chunks,
    linear,
    log_likelihood,
    samples,
    two_ways,
)
from scipy.stats import norm

import roboopt as ro

HERE = np.array([5.0, -2.0, 0.1])


def test_recovers_two_ways_whose_mean_nobody_goes():
    batch = samples(two_ways, count=1000)
    start = ro.policies.GMMPolicy.of(batch, key=KEY, components=3, width=16)
    policy = ro.minimize(log_likelihood, start, batch, batch_size=200, steps=600).model
    # At o₁ = −2 they are at −6, a quarter of the time, and at 10, in steps of 0.5.
    assert float(policy(HERE)[0]) == pytest.approx(10.0, abs=0.3)
    assert float(policy(HERE + np.array([0, 1, 0]))[0]) == pytest.approx(12, abs=0.4)
    drawn = jax.jit(jax.vmap(lambda k: policy.sample(HERE, k)))(
        jax.random.split(KEY, 2000)
    )[:, 0]
    left, right = drawn[drawn < 2], drawn[drawn > 2]
    assert len(left) / 2000 == pytest.approx(0.25, abs=0.05)
    np.testing.assert_allclose([left.mean(), right.mean()], [-6, 10], atol=0.3)
    np.testing.assert_allclose([left.std(), right.std()], 0.5, rtol=0.3)


def test_log_prob_is_the_sum_of_its_parts_in_units():
    batch = samples(linear)
    policy = ro.policies.GMMPolicy.of(batch, key=KEY, components=3, skip=False)
    o, a = batch.observations[0], batch.actions[1]
    found = policy.distribution(o)
    means, log_deviations, log_weights = (
        np.asarray(x) for x in (found.means, found.log_deviations, found.log_weights)
    )
    mean = batch.actions.mean(0) + batch.actions.std(0) * means
    deviation = batch.actions.std(0) * np.exp(log_deviations)
    parts = norm.pdf(a, mean, deviation).prod(1)
    assert np.exp(log_weights).sum() == pytest.approx(1.0)
    expected = np.log((np.exp(log_weights) * parts).sum())
    np.testing.assert_allclose(policy.log_prob(o, a), expected, rtol=1e-10)


def test_its_density_integrates_to_one():
    batch = samples(two_ways)
    policy = ro.policies.GMMPolicy.of(batch, key=KEY)
    grid = np.linspace(-150, 150, 20001)
    density = np.exp(
        jax.jit(jax.vmap(lambda a: policy.log_prob(HERE, a)))(grid[:, None])
    )
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=1e-6)


def test_far_from_every_component_the_gradient_is_finite():
    batch = samples(two_ways)
    policy = ro.policies.GMMPolicy.of(batch, key=KEY)
    slope = jax.jit(jax.grad(lambda a: policy.log_prob(HERE, a)))(np.array([1e6]))
    assert np.isfinite(slope).all() and slope[0] < 0


def test_components_start_at_demonstrated_actions():
    batch = samples(two_ways)
    policy = ro.policies.GMMPolicy.of(batch, key=KEY, components=8)
    means = 4 * policy.distribution(HERE).means
    assert means.min() < -2 and means.max() > 1


def test_chunks_and_few_samples(tmp_path):
    batch = samples(chunks, count=4)
    policy = ro.policies.GMMPolicy.of(batch, key=KEY)
    o = batch.observations[0]
    assert policy(o).shape == policy.sample(o, KEY).shape == (3, 2)
    assert policy.log_prob(o, batch.actions[0]).shape == ()
    check_saving(policy, tmp_path, o)


def test_bad_input_is_refused():
    batch = samples(linear)
    with pytest.raises(ValueError, match="`components` must be at least 1, got 0"):
        ro.policies.GMMPolicy.of(batch, key=KEY, components=0)
    policy = ro.policies.GMMPolicy.of(batch, key=KEY)
    with pytest.raises(ValueError, match=r"`action` must have shape \(2,\)"):
        policy.log_prob(HERE, np.ones(1))
