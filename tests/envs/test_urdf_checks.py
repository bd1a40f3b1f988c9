"""URDFs that Bullet would take wrongly, or not survive."""

import jax.numpy as jnp
import numpy as np
import pytest
from roboopt_envs.arm import ArmReach

from roboopt import RobooptError, Twin

from .urdfs import INERTIA, INERTIAL, LIMIT, one_joint

NONE = '<inertia ixx="0" ixy="0" ixz="0" iyy="0" iyz="0" izz="0"/>'


def inertial(mass="1", inertia=INERTIA, origin='<origin xyz="0.3 0 0"/>'):
    return f'<inertial>{origin}<mass value="{mass}"/>{inertia}</inertial>'


def moments(xx, yy, zz, more=""):
    text = f'<inertia ixx="{xx}" iyy="{yy}" izz="{zz}" {more}/>'
    return inertial(inertia=text)


def joint(parent, child, name="more", kind="fixed", axis=""):
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/>'
        f'<child link="{child}"/>{axis}</joint>'
    )


def link(name, content=INERTIAL):
    return f'<link name="{name}">{content}</link>'


BAD = {
    "not XML": ("<robot><link></robot>", "is not valid XML"),
    "not a robot": ("<sdf/>", "must be <robot>, got <sdf>"),
    "nothing moves": (one_joint(kind="fixed"), "must have a .* joint that moves"),
    "empty": ('<robot name="r"/>', "at least one <link>"),
    "no name": (one_joint(elements="<link/>"), "every <link> must have a `name`"),
    "a name twice": (
        one_joint(elements=link("arm")),
        r"every <link> must have its own `name`.*\['arm'\]",
    ),
    "no such child": (
        one_joint(elements=joint("arm", "hand")),
        r"`child` of joint 'more' must be .*'base', 'arm'.* got 'han",
    ),
    "no such parent": (
        one_joint(elements=link("hand") + joint("leg", "hand")),
        "`parent` of joint 'more' must be one of the links",
    ),
    "no parent at all": (
        one_joint(elements=link("hand") + '<joint name="j" type="fixed"/>'),
        "joint 'j' must have a <parent link=…>",
    ),
    "two parents": (
        one_joint(elements=joint("base", "arm")),
        r"child of one joint at most, got .*\['arm'\]",
    ),
    "two roots": (
        one_joint(elements=link("floating")),
        r"one root, got 2: \['base', 'floating'\]",
    ),
    "a loop": (
        one_joint(
            elements=link("a") + link("b") + joint("a", "b") + joint("b", "a", "back")
        ),
        r"tree, got a loop of \['a', 'b'\]",
    ),
    "spherical": (
        one_joint(kind="spherical"),
        "`type` of joint 'hinge' must be one of .*'fixed'.*, got 'spherical'",
    ),
    "planar": (one_joint(kind="planar"), "'hinge' must be one of .* got 'planar'"),
    "floating": (one_joint(kind="floating"), "'hinge' must be .* got 'floating'"),
    "long axis": (
        one_joint(axis='<axis xyz="0 1 1"/>'),
        "`axis` of joint 'hinge' must be a unit vector, .*1.414",
    ),
    "no axis": (
        one_joint(axis='<axis xyz="0 0 0"/>'),
        "`axis` of joint 'hinge' must be a unit vector",
    ),
    "mimic": (
        one_joint(more='<mimic joint="other"/>'),
        r"`joint` of <mimic> in joint 'hinge' must be one of \['hinge'\], got 'other'",
    ),
    "a word": (
        one_joint(limit='<limit lower="low" upper="1" effort="1"/>'),
        "`lower` of <limit> in joint 'hinge' must be 1 number.* got 'low'",
    ),
    "infinite": (
        one_joint(limit='<limit lower="0" upper="inf" effort="1"/>'),
        "`lower` and `upper` of joint 'hinge' must both be finite or both be infinite",
    ),
    "two numbers": (
        one_joint(axis='<axis xyz="0 1"/>'),
        "`xyz` of <axis> in joint 'hinge' must be 3 finite .* got '0 1'",
    ),
    "joint origin": (
        one_joint(more='<origin xyz="0 0 nan"/>'),
        "`xyz` of <origin> in joint 'hinge' must be 3 finite",
    ),
    "link origin": (
        one_joint(inertial=inertial(origin='<origin rpy="0"/>')),
        "`rpy` of <origin> in link 'arm' must be 3 finite",
    ),
    "negative effort": (
        one_joint(limit='<limit lower="0" upper="1" effort="-3"/>'),
        "`effort` of joint 'hinge' must not be negative, got -3.0",
    ),
    "negative damping": (
        one_joint(more='<dynamics damping="-1"/>'),
        "`damping` of joint 'hinge' must not be negative, got -1.0",
    ),
    "inertia alone": (
        one_joint(inertial=f"<inertial>{INERTIA}</inertial>"),
        "<inertial> of link 'arm' must have a <mass value=…>",
    ),
    "part of an inertia": (
        one_joint(inertial=inertial(inertia='<inertia ixx="1" iyy="1"/>')),
        "<inertial> of link 'arm' must have a <inertia izz=…>",
    ),
    "negative mass": (
        one_joint(inertial=inertial(mass="-1")),
        "`mass` of link 'arm' must not be negative, got -1.0 kg",
    ),
    "negative moment": (
        one_joint(inertial=moments(0.1, 0.1, -0.1)),
        "`inertia` of every moving link must .* not negative.* arm",
    ),
    "triangle": (
        one_joint(inertial=moments(0.1, 0.1, 0.3)),
        "`inertia` of every moving link must .*triangle inequality.* arm",
    ),
    "triangle, turned": (
        one_joint(inertial=moments(0.2, 0.2, 0.05, 'ixy="0.18" ixz="0" iyz="0"')),
        "`inertia` of every moving link must .*triangle inequality.* arm",
    ),
    "no mass": (
        one_joint(inertial=inertial(mass="0", inertia=NONE)),
        r"this URDF describes no masses.* \['arm'\]",
    ),
    "no mass on a slide": (
        one_joint(kind="prismatic", inertial=inertial(mass="0")),
        "every joint must move a mass, .*'hinge'",
    ),
    "a point on its axis": (
        one_joint(inertial=inertial(inertia=NONE, origin="")),
        r"every joint must move some inertia, .* at the joint\(s\) \['hinge'\]",
    ),
    "twice the same joint": (
        one_joint(
            inertial=inertial(mass="0", inertia=NONE),
            elements=link("hand")
            + joint("arm", "hand", "twin", "continuous", '<axis xyz="0 1 0"/>'),
        ),
        r"every joint must move some inertia, .* at the joint\(s\) \['hinge', 'twin'\]",
    ),
}


@pytest.mark.parametrize("text, match", BAD.values(), ids=BAD)
def test_refused(write, text, match):
    with pytest.raises(RobooptError, match=match) as caught:
        ArmReach(write(text), effort_limits=None)
    assert "`robot`" in str(caught.value)


def test_binary_is_refused(tmp_path):
    path = tmp_path / "robot.urdf"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="is not valid XML"):
        ArmReach(path)


FINE = {
    "as it is": one_joint(),
    "axis left out": one_joint(axis=""),
    "no limits on a continuous joint": one_joint(
        kind="continuous", limit='<limit effort="20"/>'
    ),
    "a flat body": one_joint(inertial=moments(0.1, 0.2, 0.3)),
    # 0.1 + 0.7 is 0.7999999999999999 in doubles, less than 0.8.
    "a flat body, by rounding": one_joint(inertial=moments(0.1, 0.7, 0.8)),
    "a point off its axis": one_joint(inertial=inertial(inertia=NONE)),
    "inertia without mass": one_joint(inertial=inertial(mass="0", origin="")),
    "mass on a child": one_joint(
        inertial=inertial(mass="0", inertia=NONE),
        elements=link("hand") + joint("arm", "hand"),
    ),
    "a base without inertia": one_joint().replace(
        f'<link name="base">{INERTIAL}</link>', '<link name="base"/>'
    ),
    "a frame without inertia": one_joint(
        elements=link("frame", "") + joint("arm", "frame")
    ),
}


@pytest.mark.parametrize("text", FINE.values(), ids=FINE)
def test_accepted(write, text):
    env = ArmReach(write(text))
    env.reset(seed=0)
    observation, *_ = env.step([1.0])
    assert observation[1] != 0


def test_a_link_without_inertia_is_massless(write):
    frame = one_joint(elements=link("frame", "") + joint("arm", "frame"))
    env = ArmReach(write(frame))
    assert env.physics_client.getDynamicsInfo(env.body, 1)[0] == 0.0
    assert env.physics_client.getDynamicsInfo(env.body, 1)[2] == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    "limit", [LIMIT.replace('lower="-1"', 'lower="2"'), '<limit effort="20"/>']
)
def test_limits_the_wrong_way_round_or_missing_are_none(write, limit):
    # So Bullet means the first, and so do files written for it.
    with pytest.warns(UserWarning, match="count as unlimited"):
        env = ArmReach(write(one_joint(limit=limit)))
    starts = env.sample_starts(500, seed=0)[:, 0]
    assert 1.7 < starts.max() <= 0.6 * 3.1416
    assert np.isinf(env.joint_limits).all()


def test_frames_beyond_what_bullet_holds_are_left_out(write):
    # PyBullet reports the state of no robot with more than 127 joints.
    names = [f"frame_{number}" for number in range(130)]
    frames = [link(name, "") + joint("arm", name, f"to_{name}") for name in names]
    many = ArmReach(write(one_joint(elements="".join(frames))))
    few, goal = ArmReach(write(one_joint())), many.reset(seed=0)[0]
    np.testing.assert_array_equal(few.reset(seed=0)[0], goal)
    np.testing.assert_array_equal(few.step([3.0])[0], many.step([3.0])[0])
    assert many.tool in names  # The tool is a link of the file.
    heavy = [link(name) + joint("arm", name, f"to_{name}") for name in names]
    with pytest.raises(RobooptError, match="at most 127 joints, .* got 131 in"):
        ArmReach(write(one_joint(elements="".join(heavy))))


def test_a_robot_without_masses_has_bullets_own(write):
    path = write(one_joint(inertial=""))
    env = ArmReach(path, bullet_defaults=True)
    robot = Twin.from_env(env).robot
    np.testing.assert_array_equal(robot.masses, [1.0])
    np.testing.assert_allclose(robot.mass_matrix(jnp.zeros(1)), [[1.0]])
