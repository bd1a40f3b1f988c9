"""Wrappers around policies, each worked out by hand."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro
from roboopt.policies import act, initial_carry


def acted(policy, observations, key=None):
    """Return the actions of `policy`, compiled, on observations a second apart."""
    step = eqx.filter_jit(lambda carry, *seen: act(policy, carry, *seen))
    carry = initial_carry(policy, key)
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), carry)
    actions = []
    for time, observation in enumerate(observations):
        carry, action = step(carry, jnp.asarray(observation), jnp.asarray(1.0 * time))
        assert jax.tree.map(lambda x: (x.shape, x.dtype), carry) == shapes
        actions.append(action)
    return np.array(actions)


def count_up(observation):
    """A chunk of three: (o, o + 1, o + 2)."""
    return observation[None] + jnp.arange(3.0)[:, None]


SEEN = np.array([[0.0], [10.0], [20.0], [30.0], [40.0]])
KEY = jax.random.key(3)


class Coin(eqx.Module):
    """Heads or tails."""

    def __call__(self, observation):
        return jnp.zeros(1)

    def sample(self, observation, key):
        return jax.random.bernoulli(key, shape=(1,)) + observation[:1]


def test_history_by_hand():
    shown = acted(
        ro.policies.ObservationHistory(lambda o: o, 3, 2),
        [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
    )
    np.testing.assert_array_equal(
        shown, [[1, 2, 1, 2, 1, 2], [1, 2, 1, 2, 3, 4], [1, 2, 3, 4, 5, 6]]
    )
    np.testing.assert_array_equal(
        acted(ro.policies.ObservationHistory(lambda o: o, 1, 1), SEEN), SEEN
    )


@pytest.mark.parametrize("length", [1, 2, 4, 9])
def test_history_is_stacked_as_demonstrations_stack_it(length):
    rng = np.random.default_rng(0)
    run = ro.Trajectory(rng.normal(size=(7, 2)), rng.normal(size=(6, 1)), 0.1)
    samples = ro.data.Demonstrations.from_trajectories([run], history=length)
    shown = acted(
        ro.policies.ObservationHistory(lambda o: o, length, 2), run.observations[:-1]
    )
    np.testing.assert_array_equal(shown, samples.observations)


def test_ensemble_by_hand():
    # At step t the chunks of t, t − 1, t − 2 say 10t, 10(t − 1) + 1, 10(t − 2) + 2 of
    # it; with m = log 2 the oldest there is weighs 1, the next ½, the last ¼.
    wanted = [
        0,
        (1 * 1 + 10 * 0.5) / 1.5,
        (2 * 1 + 11 * 0.5 + 20 * 0.25) / 1.75,
        (12 * 1 + 21 * 0.5 + 30 * 0.25) / 1.75,
        (22 * 1 + 31 * 0.5 + 40 * 0.25) / 1.75,
    ]
    actions = acted(ro.policies.ActionChunking(count_up, 1, float(np.log(2))), SEEN)
    np.testing.assert_allclose(actions[:, 0], wanted, rtol=1e-14)
    # Without decay it is their mean.
    np.testing.assert_allclose(
        acted(ro.policies.ActionChunking(count_up, 1, 0.0), SEEN)[2], [11.0]
    )


def test_chunks_that_agree_are_executed_as_they_are():
    def line(observation):
        return observation[None] + 10 * jnp.arange(3.0)[:, None]

    np.testing.assert_allclose(
        acted(ro.policies.ActionChunking(line, 1), SEEN), SEEN, rtol=1e-14
    )


def test_whole_chunks_by_hand():
    asked = []

    def policy(observation):
        jax.debug.callback(lambda seen: asked.append(float(seen[0])), observation)
        return count_up(observation)

    actions = acted(ro.policies.ActionChunking(policy, 1, None), SEEN)
    jax.effects_barrier()
    np.testing.assert_array_equal(actions[:, 0], [0, 1, 2, 30, 31])
    assert asked == [0.0, 30.0]


def test_chunks_of_choices_are_executed_whole():
    choices = lambda o: jnp.array([[1], [2]])  # noqa: E731
    actions = acted(ro.policies.ActionChunking(choices, 1, None), SEEN)
    assert actions.dtype.kind == "i"
    np.testing.assert_array_equal(actions[:, 0], [1, 2, 1, 2, 1])
    with pytest.raises(ValueError, match="`ensemble` must be None for discrete"):
        acted(ro.policies.ActionChunking(choices, 1), SEEN)


@pytest.mark.parametrize("ensemble", [None, 0.5])
def test_history_and_chunks_compose_in_either_order(ensemble):
    def policy(seen):
        return (seen[0] + 100 * seen[1]) * jnp.arange(1.0, 3.0)[:, None]

    inside = ro.policies.ActionChunking(
        ro.policies.ObservationHistory(policy, 2, 1), 1, ensemble
    )
    outside = ro.policies.ObservationHistory(
        ro.policies.ActionChunking(policy, 2, ensemble), 2, 1
    )
    actions = acted(inside, SEEN)
    np.testing.assert_allclose(actions, acted(outside, SEEN), rtol=1e-14)
    if ensemble is None:
        # The third step sees (10, 20), though the second asked for nothing.
        np.testing.assert_allclose(actions[2], [10 + 100 * 20])


def test_sampled_actions_are_drawn_anew_each_step_from_the_key():
    tosses = [
        acted(ro.policies.SampleActions(Coin()), np.zeros((20, 1)), KEY)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(tosses[0], tosses[1])
    assert 4 < tosses[0].sum() < 16
    other = acted(
        ro.policies.SampleActions(Coin()), np.zeros((20, 1)), jax.random.key(4)
    )
    assert not np.array_equal(tosses[0], other)


def test_noise_has_its_scale_on_each_axis():
    still = lambda o: jnp.array([1.0, -1.0, 5.0])  # noqa: E731
    actions = acted(
        ro.policies.ActionNoise(still, [0.5, 2.0, 0.0]), np.zeros((2000, 1)), KEY
    )
    # The spread of 2000 draws is within 5 · 1/√4000 = 8 % of the true one.
    np.testing.assert_allclose(actions.mean(0), [1, -1, 5], atol=5 * 2 / np.sqrt(2000))
    np.testing.assert_allclose(actions.std(0), [0.5, 2.0, 0.0], rtol=0.08, atol=1e-12)
    assert abs(np.corrcoef(actions[:, :2].T)[0, 1]) < 0.12
    one = acted(ro.policies.ActionNoise(still, 0.5), np.zeros((3, 1)), KEY)
    assert len(np.unique(one)) == 9


def test_all_of_them_compose_run_in_single_precision_and_come_back(tmp_path):
    class Chunks(Coin):
        def sample(self, observation, key):
            return jax.random.normal(key, (2, 1), observation.dtype)

    actor = ro.policies.ActionNoise(
        ro.policies.ObservationHistory(
            ro.policies.ActionChunking(ro.policies.SampleActions(Chunks()), 2), 2, 1
        ),
        0.1,
    )
    actions = acted(actor, SEEN.astype(np.float32), KEY)
    assert actions.dtype == np.float32 and np.all(np.isfinite(actions))
    kept = ro.policies.ActionNoise(
        ro.policies.ObservationHistory(
            ro.policies.LinearFeedback(jnp.ones((1, 2))), 2, 1
        ),
        0.1,
    )
    ro.save(tmp_path / "actor.npz", kept)
    assert eqx.tree_equal(ro.load(tmp_path / "actor.npz"), kept)


@pytest.mark.parametrize(
    "make, match",
    [
        (
            lambda: ro.policies.ObservationHistory(count_up, 0, 1),
            "`length` must be at least 1, got 0",
        ),
        (
            lambda: ro.policies.ActionChunking(count_up, 0),
            "`observation_size` must be at least 1",
        ),
        (
            lambda: ro.policies.ActionChunking(count_up, 1, np.nan),
            "`ensemble` must be finite or None",
        ),
        (
            lambda: ro.policies.SampleActions(count_up),
            r"`model` must have `sample\(obs.*got function",
        ),
        (
            lambda: ro.policies.SampleActions(
                ro.policies.ObservationHistory(Coin(), 2, 1)
            ),
            "got ObservationHistory; another",
        ),
        (
            lambda: ro.policies.ActionNoise(count_up, -1.0),
            "`scale` must hold one number",
        ),
        (
            lambda: ro.policies.ActionNoise(count_up, [np.inf]),
            "`scale` must hold one number",
        ),
        (
            lambda: ro.policies.ActionNoise(count_up, [[1.0]]),
            "`scale` must hold one number",
        ),
    ],
)
def test_bad_settings_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize(
    "actor, key, match",
    [
        (
            ro.policies.SampleActions(Coin()),
            None,
            "`key` must be given: SampleActions is stochastic",
        ),
        (
            ro.policies.ActionNoise(Coin(), 1.0),
            None,
            "`key` must be given: ActionNoise is stochastic",
        ),
        (
            ro.policies.ActionChunking(ro.policies.ActionNoise(count_up, 1.0), 1),
            None,
            "`key` must be given: ActionNoise",
        ),
        (
            ro.policies.ActionNoise(lambda o: jnp.array([1]), 1.0),
            KEY,
            "must return real numbers",
        ),
        (
            ro.policies.ActionNoise(Coin(), [1.0, 2.0]),
            KEY,
            r"`scale` must hold one number or \(1,\)",
        ),
        (
            ro.policies.ObservationHistory(Coin(), 2, 3),
            None,
            r"`observation_size` must be .*\(1,\), got 3",
        ),
        (
            ro.policies.ActionChunking(Coin(), 1),
            None,
            r"`model` must return chunks.*got \(1,\)",
        ),
    ],
)
def test_what_cannot_act_is_refused(actor, key, match):
    with pytest.raises(ValueError, match=match):
        acted(actor, SEEN, key)


def test_a_step_without_a_carry_says_how_a_policy_with_a_memory_acts():
    model = ro.policies.LinearFeedback(jnp.array([[1.0, 2.0, 0.5]]))
    policy = ro.policies.PastActions(model, [0.0])
    seen, time = jnp.array([1.0, 1.0]), jnp.asarray(0.0)
    for one in (policy, ro.policies.Clipped(policy, -9.0, 9.0)):
        step: Any = one
        with pytest.raises(ro.RobooptError, match="initial_carry.*act"):
            step(seen)
        carry = ro.policies.initial_carry(one)
        carry, action = ro.policies.act(one, carry, seen, time)
        _, after = ro.policies.act(one, carry, seen, time)
        # −(1 + 2), and then −(1 + 2 − 3 / 2).
        assert [float(action[0]), float(after[0])] == [-3.0, -1.5]
