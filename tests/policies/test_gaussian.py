import jax
import jax.numpy as jnp
import numpy as np
import pytest
from demonstrators import KEY, check_saving, chunks, linear, log_likelihood, samples
from scipy.stats import norm

import roboopt as ro


def noisy(o, rng):
    """Of a deviation that grows with o₁, from 0.2 to more."""
    return linear(o, rng)[:, :1] + (0.2 + np.abs(o[:, 1:2] + 2)) * rng.normal(
        size=(len(o), 1)
    )


def bounded(o, rng):
    """Within −10 and 40, often at the upper bound."""
    return np.clip(8 * o[:, :1] + 5 * rng.normal(size=(len(o), 1)), -10, 40)


def test_log_prob_is_that_of_scipy():
    batch = samples(linear)
    policy = ro.policies.GaussianPolicy.of(batch, key=KEY)
    o, a = batch.observations[0], batch.actions[0] + np.array([0.5, -0.1])
    drawn = jax.jit(jax.vmap(lambda k: policy.sample(o, k)))(
        jax.random.split(KEY, 20000)
    )
    mean, spread = policy(o), drawn.std(0)
    # At first σ is about the spread of the actions, a tenth off for its range.
    np.testing.assert_allclose(spread, batch.actions.std(0), rtol=0.15)
    # 1 % of the deviation, for 20000 samples.
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.03 * float(spread.max()))
    exact = np.exp(policy.distribution(o).log_deviation) * batch.actions.std(0)
    expected = np.sum(norm.logpdf(a, mean, exact))
    np.testing.assert_allclose(policy.log_prob(o, a), expected, rtol=1e-10)


def test_a_chunk_has_one_log_prob_a_step():
    batch = samples(chunks)
    policy = ro.policies.GaussianPolicy.of(batch, key=KEY)
    o, a = batch.observations[0], batch.actions[0]
    assert policy.sample(o, KEY).shape == policy(o).shape == (3, 2)
    before = policy.log_prob(o, a)
    later = policy.log_prob(o, a + np.array([[0.0], [0.0], [1.0]]))
    assert before.shape == (3,)
    assert (later == before).tolist() == [True, True, False]


@pytest.mark.parametrize("varying", [False, True])
def test_learns_the_mean_and_the_deviation(varying):
    batch = samples(noisy, count=2000)
    start = ro.policies.GaussianPolicy.of(batch, key=KEY, width=16, varying=varying)
    policy = ro.minimize(log_likelihood, start, batch, batch_size=200, steps=800).model
    still, restless = np.array([5.0, -2.0, 0.1]), np.array([5.0, 0.0, 0.1])
    for o in still, restless:
        assert abs(float(policy(o)[0]) - linear(o[None], None)[0, 0]) < 0.6
    density = [float(policy.log_prob(o, policy(o))) for o in (still, restless)]
    deviations = np.exp(-np.array(density)) / np.sqrt(2 * np.pi)
    if varying:
        # 0.2 and 2.2; the first within what its neighbors allow.
        assert deviations[0] < 0.5 and 1.7 < deviations[1] < 2.7
    else:
        # √E(0.2 + |n|)² = √(0.04 + 0.4 · 0.80 + 1) = 1.17 for everything.
        np.testing.assert_allclose(deviations, 1.17, rtol=0.1)


def test_the_deviation_stays_in_range():
    batch = samples(linear)
    policy = ro.policies.GaussianPolicy.of(batch, key=KEY)
    for there, factor in ((-1e3, 1e-3), (1e3, 10.0)):
        moved = jax.tree.map(lambda x: x, policy)
        object.__setattr__(moved, "log_deviation", jnp.full(2, there))
        o = batch.observations[0]
        deviation = (moved.sample(o, KEY) - moved(o)) / jax.random.normal(KEY, (2,))
        np.testing.assert_allclose(deviation, factor * batch.actions.std(0), rtol=1e-3)


def squashed(**settings):
    batch = samples(bounded)
    policy = ro.policies.TanhGaussianPolicy.of(
        batch, key=KEY, low=-10, high=40.0, **settings
    )
    return batch, policy


def test_the_squashed_density_integrates_to_one():
    batch, policy = squashed()
    o = batch.observations[3]
    inside = np.linspace(-10, 40, 200_001)[:, None]
    density = np.exp(jax.jit(jax.vmap(lambda a: policy.log_prob(o, a)))(inside))
    # Of the last 1e-3 of the range the density is that of its edge.
    assert np.trapezoid(density, inside[:, 0]) == pytest.approx(1.0, abs=1e-2)


def test_the_squashed_density_is_that_of_scipy():
    batch, policy = squashed()
    o, a = batch.observations[3], np.array([21.0])
    u = np.arctanh((a - 15) / 25)
    # The derivative of 15 + 25 tanh u is 25 (1 − tanh² u).
    mean = np.arctanh((policy(o) - 15) / 25)
    latent = policy.latent
    deviation = np.exp(latent.distribution(o).log_deviation) * latent.outputs.scale()
    expected = norm.logpdf(u, mean, deviation) - np.log(25 * (1 - ((a - 15) / 25) ** 2))
    np.testing.assert_allclose(policy.log_prob(o, a), expected[0], rtol=1e-9)


def test_a_squashed_policy_samples_what_its_density_says():
    batch, policy = squashed()
    o = batch.observations[3]
    drawn = jax.jit(jax.vmap(lambda k: policy.sample(o, k)))(
        jax.random.split(KEY, 20000)
    )[:, 0]
    assert drawn.min() > -10 and drawn.max() < 40
    grid = np.linspace(-10, 40, 5001)
    density = np.exp(jax.jit(jax.vmap(lambda a: policy.log_prob(o, a)))(grid[:, None]))
    below = np.trapezoid(np.where(grid < 20, density, 0.0), grid)
    assert float((drawn < 20).mean()) == pytest.approx(below, abs=0.02)


def test_at_and_beyond_the_bounds_all_is_finite():
    batch, policy = squashed()

    @jax.jit
    def slopes(log_deviation, action):
        def log_prob(w, a):
            return policy_with(policy, w).log_prob(batch.observations[0], a)

        return jax.jit(jax.value_and_grad(log_prob, (0, 1)))(log_deviation, action)

    for a in (-10.0, 40.0, 41.0):
        value, gradients = slopes(policy.latent.log_deviation, np.array([a]))
        assert np.isfinite(value)
        assert all(np.isfinite(gradient).all() for gradient in gradients)
    with jax.enable_x64(False):
        batch, single = squashed()
        o = jnp.asarray(batch.observations[0])
        for a in (-10.0, 40.0):
            value = single.log_prob(o, jnp.array([a]))
            assert value.dtype == jnp.float32 and np.isfinite(value)


def policy_with(policy, log_deviation):
    latent = ro.policies.GaussianPolicy(
        policy.latent.network, policy.latent.outputs, log_deviation
    )
    return ro.policies.TanhGaussianPolicy(latent, policy.low, policy.high)


def test_a_squashed_policy_is_learned():
    batch, start = squashed(width=16)
    result = ro.minimize(log_likelihood, start, batch, batch_size=100, steps=1500)
    policy = result.model
    # 8 · 2 = 16 is what is done at o₀ = 2, and at 9, far beyond it, the bound.
    assert float(policy(np.array([2.0, -2.0, 0.1]))[0]) == pytest.approx(16, abs=4)
    assert float(policy(np.array([9.0, -2.0, 0.1]))[0]) > 39


def test_bounds_may_be_the_samples_own():
    batch, policy = squashed()
    limits = {"low": np.full((400, 1), -10.0), "high": np.full((400, 1), 40.0)}
    own = ro.data.Demonstrations(batch.observations, batch.actions, **limits)
    found = ro.policies.TanhGaussianPolicy.of(own, key=KEY)
    o = batch.observations[0]
    np.testing.assert_array_equal(found(o), policy(o))
    several = ro.policies.TanhGaussianPolicy.of(
        samples(chunks), key=KEY, low=[0, -9], high=200
    )
    assert several(o).shape == (3, 2) and several.low().shape == (3, 2)
    assert several.log_prob(o, np.ones((3, 2))).shape == (3,)


def test_are_saved_and_jitted(tmp_path):
    batch, policy = squashed(varying=True)
    check_saving(policy, tmp_path, batch.observations[0])
    check_saving(policy.latent, tmp_path, batch.observations[0])


def refused(low, high, actions=None):
    batch = samples(bounded)
    if actions is not None:
        batch = ro.data.Demonstrations(batch.observations, actions)
    return ro.policies.TanhGaussianPolicy.of(batch, key=KEY, low=low, high=high)


BAD = [
    (lambda: refused(None, 1.0), "`low` must be given where `samples` have none"),
    (lambda: refused(0.0, np.inf), "`high` must be one finite number or 1, got inf"),
    (lambda: refused([0.0, 0.0], 1.0), "`low` must be one finite number or 1"),
    (lambda: refused(1.0, 1.0), "`low` must be below `high`"),
    (
        lambda: refused(0, 9, np.ones((400, 1), int)),
        "`samples` must have real-valued actions",
    ),
    (lambda: refused(0, 9, np.full((400, 1), np.inf)), "`samples` must be finite"),
    (
        lambda: squashed()[1].log_prob(np.ones(3), np.ones(2)),
        r"`action` must have shape \(1,\), got \(2,\)",
    ),
    (
        lambda: squashed()[1].latent.log_prob(np.ones(3), np.ones(2)),
        r"`action` must have shape \(1,\), got \(2,\)",
    ),
]


@pytest.mark.parametrize("make, match", BAD)
def test_bad_input_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
