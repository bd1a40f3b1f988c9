"""Loops, springs and other parts of a URDF that a tree of joints cannot state."""

import re
import warnings

import pytest

from roboopt import RobooptError
from roboopt.urdf import read_urdf

LINK = """<link name="{0}"><inertial><mass value="1"/>
<inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial></link>"""
JOINT = """<joint name="{0}" type="revolute"><parent link="{1}"/><child link="{2}"/>
<origin xyz="0 0 1"/><axis xyz="0 1 0"/><limit lower="-1" upper="1" effort="5"/>{3}
</joint>"""


def chain(*elements, inside=""):
    """Return a robot of two joints, with more elements."""
    joints = JOINT.format("j1", "base", "a", ""), JOINT.format("j2", "a", "b", inside)
    links = map(LINK.format, ("base", "a", "b"))
    return f"<robot name='r'>{''.join([*links, *joints, *elements])}</robot>"


LOOPS = {
    "loop_joint": '<loop_joint name="k"><link1 link="base"/><link2 link="b"/>'
    "</loop_joint>",
    "constraint": '<constraint type="weld"><parent link="base"/><child link="b"/>'
    "</constraint>",
    "Gazebo": '<gazebo><joint name="k" type="revolute"><parent>base</parent>'
    "<child>b</child></joint></gazebo>",
    "Gazebo of old": '<gazebo><joint:hinge name="k"><body1>base</body1>'
    "<body2>b</body2></joint:hinge></gazebo>",
    "Drake": "<drake:ball_constraint><drake:ball_constraint_body_A name='base'/>"
    "<drake:ball_constraint_body_B name='b'/></drake:ball_constraint>",
    "Gazebo's world": '<gazebo><joint name="k" type="ball"><parent>world</parent>'
    "<child>r::b</child></joint></gazebo>",
}


@pytest.mark.parametrize("element", LOOPS.values(), ids=LOOPS)
def test_a_loop_is_refused_until_its_joints_are_held(element, tmp_path):
    path = tmp_path / "robot.urdf"
    path.write_text(chain(element))
    with pytest.raises(RobooptError, match=r"open chain.*locked=\('j1', 'j2'\)"):
        read_urdf(path)
    more = LINK.format("c") + JOINT.format("j3", "b", "c", "")
    path.write_text(chain(element, more))
    assert read_urdf(path, locked=("j1", "j2")).joint_names == ("j3",)


def test_a_loop_within_one_body_is_none(tmp_path):
    weld = '<constraint><parent link="b"/><child link="tip"/></constraint>'
    tip = '<link name="tip"/><joint name="f" type="fixed"><parent link="b"/>'
    path = tmp_path / "robot.urdf"
    path.write_text(chain(tip + '<child link="tip"/></joint>', weld))
    assert read_urdf(path).joint_names == ("j1", "j2")


COUPLED = (
    "<gazebo><plugin><joint>j1</joint><mimicJoint>j2</mimicJoint></plugin></gazebo>"
)
NOTED = {
    "a spring in Gazebo": (
        '<gazebo reference="j2"><springStiffness>5</springStiffness></gazebo>',
        "",
        r"joints with a spring, .*\(1\): j2",
    ),
    "a spring": ("", '<dynamics spring_stiffness="5"/>', r"spring, .*\(1\): j2"),
    "a coupling in Gazebo": (COUPLED, "", r"follow others in Gazebo.*\(1\): j2"),
    "no gravity": (
        '<gazebo reference="b"><turnGravityOff>true</turnGravityOff></gazebo>',
        "",
        r"links without gravity in Gazebo.*\(1\): b",
    ),
    "a spring of Drake": (
        '<drake:linear_spring_damper name="s"/>',
        "",
        r"does not have.*\(1\): <drake:linear_spring_damper>",
    ),
    "a screw of Gazebo": (
        '<gazebo><joint:screw name="k"><body1/><body2/></joint:screw></gazebo>',
        "",
        r"without two links, left out \(1\): <joint:screw> k",
    ),
    "an unknown element": ("<tendon/>", "", r"does not have.*\(1\): <tendon>"),
    "a link elsewhere": (
        '<constraint><parent link="b"/><child link="door"/></constraint>',
        "",
        "links that the robot lacks.*'b' and 'door'",
    ),
    "a motor elsewhere": (
        '<transmission><joint name="nope"/></transmission>',
        "",
        r"motors of joints that the robot lacks.*\(1\): nope",
    ),
}


@pytest.mark.parametrize("element, inside, text", NOTED.values(), ids=NOTED)
def test_what_is_left_out_is_said(element, inside, text, tmp_path):
    path = tmp_path / "robot.urdf"
    path.write_text(chain(element, inside=inside))
    with pytest.warns(UserWarning, match=text):
        assert read_urdf(path).driven.all()


MOTOR = """<transmission name="t"><joint name="j2"/><actuator name="m">
<drake:rotor_inertia value="{0}"/><drake:gear_ratio value="10"/></actuator>
</transmission><transmission name="u"><joint name="j1"/></transmission>"""


def test_the_rotor_of_a_motor_is_the_armature_of_its_joint(tmp_path):
    path = tmp_path / "robot.urdf"
    path.write_text(chain(MOTOR.format(0.02)))
    assert read_urdf(path).armature.tolist() == [0, 2]  # ρ² I = 100 · 0.02
    path.with_name("robot.urdf.json").write_text('{"armature": {"j2": 0.5}}')
    assert read_urdf(path).armature.tolist() == [0, 0.5]
    path.write_text(chain(MOTOR.format(-1)))
    with pytest.raises(RobooptError, match="drake:rotor_inertia.*not be negative"):
        read_urdf(path)


def test_what_changes_nothing_is_not_said(tmp_path):
    path = tmp_path / "robot.urdf"
    drake = '<drake:collision_filter_group name="g"/>'
    motor = "<transmission name='t'><joint name='j1'/><actuator name='m'>"
    motor += "<drake:controller_gains p='1' d='1'/></actuator></transmission>"
    slack = '<gazebo reference="j2"><springStiffness>0.0</springStiffness></gazebo>'
    inside = '<mimic joint="j1"/><dynamics spring_reference="1"/>'
    path.write_text(chain(slack, drake, motor, COUPLED, inside=inside))
    assert read_urdf(path).joint_names == ("j1",)  # Any warning is an error here.


def test_a_refusal_says_what_was_left_out(tmp_path):
    path = tmp_path / "robot.urdf"
    path.write_text('<robot name="r"><link name="base"/><xacro:arm/></robot>')
    expected = r"joint that moves.*xacro elements .*\.urdf\.xacro.*<xacro:arm>"
    with pytest.raises(RobooptError, match=expected):
        read_urdf(path)


NUMBERS = {
    "an underscore": ('xyz="0 1_0 0"', "'0 1_0 0'"),
    "other digits": ('xyz="0 １ 0"', "'0 １ 0'"),
    "decimal commas": ('xyz="0,0 1,0 0,0"', "write a decimal point"),
    "commas without spaces": ('xyz="0,1,0"', "separate the numbers by spaces"),
    "twice the length": ('xyz="0 0 2"', 'unit vector.*write `xyz="0 0 1"`'),
}


@pytest.mark.parametrize("axis, text", NUMBERS.values(), ids=NUMBERS)
def test_a_wrong_number_is_refused_with_its_remedy(axis, text, tmp_path):
    path = tmp_path / "robot.urdf"
    path.write_text(chain().replace('xyz="0 1 0"', axis))
    with pytest.raises(RobooptError, match=text):
        read_urdf(path)


def test_an_empty_limit_is_a_missing_one(tmp_path):
    path = tmp_path / "robot.urdf"
    path.write_text(chain().replace('effort="5"', 'effort=""'))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = read_urdf(path)
    assert model.driven.all() and (model.effort_limits == float("inf")).all()
    path.write_text(chain().replace('lower="-1"', 'lower=" "'))
    assert read_urdf(path).position_limits.tolist() == [[0, 0], [1, 1]]


def test_refusals_say_what_to_write(tmp_path):
    path = tmp_path / "robot.urdf"
    path.write_text(chain().replace('type="revolute"', 'type="Revolute"'))
    with pytest.raises(RobooptError, match="got 'Revolute': write 'revolute'"):
        read_urdf(path)
    path.write_text(re.sub("<inertia .*?>", "", chain()))
    with pytest.raises(RobooptError, match='<inertia ixx="0" .*point mass'):
        read_urdf(path)
