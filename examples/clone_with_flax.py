"""Clone a controller that balances a cart-pole with a network and a trainer of flax's.

What is cloned pushes with up to 10 N and is cut off there: the objective is told.
"""

from typing import Any

import flax.linen as nn
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import roboopt_envs  # noqa: F401  (registers the environments)
from flax.training.train_state import TrainState

import roboopt as ro

STEPS, BATCH = 1000, 128


class Network(nn.Module):
    """Two hidden layers, from the state over its scales to a force [N]."""

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Return the force."""
        x = observation / jnp.array([0.1, 0.1, 0.3, 0.5])
        for _ in range(2):
            x = nn.tanh(nn.Dense(32)(x))
        return 10.0 * nn.Dense(1)(x)


def main() -> float:
    """Collect, clone, judge, and return the fraction of episodes balanced."""
    env: Any = gymnasium.make("roboopt/CartPoleBalance-v0")
    controller = ro.policies.LinearFeedback(jnp.array([[-4.0, -60.0, -6.0, -12.0]]))
    demonstrated = ro.rollouts.collect(env, controller, episodes=10, seed=0)
    limit = env.unwrapped.effort_limits
    samples = ro.data.Demonstrations.from_trajectories(
        demonstrated, low=-limit, high=limit
    )
    objective = ro.ActionMismatch(scale=5.0)  # [N]

    network = Network()
    start = TrainState.create(
        apply_fn=network.apply,
        params=network.init(jax.random.key(0), samples.observations[0]),
        tx=optax.adam(optax.cosine_decay_schedule(3e-3, STEPS)),
    )

    def policy(params: Any) -> jax.tree_util.Partial:
        """Return the network as a policy, a pytree of its parameters."""
        return jax.tree_util.Partial(network.apply, params)

    @jax.jit
    def train_step(
        state: TrainState, batch: ro.data.Demonstrations
    ) -> tuple[TrainState, jax.Array]:
        loss, grads = jax.value_and_grad(
            lambda params: objective(policy(params), batch)
        )(state.params)
        return state.apply_gradients(grads=grads), loss

    rng, state = np.random.default_rng(0), start
    for step in range(STEPS):
        rows = rng.integers(len(samples), size=BATCH)
        batch = jax.tree.map(lambda x, rows=rows: x[rows], samples)
        state, loss = train_step(state, batch)
        if step % 200 == 0:
            print(f"step {step:4d}: {loss:.5f}")

    judged = ro.evaluate(env, policy(state.params), episodes=20, seed=1)
    print(f"clone of {len(samples)} actions, {judged}")
    env.close()
    assert judged.success_rate is not None
    return judged.success_rate.value


if __name__ == "__main__":
    main()
