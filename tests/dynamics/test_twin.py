import jax
import jax.numpy as jnp
import numpy as np
import pybullet
import pytest
from bullet_robots import ROBOTS, Body, smooth_efforts
from derivatives import assert_derivatives
from hand_robots import write_pendulum, write_slider
from scipy.linalg import solve_discrete_are

from roboopt import RobooptError
from roboopt.dynamics import PositionMotors, Twin, linearize, load_bullet, load_urdf

TIME_STEP = 1 / 240


@pytest.fixture
def pendulum(tmp_path):
    path = write_pendulum(tmp_path / "pendulum.urdf")
    return load_urdf(path, linear_damping=0.0, angular_damping=0.0)


def test_one_step_by_hand(pendulum):
    # q̈ = (1.2 + 9.81 cos 0)/0.6 = 18.35; q̇' = 2 + 0.1·18.35; q' = 0 + 0.1 q̇'.
    after = Twin(pendulum, 0.1)(jnp.array([0.0, 2.0]), jnp.array([1.2]))
    np.testing.assert_allclose(after, [0.3835, 3.835], rtol=1e-14)


def test_effort_and_velocity_are_clipped(pendulum):
    twin = Twin(pendulum, 0.1, effort_limits=1.2)
    start = jnp.array([0.0, 2.0])
    np.testing.assert_allclose(
        twin(start, jnp.array([50.0])), twin(start, jnp.array([1.2]))
    )
    assert twin.effort(jnp.array([-50.0])) == jnp.array([-1.2])
    after = twin(jnp.array([0.0, 99.5]), jnp.array([1.2]))
    np.testing.assert_allclose(after, [10.0, 100.0])


def test_an_action_drives_the_actuated_joints_alone():
    robot = load_urdf(ROBOTS["two_link"])
    twin = Twin(robot, TIME_STEP, actuated=(1,), effort_limits=(3.0,))
    assert (twin.joints, twin.action_size) == (2, 1)
    np.testing.assert_array_equal(twin.effort(jnp.array([2.0])), [0.0, 2.0])


# Cart-pole and two-link keep their distance; an arm of seven joints or more multiplies
# a rounding a hundredthousandfold in a second when it is thrown about like this.
@pytest.mark.parametrize(
    "name, scale, tolerance",
    [
        ("cart_pole", 5.0, 1e-11),
        ("two_link", 5.0, 1e-11),
        ("iiwa", 20.0, 1e-7),
        ("panda", 5.0, 1e-8),
    ],
)
def test_follows_pybullet_under_random_torques(name, scale, tolerance):
    body = Body(ROBOTS[name])
    twin = Twin(load_bullet(body.client, body.body), TIME_STEP)
    joints = twin.joints
    rng = np.random.default_rng(0)
    q = rng.uniform(-0.5, 0.5, joints)
    efforts = smooth_efforts(rng, 240, joints, scale, TIME_STEP)
    body.set_state(q, np.zeros(joints))
    expected = np.array([body.step(effort) for effort in efforts])
    ours = simulate(twin, np.concatenate([q, np.zeros(joints)]), efforts)
    np.testing.assert_allclose(ours[:, :joints], expected[:, :joints], atol=tolerance)
    assert np.abs(expected[:, :joints] - q).max() > 0.1


def simulate(twin, state, actions):
    def advance(state, action):
        after = twin(state, action)
        return after, after

    return jax.jit(lambda s, a: jax.lax.scan(advance, s, a)[1])(state, actions)


def test_follows_pybullet_under_feedback():
    # The pole upright, held by a linear-quadratic regulator of the twin: roundings are
    # forgotten, and five seconds later nothing but the last few are left.
    body = Body(ROBOTS["cart_pole"])
    robot = load_bullet(body.client, body.body)
    twin = Twin(robot, TIME_STEP, actuated=(0,))
    a, b = linearize(twin, jnp.zeros(4), jnp.zeros(1))
    cost = solve_discrete_are(np.array(a), np.array(b), np.eye(4), np.eye(1))
    gain = np.linalg.solve(np.eye(1) + b.T @ cost @ b, b.T @ cost @ a)
    state = np.array([0.3, 0.2, 0.0, 0.0])
    body.set_state(state[:2], state[2:])
    step, loaded = jax.jit(twin), state
    for _ in range(1200):
        loaded = body.step(np.append(-gain @ loaded, 0.0))
        state = step(state, -gain @ state)
    np.testing.assert_allclose(state, loaded, atol=1e-13)
    assert np.abs(loaded).max() < 0.1


def test_stops_at_limits_as_pybullet_does():
    for name, scale in (("cart_pole", 10.0), ("iiwa", 40.0), ("panda", 5.0)):
        body = Body(ROBOTS[name], joint_limits=True)
        robot = load_bullet(body.client, body.body)
        twin = Twin(robot, TIME_STEP, joint_limits=True)
        rng = np.random.default_rng(1)
        limited = np.array(robot.limited)
        middle = jnp.where(limited, (robot.lower + robot.upper) / 2, 0.0)
        push = scale * np.where(limited, 1.0, 0.0)
        efforts = push + smooth_efforts(rng, 240, twin.joints, 1.0, TIME_STEP)
        body.set_state(middle, np.zeros(twin.joints))
        expected = np.array([body.step(effort) for effort in efforts])
        start = jnp.concatenate([middle, jnp.zeros(twin.joints)])
        ours = simulate(twin, start, efforts)
        np.testing.assert_allclose(ours, expected, atol=1e-9)
        beyond = expected[:, : twin.joints] > np.array(robot.upper)
        assert np.any(beyond[:, limited])


@pytest.mark.parametrize("force", [2.0, 1e5])
@pytest.mark.parametrize("name", ["two_link", "iiwa", "panda"])
def test_follows_pybullets_position_motors(name, force):
    body = Body(ROBOTS[name], joint_limits=True)
    robot = load_bullet(body.client, body.body)
    joints = len(robot.joint_names)
    gains = {"kp": [0.1] * joints, "kd": [0.9] * joints}
    motors = PositionMotors(**gains, max_force=[force] * joints)
    twin = Twin(robot, TIME_STEP, joint_limits=True, motors=motors)
    limited = np.array(robot.limited)
    middle = np.where(limited, (robot.lower + robot.upper) / 2, 0.0)
    half = np.where(limited, (robot.upper - robot.lower) / 2, 1.0)
    # Beyond the limits at times: PyBullet takes the nearest position within.
    wave = smooth_efforts(np.random.default_rng(2), 240, joints, 2.0, TIME_STEP)
    targets = middle + half * wave
    body.set_state(middle, np.zeros(joints))
    expected = []
    for target in targets:
        body.client.setJointMotorControlArray(
            body.body,
            body.joints,
            pybullet.POSITION_CONTROL,
            targetPositions=list(target),
            forces=[force] * joints,
            positionGains=gains["kp"],
            velocityGains=gains["kd"],
        )
        body.client.stepSimulation()
        expected.append(body.state())
    ours = simulate(twin, np.concatenate([middle, np.zeros(joints)]), targets)
    np.testing.assert_allclose(ours, expected, atol=1e-9)


def test_gradients_match_finite_differences(tmp_path):
    # Into the limit, at it, and away from it, with and without motors.
    robot = load_urdf(write_slider(tmp_path / "slider.urdf"))
    for motors in (None, PositionMotors([0.1], [0.5], [30.0])):
        twin = Twin(robot, 0.01, joint_limits=True, motors=motors)
        states = [[0.3, 2.0], [1.01, 0.5], [1.06, 0.5], [-1.02, -3.0]]
        many = jnp.array(states), jnp.full((4, 1), 0.7)
        assert_derivatives(jax.vmap(twin), many, rtol=1e-6, atol=1e-6)


def test_gradients_of_a_trajectory_through_limits():
    robot = load_urdf(ROBOTS["cart_pole"], actuated="all")
    twin = Twin(robot, TIME_STEP, joint_limits=True)

    def end(start, actions):
        return jax.lax.scan(lambda s, a: (twin(s, a), None), start, actions)[0]

    start = jnp.array([2.3, 0.1, 3.0, 0.0])
    actions = jnp.full((30, 2), 0.1)
    # The moment of impact is a step: both sides of the difference must hit in it.
    after = assert_derivatives(end, (start, actions), eps=1e-7)
    assert after[0] < 2.4


def test_linearize_by_hand(pendulum):
    # q̈ = (τ + 9.81 cos q)/0.6, at q = π/2 with slope −9.81/0.6 = −16.35 in q.
    a, b = linearize(Twin(pendulum, 0.1), jnp.array([np.pi / 2, 0.0]), jnp.zeros(1))
    np.testing.assert_allclose(a, [[1 - 0.1635, 0.1], [-1.635, 1]], atol=1e-14)
    np.testing.assert_allclose(b, [[0.01 / 0.6], [0.1 / 0.6]], atol=1e-14)


def test_linearizing_again_traces_nothing():
    traced = []

    def dynamics(state, action):
        traced.append(state)
        return state * action

    for value in (2.0, 3.0):
        a, b = linearize(dynamics, jnp.array([value]), jnp.array([5.0]))
        assert (a.item(), b.item()) == (5.0, value)
    assert len(traced) == 1


@pytest.mark.slow
def test_works_in_single_precision():
    robot = load_urdf(ROBOTS["two_link"])
    motors = PositionMotors([0.1, 0.1], [1.0, 1.0], [5.0, 5.0])
    for joint_limits, held in ((False, None), (True, None), (True, motors)):
        twin = Twin(robot, TIME_STEP, joint_limits=joint_limits, motors=held)
        twin = jax.tree.map(lambda x: x.astype(jnp.float32), twin)
        state = twin(jnp.zeros(4, jnp.float32), jnp.ones(2, jnp.float32))
        assert state.dtype == jnp.float32


def test_motors_leave_the_effort_unknown(pendulum):
    motors = PositionMotors([0.1], [1.0], [5.0])
    twin = Twin(pendulum, 0.1, effort_limits=1.2, motors=motors)
    assert twin.effort(jnp.array([0.3])) is None
    np.testing.assert_array_equal(twin.clip(jnp.array([3.0])), [3.0])


@pytest.mark.parametrize(
    "setting, match",
    [
        ({"time_step": 0.0}, "`time_step` must be positive and finite, got 0.0"),
        ({"time_step": float("inf")}, "`time_step` must be positive and finite"),
        ({"actuated": (1,)}, r"`actuated` must name joints of 0 to 0.*\(1,\)"),
        ({"actuated": (0, 0)}, "`actuated` must name joints"),
        ({"effort_limits": 0.0}, "`effort_limits` must be one positive number or 1"),
        ({"effort_limits": (1.0, 2.0)}, "`effort_limits` must be one positive number"),
        (
            {"motors": PositionMotors([0.1] * 2, [1.0] * 2, [1.0] * 2)},
            "`motors` must hold one gain for each of the 1 actuated joints, got 2",
        ),
    ],
)
def test_bad_settings_are_refused(pendulum, setting, match):
    settings = {"time_step": 0.1} | setting
    with pytest.raises(ValueError, match=match):
        Twin(pendulum, settings.pop("time_step"), **settings)


def test_is_described_with_units(tmp_path):
    path = write_pendulum(tmp_path / "pendulum.urdf")
    text = repr(Twin(load_urdf(path), 0.01, effort_limits=3.0))
    for part in ("0.01 s", "hinge ±3", "N·m", "joint limits off", "arm 2 kg"):
        assert part in text


def test_an_environment_that_lacks_an_attribute_is_refused():
    class Env:
        body = 0

        @property
        def unwrapped(self):
            return self

    with pytest.raises(RobooptError, match="`env`.*without .*'physics_client'"):
        Twin.from_env(Env())
