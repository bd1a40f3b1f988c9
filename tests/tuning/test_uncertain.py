"""Robots drawn at random: in the rollout, and alike in the environment and the twin."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import roboopt_envs  # noqa: F401  registers the environments

import roboopt as ro
from roboopt import RobooptError
from roboopt.dynamics import Randomized, Twin
from roboopt.policies import PDGravityCompensation
from roboopt.rollouts import collect, twin_rollout
from roboopt.tuning import TuningProblem
from roboopt.tuning._uncertain import behind, run_alike, uncertain

SHARE = 0.2


@pytest.fixture(scope="module")
def env() -> Any:
    options: Any = {"randomize": SHARE, "duration": 0.2, "control_period": 1 / 120}
    made = gymnasium.make("roboopt/ArmTrack-v0", **options)
    yield made
    made.close()


def controller(rollout):
    gains = np.array([40.0, 10.0]), np.array([2.0, 0.3])
    return PDGravityCompensation(rollout.dynamics.robot, *gains)


def test_environment_and_twin_draw_the_same_robots(env):
    nominal = twin_rollout(env).require()
    rollout, words = uncertain(env, nominal, (0.0, 0.02), 1e-3, 5)
    assert "±20%" in words and "0 to 20 ms" in words and "0.001" in words
    policy = behind(rollout, controller(nominal))
    starts = env.unwrapped.sample_starts(3, seed=0)
    pybullet: Any = collect(env, policy, starts=starts, seed=5)
    twin: Any = run_alike(env, rollout, policy, starts, 5)
    np.testing.assert_allclose(twin.observations, pybullet.observations, atol=1e-9)
    np.testing.assert_allclose(twin.efforts, pybullet.efforts, atol=1e-9)
    known: Any = nominal(policy, starts, jax.random.key(5))
    assert np.abs(known.observations - twin.observations).max() > 1e-4


def test_a_rollout_draws_a_robot_for_each_start(env):
    nominal = twin_rollout(env).require()
    rollout, _ = uncertain(env, nominal, 0.0, 0.0, 0)
    policy, start = controller(nominal), env.unwrapped.sample_starts(1, seed=0)
    made: Any = rollout(policy, np.repeat(start, 3, 0))
    apart = np.ptp(np.asarray(made.observations)[:, -1, :2], axis=0)
    assert (apart > 1e-4).all()
    again: Any = rollout(policy, np.repeat(start, 3, 0))
    np.testing.assert_array_equal(again.observations, made.observations)
    task, motors = env.unwrapped.task, env.unwrapped.actuators
    objective = ro.EnergyTaskCost(rollout, task, motors)
    value = objective(policy, np.repeat(start, 3, 0))
    np.testing.assert_allclose(value, -made.rewards.sum(1).mean(), rtol=1e-12)
    random = Randomized(nominal.dynamics.origin, mass=0.5)
    with pytest.raises(RobooptError, match="`key`.*Randomized"):
        ro.Rollout(random, 3)(policy, start)


def test_draws_are_within_their_shares(env):
    twin = twin_rollout(env).require().dynamics.origin
    random = Randomized(twin, mass=0.3, damping=0.1)
    drawn = [random.draw(key).robot for key in jax.random.split(jax.random.key(0), 20)]
    masses = np.array([robot.masses / twin.robot.masses for robot in drawn])
    inertias = np.array([robot.inertias / twin.robot.inertias for robot in drawn])
    assert np.abs(masses - 1).max() <= 0.3 and np.ptp(masses) > 0.4
    np.testing.assert_allclose(inertias[:, :, 1, 1], masses, rtol=1e-12)
    dampings = np.array([robot.damping / twin.robot.damping for robot in drawn])
    assert np.abs(dampings - 1).max() <= 0.1
    state, action = jnp.zeros(4), jnp.ones(2)
    np.testing.assert_array_equal(random(state, action), twin(state, action))
    for wrong in ({"mass": 1.0}, {"delay": -1.0}, {"noise": -1.0}):
        with pytest.raises(RobooptError, match=next(iter(wrong))):
            Randomized(**{"twin": twin, **wrong})


@pytest.mark.slow
def test_tuning_draws_robots_where_the_environment_does():
    problem = TuningProblem.of(
        "arm", options={"randomize": 0.1}, delay=0.01, starts=1, duration=0.05
    )
    assert problem.notes["drawn for each start"].endswith("actions 10 ms late")
    assert isinstance(problem.rollout.dynamics.twin, Twin)
    problem.env.close()
