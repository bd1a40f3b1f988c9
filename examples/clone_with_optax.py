"""Clone a rule that balances CartPole-v1: a network and a training loop of your own.

The objective is a function of the policy and a batch, so `jax.value_and_grad` and optax
are all that it takes. A policy of choices says how likely each of them is.
"""

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax

import roboopt as ro

STEPS, BATCH = 1000, 128


def rule(observation: np.ndarray) -> int:
    """Return which way to push: 1 is right."""
    return int(observation @ np.array([0.1, 0.5, 2.0, 1.0]) > 0)


class Policy(NamedTuple):
    """A network of one hidden layer; as a named tuple it is a pytree already."""

    inner: jax.Array
    bias: jax.Array
    outer: jax.Array

    def log_probabilities(self, observation: jax.Array) -> jax.Array:
        """Return the logarithm of how likely each choice is."""
        hidden = jnp.tanh(self.inner @ observation + self.bias)
        return jax.nn.log_softmax(self.outer @ hidden)

    def log_prob(self, observation: jax.Array, action: jax.Array) -> jax.Array:
        """Return that of `action`, which the objective asks for."""
        return self.log_probabilities(observation)[action[0]]

    def __call__(self, observation: jax.Array) -> jax.Array:
        """Return the likeliest choice, which acts in the environment."""
        return jnp.argmax(self.log_probabilities(observation))[None]


def main() -> float:
    """Collect, clone, judge, and return the mean return of the clone."""
    env = gymnasium.make("CartPole-v1")
    demonstrated = ro.rollouts.collect(env, rule, episodes=20, seed=0)
    samples = ro.data.Demonstrations.from_trajectories(demonstrated)
    objective = ro.ActionMismatch(loss=ro.losses.NegativeLogLikelihood())

    keys = jax.random.split(jax.random.key(0))
    policy = Policy(
        inner=jax.random.normal(keys[0], (32, 4)),
        bias=jnp.zeros(32),
        outer=0.1 * jax.random.normal(keys[1], (2, 32)),
    )
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, STEPS))
    state = optimizer.init(policy)

    @jax.jit
    def train_step(
        policy: Policy, state: optax.OptState, batch: ro.data.Demonstrations
    ) -> tuple[Any, optax.OptState, jax.Array]:
        loss, grads = jax.value_and_grad(objective)(policy, batch)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(policy, updates), state, loss

    rng = np.random.default_rng(0)
    for step in range(STEPS):
        rows = rng.integers(len(samples), size=BATCH)
        batch = jax.tree.map(lambda x, rows=rows: x[rows], samples)
        policy, state, loss = train_step(policy, state, batch)
        if step % 200 == 0:
            print(f"step {step:4d}: {loss:.4f} nat")

    judged = ro.evaluate(env, policy, episodes=20, seed=1)
    print(f"clone of {len(samples)} choices, {judged}")
    env.close()
    return judged.mean_return.value


if __name__ == "__main__":
    main()
