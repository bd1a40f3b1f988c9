"""What a URDF is read into: order, poses, limits, and the two sets of decisions."""

import subprocess
import sys

import numpy as np
import pytest

from roboopt import RobooptError
from roboopt.urdf import Mimic, read_urdf

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


def test_a_mimic_joint_is_no_coordinate(write):
    # The finger follows the knee by −2 q + 0.5, and the knee the hinge by 3 q + 1,
    # hence the finger the hinge by −6 q − 1.5.
    finger, more = joint("finger", "leg", "tip", "prismatic", more=""), LIMIT
    chained = '<mimic joint="knee" multiplier="-2" offset="0.5"/>'
    losses = '<dynamics damping="0.5" friction="0.25"/>'
    path = write(
        link("base"),
        link("arm"),
        link("leg"),
        link("tip"),
        joint("hinge", "base", "arm", more='<limit lower="-4" upper="4"/>' + losses),
        joint(
            "knee",
            "arm",
            "leg",
            "continuous",
            '<mimic joint="hinge" multiplier="3" offset="1"/>' + losses,
        ),
        finger.replace("</joint>", more + chained + losses + "</joint>"),
    )
    model = read_urdf(path)
    assert [j.name for j in model.moving] == ["hinge", "knee", "finger"]
    assert model.joint_names == ("hinge",) and model.coordinates == (0,)
    assert model.moving[2].mimic == Mimic("hinge", -6.0, -1.5)
    matrix, offset = model.coupling
    np.testing.assert_array_equal(matrix, [[1], [3], [-6]])
    np.testing.assert_array_equal(offset, [0, 1, -1.5])
    # Σ k² d = (1 + 9 + 36) 0.5 and Σ |k| c = (1 + 3 + 6) 0.25.
    np.testing.assert_array_equal(model.damping, [23.0])
    np.testing.assert_array_equal(model.friction, [2.5])
    # −1 ≤ −6 q − 1.5 ≤ 2 within the hinge's own ±4.
    np.testing.assert_allclose(model.position_limits, [[-3.5 / 6], [-0.5 / 6]])
    assert model.driven.tolist() == [True] and not model.moving[1].driven
    with pytest.raises(RobooptError, match="cannot move, with"):
        read_urdf(path, locked={"hinge": 0.2})


def test_locked_joints_stand_where_they_are_told(write):
    # The finger follows the turn, which is held at 90°: it slides 2 m along the new y.
    path = write(
        '<link name="base"/>',
        link("arm"),
        link("tip"),
        link("other"),
        joint("turn", "base", "arm", more='<axis xyz="0 0 1"/>' + LIMIT),
        joint(
            "finger",
            "arm",
            "tip",
            "prismatic",
            '<mimic joint="turn" offset="2" multiplier="0"/><axis xyz="1 0 0"/>',
        ),
        joint("hinge", "base", "other"),
    )
    with pytest.warns(UserWarning, match=r"joints without limits.*\(1\): finger"):
        model = read_urdf(path, locked={"turn": np.pi / 2})
    assert model.joint_names == ("hinge",)
    np.testing.assert_allclose(
        model.link_poses["arm"].rotation @ [1, 0, 0], [0, 1, 0], atol=1e-15
    )
    np.testing.assert_allclose(model.link_poses["tip"].offset, [0, 2, 0], atol=1e-15)


@pytest.mark.parametrize(
    "argument, value, match",
    [
        ("locked", ["leg"], r"`locked` must name joints of \['hinge'\], got \['leg'\]"),
        ("locked", {"hinge": float("nan")}, "`locked` must hold finite positions"),
        ("locked", "hinge", "must have a .* that moves"),
        (
            "actuated",
            ["leg"],
            r"`actuated` must be .all., or name joints.*\['hinge'\], got \['leg'\]",
        ),
        ("effort_limits", [1.0, 2.0], r"`effort_limits` must hold .*\['hinge'\]"),
        ("effort_limits", {"knee": 1}, r"driven joints of \['hinge'\], got \['knee'\]"),
        ("effort_limits", {"hinge": -1}, r"positive.*\['hinge'\], got {'hinge': -1}"),
        ("effort_limits", -1.0, "`effort_limits` must hold one positive number"),
    ],
)
def test_bad_arguments_are_refused(argument, value, match, write):
    path = write(link("base"), link("arm"), joint("hinge", "base", "arm"))
    with pytest.raises(RobooptError, match=match):
        read_urdf(path, **{argument: value})


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
