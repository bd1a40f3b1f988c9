"""A robot written into its URDF is the robot that comes back, from any reader."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bullet_robots import ROBOTS, Body, random_state
from hand_robots import joint, link, write, write_pendulum
from roboopt_envs.robot import RobotTask

from roboopt import RobooptError
from roboopt.dynamics import (
    Drive,
    Twin,
    load_bullet,
    load_urdf,
    save_urdf,
    with_friction,
)
from roboopt.urdf import rotation_from_rpy

NO_DAMPING: dict[str, Any] = {"linear_damping": 0.0, "angular_damping": 0.0}
# A file with comments, unused namespaces, quotes of both kinds and an accent.
PENDULUM = """<?xml version='1.0' encoding="utf-8" ?>
<!-- a pendulum > all others -->
<robot xmlns:xacro="http://www.ros.org/wiki/xacro" name='hänger'>
  <link name="base"/>  <!-- stands -->
  <link
      name="rod">
    <inertial>
      <origin rpy="0 0 0" xyz="0.5 0 0" />
      <mass   value='2.0'/>
      <inertia ixx="0.1" ixy="0" ixz="0"
               iyy="0.1" iyz="0" izz="0.1" />
    </inertial>
  </link>
  <joint name="hinge" type="continuous">
    <parent link="base"/>
    <child link="rod"/>
    <axis xyz="0 1 0"/>
  </joint>
</robot>
"""


def canonical(text: str) -> str:
    """Return XML with comments, its quotes and the spaces in tags made uniform."""
    return ElementTree.canonicalize(text, with_comments=True)


def assert_same_xml(path: Path, expected: str) -> None:
    assert canonical(path.read_text("utf-8")) == canonical(expected)


@pytest.fixture
def pendulum(tmp_path):
    path = tmp_path / "pendulum.urdf"
    path.write_text(PENDULUM)
    return path


def read(path: Path, **settings):
    return load_urdf(path, **NO_DAMPING, **settings)


def changed(robot, seed=0):
    """Return `robot` with masses, centers, inertias and dampings of other bodies."""
    rng = np.random.default_rng(seed)
    bodies, joints = len(robot.body_names), len(robot.joint_names)
    # Any cloud of points has an inertia that a body can have.
    points = 0.1 * rng.normal(size=(bodies, 5, 3))
    squares = np.einsum("bpi,bpi->b", points, points)[:, None, None] * np.eye(3)
    inertias = squares - np.einsum("bpi,bpj->bij", points, points)
    return eqx.tree_at(
        lambda r: (r.masses, r.centers_of_mass, r.inertias, r.damping),
        robot,
        (
            jnp.asarray(rng.uniform(0.5, 3, bodies)),
            robot.centers_of_mass + 0.05 * rng.normal(size=(bodies, 3)),
            jnp.asarray(inertias),
            jnp.asarray(rng.uniform(0, 0.3, joints)),
        ),
    )


def assert_same_dynamics(a, b, tolerance=1e-13):
    for seed in range(3):
        state = random_state(np.random.default_rng(seed), len(a.joint_names))
        expected = a.forward_dynamics(*state)
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(
            b.forward_dynamics(*state), expected, rtol=0, atol=tolerance * scale
        )


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("name", ROBOTS)
def test_an_unchanged_robot_leaves_the_file_as_it_is(name, merged, tmp_path):
    robot = read(ROBOTS[name])
    path = tmp_path / ROBOTS[name].name
    save_urdf(robot.merge_fixed() if merged else robot, ROBOTS[name], path)
    meshes = re.compile(r'filename="[^"]*"')
    before = ROBOTS[name].read_text()
    path.write_text(meshes.sub("", path.read_text()))
    assert_same_xml(path, meshes.sub("", before))
    path.write_text(before)
    save_urdf(robot, path, path)
    assert_same_dynamics(robot, read(path))


@pytest.mark.parametrize("name", ROBOTS)
def test_a_robot_that_bullet_loaded_leaves_the_inertias_too(name, tmp_path):
    # Its joints' frames are others, and a <mimic> is no hindrance.
    body = Body(ROBOTS[name], bodies_damping=0.0)
    robot = load_bullet(body.client, body.body, **NO_DAMPING)
    save_urdf(robot.merge_fixed(), ROBOTS[name], tmp_path / "written.urdf")
    inertias = re.compile(r"<inertial>.*?</inertial>", re.DOTALL)
    before, after = (
        inertias.findall(canonical(path.read_text()))
        for path in (ROBOTS[name], tmp_path / "written.urdf")
    )
    assert after == before and after


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("name", ROBOTS)
def test_a_changed_robot_is_the_one_read_back(name, merged, tmp_path):
    robot = read(ROBOTS[name])
    robot = changed(robot.merge_fixed() if merged else robot)
    path = tmp_path / ROBOTS[name].name
    save_urdf(robot, ROBOTS[name], path)
    assert_same_dynamics(robot, read(path), 1e-12)


def test_trees_in_general_position_come_back(random_path, tmp_path):
    robot = changed(read(random_path))
    save_urdf(robot, random_path, tmp_path / "written.urdf")
    assert_same_dynamics(robot, read(tmp_path / "written.urdf"), 1e-12)


def assert_pybullet_agrees(path, robot):
    """Compare one step of PyBullet from random states with the twin's."""
    body = Body(path, bodies_damping=0.0)
    twin = Twin(robot, 1 / 240, actuated=tuple(range(len(robot.joint_names))))
    for seed in range(3):
        q, velocity, effort = random_state(np.random.default_rng(seed), twin.joints)
        body.set_state(q, velocity)
        expected = body.step(effort)
        ours = twin(jnp.concatenate([q, velocity]), effort)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("name", ["cart_pole", "two_link", "iiwa"])
def test_pybullet_simulates_what_was_written(name, merged, tmp_path):
    robot = read(ROBOTS[name])
    robot = changed(robot.merge_fixed() if merged else robot)
    path = tmp_path / "elsewhere" / "written.urdf"
    path.parent.mkdir()
    save_urdf(robot, ROBOTS[name], path)
    assert_pybullet_agrees(path, robot)


def test_pybullet_simulates_general_trees_as_written(random_path, tmp_path):
    robot = changed(read(random_path))
    save_urdf(robot, random_path, tmp_path / "written.urdf")
    assert_pybullet_agrees(tmp_path / "written.urdf", robot)


@pytest.mark.parametrize("merged", [False, True])
def test_pybullet_simulates_the_panda_as_written(merged, tmp_path):
    # Its meshes are at package://meshes, which Bullet finds in the file's folder.
    (tmp_path / "meshes").symlink_to(ROBOTS["panda"].parent / "meshes")
    body = Body(ROBOTS["panda"], bodies_damping=0.0)
    robot = load_bullet(body.client, body.body, **NO_DAMPING)
    robot = changed(robot.merge_fixed() if merged else robot)
    path = tmp_path / "panda.urdf"
    save_urdf(robot, ROBOTS["panda"], path)
    assert path.read_text().count("package://meshes/") > 10
    assert_pybullet_agrees(path, robot)


def test_only_what_changed_is_written(pendulum):
    robot = eqx.tree_at(
        lambda r: (r.masses, r.damping, r.friction),
        read(pendulum),
        (jnp.array([2.5]), jnp.array([0.1]), jnp.array([0.3])),
    )
    save_urdf(robot, pendulum, pendulum)
    expected = PENDULUM.replace("value='2.0'", 'value="2.5"').replace(
        '<joint name="hinge" type="continuous">\n',
        '<joint name="hinge" type="continuous">\n    '
        '<dynamics damping="0.1" friction="0.3"/>\n',
    )
    assert_same_xml(pendulum, expected)
    # Foreign prefixes stay as written: not every reader knows XML namespaces.
    assert "xmlns:xacro=" in pendulum.read_text("utf-8")


def test_an_inertia_is_written_in_its_principal_axes(pendulum):
    # About axes turned by 30° about z, moments 0.1, 0.2, 0.25 are in the link's
    # (0.1 cos² + 0.2 sin², 0.2 cos² + 0.1 sin²) = (0.125, 0.175), and beside the
    # diagonal (0.1 − 0.2) cos sin = −0.0433.
    beside = -0.1 * np.sqrt(3) / 4
    inertia = [[0.125, beside, 0], [beside, 0.175, 0], [0, 0, 0.25]]
    robot = eqx.tree_at(lambda r: r.inertias, read(pendulum), jnp.array([inertia]))
    save_urdf(robot, pendulum, pendulum)
    inertial = ElementTree.parse(pendulum).getroot().find(".//inertial")
    assert inertial is not None
    origin, _, tensor = (element.attrib for element in inertial)
    assert origin["xyz"] == "0.5 0 0"
    np.testing.assert_allclose(
        [float(x) for x in origin["rpy"].split()], [0, 0, np.pi / 6], atol=1e-15
    )
    names = ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")
    np.testing.assert_allclose(
        [float(tensor[name]) for name in names], [0.1, 0, 0, 0.2, 0, 0.25], rtol=1e-14
    )
    np.testing.assert_allclose(read(pendulum).inertias[0], inertia, atol=1e-16)


def test_pybullets_scaling_of_an_inertia_counts(pendulum):
    plain = read(pendulum)
    scaling = '<contact><inertia_scaling value="3.0"/></contact>\n  </link>'
    before, after = pendulum.read_text().rsplit("</link>", 1)
    pendulum.write_text(f"{before}{scaling}{after}")
    robot, text = read(pendulum), pendulum.read_text()
    np.testing.assert_array_equal(robot.inertias, 3.0 * plain.inertias)
    assert_pybullet_agrees(pendulum, robot)
    save_urdf(robot, pendulum, pendulum)
    assert_same_xml(pendulum, text)
    robot = changed(robot)
    save_urdf(robot, pendulum, pendulum)  # The numbers written are not scaled again.
    assert_same_dynamics(read(pendulum), robot)
    assert_pybullet_agrees(pendulum, robot)


def test_friction_comes_back(tmp_path):
    path = tmp_path / "pendulum.urdf"
    write_pendulum(path, more='<dynamics damping="0.2" friction="0.7"/>')
    before = path.read_text()
    save_urdf(read(path), path, path)
    assert_same_xml(path, before)
    robot = eqx.tree_at(lambda r: r.friction, read(path), jnp.array([0.3]))
    save_urdf(robot, path, path)
    assert '<dynamics damping="0.2" friction="0.3"/>' in path.read_text()
    np.testing.assert_array_equal(read(path).friction, [0.3])


def test_merged_bodies_go_to_the_first_link(tmp_path):
    # A rod of 2 kg with a weight of 1 kg, 0.3 m further on, is 3 kg, 0.1 m further on;
    # half as heavy again it is 4.5 kg, and the weight's link is left without.
    path = write(
        tmp_path / "robot.urdf",
        '<link name="base"/>',
        link("rod", mass=2.0, center="0.5 0 0"),
        link("weight", mass=1.0),
        link("flag", mass=0.0, inertia=0.0),
        joint("hinge", "base", "rod"),
        joint("screw", "rod", "weight", kind="fixed", origin="0.8 0 0"),
        joint("thread", "weight", "flag", kind="fixed"),
    )
    merged = read(path).merge_fixed()
    robot = eqx.tree_at(lambda r: r.masses, merged, 1.5 * merged.masses)
    save_urdf(robot, path, tmp_path / "written.urdf")
    again = read(tmp_path / "written.urdf")
    assert again.body_names == ("rod",)
    np.testing.assert_allclose(again.masses, [4.5], rtol=1e-15)
    np.testing.assert_allclose(again.centers_of_mass, [[0.6, 0, 0]], atol=1e-15)
    assert_same_dynamics(robot, again)
    assert_pybullet_agrees(tmp_path / "written.urdf", robot)


def test_a_link_without_inertial_is_given_one(tmp_path):
    # PyBullet takes such a link for 1 kg, and so does the robot.
    path = write(
        tmp_path / "robot.urdf",
        '<link name="base"/>',
        link("rod", mass=2.0, center="0.5 0 0"),
        '<link name="flag"/>',
        '<link name="ball"></link>',
        joint("hinge", "base", "rod"),
        joint("screw", "rod", "flag", kind="fixed", origin="0.8 0 0"),
        joint("thread", "flag", "ball", origin="0 0 0.1"),
    )
    written = tmp_path / "written.urdf"
    loaded = read(path, bullet_defaults=True)
    for robot, count in ((loaded, 3), (loaded.merge_fixed(), 2)):
        robot = changed(robot)
        save_urdf(robot, path, written)
        assert_same_dynamics(robot, read(written), 1e-12)
        # Merged into the rod, the flag is a massless frame.
        assert written.read_text().count("<inertial>") == count
    save_urdf(changed(loaded), path, written)
    assert_pybullet_agrees(written, changed(loaded))


def test_a_flat_body_keeps_its_inertia_in_pybullet(pendulum):
    # Of a flat body the largest moment is the sum of the others, here and in any axes
    # but for rounding; PyBullet makes zero of one that is larger.
    turn = rotation_from_rpy([0.4, 0.5, 0.6])
    for scale in (0.1, 0.3, 0.7):
        inertia = turn @ np.diag([scale, 0.2, scale + 0.2]) @ turn.T
        robot = eqx.tree_at(lambda r: r.inertias, read(pendulum), jnp.array([inertia]))
        save_urdf(robot, pendulum, pendulum)
        assert_pybullet_agrees(pendulum, robot)


def test_single_precision_does_not_count_as_a_change(pendulum):
    robot = jax.tree.map(lambda x: x.astype(jnp.float32), read(pendulum))
    save_urdf(robot, pendulum, pendulum.with_name("written.urdf"))
    assert_same_xml(pendulum.with_name("written.urdf"), PENDULUM)


def test_meshes_are_found_from_another_folder(tmp_path):
    template = tmp_path / "robots" / "mine" / "urdf" / "robot.urdf"
    template.parent.mkdir(parents=True)
    mesh = tmp_path / "robots" / "mine" / "meshes" / "rod & cap.obj"
    mesh.parent.mkdir()
    mesh.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    names = ("../meshes/rod &amp; cap.obj", "meshes/rod &amp; cap.obj")
    kept = ("package://mine/meshes/a.obj", str(mesh).replace("&", "&amp;"), "none.obj")
    shown = "".join(
        f'<visual><geometry><mesh filename="{name}"/></geometry></visual>'
        for name in (*names, *kept)
    )
    write(
        template,
        '<link name="base"/>',
        link("rod").replace("</link>", shown + "</link>"),
        joint("hinge", "base", "rod"),
    )
    path = tmp_path / "runs" / "a" / "written.urdf"
    path.parent.mkdir(parents=True)
    save_urdf(read(template), template, path)
    found = re.findall(r'filename="(.*?)"', path.read_text())
    led = "../../robots/mine/meshes/rod &amp; cap.obj"
    assert found == [led, led, *kept]
    again = template.with_name("again.urdf")
    save_urdf(read(template), template, again)
    assert_same_xml(again, template.read_text())


def test_armature_and_gravity_go_into_a_file_beside(pendulum):
    path, beside = pendulum, pendulum.with_name("pendulum.urdf.json")
    robot = eqx.tree_at(
        lambda r: (r.armature, r.gravity),
        read(path),
        (jnp.array([0.02]), jnp.array([0.1, 0.0, -9.8])),
    )
    save_urdf(robot, path, path)
    assert_same_xml(path, PENDULUM)
    content = {"armature": {"hinge": 0.02}, "gravity": [0.1, 0.0, -9.8]}
    assert json.loads(beside.read_text()) == content
    assert_same_dynamics(robot, read(path))
    assert read(path, gravity=(0.0, 0.0, -1.0)).gravity[2] == -1
    save_urdf(eqx.tree_at(lambda r: r.armature, robot, jnp.zeros(1)), path, path)
    assert set(json.loads(beside.read_text())) == {"gravity"}
    earth = jnp.array([0.0, 0.0, -9.81])
    plain = eqx.tree_at(lambda r: (r.armature, r.gravity), robot, (jnp.zeros(1), earth))
    save_urdf(plain, path, path)
    assert not beside.exists()


def test_a_rotor_that_the_file_states_can_be_taken_away(pendulum):
    motor = "<transmission name='t'><joint name='hinge'/><actuator name='m'>"
    motor += "<drake:rotor_inertia value='0.5'/></actuator></transmission></robot>"
    pendulum.write_text(PENDULUM.replace("</robot>", motor))
    robot = read(pendulum)
    assert robot.armature.tolist() == [0.5]
    light = eqx.tree_at(lambda r: r.armature, robot, jnp.zeros(1))
    save_urdf(light, pendulum, pendulum)
    assert_same_dynamics(light, read(pendulum))


def test_a_xacro_file_with_arguments_is_a_template(pendulum):
    pytest.importorskip("xacrodoc")
    text = PENDULUM.replace("'2.0'", "'$(arg kilograms)'").replace(
        "<link name", "<xacro:arg name='kilograms'/><link name", 1
    )
    template = pendulum.with_name("arm.urdf.xacro")
    template.write_text(text)
    given = {"kilograms": "3"}
    robot = read(template, xacro_args=given)
    heavy = eqx.tree_at(lambda r: r.masses, robot, 2 * robot.masses)
    save_urdf(heavy, template, pendulum, xacro_args=given)
    assert read(pendulum).masses.tolist() == [6]
    with pytest.raises(RobooptError, match="`template`.*`xacro_args`"):
        save_urdf(heavy, template, pendulum)


@pytest.mark.parametrize(
    "text, match",
    {
        "[": "must be JSON",
        "[]": "an object with the keys",
        '{"gear": 2}': "an object with the keys",
        '{"armature": {"knee": 1}}': r"must name joints of \['hinge'\]",
        '{"armature": {"hinge": -1}}': "not negative",
        '{"armature": {"hinge": "1"}}': "finite numbers",
        '{"gravity": [0, 0]}': "three finite numbers",
        '{"gravity": [0, 0, NaN]}': "three finite numbers",
    }.items(),
)
def test_a_bad_file_beside_is_refused(text, match, pendulum):
    pendulum.with_name("pendulum.urdf.json").write_text(text)
    with pytest.raises(RobooptError, match=f"`path`(?=.*pendulum.urdf.json).*{match}"):
        read(pendulum)


GRIPPER = Path(__file__).parents[1] / "cases" / "urdf" / "u3_mimic_gripper.urdf"


@pytest.mark.parametrize("damping, friction", [(5.0, 2.0), (0.9, 0.25)])
def test_a_gripper_comes_back(damping, friction, tmp_path):
    # The finger's own share is what is left of 3 N·s/m and 1 N of the one that follows,
    # unless nothing is left: then the follower has all.
    path, written = tmp_path / "robot.urdf", tmp_path / "written.urdf"
    path.write_text(
        GRIPPER.read_text().replace(
            "<mimic", '<dynamics damping="3" friction="1"/><mimic'
        )
    )
    robot = read(path)
    np.testing.assert_array_equal(robot.damping, [1.0, 0.8, 0.5, 3.0])
    np.testing.assert_array_equal(robot.friction, [0, 0, 0, 1.0])
    save_urdf(robot, path, written)
    assert_same_xml(written, path.read_text())
    robot = changed(robot)
    robot = eqx.tree_at(
        lambda r: (r.damping, r.friction),
        robot,
        (robot.damping.at[3].set(damping), robot.friction.at[3].set(friction)),
    )
    save_urdf(robot, path, written)
    again = read(written)
    np.testing.assert_allclose(again.damping, robot.damping, rtol=1e-15)
    np.testing.assert_allclose(again.friction, robot.friction, rtol=1e-15)
    assert_same_dynamics(robot, again, 1e-12)
    save_urdf(robot.merge_fixed(), path, written)
    assert_same_dynamics(robot, read(written), 1e-12)


def test_what_cannot_be_written_is_refused_and_leaves_nothing(pendulum, tmp_path):
    robot, path = read(pendulum), tmp_path / "written.urdf"
    flat = jnp.diag(jnp.array([0.1, 0.1, 0.3]))
    bad = {
        "`robot`.*negative, got -1.0 kg .* for link 'rod'": (
            "masses",
            jnp.array([-1.0]),
        ),
        "`robot` must have finite numbers": (
            "centers_of_mass",
            jnp.full((1, 3), jnp.nan),
        ),
        "`robot`.*triangle inequality.*link 'rod'": ("inertias", flat[None]),
        "`robot`.*not negative and.*link 'rod'": ("inertias", -flat[None]),
    }
    for match, (field, value) in bad.items():
        other = eqx.tree_at(lambda r, f=field: getattr(r, f), robot, value)
        with pytest.raises(ValueError, match=match):
            save_urdf(other, pendulum, path)
    assert not path.exists()


def test_a_template_of_another_robot_is_refused(pendulum, tmp_path):
    robot, path = read(pendulum), tmp_path / "written.urdf"
    match = r"`template` must have the joints of the robot, \['hinge'\], got \['cart'"
    with pytest.raises(ValueError, match=match):
        save_urdf(robot, ROBOTS["cart_pole"], path)
    pendulum.write_text(PENDULUM.replace('"rod"', '"bar"'))
    match = r"must have the links of the robot, \['base', 'rod'\], got \['bar', 'base'"
    with pytest.raises(ValueError, match=match):
        save_urdf(robot, pendulum, path)


def test_a_file_that_is_no_urdf_is_refused(pendulum, tmp_path):
    robot, path = read(pendulum), tmp_path / "written.urdf"
    with pytest.raises(RobooptError, match="`template` must be a URDF file"):
        save_urdf(robot, tmp_path / "none.urdf", path)
    for text in ("<robot", "<robot/>", "<sdf/>"):
        pendulum.write_text(text)
        with pytest.raises(RobooptError, match="`template`"):
            save_urdf(robot, pendulum, path)
    assert not path.exists()


def test_laws_of_friction_are_read_back_from_the_file_beside(pendulum, tmp_path):
    robot = with_friction(
        read(pendulum),
        coulomb=0.3,
        velocity=0.02,
        asymmetry=-0.1,
        stribeck=0.2,
        stribeck_velocity=0.05,
        load=0.15,
    )
    save_urdf(robot, pendulum, tmp_path / "new.urdf")
    back = read(tmp_path / "new.urdf")
    assert back.friction_law is not None
    assert eqx.tree_equal(back.friction_law, robot.friction_law)
    state, action = jnp.array([0.4, 0.7]), jnp.array([2.0])
    one, two = (Twin(r, 0.01, implicit_damping=True) for r in (robot, back))
    np.testing.assert_allclose(one(state, action), two(state, action), rtol=1e-12)
    env = RobotTask(tmp_path / "new.urdf", effort_limits=5.0)
    law: Any = env.friction_law
    np.testing.assert_allclose(law.load, [0.15])
    assert eqx.tree_equal(Twin.from_env(env).robot.friction_law, robot.friction_law)
    env.close()
    save_urdf(read(pendulum), pendulum, tmp_path / "new.urdf")
    assert read(tmp_path / "new.urdf").friction_law is None


@pytest.mark.parametrize("part", ["stribeck_velocity", "load_friction"])
def test_impossible_friction_in_the_file_beside_is_refused(pendulum, part):
    beside = pendulum.with_name(pendulum.name + ".json")
    beside.write_text(json.dumps({part: {"hinge": -1.0}}))
    with pytest.raises(RobooptError, match=part):
        read(pendulum)


def test_a_drive_is_read_back_from_the_file_beside(pendulum, tmp_path):
    drive = Drive(resistance=2.0, torque_constant=0.02, gear_ratio=[150.0], lag=0.01)
    save_urdf(read(pendulum), pendulum, tmp_path / "new.urdf", drive=drive)
    robot = read(tmp_path / "new.urdf")
    twin = Twin(robot, 0.01, interface="voltage", drive=tmp_path / "new.urdf")
    expected = Twin(robot, 0.01, interface="voltage", drive=drive)
    assert eqx.tree_equal(twin.drive, expected.drive)
    with pytest.raises(RobooptError, match="`drive` must be"):
        Twin(robot, 0.01, drive=pendulum)
