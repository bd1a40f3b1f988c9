"""Recordings of robots that tests learn from."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from bullet_robots import ROBOTS, smooth_efforts

from roboopt.data import Trajectory
from roboopt.dynamics import Twin, load_urdf

TIME_STEP = 1 / 240


def cart_pole() -> Twin:
    """Return a cart-pole whose cart is driven."""
    robot = load_urdf(ROBOTS["cart_pole"])
    return Twin(robot, TIME_STEP, actuated=(0,), effort_limits=10.0)


def record(twin: Twin, *, episodes: int, steps: int, seed: int) -> Trajectory:
    """Return what `twin` does under smooth random efforts, from random states."""
    rng = np.random.default_rng(seed)
    starts = rng.uniform(-1.0, 1.0, (episodes, 2 * twin.joints))
    actions = np.stack(
        [
            smooth_efforts(rng, steps, twin.action_size, 8.0, twin.time_step)
            for _ in range(episodes)
        ]
    )

    def motion(start, efforts):
        def advance(state, action):
            after = twin(state, action)
            return after, after

        after = jax.lax.scan(advance, start, efforts)[1]
        return jnp.concatenate([start[None], after])

    observations = jax.jit(jax.vmap(motion))(starts, actions)
    return Trajectory(np.asarray(observations), actions, twin.time_step)


def one_step_errors(dynamics: Any, runs: Trajectory) -> Any:
    """Return predicted less recorded states, (step, state)."""
    observations = jnp.asarray(runs.observations)
    predicted = jax.vmap(jax.vmap(dynamics))(observations[:, :-1], runs.actions)
    errors = predicted - observations[:, 1:]
    return errors.reshape(-1, errors.shape[-1])


def mean_square(scale: Any) -> Any:
    """Return the objective of one-step errors, each in its `scale`."""

    def objective(dynamics, runs):
        return jnp.mean(jnp.mean(one_step_errors(dynamics, runs) ** 2, 0) / scale**2)

    return objective
