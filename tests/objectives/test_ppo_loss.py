"""The loss of PPO by hand, and the law that its gradient is that of REINFORCE."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import assert_derivatives

import roboopt as ro
from roboopt.objectives import PPOBatch, PPOLoss


class Hand(eqx.Module):
    """log p = slope · drawn; V = height · observation; the entropy is the slope."""

    slope: jax.Array
    height: jax.Array

    def log_prob(self, observation, drawn):
        return self.slope * drawn[0]

    def entropy(self, observation):
        return self.slope

    def value(self, observation):
        return self.height * observation[0]


def hand(slope, height=0.0):
    return Hand(jnp.asarray(slope), jnp.asarray(height))


def ppo_batch(log_probs, advantages, weights=None, returns=None, observations=None):
    count = len(log_probs)
    zeros = np.zeros(count)
    return PPOBatch(
        observations=np.ones((count, 1)) if observations is None else observations,
        actions=np.ones((count, 1)),
        log_probs=np.array(log_probs),
        advantages=np.array(advantages),
        returns=zeros if returns is None else np.array(returns),
        weights=np.ones(count) if weights is None else np.array(weights),
    )


def test_value_and_gradient_by_hand():
    # The new log p are 1; the ratios e^1 = 2.718, e^0.1 = 1.105 and, of the last, which
    # weighs nothing, e^9. With ε = 0.2 the first, of advantage 2, is cut off at 1.2.
    # The second, of advantage −1, is not: L = −(1.2·2 − 1.105)/2.
    batch = ppo_batch([0.0, 0.9, -8.0], [2.0, -1.0, 5.0], weights=[1.0, 1.0, 0.0])
    objective = PPOLoss(value_weight=0.0)
    value, grad = eqx.filter_value_and_grad(objective)(hand(1.0), batch)
    np.testing.assert_allclose(value, -(2.4 - np.exp(0.1)) / 2, rtol=1e-12)
    # dr/dslope = r · drawn = r, and nothing of what is cut off.
    np.testing.assert_allclose(grad.slope, np.exp(0.1) / 2, rtol=1e-12)
    terms = objective.terms(hand(1.0), batch)
    assert float(terms["clip_fraction"].value) == 0.5
    # (r − 1) − log r of both: 0.718 and 0.00517.
    kl = (np.e - 2 + np.exp(0.1) - 1.1) / 2
    np.testing.assert_allclose(terms["approximate_kl"].value, kl, rtol=1e-12)


def test_what_is_cut_off_depends_on_the_sign_of_the_advantage():
    # A ratio of e^−1 is below 1 − ε: of advantage 1 it is followed all the same, for
    # that way is back; of advantage −1 it is cut off.
    objective = PPOLoss(value_weight=0.0)
    grads = [
        eqx.filter_grad(objective)(hand(0.0), ppo_batch([1.0], [a])).slope
        for a in (1.0, -1.0)
    ]
    np.testing.assert_allclose(grads, [-np.exp(-1), 0.0], rtol=1e-12)


def test_the_value_function_is_fitted_to_the_returns():
    # V = 3 o, of o = 1, 2: 3 and 6, returns 1 and 2, errors 2 and 4: L = (4 + 16)/4 = 5
    # at a weight of 1, and dL/dheight = (2·1 + 4·2)/2 = 5.
    batch = ppo_batch(
        [0.0, 0.0], [0.0, 0.0], returns=[1.0, 2.0], observations=np.array([[1.0], [2]])
    )
    objective = PPOLoss(value_weight=1.0)
    value, grad = eqx.filter_value_and_grad(objective)(hand(0.0, 3.0), batch)
    np.testing.assert_allclose([value, grad.height], [5.0, 5.0], rtol=1e-12)
    # Of errors 2 and 4 the variance is 1, of returns 1 and 2 it is 0.25: 1 − 4.
    terms = objective.terms(hand(0.0, 3.0), batch)
    np.testing.assert_allclose(terms["explained_variance"].value, -3.0, rtol=1e-12)
    # The mean square of the returns is 2.5: their spread is √(0.25/2.5).
    np.testing.assert_allclose(terms["return_spread"].value, np.sqrt(0.1), rtol=1e-12)


def test_entropy_is_worth_its_weight():
    batch = ppo_batch([0.5], [0.0])
    objective = PPOLoss(value_weight=0.0, entropy_weight=0.1)
    value, grad = eqx.filter_value_and_grad(objective)(hand(0.5), batch)
    np.testing.assert_allclose([value, grad.slope], [-0.05, -0.1], rtol=1e-12)
    unweighed = PPOLoss(value_weight=0.0)
    grad = eqx.filter_grad(unweighed)(hand(0.5), batch)
    assert float(grad.slope) == 0.0
    assert float(unweighed.terms(hand(0.5), batch)["entropy"].value) == 0.5


def test_where_nothing_has_changed_the_gradient_is_that_of_reinforce():
    space = SimpleNamespace(low=np.zeros(3), shape=(3,))
    agent = ro.policies.ActorCritic.of(
        space, 2, key=jax.random.key(0), width=4, depth=1
    )
    rng = np.random.default_rng(0)
    observations = jnp.asarray(rng.normal(size=(5, 3)))
    drawn, advantages = jnp.asarray(rng.normal(size=(5, 2))), rng.normal(size=5)
    log_probs = jax.jit(jax.vmap(agent.log_prob))(observations, drawn)
    zeros = np.zeros(5)
    batch = PPOBatch(observations, drawn, log_probs, advantages, zeros, np.ones(5))

    def reinforce(agent):
        return -jnp.mean(advantages * jax.vmap(agent.log_prob)(observations, drawn))

    expected = eqx.filter_jit(eqx.filter_grad(reinforce))(agent)
    for clip in (0.2, None):
        objective = PPOLoss(clip=clip, value_weight=0.0)
        found = eqx.filter_jit(eqx.filter_grad(objective))(agent, batch)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), found, expected
        )


@pytest.mark.parametrize("clip", [0.2, None])
def test_gradient_matches_finite_differences(clip):
    batch = ppo_batch([0.2, 0.5, 0.9], [1.0, -2.0, 0.5], returns=[1.0, 2.0, 3.0])
    objective = PPOLoss(clip=clip, entropy_weight=0.01)
    assert_derivatives(lambda s, h: objective(hand(s, h), batch), (0.45, 0.7))


def test_always_finite():
    # A policy that has gone as far as can be, returns that never vary, and no sample
    # that weighs anything.
    for log_probs, weights in (([-1e4, 1e4], [1.0, 1.0]), ([0.0, 0.0], [0.0, 0.0])):
        batch = ppo_batch(log_probs, [-1.0, 1.0], weights)
        objective = PPOLoss(clip=None)
        terms = objective.terms(hand(1.0, 1.0), batch)
        grad = eqx.filter_grad(objective)(hand(1.0, 1.0), batch)
        assert np.all(np.isfinite(jax.tree.leaves((terms, grad))))


def test_a_surrogate_does_not_rank_models():
    assert not PPOLoss().ranks(ppo_batch([0.0], [0.0]))


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"clip": 0.0}, "clip"),
        ({"value_weight": -1.0}, "value_weight"),
        ({"entropy_weight": -1.0}, "entropy_weight"),
    ],
)
def test_bad_settings_are_refused(settings, name):
    with pytest.raises(ro.RobooptError, match=f"`{name}`"):
        PPOLoss(**settings)
