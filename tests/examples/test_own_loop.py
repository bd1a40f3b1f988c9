"""What the README says of somebody else's training loop: a function of parameters."""

import jax
import jax.numpy as jnp
import optax
from roboopt_envs.cart_pole import CartPoleBalance

import roboopt as ro


def apply(params, observation):
    hidden = jnp.tanh(params["in"] @ observation)
    return params["out"] @ hidden


def test_plain_optax_trains_a_plain_function_on_an_objective():
    env = CartPoleBalance(duration=0.25)
    objective = ro.EnergyTaskCost(
        ro.Rollout(ro.Twin.from_env(env), env.horizon),
        env.task,
        env.actuators,
        work_weight=0.01,
    )
    keys = jax.random.split(jax.random.key(0))
    params = {
        "in": jax.random.normal(keys[0], (8, 4)),
        "out": 0.1 * jax.random.normal(keys[1], (1, 8)),
    }
    optimizer = optax.adam(3e-2)
    state = optimizer.init(params)
    starts = jnp.asarray(env.sample_starts(4, seed=0))

    @jax.jit
    def train_step(params, state):
        policy = jax.tree_util.Partial(apply, params)
        loss, grads = jax.value_and_grad(objective)(policy, starts)
        updates, state = optimizer.update(grads.args[0], state)
        return optax.apply_updates(params, updates), state, loss

    losses = []
    for _ in range(60):
        params, state, loss = train_step(params, state)
        losses.append(float(loss))
    assert losses[-1] < 0.8 * losses[0]
    env.close()
