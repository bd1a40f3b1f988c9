"""DAgger: what it asks, what it draws, and that it mends a clone that fails."""

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box

import roboopt as ro

GAINS = np.array([0.2, 0.5, 3.0, 1.0])


def balancer(observation):
    """Balance for all of 500 steps, from every start tried."""
    return (jnp.dot(jnp.asarray(GAINS, observation.dtype), observation) > 0)[None] * 1


class Walk(gymnasium.Env):
    """The position is the sum of the actions; three steps an episode."""

    observation_space = Box(-10.0, 10.0, (1,), np.float64)
    action_space = Box(-1.0, 1.0, (1,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.count = np.zeros(1), 0
        return self.state.copy(), {}

    def step(self, action):
        self.state, self.count = self.state + action, self.count + 1
        info = {"success": bool(self.state[0] > 2)}
        return self.state.copy(), float(action[0]), False, self.count == 3, info


class Constant(eqx.Module):
    value: jax.Array

    def __call__(self, observation):
        return self.value[None] + 0 * observation


def back(observation):
    return -0.1 * jnp.asarray(observation)


def walk(**settings):
    demos = ro.rollouts.collect(Walk(), Constant(jnp.asarray(0.5)), episodes=2, seed=0)
    return ro.imitation.DAgger(Walk(), back, demos, **{"samples": 9, **settings})


def test_the_first_block_is_the_demonstrations_alike_often():
    block = walk().next(None, None)
    # Six samples, (0, ½, 1) twice: nine rows are each once, and three once more.
    assert block.observations.shape == (9, 1) and block.actions.shape == (9, 1)
    np.testing.assert_array_equal(block.actions, 0.5)
    counts = [np.sum(block.observations == x) for x in (0.0, 0.5, 1.0)]
    assert sum(counts) == 9 and min(counts) >= 2


def test_later_blocks_hold_what_the_clone_met_and_the_demonstrator_would_do():
    source = walk(episodes=2, samples=1000)
    source.next(None, None)
    block = source.next(Constant(jnp.asarray(1.0)), None)
    # The clone goes 0, 1, 2; there the demonstrator would do 0, −0.1, −0.2.
    new = np.abs(block.actions[:, 0] + 0.1 * block.observations[:, 0]) < 1e-6
    assert set(block.observations[new, 0].tolist()) == {0.0, 1.0, 2.0}
    assert len(source) == 12 and new.mean() == pytest.approx(0.5, abs=0.01)
    (round_,) = source.rounds
    np.testing.assert_array_equal(round_.returns, [3.0, 3.0])
    np.testing.assert_array_equal(round_.successes, [True, True])
    source.next(Constant(jnp.asarray(0.0)), None)
    assert len(source) == 18 and len(source.rounds) == 2


def test_what_acts_may_be_made_of_the_clone():
    source = walk(episodes=1, wrap=lambda model: lambda observation: model + np.ones(1))
    source.next(None, None)
    source.next(-0.75, None)
    np.testing.assert_allclose(source.rounds[0].returns, [0.75])


def test_histories_and_chunks_act_as_they_are_cut():
    class OpenLoop(eqx.Module):
        def __call__(self, seen):
            assert seen.shape == (2,)
            return jnp.full((3, 1), 0.25)

    source = walk(episodes=1, history=2, chunk=3)
    assert source.next(None, None).actions.shape == (9, 3, 1)
    block = source.next(OpenLoop(), None)
    assert block.observations.shape == (9, 2) and block.actions.shape == (9, 3, 1)
    np.testing.assert_allclose(source.rounds[0].returns, [0.75])


def test_the_same_seed_gives_the_same_blocks():
    def second(seed):
        source = walk(seed=seed)
        first = source.next(None, None)
        return first, source.next(Constant(jnp.asarray(1.0)), None)

    assert eqx.tree_equal(second(3), second(3))
    assert not eqx.tree_equal(second(3), second(4))


def test_it_mends_a_clone_of_one_short_demonstration():
    # Twenty steps show the pole near upright: a clone of them alone soon meets others.
    env = gymnasium.make("CartPole-v1")
    demos = ro.rollouts.collect(env, balancer, episodes=1, seed=1, max_steps=20)
    samples = ro.data.Demonstrations.from_trajectories(demos)
    policy = ro.policies.CategoricalPolicy.of(
        samples, key=jax.random.key(0), start=0, sizes=2, width=32
    )
    objective = ro.ActionMismatch(loss=ro.losses.NegativeLogLikelihood())
    source = ro.imitation.DAgger(env, balancer, demos, episodes=2, steps=300)
    plain, mended = (
        ro.minimize(objective, policy, data, steps=1200, batch_size=16)
        for data in (samples, source)
    )
    judged = [
        ro.evaluate(env, r.model, episodes=5, seed=9).mean_return.value
        for r in (plain, mended)
    ]
    assert judged[0] < 200 and judged[1] > 475
    assert len(source.rounds) == 3 and mended.history["loss"].shape == (1201,)
    assert source.rounds[0].returns.mean() < source.rounds[-1].returns.mean()


def test_a_demonstrator_that_fails_loses_nothing():
    def fails(observation):
        raise OSError("the demonstrator went home")

    demos = ro.rollouts.collect(Walk(), Constant(jnp.asarray(0.5)), episodes=2, seed=0)
    source = ro.imitation.DAgger(Walk(), fails, demos, steps=3)
    result = ro.minimize(
        ro.ActionMismatch(), Constant(jnp.asarray(0.0)), source, steps=6, batch_size=4
    )
    assert result.reason == "source" and "the demonstrator went home" in result.message
    assert 0.0 < float(result.model.value) <= 0.5


@pytest.mark.parametrize(
    "settings, match",
    [
        ({"episodes": 0}, "`episodes` must be at least 1, got 0"),
        ({"steps": 0}, "`steps` must be at least 1, got 0"),
        ({"samples": 0}, "`samples` must be at least 1, got 0"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
        ({"history": 0}, "`history` must be at least 1"),
    ],
)
def test_bad_settings_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        walk(**settings)
