"""Twins to act in: what they do by hand, episodes, restarts and chance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lines import Line, Steady, Wavering, line

import roboopt as ro
from roboopt.rollouts import VectorEnv

ONE = jnp.array(1.0)
STEADY = Steady(ONE, ONE)
KEY = jax.random.key(0)


def test_steps_and_episodes_by_hand():
    # At 1 m/s from 1 m, steps of 0.5 s lead to 1.5, 2.0 and 2.5 m, where the episode is
    # over: it earned −(1.5 + 2 + 2.5) · 0.5 s = −3 and was beyond 2 m.
    world = ro.rollouts.TwinVectorEnv(line(), np.array([[1.0, 0.0]]), envs=2)
    assert isinstance(world, VectorEnv)
    assert (world.envs, world.observation_size) == (2, 2)
    world.begin(0)
    made, episodes = world.collect(STEADY, KEY, 2)
    assert episodes == []
    np.testing.assert_allclose(made.observations[:, 0, 0], [1.0, 1.5])
    np.testing.assert_allclose(made.next_observations[:, 1, 0], [1.5, 2.0])
    np.testing.assert_allclose(made.rewards[:, 0], [-0.75, -1.0])
    np.testing.assert_allclose(made.drawn[..., 0], 1.0)
    now, left = world.twins
    np.testing.assert_allclose(now[:, 0], 2.0)
    np.testing.assert_array_equal(left, 1)
    made, episodes = world.collect(STEADY, KEY, 2)
    np.testing.assert_allclose(made.observations[:, 0, 0], [2.0, 1.0])
    np.testing.assert_allclose(made.next_observations[:, 0, 0], [2.5, 1.5])
    np.testing.assert_array_equal(made.ended, [[True, True], [False, False]])
    assert not made.terminated.any() and made.valid.all()
    assert episodes == [(pytest.approx(-3.0), 3, False)] * 2
    assert world.steps_made == 8


def test_episodes_begin_at_starts_drawn_anew():
    starts = np.array([[x, 0.0] for x in (0.0, 10.0, 20.0, 30.0)])
    world = ro.rollouts.TwinVectorEnv(line(), starts, envs=128)
    world.begin(3)
    made, episodes = world.collect(STEADY, KEY, 9)
    begun = made.observations[::3, :, 0]
    for row in begun:
        assert set(np.unique(row)) == {0.0, 10.0, 20.0, 30.0}
    assert not np.array_equal(begun[0], begun[1])
    assert not np.array_equal(begun[1], begun[2])
    # At 0, 10, … m: only from 0 m does it stay within 2 m.
    assert len(episodes) == 3 * 128
    for episode, start in zip(episodes, np.ravel(begun), strict=True):
        assert episode.success == (start == 0.0)
        assert episode.undiscounted_return == pytest.approx(-1.5 * (start + 1.0))


def test_a_block_is_two_of_half_its_length_but_for_chance():
    starts = np.array([[1.0, 0.0]])
    whole, halves = (
        ro.rollouts.TwinVectorEnv(line(4), starts, envs=3) for _ in range(2)
    )
    whole.begin(0)
    halves.begin(0)
    made, episodes = whole.collect(STEADY, KEY, 8)
    parts = [halves.collect(STEADY, KEY, steps) for steps in (3, 3, 2)]
    joined = np.concatenate([part.rewards for part, _ in parts])
    np.testing.assert_allclose(made.rewards, joined)
    assert episodes == [episode for _, ended in parts for episode in ended]
    assert len(episodes) == 6


def test_an_agent_draws_anew_and_executes_what_it_drew():
    world = ro.rollouts.TwinVectorEnv(line(5), np.array([[1.0, 0.0]]), envs=70)
    agent = Wavering(jnp.array(0.1), ONE)
    world.begin(0)
    made, _ = world.collect(agent, KEY, 4)
    assert len(np.unique(made.drawn)) == 4 * 70
    # The spread of 280 draws is within 15 % of what it is drawn from.
    assert np.std(made.drawn) == pytest.approx(0.1, rel=0.15)
    velocity = np.clip(2 * made.drawn[..., 0], -1, 1)
    np.testing.assert_allclose(made.next_observations[..., 1], velocity)
    again, _ = world.collect(agent, jax.random.key(1), 4)
    assert not np.array_equal(made.drawn, again.drawn)
    world.begin(0)
    np.testing.assert_array_equal(world.collect(agent, KEY, 4)[0].drawn, made.drawn)


def test_staggered_episodes_end_one_after_the_other():
    world = ro.rollouts.TwinVectorEnv(
        line(4), np.array([[1.0, 0.0]]), envs=4, stagger=True
    )
    world.begin(0)
    made, episodes = world.collect(STEADY, KEY, 4)
    np.testing.assert_array_equal(made.ended, np.eye(4, dtype=bool)[::-1])
    # The first was whole; those cut short are not told of.
    assert [episode.length for episode in episodes] == [4]
    assert len(world.collect(STEADY, KEY, 4)[1]) == 4


def test_success_is_unknown_where_the_reward_is_a_function():
    rollout = line(2, lambda observation, action, after: after[0])
    world = ro.rollouts.TwinVectorEnv(rollout, np.array([[1.0, 0.0]]), envs=1)
    world.begin(0)
    assert world.collect(STEADY, KEY, 2)[1] == [(pytest.approx(3.5), 2, None)]


def test_bad_input_is_refused():
    starts = np.array([[1.0, 0.0]])
    with pytest.raises(ValueError, match="`rollout` must have a `reward`, got None"):
        ro.rollouts.TwinVectorEnv(ro.Rollout(Line(), 2), starts)
    for bad in (starts[:0], starts[:, :1], starts[0]):
        with pytest.raises(ValueError, match="`starts` must have shape"):
            ro.rollouts.TwinVectorEnv(line(), bad)
    with pytest.raises(ValueError, match="`starts` must be finite"):
        ro.rollouts.TwinVectorEnv(line(), np.nan * starts)
    with pytest.raises(ValueError, match="`envs` must be at least 1, got 0"):
        ro.rollouts.TwinVectorEnv(line(), starts, 0)
    world = ro.rollouts.TwinVectorEnv(line(), starts)
    with pytest.raises(ValueError, match="must `begin` before"):
        world.collect(STEADY, KEY, 1)
    world.begin(0)
    with pytest.raises(ValueError, match="`steps` must be at least 1, got 0"):
        world.collect(STEADY, KEY, 0)


def test_groups_that_run_at_once_make_the_same_steps(monkeypatch):
    # So runs an accelerator; a CPU runs one group after the other.
    starts = np.array([[x, 0.0] for x in (0.0, 10.0, 20.0, 30.0)])

    def run():
        world = ro.rollouts.TwinVectorEnv(line(), starts, envs=192)
        world.begin(3)
        return world.collect(Wavering(ONE, ONE), KEY, 5)[0]

    apart = run()
    monkeypatch.setattr(
        "roboopt.rollouts._twin_vector_env.groups_at_once", lambda count: count
    )
    jax.tree.map(np.testing.assert_allclose, run(), apart)
