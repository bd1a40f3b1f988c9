"""NumPy's mass matrix and bias: by hand, and as PyBullet has them."""

import warnings
from pathlib import Path

import numpy as np
import pybullet
import pybullet_data
import pytest

from roboopt.urdf import (
    RigidBodies,
    bullet_urdf,
    find_meshes,
    gravity_effort,
    mass_matrix,
    read_urdf,
)

DATA = Path(pybullet_data.getDataPath())
CASES = Path(__file__).parents[1] / "cases" / "urdf"
ROBOTS = [
    *(DATA / name for name in ("kuka_iiwa/model.urdf", "franka_panda/panda.urdf")),
    *(DATA / name for name in ("a1/a1.urdf", "quadruped/minitaur_v1.urdf")),
    *(DATA / name for name in ("pendulum5.urdf", "racecar/racecar.urdf", "r2d2.urdf")),
    *(DATA / name for name in ("laikago/laikago.urdf", "quadruped/vision60.urdf")),
    *(CASES / f"{name}.urdf" for name in ("mimic", "u3_mimic_gripper", "u5_tool0")),
]


@pytest.mark.parametrize("path", ROBOTS, ids=lambda path: path.stem)
def test_as_pybullet_has_them_in_the_file_that_is_written_for_it(path, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = read_urdf(path)
    written = tmp_path / "robot.urdf"
    written.write_bytes(bullet_urdf(model, find_meshes(model, path.parent)))
    # PyBullet's answers are about the first body of a client only.
    client = pybullet.connect(pybullet.DIRECT)
    where = {"physicsClientId": client}
    flags = pybullet.URDF_USE_INERTIA_FROM_FILE
    body = pybullet.loadURDF(str(written), useFixedBase=True, flags=flags, **where)
    pybullet.setGravity(0, 0, -9.81, **where)
    names = [
        pybullet.getJointInfo(body, i, **where)[1].decode()
        for i in range(pybullet.getNumJoints(body, **where))
    ]
    assert names == [joint.name for joint in model.joints]
    bodies, rng = RigidBodies(model), np.random.default_rng(0)
    n = len(model.moving)
    for _ in range(10):
        q, velocity = rng.normal(size=(2, n))
        matrix = pybullet.calculateMassMatrix(body, q.tolist(), **where)
        rates = q.tolist(), velocity.tolist(), [0.0] * n
        bias = pybullet.calculateInverseDynamics(body, *rates, **where)
        ours = bodies.equations_of_motion(q, velocity)
        for found, expected in zip(ours, (matrix, bias), strict=True):
            scale = max(np.abs(expected).max(), 1e-3)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * scale)
    pybullet.disconnect(client)


def test_by_hand_with_a_follower():
    # Three links of 1 kg, 0.1 m above their axis along y, all axes at the origin, with
    # moments of 0.01 kg·m²: each has 0.02 about the axis. The second turns by q2 and
    # the third by −q2 relative to the first: M = [[3·0.02, 0], [0, 2·0.02]] where they
    # turn about the same line, and gravity's torque is −m g l sin of each angle.
    model = read_urdf(CASES / "mimic.urdf")
    q = np.array([0.3, 0.4])
    np.testing.assert_allclose(
        mass_matrix(model, q), [[0.06, 0.0], [0.0, 0.04]], atol=1e-15
    )
    pull = -0.981 * np.sin([0.3, 0.7, -0.1])
    expected = [pull.sum(), pull[1] - pull[2]]
    np.testing.assert_allclose(gravity_effort(model, q), expected, rtol=1e-13)
    weightless = gravity_effort(model, q, (0.0, 0.0, 0.0))
    np.testing.assert_array_equal(weightless, [0.0, 0.0])


def test_masses_times_factors():
    model = read_urdf(CASES / "basic.urdf")
    q = np.array([0.3, -0.5])
    whole = RigidBodies(model).mass_matrix(q)
    parts = [RigidBodies(model, {link: 0.0}).mass_matrix(q) for link in "ab"]
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-13)
    double = RigidBodies(model, dict.fromkeys("ab", 2.0))
    np.testing.assert_allclose(double.mass_matrix(q), 2 * whole, rtol=1e-13)
