"""What a URDF is read into: order, poses, limits, and the two sets of decisions."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from roboopt import RobooptError
from roboopt.urdf import for_pybullet, for_twin, read_urdf

BODY = (
    '<inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1"/></inertial>'  # 1 kg
)
LIMIT = '<limit lower="-1" upper="2" effort="5"/>'


def link(name, content=BODY):
    return f'<link name="{name}">{content}</link>'


def joint(name, parent, child, kind="revolute", more=LIMIT):
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/>'
        f'<child link="{child}"/>{more}</joint>'
    )


@pytest.fixture
def write(tmp_path):
    def write_one(*parts):
        path = tmp_path / "robot.urdf"
        path.write_text(f"<robot name='r'>{''.join(parts)}</robot>")
        return path

    return write_one


def test_a_branching_robot_by_hand(write):
    # base ─ left(z, fixed at x = 1) ─ hand; base ─ slide. The file's order is another.
    path = write(
        link("slide"),
        link("hand"),
        link("left"),
        '<link name="base"/>',
        joint("turn", "base", "left", more='<origin xyz="1 0 0"/>' + LIMIT),
        joint("rail", "base", "slide", "prismatic"),
        joint("weld", "left", "hand", "fixed", '<origin xyz="0 2 0" rpy="0 0 1.5"/>'),
    )
    model = read_urdf(path)
    assert model.root == "base"
    assert model.link_names == ("base", "left", "hand", "slide")
    assert model.joint_names == ("turn", "rail")
    np.testing.assert_array_equal(model.revolute, [True, False])
    np.testing.assert_array_equal(model.position_limits, [[-1, -1], [2, 2]])
    np.testing.assert_array_equal(model.effort_limits, [5, 5])
    assert [pose.joint for pose in model.joint_poses] == [-1, -1]
    np.testing.assert_array_equal(model.joint_poses[0].offset, [1, 0, 0])
    hand = model.link_poses["hand"]
    assert hand.joint == 0 and model.chain("hand") == (0,)
    np.testing.assert_array_equal(hand.offset, [0, 2, 0])
    assert model.chain("base") == () and "base" not in model.inertials


DISAGREE = {
    "mimic": (
        joint("knee", "arm", "leg", more=LIMIT + '<mimic joint="hinge"/>'),
        "mimic",
        "mimic",
    ),
    "crossed limits": (
        joint("knee", "arm", "leg", more='<limit lower="2" upper="1"/>'),
        "`lower` of joint 'knee'",
        None,
    ),
    "no room": (
        joint("knee", "arm", "leg", more='<limit lower="1" upper="1"/>'),
        None,
        "limits of joint 'knee'",
    ),
    "one limit": (
        joint("knee", "arm", "leg", more='<limit upper="1"/>'),
        "joint 'knee'",
        None,
    ),
    "no limits": (
        joint("knee", "arm", "leg", more='<limit effort="1"/>'),
        None,
        "limits of joint 'knee'",
    ),
    "negative effort": (
        joint("knee", "arm", "leg", more='<limit lower="0" upper="1" effort="-1"/>'),
        None,
        "effort limit of joint 'knee'",
    ),
}


@pytest.mark.parametrize("case", DISAGREE)
def test_what_is_decided_differently(case, write):
    text, twin, bullet = DISAGREE[case]
    hinge = joint("hinge", "base", "arm")
    path = write(link("base"), link("arm"), link("leg"), hinge, text)
    for decide, match in ((for_twin, twin), (for_pybullet, bullet)):
        if match is None:
            assert read_urdf(path, decide).joint_names == ("hinge", "knee")
        else:
            with pytest.raises(RobooptError, match=f"`robot`: .*{match}"):
                read_urdf(path, decide, argument="robot")


def test_pybullet_may_be_told_to_ignore_mimic(write):
    knee = DISAGREE["mimic"][0]
    hinge = joint("hinge", "base", "arm")
    path = write(link("base"), link("arm"), link("leg"), hinge, knee)
    model = read_urdf(path, partial(for_pybullet, mimic=True))
    assert model.moving[1].mimics == "hinge"
    assert read_urdf(path, locked=["knee"]).joint_names == ("hinge",)


def test_an_impossible_inertia_that_never_moves_does_no_harm(write):
    flat = BODY.replace('izz="1"', 'izz="9"')
    path = write(
        link("world", ""),
        link("base", flat),
        link("arm"),
        joint("weld", "world", "base", "fixed", ""),
        joint("hinge", "base", "arm"),
    )
    assert set(read_urdf(path).inertials) == {"arm"}
    path = write(link("base"), link("arm", flat), joint("hinge", "base", "arm"))
    with pytest.raises(RobooptError, match="triangle inequality"):
        read_urdf(path)


def test_reading_needs_no_jax():
    script = "import sys, roboopt.urdf; print('jax' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert done.stdout.split() == ["False"], done.stderr
