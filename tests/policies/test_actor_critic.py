from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from scipy.stats import norm

import roboopt as ro
from roboopt.data import Normalizer

KEY = jax.random.key(0)
SMALL: Any = {"width": 4, "depth": 1}
SEEN = Box(-1.0, 1.0, (3,), np.float32)
O = jnp.array([0.3, -0.2, 0.9])  # noqa: E741


def of(actions, **settings):
    return ro.policies.ActorCritic.of(SEEN, actions, key=KEY, **SMALL, **settings)


def test_real_actions_are_drawn_in_halves_of_their_range():
    space = Box(np.array([-2.0, 0.0]), np.array([2.0, 10.0]), dtype=np.float64)
    agent = of(space)
    # Half of the half ranges, about their middle: of the fresh network next to nothing.
    np.testing.assert_allclose(agent(O), [0.0, 5.0], atol=0.2)
    mean, drawn = agent(O), np.array([1.5, 11.0])
    expected = np.sum(norm.logpdf(drawn, mean, [1.0, 2.5]))
    np.testing.assert_allclose(agent.log_prob(O, drawn), expected, rtol=1e-9)
    entropy = norm.entropy(0.0, [1.0, 2.5]).sum()
    np.testing.assert_allclose(agent.entropy(O), entropy, rtol=1e-9)
    # What is drawn is not clipped: that is up to the environment.
    many = jax.jit(jax.vmap(lambda k: agent.draw(O, k)))(jax.random.split(KEY, 2000))
    assert (many[:, 1] > 10).mean() > 0.01
    np.testing.assert_array_equal(agent.execute(drawn), drawn)
    np.testing.assert_array_equal(agent.sample(O, KEY), agent.draw(O, KEY))


def test_real_actions_without_limits_are_in_their_units():
    for space in (2, Box(-np.inf, np.inf, (2,)), (np.full(2, -np.inf), np.ones(2))):
        agent = of(space, spread=2.0)
        expected = norm.entropy(0.0, [2.0, 2.0]).sum()
        np.testing.assert_allclose(agent.entropy(O), expected, rtol=1e-9)


def test_limits_serve_where_there_is_no_gymnasium():
    given = ro.policies.ActorCritic.of(
        3, (np.full(2, -2.0), np.full(2, 2.0)), key=KEY, **SMALL
    )
    same = of(Box(-2.0, 2.0, (2,), np.float64))
    assert eqx.tree_equal(given, same)


def test_choices_are_about_equally_likely():
    agent = of(Discrete(3, start=-1))
    drawn = agent.draw(O, KEY)
    assert drawn.shape == (1,) and -1 <= drawn[0] <= 1
    np.testing.assert_allclose(agent.log_prob(O, drawn), -np.log(3), atol=0.05)
    np.testing.assert_allclose(agent.entropy(O), np.log(3), rtol=1e-3)
    two = of(MultiDiscrete([2, 4]))
    assert two.draw(O, KEY).shape == (2,)
    # Choices that are none, where an axis has fewer, have no part in it.
    np.testing.assert_allclose(two.entropy(O), np.log(2) + np.log(4), rtol=1e-3)
    grad = jax.jit(jax.grad(lambda x: eqx.tree_at(bias, two, x).entropy(O)))(
        bias(two) + 0.5
    )
    assert np.all(np.isfinite(grad))


def bias(agent):
    return agent.policy.network.perceptron.layers[-1].bias


def squashed():
    batch = ro.data.Demonstrations(np.eye(3), np.array([[0.0], [1.0], [-1.0]]))
    return ro.policies.TanhGaussianPolicy.of(
        batch, key=KEY, low=-1.0, high=1.0, **SMALL
    )


def test_of_a_squashed_policy_what_was_drawn_is_recorded():
    policy = squashed()
    agent = ro.policies.ActorCritic.around(policy, SEEN, key=KEY, **SMALL)
    drawn = agent.draw(O, KEY)
    np.testing.assert_allclose(agent.execute(drawn), policy.sample(O, KEY), rtol=1e-12)
    np.testing.assert_allclose(agent(O), policy(O), rtol=1e-12)
    # The ratio of two policies is that of their actions' densities, ...
    drawn = jnp.array([0.7])
    other = eqx.tree_at(lambda p: p.latent.log_deviation, policy, jnp.array([-0.4]))
    moved = eqx.tree_at(lambda a: a.policy, agent, other)
    action = agent.execute(drawn)
    ratio = agent.log_prob(O, drawn) - moved.log_prob(O, drawn)
    expected = policy.log_prob(O, action) - other.log_prob(O, action)
    np.testing.assert_allclose(ratio, expected, rtol=1e-6)
    # ... also at a bound, which the action tells nothing of.
    far = jnp.array([40.0])
    assert float(agent.execute(far)[0]) == 1.0
    exact = policy.latent.log_prob(O, far) - other.latent.log_prob(O, far)
    ratio = agent.log_prob(O, far) - moved.log_prob(O, far)
    np.testing.assert_allclose(ratio, exact, rtol=1e-12)


def test_the_inputs_of_a_fresh_agent_follow_what_is_seen():
    agent, normalizer = of(Discrete(2)), Normalizer([1.0, 2, 3], [2.0, 1, 4])
    seeing = agent.seeing(normalizer)
    np.testing.assert_array_equal(seeing.critic.inputs.mean(), [1, 2, 3])
    units = normalizer(O)
    assert float(seeing.value(O)) == pytest.approx(float(agent.value(units)))
    same = agent.policy.probabilities(units)
    np.testing.assert_allclose(seeing.policy.probabilities(O), same, rtol=1e-12)
    assert seeing.value(O).shape == ()


def test_a_clone_keeps_its_inputs_and_the_value_function_follows():
    agent = ro.policies.ActorCritic.around(squashed(), SEEN, key=KEY, **SMALL)
    seeing = agent.seeing(Normalizer([1.0, 2, 3], [2.0, 1, 4]))
    assert eqx.tree_equal(seeing.policy, agent.policy)
    assert float(seeing.value(O)) != float(agent.value(O))


def test_angles_are_seen_by_sine_and_cosine_as_they_are():
    agent = of(1, angles=(1,)).seeing(Normalizer([1.0, 2, 3], [2.0, 1, 4]))
    turn = jnp.array([0.0, 2 * np.pi, 0.0])
    for f in (agent.value, agent):
        np.testing.assert_allclose(f(O + turn), f(O), rtol=1e-9)
    # The sine and the cosine of axis 1 come last.
    np.testing.assert_array_equal(agent.critic.inputs.mean(), [1, 3, 0, 0])
    np.testing.assert_array_equal(agent.critic.inputs.scale(), [2, 4, 1, 1])


def test_an_agent_without_inputs_of_its_own_has_none():
    policy = ro.policies.GaussianExploration(
        ro.policies.LinearFeedback(np.ones((1, 3))), 1.0
    )
    agent = ro.policies.ActorCritic(policy, Sum())
    seeing = agent.seeing(Normalizer(np.ones(3), np.ones(3)))
    assert eqx.tree_equal(seeing, agent)
    assert float(agent.value(O)) == 1.0


class Sum(eqx.Module):
    def __call__(self, observation):
        return jnp.sum(observation)


def test_exploring_is_chance_about_a_policy():
    gains = ro.policies.LinearFeedback(np.ones((2, 3)))
    policy = ro.policies.GaussianExploration(gains, [0.1, 2.0])
    np.testing.assert_array_equal(policy(O), gains(O))
    drawn = jax.jit(jax.vmap(lambda k: policy.sample(O, k)))(
        jax.random.split(KEY, 4000)
    )
    np.testing.assert_allclose(drawn.std(0), [0.1, 2.0], rtol=0.05)  # 4000 of them
    expected = np.sum(norm.logpdf([0.0, 1.0], gains(O), [0.1, 2.0]))
    found = policy.log_prob(O, jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(
        policy.entropy(O), norm.entropy(0, [0.1, 2.0]).sum(), rtol=1e-9
    )
    # The deviation stays in a range about the spread that was given.
    for there, factor in ((-1e3, 1e-3), (1e3, 10.0)):
        far = eqx.tree_at(lambda p: p.log_deviation, policy, jnp.full(2, there))
        expected = norm.entropy(0, factor * np.array([0.1, 2.0])).sum()
        np.testing.assert_allclose(far.entropy(O), expected, atol=1e-3)
    one = ro.policies.GaussianExploration(gains, 3.0)
    np.testing.assert_allclose(one.entropy(O), 2 * norm.entropy(0, 3.0), rtol=1e-9)


def test_agents_come_back_from_a_file(tmp_path):
    exploring = ro.policies.GaussianExploration(
        ro.policies.LinearFeedback(np.ones((1, 3))), 1.0
    )
    around = ro.policies.ActorCritic.around(exploring, 3, key=KEY, **SMALL)
    for agent in (of(Discrete(2)), of(2), around):
        ro.save(tmp_path / "agent.npz", agent)
        assert eqx.tree_equal(ro.load(tmp_path / "agent.npz"), agent)


@pytest.mark.parametrize(
    "arguments, match",
    [
        ((Dict({}), 1), "`observation_space` must be a Box"),
        ((Box(0, 255, (8, 8, 3), np.uint8), 1), "`observation_space` must be a Box"),
        ((0, 1), "`observation_space` must be at least 1"),
        ((3, 0), "`action_space` must be at least 1"),
        ((3, (np.ones(2), np.zeros(2))), "`action_space` must be limits"),
        ((3, (np.ones(2), np.ones(1))), "`action_space` must be limits"),
        ((3, MultiBinary(2)), "Discrete or a MultiDiscrete"),
        ((3, Box(-1, 1, (2, 2))), "Discrete or a MultiDiscrete"),
    ],
)
def test_bad_spaces_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        ro.policies.ActorCritic.of(*arguments, key=KEY)


def test_bad_parts_are_refused():
    with pytest.raises(ValueError, match="`spread` must be above 0.001"):
        of(1, spread=0.0)
    with pytest.raises(ValueError, match="without sample, log_prob, entropy.*Explor"):
        ro.policies.ActorCritic(ro.policies.LinearFeedback(np.ones((1, 3))), Sum())
    with pytest.raises(ValueError, match="`normalizer` must be of 3 axes, got 2"):
        of(1).seeing(Normalizer(np.zeros(2), np.ones(2)))
    gains = ro.policies.LinearFeedback(np.ones((2, 3)))
    for spread in (0.0, -1.0, np.nan, np.ones((1, 2))):
        with pytest.raises(ValueError, match="`spread` must hold one number"):
            ro.policies.GaussianExploration(gains, spread)
    policy = ro.policies.GaussianExploration(gains, np.ones(3))
    with pytest.raises(ValueError, match="`spread` must hold one number or"):
        policy.sample(O, KEY)
    with pytest.raises(ValueError, match="`action` must have shape"):
        ro.policies.GaussianExploration(gains, 1.0).log_prob(O, jnp.ones(1))
