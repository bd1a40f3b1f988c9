"""PPO: advantages by hand, the running statistics, and that it learns."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Discrete

import roboopt as ro
from roboopt.rl import PPO, generalized_advantages
from roboopt.rollouts import Episode, Steps

KEY = jax.random.key(0)


def test_advantages_by_hand():
    # One environment, γ = λ = 0.5; V is 1, 2, 3, 4 on the way and 2, 8, 4, 6 after.
    # δ₀ = 1 + 0.5·2 − 1 = 1. The second step is cut off by time: what would have come,
    # 8, counts, δ₁ = 1 + 0.5·8 − 2 = 3. The third goes on, δ₂ = 1 + 0.5·4 − 3 = 0. The
    # fourth ends by itself: δ₃ = 1 − 4 = −3. Hence A₃ = −3, A₂ = 0 − 0.25·3 = −0.75,
    # A₁ = 3, and A₀ = 1 + 0.25·3 = 1.75.
    column = lambda *x: jnp.asarray(x)[:, None]  # noqa: E731
    found = generalized_advantages(
        column(1.0, 1.0, 1.0, 1.0),
        column(1.0, 2.0, 3.0, 4.0),
        column(2.0, 8.0, 4.0, 6.0),
        column(False, False, False, True),
        column(False, True, False, True),
        discount=0.5,
        gae_lambda=0.5,
    )
    np.testing.assert_allclose(found[:, 0], [1.75, 3.0, -0.75, -3.0], rtol=1e-12)


class Line:
    """Observations 0, 10, 20, … and rewards 2; the third step of each four is idle."""

    envs, observation_size = 2, 1

    def begin(self, seed):
        self.count = 0

    def collect(self, agent, key, steps):
        count = self.count + np.arange(steps)[:, None] + np.zeros((1, 2))
        self.count += steps
        idle = count % 4 == 2
        found = Steps(
            observations=10 * count[..., None],
            drawn=np.zeros((steps, 2, 1), int),
            rewards=np.where(idle, 0.0, 2.0),
            next_observations=10 * count[..., None] + 10,
            terminated=count % 4 == 1,
            ended=count % 4 == 1,
            valid=~idle,
        )
        return found, [Episode(float(self.count), 2, self.count > 4)]


def agent():
    """Return one that has no choice."""
    return ro.policies.ActorCritic.of(1, Discrete(1), key=KEY, width=4, depth=1)


def test_a_block_holds_what_was_done_in_units_of_what_was_seen():
    ppo = PPO(steps=4, epochs=3, minibatches=1, discount=0.5, gae_lambda=1.0)
    source = ppo.data(Line())
    assert source.steps == 3 and source.batch_size is None
    batch, model = source.next(agent(), None)
    assert batch.observations.shape == (8, 1)
    np.testing.assert_array_equal(batch.weights.reshape(4, 2)[:, 0], [1, 1, 0, 1])
    assert eqx.tree_equal(model, agent())  # Nothing was known when it acted.
    # R is 2 and 3, then the episode is over, and 2: E[R²] = (4 + 9 + 4)/3.
    unit = np.sqrt(17 / 3)
    value = jax.vmap(model.value)
    v = np.asarray(value(jnp.array([[0.0], [10.0], [30.0], [40.0]])))
    # With λ = 1 the returns are the sums of the rewards, or of those and what V says.
    expected = [3 / unit, 2 / unit, 2 / unit + v[3] / 2]
    valid = np.asarray(batch.returns).reshape(4, 2)[[0, 1, 3], 0]
    np.testing.assert_allclose(valid, expected, rtol=1e-9)
    advantages = np.asarray(batch.advantages).reshape(4, 2)[[0, 1, 3]]
    np.testing.assert_allclose([advantages.mean(), advantages.std()], [0, 1], atol=1e-9)
    by_hand = valid - v[:3]
    by_hand = (by_hand - by_hand.mean()) / by_hand.std()
    np.testing.assert_allclose(advantages[:, 0], by_hand, rtol=1e-9)
    np.testing.assert_allclose(batch.log_probs, 0.0, atol=1e-12)
    # The next block is acted with what was known when it began.
    second, later = source.next(model, None)
    # 0, 10 and 30 were seen, whose mean is 40/3, and 20 was not.
    np.testing.assert_allclose(later.critic.inputs.mean(), [40 / 3], rtol=1e-12)
    spread = np.std([0.0, 10.0, 30.0])
    np.testing.assert_allclose(later.critic.inputs.scale(), [spread], rtol=1e-12)
    _, third = source.next(later, None)
    mean = np.mean([0.0, 10, 30, 40, 50, 70])
    np.testing.assert_allclose(third.critic.inputs.mean(), [mean], rtol=1e-12)
    assert source.timesteps == 24
    # Episodes of 4, 8 and 12; the first did not succeed.
    assert [x.undiscounted_return for x in source.episodes] == [4.0, 8.0, 12.0]
    assert [x.success for x in source.episodes] == [False, True, True]
    assert second.observations.shape == (8, 1)


def test_as_it_is_where_nothing_is_to_be_normalized():
    source = PPO(
        steps=4,
        discount=0.5,
        gae_lambda=1.0,
        normalize_observations=False,
        scale_rewards=False,
    ).data(Line())
    start = agent()
    batch, model = source.next(start, None)
    assert eqx.tree_equal(model, start)
    np.testing.assert_allclose(batch.returns.reshape(4, 2)[:2, 0], [3.0, 2.0])


def vector():
    world = ro.rollouts.GymVectorEnv("CartPole-v1", 2)
    spaces = world.observation_space, world.action_space
    return world, ro.policies.ActorCritic.of(*spaces, key=KEY)


def test_it_goes_on_from_a_state():
    first = PPO(steps=4, discount=0.5).data(Line())
    model = first.next(first.next(agent(), None)[1], None)[1]
    second = PPO(steps=4, discount=0.5).data(Line())
    second.restore(first.state())
    assert second.timesteps == 16
    a, b = first.next(model, None)[1], second.next(model, None)[1]
    assert eqx.tree_equal(a.critic.inputs, b.critic.inputs)


def test_the_steps_of_a_budget():
    source = PPO(steps=16, epochs=5, minibatches=2).data(Line())
    assert source.steps == 10 and source.batch_size == 16
    # A block is 16 steps in each of 2; what is left of a budget is not taken.
    assert source.gradient_steps(1) == 10 and source.gradient_steps(95) == 20
    with pytest.raises(ValueError, match="`timesteps` must be at least 1"):
        source.gradient_steps(0)


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"steps": 0}, "steps"),
        ({"epochs": 0}, "epochs"),
        ({"minibatches": 0}, "minibatches"),
        ({"steps": 4, "minibatches": 9}, "minibatches"),
        ({"discount": 1.1}, "discount"),
        ({"gae_lambda": -0.1}, "gae_lambda"),
        ({"clip": 0.0}, "clip"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"max_gradient_norm": -1.0}, "max_gradient_norm"),
    ],
)
def test_bad_settings_are_refused(settings, name):
    with pytest.raises(ro.RobooptError, match=f"`{name}`"):
        PPO(**settings).data(Line())


def test_a_negative_seed_is_refused():
    with pytest.raises(ro.RobooptError, match="`seed`"):
        PPO().data(Line(), seed=-1)


def test_a_block_is_learned_by_the_agent_that_acted():
    # The normalizer, too, is the one that acted: the likelihood ratio begins at 1.
    world, model = vector()
    source = PPO(steps=8).data(world)
    for _ in range(2):
        batch, model = source.next(model, None)
        learning = jax.vmap(model.log_prob)(batch.observations, batch.actions)
        np.testing.assert_allclose(batch.log_probs, learning, rtol=1e-6)


class Aim:
    """One step an episode: the observation is the action to take, 0 or 1."""

    envs, observation_size = 16, 1

    def begin(self, seed):
        self.generator, self.returns = np.random.default_rng(seed), []

    def collect(self, agent, key, steps):
        aims = self.generator.integers(0, 2, (steps, self.envs, 1)).astype(float)
        keys = jax.random.split(key, (steps, self.envs))
        drawn = np.asarray(jax.jit(jax.vmap(jax.vmap(agent.draw)))(aims, keys))
        yes = np.ones((steps, self.envs), bool)
        hit = (drawn == aims)[..., 0].astype(float)
        found = Steps(aims, drawn, hit, aims, yes, yes, yes)
        self.returns += hit.ravel().tolist()
        return found, [Episode(x, 1, None) for x in hit.ravel().tolist()]


@pytest.mark.parametrize(
    "clip, epochs", [(0.2, 8), pytest.param(None, 1, marks=pytest.mark.slow)]
)
def test_it_learns_to_aim(clip, epochs):
    import optax

    start = ro.policies.ActorCritic.of(1, Discrete(2), key=KEY, width=4, depth=1)
    ppo = PPO(clip=clip, steps=4, epochs=epochs, minibatches=1)
    world = Aim()
    result = ppo.learn(
        start,
        world,
        timesteps=20 * 4 * Aim.envs,
        optimizer=optax.adam(0.1 / epochs),
    )
    assert np.mean(world.returns[-64:]) > 0.9
    assert [int(result.model(jnp.array([x]))[0]) for x in (0.0, 1.0)] == [0, 1]
