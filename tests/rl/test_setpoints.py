"""Learning where an action is a setpoint or a duty at a rate of its own."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import roboopt_envs  # noqa: F401

import roboopt as ro

MOTOR = {
    "resistance": 2.0,
    "torque_constant": 0.02,
    "gear_ratio": (150.0, 120.0),
    "supply_voltage": 12.0,
}
SERVO = {**MOTOR, "position_gain": 40.0, "velocity_gain": 4.0}
LAGGING = {**SERVO, "lag": 0.02, "delay": 1 / 60}
ARM = "roboopt/ArmReach-v0"


def options(interface, drive, **more: Any):
    return {"interface": interface, "drive": drive, "control_period": 1 / 60, **more}


def twin_gap(found, settings):
    """Return how far the twin is from the environment in what the policy did there."""
    env = gymnasium.make(ARM, **settings)
    twin = ro.rollouts.twin_rollout(env).require()
    assert found.evaluation is not None
    (episode, *_) = found.evaluation.trajectories.episodes()
    alike = twin(found.policy, episode.observations[:1])
    return np.abs(np.asarray(alike.observations[0] - episode.observations)).max()


@pytest.mark.slow
@pytest.mark.parametrize(
    "interface, drive", [("position", LAGGING), ("velocity", SERVO)]
)
def test_the_gradient_through_a_servo_shapes_its_setpoints(interface, drive):
    settings = options(interface, drive)
    found = ro.reinforce(
        ARM, options=settings, gradient="analytic", timesteps=60_000, episodes=5
    )
    assert interface in found.choice["policy"]
    assert found.evaluation is not None and found.start_evaluation is not None
    before, after = found.start_evaluation.mean_return, found.evaluation.mean_return
    assert after.value > 0.8 * before.value  # The returns are negative.
    assert twin_gap(found, settings) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize(
    "interface, drive", [("position", LAGGING), ("velocity", LAGGING), ("duty", MOTOR)]
)
def test_ppo_acts_at_its_rate_on_the_robot_that_was_named(interface, drive):
    settings = options(interface, drive)
    found = ro.reinforce(
        ARM,
        options=settings,
        algorithm="ppo",
        timesteps=4096,
        envs=4,
        episodes=2,
        width=8,
        depth=1,
    )
    assert found.algorithm == "PPO"
    assert found.env is not None and found.env.options["interface"] == interface
    assert twin_gap(found, settings) < 1e-9


def test_setpoints_that_are_rescaled_start_from_a_network():
    def make():
        env = gymnasium.make(ARM, **options("position", SERVO), max_episode_steps=30)
        return gymnasium.wrappers.RescaleAction(env, np.float64(-1), np.float64(1))

    small: Any = {"timesteps": 128, "envs": 1, "episodes": 0, "width": 4, "depth": 1}
    found = ro.reinforce(make, **small)
    assert "fresh" in found.choice["policy"]


def test_pd_control_is_for_torques():
    with pytest.raises(ro.RobooptError, match="'pd' is for arms with a torque"):
        ro.reinforce(ARM, policy="pd", options=options("position", SERVO))


@pytest.mark.slow
def test_a_clone_commands_positions_as_its_demonstrator_did():
    settings = options("position", LAGGING)
    env = gymnasium.make(ARM, **settings)
    robot = ro.rollouts.twin_rollout(env).require().dynamics.robot
    expert = ro.policies.SetpointShaping(robot, lead=0.1, damping=0.05)
    demonstrations = ro.rollouts.collect(env, expert, episodes=6, seed=1)
    found = ro.clone(
        demonstrations,
        env=ro.rollouts.EnvSpec(ARM, settings),
        demonstrator=expert,
        steps=100,
        episodes=3,
    )
    # Such setpoints are linear in the observation, and the clone finds that out.
    assert found.errors["clone"] < 1e-6
    clone, own = found.evaluations["clone"], found.evaluations["demonstrator"]
    np.testing.assert_allclose(clone.returns, own.returns, rtol=1e-6)
