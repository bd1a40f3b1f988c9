"""Tracking: the formula by hand, stability of the gains, and a robot that follows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dynamics.hand_robots import write_pendulum
from roboopt_envs.arm import ArmReach

import roboopt as ro
from roboopt.policies import (
    FourierReference,
    TimeVaryingPolicy,
    TrackingController,
    act,
)


@pytest.fixture(scope="module")
def two_link():
    env = ArmReach("two-link", duration=2.0)
    yield env, ro.Twin.from_env(env)
    env.close()


def test_effort_by_hand(tmp_path):
    # The pendulum has M = 0.6 kg·m² and positive q lowers it: gravity's effort is
    # −2·9.81·0.5·cos q = −9.81 N·m at q = 0. At
    # (q_d, q̇_d, q̈_d) = (0, 2, 3), with K_p = 10 and K_d = 4, on q = 0.1 and q̇ = 1.5:
    # 0.6·3 − 9.81 + 0.7·2 + 10·(−0.1) + 4·0.5 = −5.61 N·m, of which 1.4 is damping.
    path = write_pendulum(tmp_path / "p.urdf", more='<dynamics damping="0.7"/>')
    robot = ro.load_urdf(path, linear_damping=0.0, angular_damping=0.0)

    def reference(time):
        return 0.0 * time[None], 2.0 + 0.0 * time[None], 3.0 + 0.0 * time[None]

    controller = TrackingController(robot, reference, np.array([10.0]), np.array([4.0]))
    _, effort = act(controller, None, jnp.array([0.1, 1.5, 9.0]), jnp.asarray(1.0))
    gravity = float(robot.gravity_effort(jnp.zeros(1))[0])
    assert gravity == pytest.approx(-9.81, abs=0.01)
    assert float(effort[0]) == pytest.approx(
        0.6 * 3 + gravity + 1.4 - 1.0 + 2.0, rel=1e-12
    )


@pytest.mark.parametrize("name", ["two-link", "iiwa"])
@pytest.mark.slow
def test_gains_keep_to_the_bound_of_stability(name):
    env = ArmReach(name)
    robot = ro.Twin.from_env(env).robot
    step = env.time_step
    motion = FourierReference.random(robot, 3.0, 3, jax.random.key(0))
    controller = TrackingController.from_limits(
        robot, motion, env.effort_limits, step, implicit_damping=True
    )
    for time in np.linspace(0, 3, 50, endpoint=False):
        # The joints' own damping acts on the velocity after a step, as inertia would.
        matrix = robot.mass_matrix(motion(time)[0]) + step * jnp.diag(robot.damping)
        speed = jnp.linalg.solve(matrix, jnp.diag(controller.damping))
        turn = jnp.linalg.solve(matrix, jnp.diag(controller.stiffness))
        assert jnp.abs(jnp.linalg.eigvals(speed)).max() * step < 2
        # To rounding, as the bound may be met.
        assert jnp.abs(jnp.linalg.eigvals(turn)).max() * step**2 <= 0.2**2 + 1e-12
    env.close()


def test_the_twin_and_bullet_follow_alike(two_link):
    env, twin = two_link
    motion = FourierReference.random(twin.robot, 2.0, 3, jax.random.key(0))
    controller = TrackingController.from_limits(
        twin.robot, motion, env.effort_limits, env.time_step
    )
    assert isinstance(controller, TimeVaryingPolicy)
    first = np.asarray(motion(0.0)[0])
    starts = np.concatenate([first, 0 * first, first])[None]
    simulated = ro.Rollout(twin, env.horizon)(controller, starts)
    recorded = ro.rollouts.collect(env, controller, starts=starts, seed=0)
    np.testing.assert_allclose(simulated.observations, recorded.observations, atol=1e-8)
    times = jnp.arange(env.horizon + 1) * env.time_step
    wanted = jax.jit(jax.vmap(motion))(times)[0]
    # Of 1 rad each way; the feedback makes up for the damping and the steps.
    assert np.abs(recorded.observations[0, :, :2] - wanted).max() < 0.05


def test_neither_robot_nor_motion_has_a_gradient(two_link):
    env, twin = two_link
    motion = FourierReference.random(twin.robot, 2.0, 3, jax.random.key(0))
    controller = TrackingController(twin.robot, motion, np.ones(2), np.ones(2))
    gradient = jax.jit(
        jax.grad(lambda c: c(jnp.arange(6.0), 0.3).sum(), allow_int=True)
    )(controller)
    assert (gradient.log_stiffness != 0).all()
    frozen = jax.tree.leaves((gradient.robot, gradient.reference))
    assert all((g == 0).all() for g in frozen)


def test_bad_input_is_refused(tmp_path):
    path = write_pendulum(tmp_path / "p.urdf", more='<dynamics damping="300"/>')
    robot = ro.load_urdf(path)
    motion = FourierReference.random(robot, 2.0, 2, jax.random.key(0))
    with pytest.raises(ValueError, match="`damping` must hold a positive number"):
        TrackingController(robot, motion, np.ones(1), -np.ones(1))
    # 300 N·m·s/rad on 0.6 kg·m² take 300/0.6/240 = 2.08 of the speed in a step.
    with pytest.raises(ValueError, match="`time_step` must be short.*takes 2.08"):
        TrackingController.from_limits(robot, motion, np.ones(1), 1 / 240)
    with pytest.raises(ValueError, match="`effort_limits` must be positive"):
        TrackingController.from_limits(robot, motion, -np.ones(1), 1 / 240)
