"""Joints that follow others: the twin against PyBullet's own numbers, reduced here.

PyBullet ignores `<mimic>`. With K and c written out from each file, the reduced robot
has M = Kᵀ M' K and h = Kᵀ h', where M' is what PyBullet calculates for all moving
joints at K q + c, and h' follows from the step that PyBullet takes there.
"""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bullet_robots import ROBOTS, Body, random_state, write_random_robot
from derivatives import assert_derivatives

from roboopt import load, save
from roboopt.dynamics import Multibody, ParametricTwin, Twin, load_urdf

CASES = Path(__file__).parents[1] / "cases" / "urdf"
NO_DAMPING: dict[str, Any] = {"linear_damping": 0.0, "angular_damping": 0.0}


def with_mimics(path: Path) -> Path:
    """Let joint 2 of a random robot follow joint 1, and joint 3 follow joint 2."""
    text = path.read_text()
    for name, mimic in {
        "joint2": '<mimic joint="joint1" multiplier="-0.7" offset="0.2"/>',
        "joint3": '<mimic joint="joint2" multiplier="0.3" offset="-0.1"/>',
    }.items():
        start = text.index(f'<joint name="{name}"')
        end = text.index("</joint>", start)
        text = text[:end] + mimic + text[end:]
    path.write_text(text)
    return path


@pytest.fixture(scope="module", params=["u3_mimic_gripper", "panda", "random"])
def robot_and_bullet(request, tmp_path_factory):
    """Return a robot, PyBullet's reading of its file, and K and c by hand."""
    if request.param == "random":
        path = tmp_path_factory.mktemp("mimic") / "random.urdf"
        # With seed 2 joints 1 and 2 turn and joint 3 slides.
        path = with_mimics(write_random_robot(path, 2, links=8))
        names = [j for j in Body(path).names if j not in ("joint2", "joint3")]
        body = Body(path, bodies_damping=0.0)
        # q₂ = −0.7 q₁ + 0.2 and q₃ = 0.3 q₂ − 0.1 = −0.21 q₁ − 0.04.
        matrix = np.array([[float(a == b) for b in names] for a in body.names])
        first = names.index("joint1")
        offset = np.zeros(len(body.names))
        for name, factor, shift in (("joint2", -0.7, 0.2), ("joint3", -0.21, -0.04)):
            row = body.names.index(name)
            matrix[row, first], offset[row] = factor, shift
    else:
        path = ROBOTS.get(request.param, CASES / f"{request.param}.urdf")
        body = Body(path, bodies_damping=0.0)
        matrix = np.eye(len(body.joints))[:, :-1]
        matrix[-1, -1], offset = 1.0, np.zeros(len(body.joints))
    return load_urdf(path, **NO_DAMPING), body, matrix, offset


def calculated(body: Body, q, velocity):
    """Return PyBullet's M' and h' of all moving joints, from M' q̈ + h' + D' q̇ = 0."""
    matrix = body.client.calculateMassMatrix(body.body, np.asarray(q).tolist())
    infos = [body.client.getJointInfo(body.body, joint) for joint in body.joints]
    damping = np.array([info[6] for info in infos])
    free = body.acceleration(q, velocity, np.zeros(len(body.joints)))
    return np.array(matrix), -(np.array(matrix) @ free + damping * velocity), damping


def assert_close(ours, expected, tolerance=1e-12):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * scale)


def test_the_coupling_is_the_file_s(robot_and_bullet):
    robot, body, matrix, _ = robot_and_bullet
    assert tuple(joint.name for joint in robot.moving) == tuple(body.names)
    np.testing.assert_allclose(robot.coupling, matrix, rtol=1e-15)
    assert len(robot.joint_names) == matrix.shape[1] < matrix.shape[0]


def test_dynamics_are_pybullet_s_reduced(robot_and_bullet):
    robot, body, matrix, offset = robot_and_bullet
    for seed in range(5):
        q, velocity, effort = random_state(np.random.default_rng(seed), matrix.shape[1])
        moving, rates = matrix @ q + offset, matrix @ velocity
        inertia, bias, losses = calculated(body, moving, rates)
        inertia, bias = matrix.T @ inertia @ matrix, matrix.T @ bias
        damping = matrix.T @ np.diag(losses) @ matrix
        assert_close(robot.mass_matrix(q), inertia)
        assert_close(robot.bias(q, velocity), bias, 1e-11)
        weight = matrix.T @ calculated(body, moving, 0 * rates)[1]
        np.testing.assert_allclose(robot.gravity_effort(q), weight, atol=1e-10)
        free = np.linalg.solve(inertia, effort - bias - damping @ velocity)
        assert_close(robot.forward_dynamics(q, velocity, effort), free, 1e-11)
        asked = np.random.default_rng(seed).normal(size=len(q))
        needed = inertia @ asked + bias + damping @ velocity
        ours = robot.inverse_dynamics(q, velocity, jnp.asarray(asked))
        assert_close(ours, needed, 1e-11)


def test_kinematics_and_energies_are_consistent(robot_and_bullet):
    robot, body, matrix, offset = robot_and_bullet
    q, velocity, _ = random_state(np.random.default_rng(3), matrix.shape[1])
    body.set_state(matrix @ q + offset, matrix @ velocity)
    last = robot.link_names[-1]
    count = body.client.getNumJoints(body.body)
    index = next(
        i
        for i in range(count)
        if body.client.getJointInfo(body.body, i)[12] == last.encode()
    )
    state = body.client.getLinkState(body.body, index, computeForwardKinematics=True)
    # Bullet gives link frames in float32.
    np.testing.assert_allclose(
        robot.forward_kinematics(q, last)[1], state[4], atol=1e-6
    )
    by_rule = jax.jit(jax.jacfwd(lambda q: robot.forward_kinematics(q, last)[1]))(q)
    np.testing.assert_allclose(robot.jacobian(q, last)[:3], by_rule, atol=1e-13)
    assert_close(
        robot.kinetic_energy(q, velocity),
        0.5 * velocity @ robot.mass_matrix(q) @ velocity,
    )
    slope = jax.jit(jax.grad(robot.potential_energy))(q)
    assert_close(slope, robot.gravity_effort(q), 1e-11)


# Of a hand there are the gripper, and all dynamics of the Panda above.
@pytest.mark.parametrize(
    "robot_and_bullet",
    ["u3_mimic_gripper", pytest.param("panda", marks=pytest.mark.slow), "random"],
    indirect=True,
)
def test_gradients_single_precision_and_batches(robot_and_bullet):
    robot, _, matrix, _ = robot_and_bullet
    rng = np.random.default_rng(4)
    states = [random_state(rng, matrix.shape[1]) for _ in range(3)]
    # Efforts of 10 N·m throw light fingers: a hundredth is enough here.
    states = [(q, velocity, 0.01 * effort) for q, velocity, effort in states]
    forward = jax.jit(robot.forward_dynamics)
    assert_derivatives(robot.forward_dynamics, states[0], rtol=1e-5, atol=1e-4)
    batch = [jnp.stack(x) for x in zip(*states, strict=True)]
    many = jax.jit(jax.vmap(robot.forward_dynamics))(*batch)
    for row, state in zip(many, states, strict=True):
        assert_close(row, forward(*state), 1e-11)
    single = jax.tree.map(lambda x: x.astype(jnp.float32), robot)
    state = [x.astype(jnp.float32) for x in states[0]]
    result = single.forward_dynamics(*state)
    assert result.dtype == single.mass_matrix(state[0]).dtype == jnp.float32
    assert_close(result, forward(*states[0]), 1e-3)


@pytest.fixture
def gripper() -> Multibody:
    return load_urdf(CASES / "u3_mimic_gripper.urdf", **NO_DAMPING)


def test_a_gripper_is_described_saved_merged_and_limited(gripper, tmp_path):
    text = repr(gripper)
    assert "finger_joint_r = 1 · finger_joint_l + 0" in text
    assert "finger_l 0.05 kg, finger_r 0.05 kg" in text
    save(tmp_path / "robot.npz", gripper)
    again = load(tmp_path / "robot.npz")
    assert bool(eqx.tree_equal(again, gripper)) and again.moving == gripper.moving
    q, velocity, effort = random_state(np.random.default_rng(0), 4)
    merged = gripper.merge_fixed()
    assert len(merged.body_names) == 5
    assert_close(
        merged.forward_dynamics(q, velocity, effort),
        gripper.forward_dynamics(q, velocity, effort),
    )
    # Closed fingers that are pushed further stop at 0.
    twin = Twin(gripper, 1 / 240, joint_limits=True)
    weight = gripper.gravity_effort(jnp.zeros(4))
    state = twin(jnp.zeros(8), weight - jnp.array([0.0, 0.0, 0.0, 5.0]))
    np.testing.assert_allclose(state[3], 0, atol=1e-9)
    assert Twin(gripper, 1 / 240)(jnp.zeros(8), weight.at[3].set(-5.0))[3] < -4e-4


def test_the_numbers_of_a_gripper_are_found(gripper):
    # The effort is linear in masses at fixed shapes: Newton's method is exact in the
    # logarithms after a few steps.
    true = eqx.tree_at(
        lambda r: (r.masses, r.inertias, r.damping),
        gripper,
        (
            gripper.masses.at[4].set(0.08),
            gripper.inertias.at[4].multiply(0.08 / 0.05),
            gripper.damping.at[3].set(2.0),
        ),
    )
    free = ("mass[finger_l]", "damping[finger_joint_l]")
    assert gripper.body_names[4] == "finger_l"
    model = ParametricTwin(Twin(gripper, 1 / 240), free)
    rng = np.random.default_rng(0)
    states = [
        jnp.stack(x)
        for x in zip(*(random_state(rng, 4) for _ in range(20)), strict=True)
    ]
    wanted = jax.jit(jax.vmap(true.inverse_dynamics))(*states)

    def residual(coordinates):
        fitted = eqx.tree_at(lambda m: m.coordinates, model, coordinates)
        return (jax.vmap(fitted.inverse_dynamics)(*states) - wanted).ravel()

    z = model.coordinates
    solve = jax.jit(
        lambda z: z - jnp.linalg.lstsq(jax.jacfwd(residual)(z), residual(z))[0]
    )
    for _ in range(8):
        z = solve(z)
    fitted = eqx.tree_at(lambda m: m.coordinates, model, z)
    np.testing.assert_allclose(fitted.values(), [0.08, 2.0], rtol=1e-9)
