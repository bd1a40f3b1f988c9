import numpy as np
import pybullet
import pytest
from bullet_robots import OWN, ROBOTS, Body
from hand_robots import joint, link, write, write_pendulum, write_slider
from pybullet_utils.bullet_client import BulletClient

from roboopt.dynamics import BULLET_DAMPING, load_bullet


def test_reads_what_pybullet_holds(tmp_path):
    path = write_slider(tmp_path / "r.urdf")
    body = Body(path, position=(1.0, 2.0, 3.0))
    robot = load_bullet(body.client, body.body)
    assert robot.joint_names == ("rail",)
    assert robot.body_names == ("block",)
    assert robot.link_names == ("base", "block")
    assert (robot.revolute, robot.limited) == ((False,), (True,))
    np.testing.assert_array_equal(robot.joint_offsets, [[1, 2, 3]])
    np.testing.assert_array_equal(robot.masses, [2])
    np.testing.assert_array_equal(robot.gravity, [0, 0, -9.81])
    assert float(robot.linear_damping) == BULLET_DAMPING == float(np.float32(0.04))


def test_a_changed_body_is_read_as_it_is_now():
    body = Body(OWN / "cart_pole.urdf")
    pole = body.joints[1]
    inertia = body.client.getDynamicsInfo(body.body, pole)[2]
    body.client.changeDynamics(
        body.body, pole, mass=0.3, localInertiaDiagonal=[3 * x for x in inertia]
    )
    robot = load_bullet(body.client, body.body)
    np.testing.assert_allclose(robot.masses, [1.0, 0.3])


def test_takes_what_pybullet_does_not_tell(tmp_path):
    body = Body(write_pendulum(tmp_path / "r.urdf"))
    robot = load_bullet(
        body.client,
        body.body,
        linear_damping=0.0,
        angular_damping=0.1,
        damping=0.2,
        lower=-1.0,
        upper=[2.0],
    )
    assert (float(robot.linear_damping), float(robot.angular_damping)) == (0.0, 0.1)
    np.testing.assert_array_equal(robot.damping, [0.2])
    np.testing.assert_array_equal([robot.lower, robot.upper], [[-1], [2]])
    assert robot.limited == (True,)
    assert load_bullet(body.client, body.body).limited == (False,)


def test_a_body_on_no_base_is_refused():
    client = BulletClient(pybullet.DIRECT)
    body = client.loadURDF(str(ROBOTS["cart_pole"]), useFixedBase=False)
    with pytest.raises(ValueError, match="`body` must stand on a fixed base.*10"):
        load_bullet(client, body)


@pytest.mark.parametrize(
    "kind, match",
    [
        ("fixed", "must have a revolute, continuous or prismatic joint"),
        ("spherical", "joint 'weld' must be revolute, prismatic or fixed.*type 2"),
    ],
)
def test_joints_of_other_kinds_are_refused(tmp_path, kind, match):
    weld = joint("weld", "base", "arm", kind=kind)
    path = write(tmp_path / "r.urdf", '<link name="base"/>', link("arm"), weld)
    client = BulletClient(pybullet.DIRECT)
    body = client.loadURDF(str(path), useFixedBase=True)
    with pytest.raises(ValueError, match=match):
        load_bullet(client, body)
