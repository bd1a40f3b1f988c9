"""A slide, for the tests of friction."""

import pytest

URDF = """<robot name="slide"><link name="base"/>
<link name="cart"><inertial><mass value="2"/>
<inertia ixx="1e-2" ixy="0" ixz="0" iyy="1e-2" iyz="0" izz="1e-2"/></inertial></link>
<joint name="rail" type="prismatic"><parent link="base"/><child link="cart"/>
<axis xyz="1 0 0"/><dynamics damping="1" friction="0.1"/>
<limit lower="-1" upper="1" effort="50" velocity="1"/></joint></robot>"""


@pytest.fixture
def urdf(tmp_path):
    """Return the file of a slide of 2 kg, with a damping of 1 N·s/m."""
    path = tmp_path / "slide.urdf"
    path.write_text(URDF)
    return path
