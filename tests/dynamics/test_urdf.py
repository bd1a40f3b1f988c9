from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bullet_robots import ROBOTS, Body, random_state
from hand_robots import joint, link, write, write_pendulum

from roboopt import RobooptError
from roboopt.dynamics import Twin, load_bullet, load_urdf

BASE, ARM, HINGE = '<link name="base"/>', link("arm"), joint("hinge", "base", "arm")


@pytest.mark.parametrize("name", ["cart_pole", "two_link", "iiwa"])
def test_reads_the_robot_that_pybullet_loads(name):
    body = Body(ROBOTS[name])
    assert_same_robot(load_urdf(ROBOTS[name]), load_bullet(body.client, body.body))


def test_reads_any_tree_as_pybullet_does(random_path):
    body = Body(random_path)
    assert_same_robot(load_urdf(random_path), load_bullet(body.client, body.body))


def assert_same_robot(urdf, loaded):
    """Two readings of one robot differ in their frames, not in what they do."""
    for name in ("joint_names", "parents", "revolute", "limited", "body_names"):
        assert getattr(urdf, name) == getattr(loaded, name)
    assert urdf.link_names == loaded.link_names
    assert urdf.effort_limits == loaded.effort_limits
    for name in ("masses", "damping", "lower", "upper", "gravity"):
        np.testing.assert_array_equal(getattr(urdf, name), getattr(loaded, name))
    rng = np.random.default_rng(0)
    for _ in range(3):
        state = random_state(rng, len(urdf.joint_names))
        np.testing.assert_allclose(
            urdf.forward_dynamics(*state),
            loaded.forward_dynamics(*state),
            rtol=1e-11,
            atol=1e-11,
        )
        for link_name in urdf.link_names:
            for one, other in zip(
                urdf.forward_kinematics(state[0], link_name),
                loaded.forward_kinematics(state[0], link_name),
                strict=True,
            ):
                # A link's rotation passes through Bullet's quaternions.
                np.testing.assert_allclose(one, other, atol=1e-12)


def test_the_second_finger_of_the_panda_follows_or_is_locked():
    panda = load_urdf(ROBOTS["panda"])
    assert len(panda.joint_names) == 8 and len(panda.moving) == 9
    body = Body(ROBOTS["panda"])
    loaded = load_bullet(body.client, body.body)
    with pytest.warns(UserWarning, match="follow moves .1.: panda_finger_joint2 of p"):
        locked = load_urdf(ROBOTS["panda"], locked={"panda_finger_joint2": 0.01})
    q = jnp.linspace(-1, 1, 8)
    for robot, finger in ((panda, q[7]), (locked, jnp.array(0.01))):
        assert len(robot.joint_names) == 8
        np.testing.assert_allclose(
            robot.forward_kinematics(q, "panda_rightfinger")[1],
            loaded.forward_kinematics(jnp.append(q, finger), "panda_rightfinger")[1],
            atol=1e-12,
        )


def test_fills_in_what_the_file_leaves_out(tmp_path):
    # No <axis>: x. No limits: none. No <inertial>: nothing, or 1 kg and 1 kg·m².
    path = write(
        tmp_path / "r.urdf",
        BASE,
        '<link name="arm"/><joint name="hinge" type="revolute"><limit effort="1"/>'
        '<parent link="base"/><child link="arm"/></joint>',
    )
    with pytest.raises(RobooptError, match="no masses.*`bullet_defaults=True`"):
        load_urdf(path)
    with pytest.warns(UserWarning, match=r"without limits.*\(1\): hinge"):
        robot = load_urdf(path, bullet_defaults=True)
    np.testing.assert_array_equal(robot.axes, [[1, 0, 0]])
    np.testing.assert_array_equal(robot.masses, [1])
    np.testing.assert_array_equal(robot.inertias, [np.eye(3)])
    np.testing.assert_array_equal(robot.damping, [0])
    assert robot.limited == (False,)
    np.testing.assert_allclose(robot.mass_matrix(jnp.zeros(1)), [[1.0]])
    body = Body(path)
    assert load_bullet(body.client, body.body).masses.tolist() == [1]


def test_reads_friction(tmp_path):
    path = write_pendulum(
        tmp_path / "r.urdf", more='<dynamics damping="0.2" friction="0.7"/>'
    )
    robot = load_urdf(path)
    assert (float(robot.damping[0]), float(robot.friction[0])) == (0.2, 0.7)


def test_missing_products_of_inertia_are_zero(tmp_path):
    arm = ARM.replace("/></inertial>", ' ixy="0.01"/></inertial>')
    path = write(tmp_path / "r.urdf", BASE, arm, HINGE)
    with pytest.warns(UserWarning, match=r"\(1\): link 'arm' without ixz, iyz"):
        robot = load_urdf(path)
    np.testing.assert_allclose(robot.inertias[0, :, 2], [0, 0, 0.1], atol=1e-15)
    np.testing.assert_allclose(robot.inertias[0, 0, 1], 0.01)


def test_a_tool_frame_weighs_nothing():
    # Stretched out, 4 kg at 0.2 m and 2 kg at 0.55 m hang on the lift joint.
    robot = load_urdf(Path(__file__).parents[1] / "cases" / "urdf" / "u5_tool0.urdf")
    assert "tool0" in robot.link_names and float(robot.masses.sum()) == 9
    effort = robot.gravity_effort(jnp.zeros(3))
    np.testing.assert_allclose(effort[1], -9.81 * (4 * 0.2 + 2 * 0.55), rtol=1e-12)


def test_a_continuous_joint_has_no_limits_whatever_the_file_says(tmp_path):
    path = write_pendulum(tmp_path / "r.urdf", more='<limit lower="-1" upper="1"/>')
    assert load_urdf(path).limited == (False,)
    path = write_pendulum(
        tmp_path / "s.urdf", kind="revolute", more='<limit lower="-1" upper="2"/>'
    )
    robot = load_urdf(path)
    assert robot.limited == (True,)
    assert (float(robot.lower[0]), float(robot.upper[0])) == (-1.0, 2.0)


def test_effort_limits_are_those_of_the_joints(tmp_path):
    # A <transmission> holds a <joint> of the same name without a <limit>, and is often
    # the last of the two. A limit of 0 counts as none, in PyBullet too.
    transmission = '<transmission name="t"><joint name="hinge"/></transmission>'
    limit, none = '<limit effort="7.5"/>', '<limit effort="0"/>'
    path = write(
        tmp_path / "r.urdf",
        BASE,
        ARM,
        link("leg"),
        joint("hinge", "base", "arm", more=limit),
        joint("knee", "arm", "leg", more=none),
        transmission,
    )
    robot = load_urdf(path)
    assert robot.joint_names == ("hinge", "knee")
    assert robot.effort_limits == (7.5, np.inf)
    body = Body(path)
    assert load_bullet(body.client, body.body).effort_limits == (7.5, np.inf)


def test_takes_gravity_and_damping(tmp_path):
    robot = load_urdf(
        write_pendulum(tmp_path / "r.urdf"),
        gravity=(1.0, 0.0, 0.0),
        linear_damping=0.5,
        angular_damping=0.25,
    )
    np.testing.assert_array_equal(robot.gravity, [1, 0, 0])
    assert (float(robot.linear_damping), float(robot.angular_damping)) == (0.5, 0.25)


def test_reads_files_that_depend_on_their_order(tmp_path):
    # Bullet counts depth first: the second child's subtree comes after the first's.
    parts = [
        joint("second", "base", "b"),
        joint("first", "base", "a"),
        joint("below second", "b", "c"),
    ]
    links = [link("c"), link("a"), link("b"), BASE]
    robot = load_urdf(write(tmp_path / "r.urdf", *parts, *links))
    assert robot.joint_names == ("second", "below second", "first")
    assert robot.parents == (-1, 0, -1)
    assert robot.link_names == ("base", "b", "c", "a")


def test_is_differentiable_in_its_numbers(tmp_path):
    robot = load_urdf(write_pendulum(tmp_path / "r.urdf"))
    grads = jax.jit(jax.grad(lambda r: r.gravity_effort(jnp.zeros(1)).sum()))(robot)
    # Gravity asks for −m g 0.5 at q = 0: positive effort would let the arm down.
    np.testing.assert_allclose(grads.masses, [-9.81 * 0.5], rtol=1e-12)


def inertial(text):
    return f'<link name="arm"><inertial>{text}</inertial></link>'


MASS, INERTIA = '<mass value="1"/>', '<inertia ixx="1" iyy="1" izz="1"/>'
REVOLUTE = '<joint name="hinge" type="revolute"><parent link="base"/>'
REFUSED = {
    "negative damping": (
        (BASE, ARM, joint("hinge", "base", "arm", more='<dynamics damping="-1"/>')),
        "`damping` of joint 'hinge' must not be negative, got -1.0",
    ),
    "floating joint": (
        (BASE, ARM, joint("hinge", "base", "arm", kind="floating")),
        "`type` of joint 'hinge' must be one of .*got 'floating'",
    ),
    "planar joint": (
        (BASE, ARM, joint("hinge", "base", "arm", kind="planar")),
        "`type` of joint 'hinge'.*got 'planar'",
    ),
    "no type": (
        (BASE, ARM, HINGE.replace('type="continuous"', "")),
        "`type` of joint 'hinge'.*got None",
    ),
    "mimic of nobody": (
        (BASE, ARM, joint("hinge", "base", "arm", more='<mimic joint="a"/>')),
        r"`joint` of <mimic> in joint 'hinge' must be one of \['hinge'\], got 'a'",
    ),
    "mimic of itself": (
        (BASE, ARM, joint("hinge", "base", "arm", more='<mimic joint="hinge"/>')),
        r"loop of <mimic>, got \['hinge', 'hinge'\]",
    ),
    "negative friction": (
        (BASE, ARM, joint("hinge", "base", "arm", more='<dynamics friction="-1"/>')),
        "`friction` of joint 'hinge' must not be negative, got -1.0",
    ),
    "no mass": (
        (BASE, link("arm", mass=0.0, inertia=0.0), HINGE),
        r"this URDF describes no masses.*none for \['arm'\]",
    ),
    "no mass on a slide": (
        (
            BASE,
            link("arm", mass=0.0),
            HINGE.replace("continuous", "prismatic").replace(
                "</joint>", '<limit lower="0" upper="1"/></joint>'
            ),
        ),
        r"every joint must move a mass, got no mass .*{'hinge': \['arm'\]}",
    ),
    "negative mass": (
        (BASE, link("arm", mass=-1.0), HINGE),
        "`mass` of link 'arm' must not be negative, got -1.0 kg",
    ),
    "negative inertia": (
        (BASE, link("arm", inertia=-1.0), HINGE),
        r"`inertia` of every moving link.*link arm \[-1.0, -1.0, -1.0\] kg·m²",
    ),
    "triangle inequality": (
        (BASE, inertial(MASS + INERTIA.replace('izz="1"', 'izz="2.6"')), HINGE),
        r"greater than the sum.*link arm \[1.0, 1.0, 2.6\] kg·m².*`repair=True`",
    ),
    "inertia not positive": (
        (
            BASE,
            inertial(MASS + INERTIA.replace("/>", ' ixy="2" ixz="0" iyz="0"/>', 1)),
            HINGE,
        ),
        "`inertia` of every moving link must have principal moments.*link arm",
    ),
    "no izz": (
        (BASE, inertial(MASS + '<inertia ixx="1" iyy="1"/>'), HINGE),
        "<inertial> of link 'arm' must have a <inertia izz=…>",
    ),
    "no <inertia>": ((BASE, inertial(MASS), HINGE), "must have an <inertia>"),
    "no <mass>": ((BASE, inertial(INERTIA), HINGE), "must have a <mass value=…>"),
    "not a number": (
        (BASE, inertial('<mass value="${m}"/>' + INERTIA), HINGE),
        r"`value` of <mass> in link 'arm' must be 1 finite number\(s\), got '\${m}'",
    ),
    "not finite": (
        (BASE, link("arm", mass=float("inf")), HINGE),
        "`value` of <mass> in link 'arm' must be 1 finite",
    ),
    "two of three": (
        (BASE, ARM, joint("hinge", "base", "arm", origin="1 2")),
        r"`xyz` of <origin> in joint 'hinge' must be 3 finite number\(s\), got '1 2'",
    ),
    "long axis": (
        (BASE, ARM, joint("hinge", "base", "arm", axis="0 0 2")),
        "`axis` of joint 'hinge' must be a unit vector.*of length 2",
    ),
    "zero axis": (
        (BASE, ARM, joint("hinge", "base", "arm", axis="0 0 0")),
        "`axis` of joint 'hinge' must be a unit vector.*of length 0",
    ),
    "half infinite limits": (
        (
            BASE,
            ARM,
            REVOLUTE + '<child link="arm"/><limit lower="0" upper="inf"/></joint>',
        ),
        "`lower` and `upper` of joint 'hinge' must both be finite or both be infinite",
    ),
    "no child": (
        (BASE, ARM, REVOLUTE + '<limit lower="0" upper="1"/></joint>'),
        "joint 'hinge' must have a <child link=…>",
    ),
    "unknown link": (
        (BASE, ARM, joint("hinge", "base", "leg")),
        "`child` of joint 'hinge' must be one of the links .*got 'leg'",
    ),
    "two links of a name": (
        (BASE, ARM, ARM, HINGE),
        r"every <link> must have its own `name`, got twice: \['arm'\]",
    ),
    "two joints of a name": (
        (BASE, ARM, link("leg"), HINGE, joint("hinge", "base", "leg")),
        r"every <joint> must have its own `name`, got twice: \['hinge'\]",
    ),
    "no name": ((BASE, "<link/>"), "every <link> must have a `name`"),
    "two roots": ((BASE, link("other"), ARM, HINGE), r"got 2: \['base', 'other'\]"),
    "two parents": (
        (BASE, ARM, HINGE, joint("again", "base", "arm")),
        r"child of one joint at most, got more for \['arm'\]",
    ),
    "a loop": (
        (BASE, ARM, link("leg"), joint("a", "arm", "leg"), joint("b", "leg", "arm")),
        r"loop of \['arm', 'leg'\]",
    ),
    "a loop alone": (
        (ARM, link("leg"), joint("a", "arm", "leg"), joint("b", "leg", "arm")),
        r"loop of \['arm', 'leg'\]",
    ),
    "no links": ((), "at least one <link>"),
    "nothing moves": (
        (BASE, ARM, joint("hinge", "base", "arm", kind="fixed")),
        "must have a revolute, continuous or prismatic joint",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_robots_are_refused(case, tmp_path):
    parts, match = REFUSED[case]
    path = write(tmp_path / "r.urdf", *parts)
    with pytest.raises(ValueError, match=match):
        load_urdf(path)


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(RobooptError, match="`path`.*nowhere.urdf"):
        load_urdf(tmp_path / "nowhere.urdf")
    path = tmp_path / "r.urdf"
    path.write_text("<robot")
    with pytest.raises(ValueError, match="`path`.*XML"):
        load_urdf(path)
    path.write_text("<sdf/>")
    with pytest.raises(ValueError, match="`path`.*got <sdf>"):
        load_urdf(path)


@pytest.mark.parametrize(
    "setting, match",
    [
        ({"locked": ["knee"]}, r"`locked` must name joints of \['hinge'\].*'knee'"),
        ({"locked": ["hinge"]}, "must have a revolute, continuous or prismatic"),
        ({"gravity": (0.0, -9.81)}, "`gravity` must be three finite numbers"),
        ({"gravity": (0.0, 0.0, float("nan"))}, "`gravity` must be three finite"),
        ({"linear_damping": -1.0}, "`linear_damping` must be finite and not negative"),
        ({"angular_damping": float("nan")}, "`angular_damping` must be finite and"),
    ],
)
def test_bad_settings_are_refused(setting, match, tmp_path):
    path = write_pendulum(tmp_path / "r.urdf")
    with pytest.raises(ValueError, match=match):
        load_urdf(path, **setting)


def test_a_twin_drives_the_joints_that_the_file_says():
    robot = load_urdf(ROBOTS["cart_pole"])  # its pole has effort="0"
    assert robot.actuated == (0,)
    assert Twin(robot, 0.01).actuated == (0,)
    assert Twin(robot, 0.01, actuated=(0, 1)).actuated == (0, 1)
    every = load_urdf(ROBOTS["cart_pole"], actuated="all")
    assert Twin(every, 0.01).actuated == (0, 1)
    limited = Twin(robot, 0.01, effort_limits=robot.effort_limits)
    np.testing.assert_array_equal(limited.effort(jnp.array([99.0])), [10.0, 0.0])
    text = repr(robot)
    assert "passive" in text and "friction" in text
