"""Robots of one trait each, and of several, in PyBullet: the robot that the twin is."""

import warnings
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.arm import ArmReach

from roboopt import RobooptError, Twin
from roboopt.urdf import read_urdf

from .urdfs import gripper_arm

CASES = Path(__file__).parents[1] / "cases" / "urdf"
REFUSED = (
    *("axis_0_0_2", "capital_type", "duplicate_joint_name", "two_roots", "no_joint"),
    *("number_with_comma", "effort_-1", "floating", "planar", "spherical"),
    "lower_upper_0",
)
ACCEPTED = sorted({path.stem for path in CASES.glob("*.urdf")}.difference(REFUSED))


def make(path: Path, **kwargs: Any) -> Any:
    """Make an environment; what is warned of is tested with the reader."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ArmReach(path, **kwargs)


def largest_difference(env: Any, seconds: float = 1.0) -> float:
    """Return how far twin and environment come apart in a motion within the limits.

    Every joint swings about its start: stiff springs of 400 /s² with damping of 40 /s,
    times the joint's inertia, keep it away from its limits.
    """
    n, twin = len(env.joint_names), Twin.from_env(env)
    first, _ = env.reset(seed=1)
    inertia = np.diag(twin.robot.mass_matrix(jnp.asarray(first[:n])))
    inertia = inertia + env.time_step * env.damping
    gravity = jax.jit(twin.robot.gravity_effort)
    lower, upper = env.joint_limits
    room = np.minimum(np.minimum(first[:n] - lower, upper - first[:n]), 1.0)
    actions, states, observation = [], [first[: 2 * n]], first
    for step in range(round(seconds / env.time_step)):
        q, velocity = observation[:n], observation[n : 2 * n]
        wave = np.sin((6 + np.arange(n)) * step * env.time_step)
        pull = 400 * (first[:n] + 0.3 * room * wave - q) - 40 * velocity
        action = np.asarray(gravity(jnp.asarray(q))) + inertia * pull
        actions.append(np.clip(action, -env.effort_limits, env.effort_limits))
        observation, *_ = env.step(actions[-1])
        states.append(observation[: 2 * n])
    found = np.array(states)
    assert (lower < found[:, :n]).all() and (found[:, :n] < upper).all()

    @eqx.filter_jit
    def motion(twin, start, actions):
        return jax.lax.scan(lambda s, a: (twin(s, a),) * 2, start, actions)[1]

    predicted = motion(twin, jnp.asarray(found[0]), jnp.asarray(np.array(actions)))
    assert np.abs(found[:, n:]).max() > 1e-3  # The robot moves.
    return float(np.abs(np.asarray(predicted) - found[1:]).max())


@pytest.mark.parametrize("name", ACCEPTED)
def test_twin_and_environment_move_alike(name):
    env = make(CASES / f"{name}.urdf")
    assert largest_difference(env) < 1e-10
    env.close()


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused(name):
    with pytest.raises(RobooptError, match="`robot`"):
        make(CASES / f"{name}.urdf")


@pytest.mark.parametrize("randomize", [0.0, 0.3])
def test_mimic_damping_and_friction_together(write, randomize):
    env = make(write(gripper_arm()), randomize=randomize)
    # q_right = −1·q_left, and by virtual work the left finger has the damping 5 + 5 and
    # the friction 0.5 + 0.5 of both.
    assert env.joint_names == ("lift", "roll", "left")
    assert env.mimic == {"right": ("left", -1.0, 0.0)}
    np.testing.assert_array_equal(env.damping, [0.5, 0.1, 10.0])
    np.testing.assert_array_equal(env.friction, [0.2, 0.1, 1.0])
    if not randomize:
        assert largest_difference(env) < 1e-10
    env.reset(seed=0)
    client = env.physics_client
    names = [client.getJointInfo(env.body, i)[1].decode() for i in range(4)]
    left, right = names.index("left"), names.index("right")
    for _ in range(100):
        env.step(0.1 * env.effort_limits * [1, -1, 0.1])
        a, b = (client.getJointState(env.body, i)[:2] for i in (left, right))
        np.testing.assert_allclose(np.add(a, b), 0, atol=1e-12)
    env.close()


@pytest.mark.parametrize("robot", ["panda", "gripper"])
def test_limits_stop_joints_that_follow_each_other_alike(write, robot):
    # The fingers are pressed to their stop while random efforts throw the arm about.
    env = make(write(gripper_arm()) if robot == "gripper" else robot)
    n = len(env.joint_names)
    twin = jax.jit(Twin.from_env(env, joint_limits=True))
    observation, _ = env.reset(seed=1)
    state, random = jnp.asarray(observation[: 2 * n]), np.random.default_rng(0)
    stopped = np.zeros(n, bool)
    for _ in range(240):
        action = env.effort_limits * random.uniform(-1, 1, n)
        action[-1] = env.effort_limits[-1]
        observation, state = env.step(action)[0], twin(state, jnp.asarray(action))
        q = observation[:n]
        stopped |= (q <= env.joint_limits[0]) | (q >= env.joint_limits[1])
        np.testing.assert_allclose(observation[: 2 * n], state, atol=1e-10)
    assert stopped[-1] and stopped[:-1].any()
    env.close()


def test_a_randomized_robot_is_the_twin_of_its_numbers(write):
    # PyBullet's own mass matrix is that of the robot as loaded, which is off by 30 %.
    env = make(write(gripper_arm()), randomize=0.3)
    n = len(env.joint_names)
    observation, info = env.reset(seed=3)
    twin = Twin.from_env(env)  # PyBullet reports masses as they are.
    drawn = twin.robot.friction * info["friction_factors"]
    twin = eqx.tree_at(
        lambda t: (t.robot.damping, t.robot.friction),
        twin,
        (jnp.asarray(env.damping * info["damping_factors"]), drawn),
    )
    assert np.abs(info["mass_factors"] - 1).max() > 0.1 and twin.implicit_damping
    for _ in range(50):
        action = 0.1 * env.effort_limits * [1, -1, 0.1]
        expected = twin(jnp.asarray(observation[: 2 * n]), jnp.asarray(action))
        observation = env.step(action)[0]
        np.testing.assert_allclose(observation[: 2 * n], expected, atol=1e-11)
    env.close()


def test_continuous_joints_have_no_limits():
    env = make(CASES / "continuous_with_limits.urdf")
    assert np.isinf(env.joint_limits).all()
    assert not any(Twin.from_env(env).robot.limited)


def test_passive_joints_are_refused_in_words(tmp_path):
    # With two <transmission>s of three, the file's list of motors is taken as complete.
    text = (CASES / "u6_ros_extras.urdf").read_text()
    motor = '<transmission name="t2"><joint name="shoulder_lift_joint"/></transmission>'
    path = tmp_path / "r.urdf"
    path.write_text(text.replace("</robot>", motor + "</robot>"))
    with pytest.warns(UserWarning), pytest.raises(RobooptError) as caught:
        ArmReach(path)
    assert "passive joints ['shoulder_pan_joint']" in str(caught.value)
    assert "`actuated='all'`" in str(caught.value)
    names = read_names(CASES / "u6_ros_extras.urdf")
    with pytest.raises(RobooptError, match="passive joints") as caught:
        make(CASES / "u6_ros_extras.urdf", actuated=names[:1])
    assert "`actuated" not in str(caught.value)
    assert make(CASES / "u6_ros_extras.urdf", actuated=names).joint_names == names


def read_names(path: Path) -> tuple[str, ...]:
    """Return the names of a robot's joints."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_urdf(path).joint_names


def test_a_joint_is_locked_at_a_value():
    # Locked at 0.5 rad, the elbow is where an elbow at 0.5 rad would be.
    path = CASES / "u5_tool0.urdf"
    free, held = make(path), make(path, locked={"elbow_joint": 0.5})
    assert held.joint_names == ("shoulder_pan_joint", "shoulder_lift_joint")
    q = np.array([0.3, -0.4])
    np.testing.assert_allclose(
        held.task.chain.position(q), free.task.chain.position(np.array([*q, 0.5]))
    )
    assert largest_difference(held) < 1e-10


def test_effort_limits_replace_a_bad_one():
    assert make(CASES / "effort_-1.urdf", effort_limits=20.0).effort_limits[0] == 20.0
