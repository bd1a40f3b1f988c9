"""A small objective of a policy's rollout."""

from typing import Any

import jax.numpy as jnp
import pytest

import roboopt as ro
from roboopt.policies import LinearFeedback
from roboopt.rollouts import Rollout, twin_rollout


@pytest.fixture(scope="session")
def cart_pole_problem():
    """Return an `EnergyTaskCost`, a policy and starts."""
    gymnasium = pytest.importorskip("gymnasium")
    pytest.importorskip("pybullet")
    import roboopt_envs  # noqa: F401

    env = gymnasium.make("roboopt/CartPoleBalance-v0")
    inner: Any = env.unwrapped
    rollout = Rollout(twin_rollout(env).require().dynamics, 60)
    objective = ro.EnergyTaskCost(
        rollout, inner.task, inner.actuators, work_weight=0.1, joule_weight=0.2
    )
    starts = jnp.array([[0.1, 0.05, 0.0, 0.0], [-0.2, -0.1, 0.1, 0.2]])
    env.close()
    return objective, LinearFeedback(jnp.array([[-2.0, -40.0, -4.0, -10.0]])), starts
