"""Fitted numbers given to the simulator: what it then simulates is the fitted robot."""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from roboopt_envs.arm import ArmReach
from roboopt_envs.cart_pole import CartPoleBalance, CartPoleSwingUp

from roboopt import Twin, load_urdf
from roboopt.dynamics import Multibody, load_env

from .urdfs import INERTIA, gantry, one_joint

ENVS = {
    "cart-pole": lambda **kwargs: CartPoleSwingUp(**kwargs),
    "two-link": lambda **kwargs: ArmReach("two-link", **kwargs),
    "iiwa": lambda **kwargs: ArmReach("iiwa", **kwargs),
    "panda": lambda **kwargs: ArmReach("panda", **kwargs),
}


@pytest.fixture(params=ENVS)
def env(request):
    made = ENVS[request.param]()
    yield made
    made.close()


@pytest.fixture
def balance():
    made = CartPoleBalance()
    yield made
    made.close()


def read(env, **settings) -> Multibody:
    return load_env(env, **settings)


def turned(inertia: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an inertia about axes of its own, up to a third larger."""
    turn, _ = np.linalg.qr(np.eye(3) + 0.3 * rng.normal(size=(3, 3)))
    return rng.uniform(1, 1.3) * turn @ inertia @ turn.T


def changed(robot: Multibody, seed: int = 0) -> Multibody:
    """Return a robot with every number that can be fitted a little different."""
    rng = np.random.default_rng(seed)
    bodies, joints = len(robot.body_names), len(robot.joint_names)
    return eqx.tree_at(
        lambda r: (
            *(r.masses, r.centers_of_mass, r.inertias, r.damping),
            *(r.friction, r.friction_velocity),
        ),
        robot,
        (
            robot.masses * rng.uniform(0.9, 1.3, bodies),
            robot.centers_of_mass + 0.02 * rng.normal(size=(bodies, 3)),
            jnp.asarray([turned(np.asarray(i), rng) for i in robot.inertias]),
            robot.damping * rng.uniform(0.8, 1.1, joints) + 1e-3,
            jnp.asarray(rng.uniform(0.01, 0.2, joints)),
            jnp.asarray(rng.uniform(1e-3, 0.1, joints)),
        ),
    )


def twin_of(env, robot: Multibody) -> Twin:
    limits = env.effort_limits
    return Twin(
        robot,
        env.time_step,
        actuated=tuple(env.actuated),
        effort_limits=limits,
        implicit_damping=True,
    )


def assert_steps_agree(env, robot: Multibody, steps: int = 5) -> None:
    """Compare steps of `env`, from random states, with those of the robot's twin."""
    step, n = eqx.filter_jit(twin_of(env, robot)), len(env.joint_names)
    rng = np.random.default_rng(1)
    for start in env.sample_starts(3, seed=3):
        # Some so slow that friction is still smooth.
        start[n : 2 * n] = rng.normal(size=n) * 10.0 ** rng.uniform(-4, 0, n)
        observation, _ = env.reset(options={"start": start})
        for _ in range(steps):
            action = 0.3 * rng.uniform(-1, 1, len(env.actuated)) * env.effort_limits
            state = jnp.asarray(observation[: 2 * n])
            expected = np.asarray(step(state, jnp.asarray(action)))
            observation = env.step(action)[0]
            scale = max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(
                observation[: 2 * n], expected, rtol=0, atol=1e-12 * scale
            )


@pytest.mark.parametrize("merged", [False, True])
def test_a_step_is_one_of_the_fitted_twin(env, merged):
    robot = read(env)
    robot = changed(robot.merge_fixed() if merged else robot)
    env.apply(Twin(robot, env.time_step))
    assert_steps_agree(env, robot)
    # And of what is read back from it, friction included.
    again = read(env)
    again = eqx.tree_at(lambda r: r.friction, again, jnp.asarray(env.friction))
    assert_steps_agree(env, again)
    np.testing.assert_allclose(env.damping, robot.damping, rtol=1e-15)
    np.testing.assert_array_equal(env.friction, robot.friction)


def test_a_robot_read_from_the_file_serves_too():
    # Its joints' frames are those of the links, where Bullet's are of principal axes.
    from roboopt_envs.cart_pole import URDF

    path = URDF.with_name("two_link.urdf")
    env = ArmReach(path)
    robot = changed(load_urdf(path, linear_damping=0.0, angular_damping=0.0))
    env.apply(robot.merge_fixed())
    assert_steps_agree(env, robot)
    env.close()


def test_bullets_damping_of_the_links_and_gravity_are_applied(balance):
    robot = eqx.tree_at(
        lambda r: (r.linear_damping, r.angular_damping, r.gravity),
        changed(read(balance)),
        (jnp.array(0.3), jnp.array(0.2), jnp.array([0.5, 0.1, -3.7])),
    )
    balance.apply(robot)
    assert_steps_agree(balance, robot)
    assert (balance.linear_damping, balance.angular_damping) == (0.3, 0.2)
    balance.apply(eqx.tree_at(lambda r: r.friction, read(balance), jnp.zeros(2)))
    assert_steps_agree(balance, eqx.tree_at(lambda r: r.friction, robot, jnp.zeros(2)))


def test_joints_of_skew_frames_are_fitted_too(write):
    path = write(gantry())
    env = ArmReach(path)
    robot = changed(load_urdf(path, linear_damping=0.0, angular_damping=0.0))
    env.apply(robot)
    assert_steps_agree(env, robot)
    env.close()


def test_friction_by_hand(balance):
    # The cart of 1 kg, its pole of no mass to speak of, at 0.02 m/s with c = 0.5 N and
    # d = 0.25 N·s/m, under 2 N: D = 0.25 + 0.5 tanh(0.02/0.01)/0.02 = 24.35068950, and
    # a = (2 − 0.02 D)/(1 + D/240) = 1.37361736 m/s²; the effort told is what was asked
    # for.
    robot = read(balance)
    light = eqx.tree_at(
        lambda r: (r.masses, r.inertias, r.friction, r.damping),
        robot,
        (
            jnp.array([1.0, 1e-9]),
            robot.inertias * jnp.array([1.0, 1e-8])[:, None, None],
            jnp.array([0.5, 0.0]),
            jnp.array([0.25, 0.0]),
        ),
    )
    balance.apply(light)
    balance.reset(options={"start": [0.0, 0.0, 0.02, 0.0]})
    observation, *_, info = balance.step([2.0])
    acceleration = (observation[2] - 0.02) / balance.time_step
    assert acceleration == pytest.approx(1.37361736, abs=1e-7)
    np.testing.assert_array_equal(info["effort"], [2.0, 0.0])


def test_applying_again_leaves_nothing_of_the_last(env):
    first, second = changed(read(env), 1), changed(read(env), 2)
    env.apply(first)
    env.apply(second)
    env.apply(first)
    assert env.physics_client.getNumBodies() == 1
    assert_steps_agree(env, first)


def test_episodes_repeat_to_the_bit(env):
    def episode(seed):
        observation, _ = env.reset(seed=seed)
        found = [observation]
        for _ in range(20):
            found.append(env.step(0.1 * env.effort_limits)[0])
        return np.array(found)

    env.apply(changed(read(env)))
    first = episode(4)
    episode(5)
    np.testing.assert_array_equal(episode(4), first)


def test_an_episode_must_begin_anew(balance):
    balance.reset(seed=0)
    balance.apply(read(balance))
    with pytest.raises(ResetNeeded):
        balance.step([0.0])


def test_randomization_scales_the_fitted_numbers():
    env = ArmReach("two-link", randomize=0.2)
    robot = changed(read(env))
    env.apply(robot)
    nominal = read(env)
    observation, info = env.reset(seed=3)
    mass = jnp.asarray(info["mass_factors"])
    scaled = eqx.tree_at(
        lambda r: (r.masses, r.inertias, r.damping, r.friction),
        nominal,
        (
            nominal.masses * mass,
            nominal.inertias * mass[:, None, None],
            nominal.damping * info["damping_factors"],
            robot.friction * info["friction_factors"],
        ),
    )
    n = len(env.joint_names)
    action = 0.2 * env.effort_limits
    state = jnp.asarray(observation[: 2 * n])
    expected = twin_of(env, scaled)(state, jnp.asarray(action))
    np.testing.assert_allclose(env.step(action)[0][: 2 * n], expected, atol=1e-13)
    env.close()


def test_pictures_are_still_of_the_robot():
    # Its visual shapes, meshes among them, are as they were: so is the picture.
    env = ArmReach("panda", render_mode="rgb_array", width=160, height=120)
    start = env.sample_starts(1, seed=0)[0]
    env.reset(options={"start": start})
    before = env.render()
    env.apply(changed(read(env)))
    env.reset(options={"start": start})
    after = env.render()
    assert before is not None and after is not None
    difference = np.abs(before.astype(int) - after.astype(int)).max(axis=2)
    assert (difference > 8).mean() < 0.002
    env.close()


def refuse(env, model: Any, match: str) -> None:
    """See that `model` is refused, and nothing of it left in the simulator."""
    before, body = read(env), env.body
    with pytest.raises(ValueError, match=match):
        env.apply(model)
    assert (env.body, env.physics_client.getNumBodies()) == (body, 1)
    assert_steps_agree(env, before)


def test_another_robot_is_refused(balance):
    other = ArmReach("two-link")
    match = r"must have the joints \['cart', 'pole'\], in this order, got \['shoulder'"
    refuse(balance, Twin(read(other), 1 / 240), match)
    refuse(balance, object(), "must be a robot, or have one as its `robot`, got object")
    robot = dataclasses.replace(read(balance), link_names=("rail", "cart", "stick"))
    refuse(balance, robot, r"must have the robot's links, among them \['pole'\], got")
    other.close()


bad = {
    "no negative armature": ("armature", [0.0, -0.1]),
    "no negative friction": ("friction", [0.0, -1.0]),
    "finite numbers, got masses": ("masses", [np.nan, 1.0]),
    "no negative masses": ("masses", [-1.0, 1.0]),
    "no negative damping": ("damping", [-1.0, 0.0]),
    "triangle inequality": (
        "inertias",
        [np.diag([1.0, 1.0, 1.0]), np.diag([1.0, 1.0, 3.0])],
    ),
}


@pytest.mark.parametrize("match", bad)
def test_what_bullet_cannot_simulate_is_refused(match, balance):
    field, value = bad[match]
    robot = eqx.tree_at(
        lambda r: getattr(r, field), read(balance), jnp.asarray(np.array(value))
    )
    refuse(balance, robot, match)


def test_a_robot_too_heavy_for_its_motors_is_refused():
    env = ArmReach("two-link")
    robot = read(env)
    heavy = eqx.tree_at(
        lambda r: (r.masses, r.gravity, r.linear_damping, r.friction),
        robot,
        (1000 * robot.masses, 2 * robot.gravity, jnp.array(0.5), jnp.ones(2)),
    )
    refuse(env, heavy, "`effort_limits` must leave configurations")
    env.close()


def test_an_arm_is_made_with_a_model(write):
    # The link turns about its own axis: M = 0.02 kg·m², and fitted d = 10 N·m·s/rad is
    # 500 /s: twice what Bullet's own, explicit damping takes at 240 Hz.
    centerd = f'<inertial><mass value="1"/>{INERTIA}</inertial>'
    path = write(one_joint(inertial=centerd))
    plain = ArmReach(path)
    damped = eqx.tree_at(lambda r: r.damping, read(plain), jnp.array([10.0]))
    env = ArmReach(path, model=damped)
    assert_steps_agree(env, damped)
    plain.apply(damped)
    assert_steps_agree(plain, damped)
    with pytest.raises(ValueError, match="must be a robot, or have one"):
        ArmReach(path, model=3)
    env.close()
    plain.close()


def test_an_armature_is_simulated(env):
    robot = changed(read(env))
    armature = jnp.linspace(0.01, 0.1, len(robot.joint_names))
    robot = eqx.tree_at(lambda r: r.armature, robot, armature)
    env.apply(robot)
    assert_steps_agree(env, robot)


@pytest.mark.parametrize("beside", [False, True], ids=["in the file", "beside"])
def test_a_rotor_in_the_robots_files_is_simulated(beside, write):
    rotor = "<drake:rotor_inertia value='0.01'/><drake:gear_ratio value='5'/>"
    motor = (
        "<transmission name='t'><joint name='hinge'/><actuator name='m'>{}</actuator>"
    )
    motor = motor.format("" if beside else rotor) + "</transmission>"
    path = write(one_joint(elements=motor))
    if beside:
        numbers = '{"armature": {"hinge": 0.25}, "gravity": [1.0, 0.0, -3.7]}'
        path.with_name(f"{path.name}.json").write_text(numbers)
    robot = load_urdf(path, linear_damping=0.0, angular_damping=0.0)
    assert robot.armature.tolist() == [0.25]
    env = ArmReach(path)
    assert_steps_agree(env, robot)
    np.testing.assert_array_equal(load_env(env).gravity, robot.gravity)
    env.close()


def test_a_flat_body_keeps_its_inertia(balance):
    # In general axes its largest moment is the others' sum but for rounding, and of
    # one that is larger Bullet makes zero.
    rng = np.random.default_rng(0)
    for _ in range(6):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        small, middle = rng.uniform(0.1, 0.5, 2)
        flat = turn @ np.diag([small, middle, small + middle]) @ turn.T
        inertias = jnp.asarray(np.array([flat, 2 * flat]))
        robot = eqx.tree_at(lambda r: r.inertias, read(balance), inertias)
        balance.apply(robot)
        assert_steps_agree(balance, robot, steps=1)


def test_a_closed_environment_says_so(balance):
    robot = read(balance)
    balance.close()
    with pytest.raises(ClosedEnvironmentError, match="`apply` was called after"):
        balance.apply(robot)
