"""What PyBullet prints past Python: said once in our words, or in the error."""

import os

import numpy as np
import pybullet
import pytest
from roboopt_envs.arm import ArmReach

URDF = """
<robot name="arm">
  <link name="base"/>
  <link name="link"><inertial><origin xyz="0 0 0.1"/><mass value="1"/>
    <inertia ixx="0.1" iyy="0.1" izz="0.1" ixy="0" ixz="0" iyz="0"/></inertial>{visual}
  </link>
  <joint name="turn" type="continuous"><parent link="base"/><child link="link"/>
    <axis xyz="0 1 0"/><limit effort="5" velocity="5"/><dynamics damping="0.1"/></joint>
</robot>
"""
MESH = '<visual><geometry><mesh filename="none.obj"/></geometry></visual>'


def test_a_base_without_inertia_is_no_news(tmp_path, capfd):
    (tmp_path / "arm.urdf").write_text(URDF.format(visual=""))
    os.write(1, b"before\n")
    ArmReach(str(tmp_path / "arm.urdf")).close()
    print("after", flush=True)
    assert capfd.readouterr() == ("before\nafter\n", "")


def test_a_mesh_that_is_not_there_is_said_once(tmp_path, capfd):
    (tmp_path / "arm.urdf").write_text(URDF.format(visual=2 * MESH))
    with pytest.warns(
        UserWarning, match=r"1 mesh.*not found in .*: none.obj"
    ) as caught:
        env = ArmReach(str(tmp_path / "arm.urdf"))
    assert len(caught) == 1
    # A capsule from the joint to twice the center of mass, and one of them.
    ((_, _, kind, size, *_),) = env.physics_client.getVisualShapeData(env.body)
    assert kind == pybullet.GEOM_CAPSULE
    np.testing.assert_allclose(size[:2], [0.2, 0.003], rtol=1e-12)
    env.close()
    assert capfd.readouterr() == ("", "")


def test_a_shape_that_cannot_be_read_is_replaced(tmp_path, capfd):
    cone = "<collision><geometry><cone/></geometry></collision>"
    (tmp_path / "arm.urdf").write_text(URDF.format(visual=cone))
    with pytest.warns(UserWarning, match="PyBullet cannot load the shapes .*link"):
        ArmReach(str(tmp_path / "arm.urdf")).close()
    assert capfd.readouterr() == ("", "")


def test_a_robot_that_bullet_refuses_to_compute_is_no_news(tmp_path, capfd):
    # A link of the KUKA KR210, whose inertia is asymmetric by 7e-15 in Bullet.
    inertial = """<origin xyz="-0.036811 -0.024697 0.56577"/><mass value="1385.5"/>
    <inertia ixx="90.873" ixy="33.809" ixz="17.159" iyy="147.03" iyz="0.063634"
    izz="168.19"/></inertial>"""
    head, _, rest = URDF.format(visual="").partition("<inertial>")
    heavy = head + "<inertial>" + inertial + rest.partition("</inertial>")[2]
    (tmp_path / "arm.urdf").write_text(heavy.replace('effort="5"', 'effort="9000"'))
    env = ArmReach(str(tmp_path / "arm.urdf"))
    assert capfd.readouterr() == ("", "")
    with pytest.raises(SystemError):
        env.physics_client.calculateMassMatrix(env.body, [0.1])
    env.close()
