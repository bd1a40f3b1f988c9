import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bullet_robots import Body, random_state, write_random_robot
from derivatives import assert_derivatives
from hand_robots import joint, link, write, write_pendulum, write_slider

from roboopt.dynamics import BULLET_DAMPING, load_bullet, load_urdf


def one(x):
    return jnp.array([float(x)])


@pytest.fixture
def pendulum(tmp_path):
    path = write_pendulum(tmp_path / "pendulum.urdf")
    return load_urdf(path, linear_damping=0.0, angular_damping=0.0)


@pytest.fixture(scope="module")
def random_robot(random_path):
    return load_urdf(random_path)


def test_pendulum_by_hand(pendulum):
    # M = 0.6 kg·m²; V = m g z = −9.81 sin q; h = dV/dq = −9.81 cos q.
    q, velocity, effort = one(0.3), one(2.0), one(1.5)
    weight = 9.81 * np.cos(0.3)
    np.testing.assert_allclose(pendulum.mass_matrix(q), [[0.6]], rtol=1e-14)
    np.testing.assert_allclose(pendulum.bias(q, velocity), [-weight], rtol=1e-14)
    np.testing.assert_allclose(pendulum.gravity_effort(q), [-weight], rtol=1e-14)
    acceleration = pendulum.forward_dynamics(q, velocity, effort)
    np.testing.assert_allclose(acceleration, [(1.5 + weight) / 0.6], rtol=1e-14)
    effort = pendulum.inverse_dynamics(q, velocity, one(3.0))
    np.testing.assert_allclose(effort, [0.6 * 3 - weight], rtol=1e-14)
    energy = pendulum.kinetic_energy(q, velocity)
    np.testing.assert_allclose(energy, 0.5 * 0.6 * 2.0**2, rtol=1e-14)
    energy = pendulum.potential_energy(q)
    np.testing.assert_allclose(energy, -9.81 * np.sin(0.3), rtol=1e-14)


def test_slider_by_hand(tmp_path):
    path = write_slider(tmp_path / "slider.urdf")
    robot = load_urdf(path, linear_damping=0.0, angular_damping=0.0)
    np.testing.assert_allclose(robot.mass_matrix(one(0.4)), [[2.0]])
    np.testing.assert_allclose(robot.gravity_effort(one(0.4)), [0.0], atol=1e-15)
    _, position = robot.forward_kinematics(one(0.4))
    np.testing.assert_allclose(position, [0.4, 0, 0])


def test_friction_damping_and_armature_by_hand(pendulum):
    # Far above v_s = 0.01 rad/s Coulomb friction is its full 0.3 N·m; the rotor adds
    # 0.4 to 0.6 kg·m²; damping takes 0.2·2 = 0.4 N·m.
    leaves = lambda r: (r.armature, r.friction, r.damping)  # noqa: E731
    robot = eqx.tree_at(leaves, pendulum, (one(0.4), one(0.3), one(0.2)))
    q, velocity = one(0.3), one(2.0)
    weight = 9.81 * np.cos(0.3)
    np.testing.assert_allclose(robot.mass_matrix(q), [[1.0]])
    acceleration = robot.forward_dynamics(q, velocity, one(0.0))
    np.testing.assert_allclose(acceleration, [weight - 0.3 - 0.4], rtol=1e-14)
    back = robot.inverse_dynamics(q, velocity, acceleration)
    np.testing.assert_allclose(back, [0.0], atol=1e-13)
    energy = robot.kinetic_energy(q, velocity)
    np.testing.assert_allclose(energy, 0.5 * 1.0 * 2.0**2)
    # At v_s the friction is tanh 1 of its full value, and at rest none.
    for speed, share in ((0.01, np.tanh(1.0)), (0.0, 0.0)):
        acceleration = robot.forward_dynamics(q, one(speed), one(0.0))
        expected = weight - 0.3 * share - 0.2 * speed
        np.testing.assert_allclose(acceleration, [expected], rtol=1e-14)


def test_bullets_damping_of_bodies_by_hand(pendulum):
    # At 2 rad/s the center moves at 1 m/s: m v (k + k v) = 4 k N at an arm of 0.5 m,
    # and I ω (k + k ω) = 0.6 k N·m.
    leaves = lambda r: (r.linear_damping, r.angular_damping)  # noqa: E731
    k = BULLET_DAMPING
    robot = eqx.tree_at(leaves, pendulum, (jnp.array(k), jnp.array(k)))
    more = robot.bias(one(0.3), one(2.0)) - pendulum.bias(one(0.3), one(2.0))
    np.testing.assert_allclose(more, [0.5 * 4 * k + 0.6 * k], rtol=1e-13)


def test_dynamics_agree_with_pybullet(robot_body):
    robot = load_bullet(robot_body.client, robot_body.body)
    assert_forward_dynamics_agree(robot_body, robot)
    # PyBullet's own inverse dynamics knows no damping.
    bare = eqx.tree_at(
        lambda r: (r.damping, r.linear_damping, r.angular_damping),
        robot,
        replace_fn=jnp.zeros_like,
    )
    inverse = jax.jit(bare.inverse_dynamics)
    rng = np.random.default_rng(0)
    for _ in range(5):
        q, velocity, acceleration = random_state(rng, len(robot.joint_names))
        vectors = (x.tolist() for x in (q, velocity, acceleration))
        expected = robot_body.client.calculateInverseDynamics(robot_body.body, *vectors)
        close(inverse(q, velocity, acceleration), expected)


def test_dynamics_agree_with_pybullet_on_any_tree(random_path):
    # On a base that stands askew, for which PyBullet's inverse dynamics is no oracle:
    # it takes gravity in the base's axes.
    body = Body(random_path, position=(0.3, -0.2, 1.0), euler=(0.5, -0.4, 1.2))
    assert_forward_dynamics_agree(body, load_bullet(body.client, body.body))


def assert_forward_dynamics_agree(body, robot):
    rng = np.random.default_rng(0)
    forward = jax.jit(robot.forward_dynamics)
    for _ in range(5):
        state = random_state(rng, len(robot.joint_names))
        close(forward(*state), body.acceleration(*state))
        expected = body.client.calculateMassMatrix(body.body, state[0].tolist())
        close(robot.mass_matrix(state[0]), expected)


def close(ours, bullets):
    """1e-12 of the largest: some 1e4 roundings."""
    scale = np.abs(bullets).max()
    np.testing.assert_allclose(ours, bullets, rtol=0, atol=1e-12 * scale)


def test_kinematics_agree_with_pybullet(robot_body):
    client, body = robot_body.client, robot_body.body
    robot = load_bullet(client, body)
    q, velocity, _ = random_state(np.random.default_rng(1), len(robot.joint_names))
    robot_body.set_state(q, velocity)
    rotations, origins = map(np.asarray, robot.frames(q))
    jacobians = jax.jit(lambda q: {n: robot.jacobian(q, n) for n in robot.link_names})
    ours = jacobians(q)
    zeros = [0.0] * len(q)
    for index, name in enumerate(robot.link_names[1:]):
        state = client.getLinkState(body, index, computeForwardKinematics=True)
        rotation, position = robot.forward_kinematics(q, name)
        # PyBullet gives links' frames in single precision, ...
        np.testing.assert_allclose(position, state[4], atol=1e-6)
        turned = np.reshape(client.getMatrixFromQuaternion(state[5]), (3, 3))
        np.testing.assert_allclose(rotation, turned, atol=1e-6)
        if name in robot.body_names:  # ... centers of mass in double.
            i = robot.body_names.index(name)
            carrier = robot.body_joints[i]
            arm = np.asarray(robot.centers_of_mass)[i]
            center = origins[carrier] + rotations[carrier] @ arm
            np.testing.assert_allclose(center, state[0], atol=1e-12)
        jacobian = client.calculateJacobian(
            body, index, [0.0, 0.0, 0.0], q.tolist(), zeros, zeros
        )
        expected = np.concatenate([np.array(part) for part in jacobian])
        np.testing.assert_allclose(ours[name], expected, atol=1e-12)


def test_jacobian_is_the_derivative_of_the_kinematics(random_robot):
    robot = random_robot
    q, velocity, _ = random_state(np.random.default_rng(2), len(robot.joint_names))
    names = robot.link_names

    @jax.jit
    def both(q, velocity):
        poses = lambda q: [robot.forward_kinematics(q, name) for name in names]  # noqa: E731
        return *jax.jvp(poses, (q,), (velocity,)), [robot.jacobian(q, n) for n in names]

    for (rotation, _), (turning, moving), jacobian in zip(
        *jax.tree.map(np.asarray, both(q, velocity)), strict=True
    ):
        linear, angular = np.split(jacobian @ np.asarray(velocity), 2)
        np.testing.assert_allclose(linear, moving, atol=1e-12)
        spin = turning @ rotation.T  # [ω]×
        expected = [spin[2, 1], spin[0, 2], spin[1, 0]]
        np.testing.assert_allclose(angular, expected, atol=1e-12)


def test_inverse_dynamics_inverts_forward_dynamics(random_robot):
    robot = random_robot
    q, velocity, effort = random_state(np.random.default_rng(3), len(robot.parents))
    acceleration = robot.forward_dynamics(q, velocity, effort)
    back = robot.inverse_dynamics(q, velocity, acceleration)
    np.testing.assert_allclose(back, effort, atol=1e-11)
    difference = robot.inverse_dynamics(q, velocity, acceleration) - (
        robot.inverse_dynamics(q, velocity, jnp.zeros_like(q))
    )
    np.testing.assert_allclose(
        robot.mass_matrix(q) @ acceleration, difference, atol=1e-11
    )


def test_energy_changes_by_the_power_of_the_joints(random_path):
    # dE/dt = τ·q̇ − d·q̇²: in particular conserved where both are zero.
    robot = load_urdf(random_path, linear_damping=0.0, angular_damping=0.0)
    q, velocity, effort = random_state(np.random.default_rng(4), len(robot.parents))

    def energy(q, velocity):
        return robot.kinetic_energy(q, velocity) + robot.potential_energy(q)

    acceleration = robot.forward_dynamics(q, velocity, effort)
    _, rate = jax.jvp(energy, (q, velocity), (velocity, acceleration))
    power = effort @ velocity - robot.damping @ velocity**2
    np.testing.assert_allclose(rate, power, rtol=1e-10, atol=1e-10)
    quadratic = 0.5 * velocity @ robot.mass_matrix(q) @ velocity
    np.testing.assert_allclose(robot.kinetic_energy(q, velocity), quadratic, rtol=1e-12)


# Compiling derivatives takes long.
FEWER = pytest.mark.parametrize(
    "random_path", [0, pytest.param(1, marks=pytest.mark.slow), 2], indirect=True
)


@FEWER
def test_gradients_match_finite_differences(random_robot):
    robot = random_robot
    rng = np.random.default_rng(5)
    state = random_state(rng, len(robot.parents))
    leaves = lambda r: (  # noqa: E731
        r.masses,
        r.joint_offsets,
        r.joint_rotations,
        r.inertias,
        r.damping,
    )

    def forward(q, velocity, effort, *numbers):
        changed = eqx.tree_at(leaves, robot, numbers)
        return changed.forward_dynamics(q, velocity, effort)

    point = (*state, *leaves(robot))
    # Along one argument at a time.
    along = [
        tuple(rng.normal(size=x.shape) * (i == k) for k, x in enumerate(point))
        for i in range(len(point))
    ]
    assert_derivatives(forward, point, along, rtol=1e-6, atol=1e-5)


def test_second_derivatives_match_finite_differences(tmp_path):
    robot = load_urdf(write_random_robot(tmp_path / "r.urdf", 1, links=4))
    state = random_state(np.random.default_rng(6), len(robot.parents))
    assert_derivatives(
        robot.forward_dynamics,
        state,
        order=2,
        forward=False,
        rtol=1e-3,
        atol=1e-3,
    )


@FEWER
def test_derivative_where_only_one_argument_varies(random_robot):
    q, velocity, effort = random_state(
        np.random.default_rng(7), len(random_robot.parents)
    )
    forward = random_robot.forward_dynamics

    @jax.jit
    def slopes(*state):
        whole = jax.jacfwd(forward, (0, 1, 2))(*state)
        return whole, [jax.jacrev(forward, i)(*state) for i in range(3)]

    whole, alone = slopes(q, velocity, effort)
    inverse = np.linalg.inv(random_robot.mass_matrix(q))
    np.testing.assert_allclose(alone[2], inverse, atol=1e-10 * np.abs(inverse).max())
    for found, expected in zip(alone, whole, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=1e-12 * scale)


def test_merged_bodies_move_as_before(random_path):
    robot = load_urdf(random_path, linear_damping=0.0, angular_damping=0.0)
    merged = robot.merge_fixed()
    assert merged.body_joints == tuple(range(len(robot.parents)))
    np.testing.assert_allclose(merged.masses.sum(), robot.masses.sum())
    state = random_state(np.random.default_rng(8), len(robot.parents))
    np.testing.assert_allclose(
        merged.forward_dynamics(*state), robot.forward_dynamics(*state), rtol=1e-11
    )
    for name in robot.link_names:
        np.testing.assert_array_equal(
            merged.forward_kinematics(state[0], name)[1],
            robot.forward_kinematics(state[0], name)[1],
        )


def test_two_bodies_merged_by_hand(tmp_path):
    # 1 kg at the joint and 3 kg 2 m out make 4 kg at 1.5 m; about it, across the line
    # between them, 1·1.5² + 3·0.5² = 3 kg·m² and the 0.1 of each.
    path = write(
        tmp_path / "r.urdf",
        '<link name="base"/>',
        link("arm"),
        link("tip", mass=3.0),
        joint("hinge", "base", "arm"),
        joint("weld", "arm", "tip", kind="fixed", origin="2 0 0"),
    )
    robot = load_urdf(path, linear_damping=0.0, angular_damping=0.0).merge_fixed()
    assert robot.body_names == ("arm",)
    np.testing.assert_allclose(robot.masses, [4])
    np.testing.assert_allclose(robot.centers_of_mass, [[1.5, 0, 0]])
    np.testing.assert_allclose(robot.inertias, [np.diag([0.2, 3.2, 3.2])], atol=1e-15)


def test_works_in_single_precision(random_path):
    robot = load_urdf(random_path)
    single = jax.tree.map(lambda x: x.astype(jnp.float32), robot)
    state = random_state(np.random.default_rng(9), len(robot.parents))
    result = single.forward_dynamics(*(x.astype(jnp.float32) for x in state))
    assert result.dtype == jnp.float32
    expected = robot.forward_dynamics(*state)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(result, expected, atol=1e-4 * scale)

    def others(robot, q, velocity, acceleration):
        return (
            robot.inverse_dynamics(q, velocity, acceleration),
            robot.mass_matrix(q),
            robot.jacobian(q),
            robot.kinetic_energy(q, velocity),
            robot.potential_energy(q),
        )

    shapes = [jax.ShapeDtypeStruct(x.shape, jnp.float32) for x in state]
    for value in jax.tree.leaves(jax.eval_shape(others, single, *shapes)):
        assert value.dtype == jnp.float32


def test_the_robot_jits_and_vmaps_as_it_stands(random_robot):
    rng = np.random.default_rng(10)
    states = [random_state(rng, len(random_robot.parents)) for _ in range(3)]
    batch = [jnp.stack(x) for x in zip(*states, strict=True)]
    many = jax.jit(jax.vmap(random_robot.forward_dynamics))(*batch)
    alone = [random_robot.forward_dynamics(*state) for state in states]
    np.testing.assert_allclose(many, alone, rtol=1e-11, atol=1e-11)


def test_bad_input_is_refused(pendulum):
    with pytest.raises(ValueError, match=r"`link` must be one of \('base', 'arm'\)"):
        pendulum.forward_kinematics(one(0.0), "leg")
    with pytest.raises(ValueError, match="`link` must be one of .*got 'leg'"):
        pendulum.jacobian(one(0.0), "leg")
    damped = dataclasses.replace(pendulum, linear_damping=jnp.array(0.04))
    with pytest.raises(ValueError, match="`linear_damping`.*to be 0.*0.04"):
        damped.merge_fixed()


def test_is_described_with_units(tmp_path):
    limits = '<limit lower="-1" upper="1" effort="5"/>'
    robot = load_urdf(write_slider(tmp_path / "slider.urdf", more=limits))
    title, header, row = repr(robot).splitlines()
    assert "1 joint(s)" in title and "2 kg" in title
    assert header.split()[:3] == ["joint", "type", "limits"]
    for text in ("rail", "prismatic", "-1 to 1 m", "5 N", "0 N·s/m", "block 2 kg"):
        assert text in row
    long = dataclasses.replace(robot, body_names=("a_long_name" * 3,))
    lines = repr(long).splitlines()
    assert max(map(len, lines)) <= 80 and "carries a_long_name" in lines[-1]
    # Without values, as while tracing, the arrays' shapes are shown.
    jax.jit(lambda r: assert_has(repr(r), "f64[1,3]"))(robot)


def assert_has(text, part):
    assert part in text
