"""Following a trajectory: the task, tables of references, and tasks that see time."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.arm_track import ArmTrack
from roboopt_envs.tasks import ToolChain, TrackTrajectory

import roboopt as ro
from roboopt import RobooptError
from roboopt.objectives import ShortHorizonBatch, ShortHorizonLoss
from roboopt.policies import PDGravityCompensation, within_limits
from roboopt.rollouts import TwinVectorEnv, collect, signals, twin_rollout

from .urdfs import one_joint

FLAT = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
SLIDE = ToolChain((0,), (False,), (FLAT,), ((0.0, 0.0, 0.0),), (0.0, 0.0, 0.0))
TASK = TrackTrajectory(
    SLIDE, (0.0, 1.0, 2.0), ((0.0,), (1.0,), (0.0,)), (0.5,), (2.0,), tool_scale=0.1
)


def test_value_and_gradient_by_hand():
    # The errors are 3 − 2.9 = 0.1 m and 1 − 2 = −1 m/s, and the tool's is the joint's:
    # c = (0.1/0.5)² + (1/2)² + (0.1/0.1)² = 0.04 + 0.25 + 1, with the derivatives
    # 2·0.1/0.25 + 2·0.1/0.01 = 20.8 by q and −2·1/4 = −0.5 by q̇.
    observation = jnp.array([3.0, 1.0, 2.9, 2.0, 7.0])
    value, slope = jax.jit(jax.value_and_grad(TASK.cost_rate))(
        observation, jnp.zeros(1)
    )
    np.testing.assert_allclose(value, 1.29, rtol=1e-12)
    np.testing.assert_allclose(slope, [20.8, -0.5, -20.8, 0.5, 0.0], rtol=1e-12)
    one = TASK.cost_rate(np.asarray(observation), np.zeros(1))
    np.testing.assert_allclose(one, value, rtol=1e-15)


def test_the_reference_is_a_spline_at_rest_at_both_ends():
    # By symmetry the velocity is 0 at 1 s, too: each half is 3 s² − 2 s³, whose
    # velocity at 0.5 s is 1.5 and whose acceleration at 0.25 s is 6 − 12/4 = 3.
    found = TASK.reference(np.array([-1.0, 0.25, 0.5, 1.0, 3.0]))
    np.testing.assert_allclose(found[:, 0], [0, 0.15625, 0.5, 1.0, 0], atol=1e-12)
    np.testing.assert_allclose(found[:, 1], [0, 1.125, 1.5, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found[[0, 1, 4], 2], [0, 3.0, 0], atol=1e-12)


def test_success_and_tool_error_by_hand():
    # The tool is 5 cm off for 1 s and then 1 cm: √((100·0.05² + 101·0.01²)/201).
    error = np.where(np.arange(201) < 100, 0.05, 0.01)
    seen = np.zeros((201, 5))
    seen[:, 0] = error
    rms = np.sqrt((100 * 0.05**2 + 101 * 0.01**2) / 201)
    np.testing.assert_allclose(TASK.tool_error(seen), rms, rtol=1e-12)
    assert TASK.success(seen, 0.01) and not TASK.success(1.01 * seen, 0.01)


@pytest.mark.parametrize("change", [{"times": (0.0, 1.0)}, {"times": (0.0, 2.0, 1.0)}])
def test_wrong_samples_are_refused(change):
    with pytest.raises(RobooptError, match="`times`|`positions`"):
        TrackTrajectory(SLIDE, **{"times": (0.0, 1.0, 2.0), **change}, **REST)
    with pytest.raises(RobooptError, match="`observation`"):
        TASK.cost_rate(np.zeros(3), np.zeros(1))


REST = {
    "positions": ((0.0,), (1.0,), (0.0,)),
    "position_scale": (1.0,),
    "speed_scale": (1.0,),
}


def circle(count=31):
    t = np.linspace(0.0, 0.5, count)
    u = 2 * np.pi * (t / 0.5) ** 3 * (10 - 15 * (t / 0.5) + 6 * (t / 0.5) ** 2)
    return {"time": t, "x": 0.45 + 0.1 * np.cos(u), "z": 0.9 + 0.1 * np.sin(u)}


def test_a_path_of_the_tool_is_followed_through_its_samples():
    path = circle()
    env = ArmTrack(reference=path)
    assert env.horizon == 120 and env.reference is not None
    q = env.task.reference(path["time"])[:, :2]
    place = env.task.chain.position(q)
    np.testing.assert_allclose(place[:, 0], path["x"], atol=1e-6)
    np.testing.assert_allclose(place[:, 2], path["z"], atol=1e-6)
    assert np.abs(np.diff(q, axis=0)).max() < 0.2  # no jump to another solution


def test_a_file_has_the_columns_in_any_order_and_units(tmp_path):
    path = tmp_path / "path.csv"
    rows = ["elbow [deg],time [ms],shoulder", "0,0,0", "90,500,0.1"]
    path.write_text("\n".join(rows) + "\n")
    env = ArmTrack(reference=str(path))
    assert env.horizon == 120 and env.reference is not None
    np.testing.assert_allclose(env.reference[-1, :4], [0.1, np.pi / 2, 0, 0], atol=1e-9)


WRONG = {
    "no time": {"x": [0.0, 1.0]},
    "another column": {"time": [0.0, 1.0], "wrist": [0.0, 1.0]},
    "another length": {"time": [0.0, 1.0], "x": [0.0]},
    "time goes back": {"time": [1.0, 0.0], "x": [0.4, 0.4]},
    "no number": {"time": [0.0, 1.0], "x": ["a", "b"]},
    "another unit": {"time": [0.0, 1.0], "x [ft]": [1.0, 1.0]},
    "out of reach": {"time": [0.0, 1.0], "x": [0.4, 0.8]},
    "a column twice": {"time": [0.0, 1.0], "x": [0.4, 0.4], "x [mm]": [400, 400]},
    "a time in degrees": {"time [deg]": [0.0, 1.0], "x": [0.4, 0.4]},
    "a place in degrees": {"time": [0.0, 1.0], "x [deg]": [0.4, 0.4]},
    "an angle in mm": {"time": [0.0, 1.0], "shoulder [mm]": [0, 9], "elbow": [0, 0]},
    "no file": "nowhere.csv",
}


@pytest.mark.parametrize("reference", WRONG.values(), ids=WRONG)
def test_a_wrong_reference_is_refused(reference):
    with pytest.raises(RobooptError, match="`reference`"):
        ArmTrack(reference=reference)


def test_joints_that_leave_their_limits_are_refused(write):
    reference = {"time": [0.0, 1.0, 2.0], "hinge [deg]": [0.0, 60.0, 0.0]}
    with pytest.raises(RobooptError, match=r"limits, .* of hinge, got 1.0472 rad at 1"):
        ArmTrack(write(one_joint()), reference)


@pytest.mark.parametrize("period, steps", [(1 / 240, 720), (1 / 60, 180)])
def test_environment_and_twin_agree_over_three_seconds(period, steps):
    env: Any = gymnasium.make("roboopt/ArmTrack-v0", control_period=period).unwrapped
    rollout, starts = twin_rollout(env).require(), env.sample_starts(2, seed=0)
    gains = {"stiffness": np.array([60.0, 20.0]), "damping": np.array([3.0, 0.5])}
    policy = PDGravityCompensation(rollout.dynamics.robot, **gains)
    policy = within_limits(policy, env.action_space)
    pybullet: Any = collect(env, policy, starts=starts)
    twin: Any = rollout(policy, starts)
    assert pybullet.actions.shape == (2, steps, 2) and env.reference.shape == (721, 6)
    np.testing.assert_allclose(twin.observations, pybullet.observations, atol=1e-9)
    np.testing.assert_allclose(twin.rewards, pybullet.rewards, atol=1e-9)
    seen = env.reference[:: 720 // steps]
    np.testing.assert_array_equal(twin.observations[0, :, 4:], seen)
    np.testing.assert_array_equal(pybullet.observations[0, :, 4:], seen)
    names = [signal.name for signal in signals(env).observations]
    assert names[4:6] == ["shoulder: reference", "elbow: reference"]
    assert signals(env).observations[-1].unit == "rad/s²"


@dataclass(frozen=True)
class Late:
    """Costs nothing but the time."""

    def cost_rate(self, observation, action, time):
        return time + 0 * observation[..., 0]

    def success(self, observations, time_step):
        return observations[..., -1, 0] < 9


def test_a_task_sees_the_time_of_the_observation_everywhere():
    # Σ_k (k + 1) Δt · Δt over 24 steps of 1/240 s is 300/240².
    path = "examples/furuta/furuta.urdf"
    options = {"robot": path, "task": Late(), "duration": 0.1}
    env: Any = gymnasium.make("roboopt/RobotTask-v0", **options).unwrapped
    policy = ro.policies.LinearFeedback(np.zeros((1, 4)))
    starts, cost = env.sample_starts(1, seed=0), 300 / 240**2
    made = collect(env, policy, starts=starts)
    rollout = twin_rollout(env).require()
    objective = ro.EnergyTaskCost(rollout, env.task, env.actuators)
    runs: list[Any] = [made, rollout(policy, starts)]
    each = [-run.rewards.sum() for run in runs]
    each += [objective(policy, starts), objective.measure(made)["task_cost"].value]
    np.testing.assert_allclose(each, cost, rtol=1e-12)
    envs = TwinVectorEnv(rollout, starts, 1)
    envs.begin(0)
    steps, _ = envs.collect(policy, jax.random.key(0), 30)
    times = np.concatenate([np.arange(1, 25), np.arange(1, 7)]) / 240
    np.testing.assert_allclose(steps.rewards[:, 0], -times / 240, rtol=1e-12)


class Still(eqx.Module):
    """An agent that does nothing and expects nothing."""

    action: Any

    def __call__(self, observation):
        return self.action

    def value(self, observation):
        return 0.0 * observation[0]


def test_a_window_of_a_short_horizon_begins_at_its_time():
    # With 4 of 24 steps left, steps 21 to 24 are paid: (21 + 22 + 23 + 24)/240².
    options = {"robot": "examples/furuta/furuta.urdf", "task": Late(), "duration": 0.1}
    env: Any = gymnasium.make("roboopt/RobotTask-v0", **options).unwrapped
    rollout = twin_rollout(env).require()
    start = jnp.asarray(env.sample_starts(1, seed=0))
    targets = start[None], jnp.zeros((1, 1)), jnp.ones(1)
    batch = ShortHorizonBatch(start, jnp.array([4]), None, *targets)
    terms = ShortHorizonLoss(rollout, 8, 1.0).terms(Still(jnp.zeros(1)), batch)
    np.testing.assert_allclose(terms["negative_reward"].value, 90 / 240**2, rtol=1e-9)
