"""A Furuta pendulum with a task of ten lines: the passive joint stays passive."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.robot import RobotTask

import roboopt as ro
from roboopt import RobooptError

FURUTA = """<robot name="furuta">
<link name="base"/>
<link name="arm"><inertial><origin xyz="0.1 0 0"/><mass value="0.2"/>
  <inertia ixx="1e-4" iyy="7e-4" izz="7e-4"/></inertial></link>
<link name="pole"><inertial><origin xyz="0 0 0.15"/><mass value="0.1"/>
  <inertia ixx="8e-4" iyy="8e-4" izz="1e-5"/></inertial></link>
<joint name="turn" type="continuous"><origin xyz="0 0 0.3"/><parent link="base"/>
  <child link="arm"/><axis xyz="0 0 1"/><limit effort="2"/>
  <dynamics damping="0.01"/></joint>
<joint name="swing" type="continuous"><origin xyz="0.2 0 0"/><parent link="arm"/>
  <child link="pole"/><axis xyz="1 0 0"/><limit effort="0"/></joint>
</robot>"""


@dataclass(frozen=True)
class Upright:
    """Keep every joint at 0."""

    def cost_rate(self, observation, action):
        return (observation**2).sum(-1) + 0.1 * (action**2).sum(-1)

    def success(self, observations, time_step):
        return (abs(observations[..., -48:, 1]) < 0.05).all(-1)


@pytest.fixture
def env(write):
    made = RobotTask(write(FURUTA), Upright(), start_half_width=0.05)
    yield made
    made.close()


def test_only_the_motor_drives(env):
    assert env.joint_names == ("turn", "swing") and env.actuated == (0,)
    np.testing.assert_array_equal(env.effort_limits, [2.0])
    assert (np.abs(env.sample_starts(50, seed=0)) <= 0.05).all()
    observation, _ = env.reset(seed=0)
    twin = ro.Twin.from_env(env)
    for step in range(100):
        action = np.array([0.5 * np.sin(0.1 * step)])
        expected = twin(jnp.asarray(observation), jnp.asarray(action))
        observation, *_, info = env.step(action)
        np.testing.assert_allclose(observation, expected, atol=1e-12)
        np.testing.assert_array_equal(info["effort"], [*action, 0.0])


def test_the_pendulum_balances_by_the_regulator_of_its_twin(env):
    from scipy.linalg import solve_discrete_are

    twin = ro.Twin.from_env(env)
    a, b = map(np.asarray, ro.dynamics.linearize(twin, jnp.zeros(4), jnp.zeros(1)))
    cost = solve_discrete_are(a, b, np.eye(4), np.eye(1))
    gain = np.linalg.solve(np.eye(1) + b.T @ cost @ b, b.T @ cost @ a)
    observation, _ = env.reset(seed=1)
    truncated, info = False, {}
    while not truncated:
        action = np.clip(-gain @ observation, -env.effort_limits, env.effort_limits)
        observation, _, _, truncated, info = env.step(action)
    assert info["is_success"]


def test_bad_starts_are_refused(write):
    with pytest.raises(
        RobooptError, match="`start` must be one finite number or hold q"
    ):
        RobotTask(write(FURUTA), Upright(), start=[0.0, 0.0])
    with pytest.raises(RobooptError, match="`start_half_width` must be one finite"):
        RobotTask(write(FURUTA), Upright(), start_half_width=[0.1, np.nan, 0, 0])
