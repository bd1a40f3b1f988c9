"""What the README says of somebody else's training loop: a function of parameters."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from roboopt_envs.cart_pole import CartPoleBalance

import roboopt as ro
from roboopt.optimize import trainable_mask

URDF = Path(__file__).parents[2] / "examples/double_pendulum/double_pendulum.urdf"


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


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adamw(0.1, weight_decay=0.1),
        optax.lion(0.1, weight_decay=0.1),
        optax.lamb(0.1, weight_decay=0.1),
        optax.chain(optax.add_noise(0.1, 0.55, key=0), optax.sgd(0.1)),
    ],
    ids=["adamw", "lion", "lamb", "add_noise"],
)
def test_a_given_robot_stays_to_the_bit_under_decay_and_noise(optimizer):
    robot = ro.load_urdf(URDF)
    policy = ro.policies.PDGravityCompensation(robot, 2 * jnp.ones(2), 3 * jnp.ones(2))
    seen = np.random.default_rng(0).normal(size=(16, 6))
    batch = ro.data.Demonstrations(seen, seen[:, :2])
    objective = ro.ActionMismatch(scale=(1.0, 1.0))
    mask = trainable_mask(policy)
    params, given = eqx.partition(policy, mask)
    masked = optax.masked(optimizer, mask)
    model: Any = policy
    state, whole = optimizer.init(params), masked.init(model)

    @eqx.filter_jit
    def steps(params, state, model, whole):
        grads = eqx.filter_grad(lambda p: objective(eqx.combine(p, given), batch))
        updates, state = optimizer.update(grads(params), state, params)
        params = eqx.apply_updates(params, updates)
        slope: Any = eqx.filter_grad(objective)(model, batch)
        updates, whole = masked.update(slope, whole, model)
        return params, state, eqx.apply_updates(model, updates), whole

    for _ in range(3):
        params, state, model, whole = steps(params, state, model, whole)
    for after in (eqx.combine(params, given), model):
        jax.tree.map(np.testing.assert_array_equal, after.robot, policy.robot)
        (gains, before) = (
            jax.tree.leaves(eqx.filter(x, mask)) for x in (after, policy)
        )
        assert all((a != b).all() for a, b in zip(gains, before, strict=True))
