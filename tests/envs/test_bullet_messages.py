"""What PyBullet prints past Python: said once in our words, or in the error."""

import os

import pytest
from roboopt_envs.arm import ArmReach

from roboopt import RobooptError

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


def test_the_reason_why_a_robot_cannot_be_loaded_is_in_the_error(tmp_path, capfd):
    (tmp_path / "arm.urdf").write_text(URDF.format(visual=MESH))
    with pytest.raises(RobooptError, match="cannot find 'none.obj'"):
        ArmReach(str(tmp_path / "arm.urdf"))
    assert capfd.readouterr() == ("", "")
