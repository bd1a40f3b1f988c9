"""Robots that balance, or do a task of ten lines: passive joints stay passive."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pybullet_data
import pytest
from roboopt_envs.robot import RobotTask

import roboopt as ro
from roboopt import RobooptError

from .urdfs import one_joint

TESTS = Path(__file__).parents[1]
FILES = {path.stem: path for path in (TESTS / "cases" / "balance").glob("*.urdf")}
FILES["furuta"] = TESTS.parent / "examples" / "furuta" / "furuta.urdf"
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


def test_an_episode_is_long_enough_for_a_pole_that_falls_slowly():
    # PyBullet's pole of 0.1 kg, 0.5 m above its joint, has 1 kg·m²: λ² = m g l/I with
    # I = 1 + 0.1 · 0.5², and 5/λ + 1 = 8.2 s.
    path = Path(pybullet_data.getDataPath()) / "cartpole.urdf"
    env = RobotTask(path, actuated=["slider_to_cart"])
    assert env.duration == 9.0
    assert RobotTask(path, actuated=["slider_to_cart"], duration=2.0).duration == 2.0
    assert RobotTask(FILES["furuta"]).duration == 4.0


@dataclass(frozen=True)
class Upright:
    """Keep every joint at 0."""

    def cost_rate(self, observation, action):
        return (observation**2).sum(-1) + 0.1 * (action**2).sum(-1)

    def success(self, observations, time_step):
        return (abs(observations[..., -48:, 1]) < 0.05).all(-1)


pytestmark = pytest.mark.filterwarnings(
    "ignore:.*has passive joints:UserWarning",
    "ignore:the URDF has no effort limit:UserWarning",
)


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


def test_a_robot_without_a_motor_is_read_and_cannot_be_driven(write):
    path = write(FURUTA)
    assert not ro.urdf.read_urdf(path, actuated=[]).driven.any()
    with pytest.raises(RobooptError, match=r"`actuated` must name .*got \[\]"):
        RobotTask(path, Upright(), actuated=[])


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


BALANCE = {
    "point_mass_pendulum": ({}, [np.pi], ()),
    "point_mass_cart": ({"actuated": ["slide"]}, [0, 0], ["hinge"]),
    "cart_pole": ({}, [0, np.pi], ["pole_joint"]),
    "furuta": ({}, [0, np.pi], ["bearing"]),
    "acrobot": ({"start_half_width": 0.03}, [np.pi, 0], ["shoulder"]),
}


LONG = "point_mass_pendulum", "cart_pole"


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in BALANCE],
)
def test_a_robot_balances_where_it_is_highest(name):
    options, upright, passive = BALANCE[name]
    env = RobotTask(FILES[name], **options)
    np.testing.assert_allclose(env.upright, upright, atol=1e-9)
    driven = [env.joint_names[joint] for joint in env.actuated]
    assert sorted({*env.joint_names} - {*driven}) == sorted(passive)
    policy, _ = ro.imitation.demonstrator(env)
    acting = ro.policies.within_limits(policy, env.action_space)
    motions = ro.rollouts.collect(env, acting, episodes=3, seed=7)
    seen = np.asarray(motions.observations)
    assert env.task.success(seen, env.time_step).all()
    assert not np.delete(np.asarray(motions.efforts), env.actuated, axis=-1).any()
    env.close()


@pytest.mark.parametrize("name", ["point_mass_cart", "cart_pole", "furuta"])
def test_passive_joints_have_the_damping_of_their_file_alone(name):
    env = RobotTask(FILES[name], **BALANCE[name][0])
    expected = {"point_mass_cart": [0, 0], "cart_pole": [2, 0.01], "furuta": [0, 0]}
    np.testing.assert_array_equal(env.damping, expected[name])
    client = env.physics_client
    for joint in env.joint_indices:
        info = client.getJointInfo(env.body, joint)
        assert info[6] == 0 and info[7] == 0  # Bullet adds nothing of its own.
    assert env.linear_damping == env.angular_damping == 0
    # Pushed out of balance, the pendulum falls: no motor of Bullet's holds it.
    observation, _ = env.reset(options={"start": [*env.upright + [0, 0.1], 0, 0]})
    for _ in range(env.horizon // 2):
        observation, *_ = env.step(np.zeros(1))
    assert abs(observation[1] - env.upright[1]) > 0.3
    env.close()


def test_a_pendulum_without_damping_keeps_its_energy():
    env = RobotTask(FILES["furuta"], time_step=1 / 2000, duration=1.0)
    robot = ro.Twin.from_env(env).robot
    observation, _ = env.reset(options={"start": [0.0, 2.0, 0.0, 0.0]})

    def energy(state):
        q, velocity = jnp.split(jnp.asarray(state), 2)
        return robot.kinetic_energy(q, velocity) + robot.potential_energy(q)

    first = energy(observation)
    for _ in range(env.horizon):
        observation, *_ = env.step(np.zeros(1))
    # Up to the integrator's error, a share of what the fall would release.
    fall = energy([0.0, np.pi, 0.0, 0.0]) - energy(np.zeros(4))
    assert abs(energy(observation) - first) < 0.01 * fall
    env.close()


def test_upright_may_be_told():
    env = RobotTask(FILES["cart_pole"], upright={"carriage_joint": 0.5})
    np.testing.assert_allclose(env.upright, [0.5, np.pi])
    np.testing.assert_allclose(env.task.target, env.upright)
    starts = env.sample_starts(200, seed=0)
    np.testing.assert_allclose(starts.mean(0)[:2], env.upright, atol=0.05)
    env.close()


def test_an_arm_may_hold_against_gravity(write):
    env = RobotTask(write(one_joint()), upright={"hinge": 0.5})
    np.testing.assert_allclose(env.upright, [0.5])
    policy, _ = ro.imitation.demonstrator(env)
    torque = ro.Twin.from_env(env).robot.gravity_effort(jnp.array([0.5]))
    np.testing.assert_allclose(policy(jnp.array([0.5, 0.0])), torque, rtol=1e-9)
    env.close()


def test_positions_that_are_no_balance_are_refused(write):
    def make(**options):
        RobotTask(FILES["cart_pole"], **options)

    with pytest.raises(RobooptError, match="`upright` must name joints of .*'pole'"):
        make(upright={"pole": 0.0})
    with pytest.raises(RobooptError, match="`upright` must be within the limits"):
        make(upright={"carriage_joint": 4.0})
    with pytest.raises(RobooptError, match="equilibrium: gravity .* 'pole_joint'"):
        make(upright={"pole_joint": 1.0})
    with pytest.raises(RobooptError, match="must be held by the motors: joint 'hinge'"):
        RobotTask(write(one_joint()), upright={"hinge": 0.1}, effort_limits=0.5)


def test_a_task_may_be_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    lines = inspect.getsource(Upright)
    (tmp_path / "mine.py").write_text(f"from dataclasses import dataclass\n\n{lines}")
    for name in ("mine:Upright", f"{tmp_path}/mine.py:Upright"):
        env = RobotTask(FILES["furuta"], name)
        assert type(env.task).__name__ == "Upright"
        env.close()


NO_TASKS = {
    "balance": "`task` must be an object, module:NAME or file.py:NAME, got 'balance'",
    "nowhere:TASK": "`task` nowhere:TASK cannot be imported: No module named",
    "math:pi": "`task` must have `cost_rate",
}


@pytest.mark.parametrize("name", NO_TASKS)
def test_what_is_no_task_is_refused(name):
    with pytest.raises(RobooptError, match=NO_TASKS[name]):
        RobotTask(FILES["furuta"], name)


@pytest.mark.parametrize(
    "cost_rate",
    [lambda seen: 0.0, lambda seen, done, time, more: 0.0, lambda s, d, *, time: 0.0],
)
def test_a_cost_of_other_arguments_is_refused(cost_rate):
    task = SimpleNamespace(cost_rate=cost_rate, success=lambda seen, step: True)
    with pytest.raises(RobooptError, match=r"`task` must have `cost_rate\(obs.*, got "):
        RobotTask(FILES["furuta"], task)


@pytest.mark.parametrize(
    "tolerances",
    [{1: (3.0, 3.2)}, {"pole": [(3.0, 3.2)]}, {1: [(3.2, 3.0)]}, [(3.0, 3.2)]],
)
def test_tolerances_that_are_no_intervals_are_refused(tolerances):
    own = {"cost_rate": lambda seen, action: 0.0, "success": lambda seen, step: True}
    task = SimpleNamespace(**own, tolerances=tolerances)
    with pytest.raises(RobooptError, match="`task` must have `tolerances`.*, got "):
        RobotTask(FILES["furuta"], task=task)


def test_a_fitted_robot_balances_where_its_own_mass_is(write):
    robot = ro.load_urdf(FILES["furuta"], linear_damping=0.0, angular_damping=0.0)
    last = robot.body_names.index("pendulum")
    centers = robot.centers_of_mass.at[last, 1].add(0.01)
    fitted = eqx.tree_at(lambda r: r.centers_of_mass, robot, centers)
    env = RobotTask(FILES["furuta"], model=fitted)
    tilt = np.arctan2(0.01, 0.06)
    np.testing.assert_allclose(abs(env.upright[1]), np.pi - tilt, atol=1e-6)
    env.close()


def test_bad_starts_are_refused(write):
    with pytest.raises(
        RobooptError, match="`start` must be one finite number or hold q"
    ):
        RobotTask(write(FURUTA), Upright(), start=[0.0, 0.0])
    with pytest.raises(RobooptError, match="`start_half_width` must be one finite"):
        RobotTask(write(FURUTA), Upright(), start_half_width=[0.1, np.nan, 0, 0])
