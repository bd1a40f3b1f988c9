"""PGPE: the advantages of drawn policies, and that a policy is better for them."""

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float
from lines import line
from roboopt_envs.cart_pole import CartPoleBalance

import roboopt as ro
from roboopt.rl import PGPE, ParameterNoise

STARTS = np.array([[1.0, 0.0], [-1.0, 0.0], [0.5, 0.0]])


class Gain(eqx.Module):
    k: Float[Array, "..."]

    def __call__(self, observation):
        return -self.k * observation[:1]


class Values(eqx.Module):
    """Numbers whose best are known, of very different sizes."""

    x: Float[Array, "..."]
    y: Float[Array, "..."]

    def __call__(self, observation):
        return jnp.append(self.x, self.y)


class Bowl:
    """An episode of one step, whose cost is least where x is 3000 and y is −0.02.

    Where a start says so it is not finite.
    """

    horizon = 1

    def __call__(self, model, starts):
        x, y = model(starts[0])
        cost = (x / 1000 - 3) ** 2 + (y / 0.01 + 2) ** 2 + starts[:, :1]
        observations = jnp.stack([starts, starts], 1)
        actions = jnp.zeros((len(starts), 1, 1))
        return ro.Trajectory(observations, actions, 0.1, rewards=-cost)


def agent_at(gain):
    return ParameterNoise(Gain(jnp.array([gain])), 0.5)


def test_policies_are_compared_from_the_same_start():
    source = PGPE(draws=5).data(line(3), STARTS, starts_per_step=4, seed=1)
    agent = agent_at(0.3)
    experience = source.next(agent, None).data
    assert source.timesteps == 4 * 5 * 3
    starts = np.asarray(experience.observations).reshape(4, 5, 2)
    assert (starts == starts[:, :1]).all() and len(np.unique(starts[:, 0, 0])) > 1
    np.testing.assert_allclose(
        experience.log_probs,
        jax.vmap(agent.log_prob)(experience.observations, experience.actions),
    )
    for k in range(20):
        policy = agent.at(experience.actions[k])
        run = line(3)(policy, experience.observations[k][None])
        np.testing.assert_allclose(experience.returns[k], run.returns[0], rtol=1e-9)
    # Of 5, the middle one is at 0, and the two above it 1 on average of all.
    returns = np.asarray(experience.returns).reshape(4, 5)
    advantages = np.asarray(experience.advantages).reshape(4, 5)
    order = np.argsort(returns, 1)
    expected = np.array([-2, -1, 0, 1, 2]) / (3 / 5)
    for row in range(4):
        np.testing.assert_allclose(advantages[row, order[row]], expected)
    assert [e.success for e in source.episodes] == [True] * 20
    np.testing.assert_allclose(
        [e.undiscounted_return for e in source.episodes], experience.returns
    )


def test_equal_returns_teach_nothing():
    # Beyond ±1 the action is held: all gains do the same.
    source = PGPE(draws=6).data(line(1), np.array([[10.0, 0.0]]), starts_per_step=1)
    experience = source.next(ParameterNoise(Gain(jnp.array([5.0]))), None).data
    assert len(np.unique(experience.returns)) == 1
    np.testing.assert_array_equal(experience.advantages, 0.0)


def test_what_is_not_finite_is_the_last():
    class Falls(Bowl):
        def __call__(self, model, starts):
            run = super().__call__(model, starts)
            assert run.rewards is not None
            fell = model(starts[0])[0] > 1000
            rewards = jnp.where(fell, jnp.nan, run.rewards)
            return eqx.tree_at(lambda r: r.rewards, run, rewards)

    agent = ParameterNoise(Values(jnp.array(1000.0), jnp.array(0.01)))
    source = PGPE().data(Falls(), np.zeros((1, 1)), starts_per_step=1)
    experience = source.next(agent, None).data
    fell = np.array([agent.at(d).x > 1000 for d in experience.actions])
    assert 0 < fell.sum() < 8
    advantages = np.asarray(experience.advantages)
    assert advantages[fell].max() < advantages[~fell].min()
    assert len(set(advantages[fell])) == 1 and np.isfinite(experience.returns).all()


def test_numbers_of_any_size_find_their_best():
    agent = ParameterNoise(Values(jnp.array(1000.0), jnp.array(0.01)))
    starts = np.arange(3.0)[:, None]
    result = PGPE().learn(agent, Bowl(), starts, steps=60, starts_per_step=4)
    best = result.model.policy
    np.testing.assert_allclose(best.x / 1000, 3.0, atol=0.1)
    np.testing.assert_allclose(best.y / 0.01, -2.0, atol=0.1)
    # Near the best one it looks closer.
    assert (np.asarray(result.model.log_deviation) < np.log(0.5)).all()
    assert {"approximate_kl", "entropy"} < set(result.history)
    assert "value_error" not in result.history


def test_steps_are_the_same_in_any_unit():
    def after(scale):
        values = Values(jnp.array(1000.0), jnp.array(scale * 0.01))

        class Scaled(Bowl):
            def __call__(self, model, starts):
                model = eqx.tree_at(lambda m: m.y, model, model.y / scale)
                return super().__call__(model, starts)

        result = PGPE().learn(values, Scaled(), np.zeros((1, 1)), steps=5)
        return result.model.policy

    # Both sizes are above 0.1, under which they count as that.
    one, other = after(100.0), after(3e5)
    np.testing.assert_allclose(one.x, other.x, rtol=1e-6)
    np.testing.assert_allclose(one.y / 100.0, other.y / 3e5, rtol=1e-6)


@pytest.mark.slow
def test_a_gain_is_learned_in_any_environment():
    # Of the balance in PyBullet, from gains that let it fall.
    def cost(policy):
        env = gymnasium.make("roboopt/CartPoleBalance-v0", duration=1.0)
        judged = ro.evaluate(env, policy, episodes=8, seed=9)
        env.close()
        return -judged.returns.mean()

    weak = ro.policies.LinearFeedback(np.array([[0.0, 20.0, 0.0, 2.0]]))
    with ro.GymRollout(lambda: CartPoleBalance(duration=1.0), 240, envs=8) as run:
        pgpe = PGPE(draws=6, spread=0.3)
        seeds = np.arange(100)
        result = pgpe.learn(weak, run, seeds, steps=8, starts_per_step=4)
    assert run.steps_made <= 9 * 24 * 240
    assert cost(result.model.policy) < 0.7 * cost(weak)


def test_it_goes_on_from_a_checkpoint(tmp_path):
    def descend(steps):
        file = tmp_path / "descent.npz"
        settings = {"steps": steps, "checkpoint": file}
        return PGPE().learn(agent_at(0.1), line(3), STARTS, **settings)

    half, whole = descend(5), descend(10)
    entropy = whole.history["entropy"]
    assert len(entropy) == 11
    np.testing.assert_array_equal(entropy[:6], half.history["entropy"])
    moved = np.abs(whole.model.shift - half.model.shift).max()
    assert 0 < moved < np.abs(whole.model.shift).max()


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"draws": 1}, "draws"),
        ({"spread": 0.0}, "spread"),
        ({"learning_rate": 0.0}, "learning_rate"),
    ],
)
def test_bad_settings_are_refused(settings, name):
    with pytest.raises(ro.RobooptError, match=f"`{name}`"):
        PGPE(**settings)


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"starts_per_step": 0}, "starts_per_step"),
        ({"seed": -1}, "seed"),
        ({"starts": np.zeros((0, 2))}, "starts"),
    ],
)
def test_bad_data_are_refused(settings, name):
    with pytest.raises(ro.RobooptError, match=f"`{name}`"):
        PGPE().data(line(3), **{"starts": STARTS, **settings})


def test_bad_use_is_refused():
    source = PGPE().data(line(3), STARTS)
    with pytest.raises(ro.RobooptError, match="`model`"):
        source.next(Gain(jnp.array([1.0])), None)
    silent = ro.Rollout(line(3).dynamics, 3)
    with pytest.raises(ro.RobooptError, match="`rollout` must return trajectories"):
        PGPE().data(silent, STARTS).next(agent_at(1.0), None)
