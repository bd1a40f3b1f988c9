"""A mass on a line whose action is its velocity, and agents that push it."""

import equinox as eqx
import jax
import jax.numpy as jnp

import roboopt as ro


class Line:
    """Steps of 0.5 s; an action beyond ±1 m/s is held there."""

    time_step, joints, action_size = 0.5, 1, 1

    def __call__(self, state, action):
        return jnp.stack([state[0] + 0.5 * action[0], action[0]])

    def clip(self, action):
        return jnp.clip(action, -1.0, 1.0)

    def effort(self, action):
        return action


class Far:
    """The cost rate is the distance from 0; it succeeds if that never was above 2."""

    def cost_rate(self, observation, action):
        return abs(observation[..., 0])

    def success(self, observations, time_step):
        return (abs(observations[..., 0]) <= 2.0).all(-1)


class Steady(eqx.Module):
    """An agent without chance, which expects `worth` for each meter."""

    k: jax.Array
    worth: jax.Array

    def __call__(self, observation):
        return self.k * jnp.ones_like(observation[:1])

    def value(self, observation):
        return self.worth * observation[0]


class Wavering(Steady):
    """Draws what it does, and executes twice that."""

    def sample(self, observation, key):
        return self.execute(self.draw(observation, key))

    def draw(self, observation, key):
        noise = jax.random.normal(key, (1,), observation.dtype)
        return self.k + 0.1 * noise

    def execute(self, drawn):
        return 2 * drawn

    def entropy(self, observation):
        return 0.0 * observation[0] + 1.5


def line(horizon=3, reward=None):
    """Return rollouts along the line."""
    return ro.Rollout(Line(), horizon, Far() if reward is None else reward)
