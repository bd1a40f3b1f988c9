"""Worlds of Gymnasium: every way of ending an episode gives the same steps."""

from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import roboopt as ro

KEY = jax.random.key(0)
MODES = list(AutoresetMode)


class Count(gymnasium.Env):
    """Counts from 0; its n-th episode, of n + 2 steps, ends by itself if n is even."""

    observation_space = Box(-100.0, 100.0, (2,), np.float64)
    action_space = Box(-1.0, 1.0, (1,), np.float32)
    made: list[Any] = []

    def __init__(self):
        self.made.append(self)
        self.number, self.given = -1, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number, self.count = self.number + 1, 0
        return self._observation(), {}

    def _observation(self):
        return np.array([self.number, self.count], float)

    def step(self, action):
        self.given.append(action)
        self.count += 1
        over, even = self.count == self.number + 2, self.number % 2 == 0
        info = {"success": even} if over else {}
        reward = 10.0 * self.number + self.count
        return self._observation(), reward, over and even, over and not even, info


class Choose(Count):
    action_space = Discrete(3, start=5)


class ChooseMore(Count):
    action_space = MultiDiscrete([2, 3])


class Twice(eqx.Module):
    """Draws twice the observation's count, and a chance; does half of it."""

    scale: jax.Array

    def draw(self, observation, key):
        chance = jax.random.normal(key, (), observation.dtype)
        return jnp.stack([self.scale * observation[1] + 0 * chance])

    def execute(self, drawn):
        return drawn / 8


class Seven(eqx.Module):
    sizes: int = 1

    def draw(self, observation, key):
        return jnp.arange(self.sizes) + (6 if self.sizes == 1 else 0)

    def execute(self, drawn):
        return drawn


def world(mode, kind=Count, envs=2):
    return ro.rollouts.GymVectorEnv(SyncVectorEnv([kind] * envs, autoreset_mode=mode))


def given(count=2):
    """Return the actions that each of the last environments was given."""
    return [env.given for env in Count.made[-count:]]


@pytest.mark.parametrize("mode", [*MODES, None])
def test_each_way_of_beginning_anew_gives_the_same_episodes(mode):
    made = ro.rollouts.GymVectorEnv(Count, envs=2) if mode is None else world(mode)
    made.begin(0)
    agent, steps, episodes = Twice(jnp.asarray(2.0)), [], []
    # In three parts, so that what an episode has carries over from one to the next.
    for _ in range(3):
        found, ended = made.collect(agent, KEY, 4)
        steps.append(found)
        episodes += ended
    whole = jax.tree.map(lambda *x: np.concatenate(x), *steps)
    assert whole.valid.all() == (mode != AutoresetMode.NEXT_STEP)
    for env in range(2):
        real = whole.valid[:, env]
        o, after = whole.observations[real, env], whole.next_observations[real, env]
        number, count = o.T
        # Episode 0 has two steps, episode 1 three, ...: 12 steps but for the idle ones.
        lengths = [2, 3, 4, 3][: 3 if not real.all() else 4]
        expected = [(n, c) for n, length in enumerate(lengths) for c in range(length)]
        assert list(zip(number, count, strict=True)) == expected[: len(o)]
        # Also at its end, a step leads to what it led to, not to the next beginning.
        np.testing.assert_array_equal(after, o + [0, 1])
        np.testing.assert_array_equal(whole.rewards[real, env], 10 * number + count + 1)
        ended = count + 1 == number + 2
        np.testing.assert_array_equal(whole.ended[real, env], ended)
        over = ended & (number % 2 == 0)
        np.testing.assert_array_equal(whole.terminated[real, env], over)
        np.testing.assert_array_equal(whole.drawn[real, env, 0], 2 * count)
        done = np.ravel(given()[env])
        np.testing.assert_allclose(done, np.minimum(count / 4, 1))
        assert not whole.ended[~real, env].any() and not whole.rewards[~real, env].any()
    # Both alike: 1 + 2 of two steps, 11 + 12 + 13 of three, and 20 · 4 + 10 of four.
    assert [tuple(x) for x in episodes[::2]] == [
        (3.0, 2, True),
        (36.0, 3, False),
        (90.0, 4, True),
    ]


def test_chance_comes_from_the_key():
    made = ro.rollouts.GymVectorEnv("CartPole-v1", envs=3)
    agent = ro.policies.ActorCritic.of(
        made.observation_space, made.action_space, key=KEY, width=4, depth=1
    )
    found = []
    for key in (0, 0, 1):
        made.begin(0)
        found.append(made.collect(agent, jax.random.key(key), 12)[0])
    assert eqx.tree_equal(found[0], found[1])
    assert np.any(found[0].drawn != found[2].drawn)
    # Nor do the environments, or the steps, share it.
    assert np.ptp(found[0].drawn, axis=0).any() and np.ptp(found[0].drawn, axis=1).any()


def test_other_agents_of_the_same_form_are_not_compiled_again():
    traced = []

    class Traced(Twice):
        def draw(self, observation, key):
            traced.append(observation.shape)
            return super().draw(observation, key)

    made = world(AutoresetMode.SAME_STEP)
    made.begin(0)
    made.collect(Traced(jnp.asarray(2.0)), KEY, 1)
    found, _ = made.collect(Traced(jnp.asarray(3.0)), KEY, 1)
    assert len(traced) == 1
    np.testing.assert_array_equal(found.drawn, 3.0)


def test_choices_are_given_as_the_environment_takes_them():
    made = world(AutoresetMode.SAME_STEP, Choose)
    made.begin(0)
    found, _ = made.collect(Seven(), KEY, 2)
    assert found.drawn.shape == (2, 2, 1)
    assert given()[0] == [6, 6]
    made = world(AutoresetMode.SAME_STEP, ChooseMore)
    made.begin(0)
    made.collect(Seven(2), KEY, 1)
    np.testing.assert_array_equal(given()[1], [[0, 1]])


def test_an_environment_is_made_by_its_id_or_by_a_function():
    native = ro.rollouts.GymVectorEnv("CartPole-v1", envs=2)
    inner: Any = native._vector
    inner = inner.vector.unwrapped
    assert type(inner).__name__ == "CartPoleVectorEnv"
    assert native.envs == 2 and native.observation_size == 4
    for made in (
        ro.rollouts.GymVectorEnv("Pendulum-v1", envs=2),
        ro.rollouts.GymVectorEnv(Count, envs=2),
    ):
        made.begin(0)
        found, _ = made.collect(Twice(jnp.asarray(0.0)), KEY, 2)
        assert found.rewards.shape == (2, 2)
        made.close()


class Broken(Count):
    def step(self, action):
        return np.array([np.nan, 0.0]), 0.0, False, False, {}


class Lost(eqx.Module):
    def draw(self, observation, key):
        return jnp.full(1, jnp.nan)

    def execute(self, drawn):
        return drawn


def test_what_is_not_finite_is_refused():
    made = world(AutoresetMode.SAME_STEP, Broken)
    made.begin(0)
    with pytest.raises(ValueError, match="`env` must return finite"):
        made.collect(Twice(jnp.asarray(0.0)), KEY, 1)
    made = world(AutoresetMode.SAME_STEP)
    with pytest.raises(ValueError, match="`begin` must be called"):
        made.collect(Lost(), KEY, 1)
    made.begin(0)
    with pytest.raises(ValueError, match="`agent` must return finite actions"):
        made.collect(Lost(), KEY, 1)


def test_after_a_failure_or_the_end_all_begin_anew():
    class Raising(Count):
        def step(self, action):
            if self.count == 1:
                raise OSError("it fell over")
            return super().step(action)

    made = ro.rollouts.GymVectorEnv(Raising, envs=2)
    made.begin(0)
    agent = Twice(jnp.asarray(0.0))
    made.collect(agent, KEY, 1)
    with pytest.raises(ro.rollouts.EnvError, match="environment 0 .* it fell over.* 1"):
        made.collect(agent, KEY, 1)
    with pytest.raises(ValueError, match="`begin` must be called"):
        made.collect(agent, KEY, 1)
    made.begin(0)
    np.testing.assert_array_equal(made.collect(agent, KEY, 1)[0].rewards, 1.0)
    made.close()
    with pytest.raises(ValueError, match="`begin` must be called"):
        made.collect(agent, KEY, 1)
    with pytest.raises(ValueError, match="`close` was called"):
        made.begin(0)


class Seeing(Count):
    observation_space = Box(0, 255, (4, 4, 3), np.uint8)


class Telling(Count):
    observation_space = Dict({"a": Box(-1, 1)})


class Acting(Count):
    action_space = Box(-1, 1, (2, 2))


@pytest.mark.parametrize(
    "env, settings, match",
    [
        (Seeing, {}, "FlattenObservation"),
        (Telling, {}, "FlattenObservation"),
        (Acting, {}, "TransformAction"),
        (Count, {"envs": 0}, "`envs` must be at least 1"),
        (Count, {"processes": -1}, "`processes` must be at least 0"),
        (3, {}, "`make` must be a Gymnasium id"),
    ],
)
def test_bad_worlds_are_refused(env, settings, match):
    with pytest.raises(ValueError, match=match):
        ro.rollouts.GymVectorEnv(env, **settings)
