"""Files with one trait each, of kinds that public URDFs have, and what they mean."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from roboopt import RobooptError
from roboopt.urdf import UrdfModel, read_urdf

CASES = Path(__file__).parents[1] / "cases" / "urdf"
REFUSED = {
    "axis_0_0_2": "`axis` of joint 'j1'.*unit vector.*length 2",
    "capital_type": "`type` of joint 'j1' must be one of .*got 'Revolute'",
    "duplicate_joint_name": r"every <joint>.*own `name`, got twice: \['j1'\]",
    "two_roots": r"one root, got 2: \['base', 'tray'\]",
    "no_joint": "must have a revolute, continuous or prismatic joint",
    "number_with_comma": "`value` of <mass> in link 'a' .* got '1,0'",
    "effort_-1": "`effort` of joint 'j1' must not be negative, got -1.0.*effort_limits",
    "lower_upper_0": r"got 2 link\(s\) that cannot move, with \['j1'\]",
    "floating": "`type` of joint 'f' .* got 'floating'",
    "planar": "`type` of joint 'f' .* got 'planar': write two prismatic joints and",
    "spherical": "`type` of joint 's' .* got 'spherical': write three revolute",
}
WARNED = {
    "axis_0.7071_0_0.7071": r"axes that were normalized \(2\): j1 .*, j2 ",
    "u2_axis_five_digits": r"axes that were normalized \(1\): elbow_joint",
    "effort_0": r'in spite of effort="0", as most \(2\): j1, j2',
    "no_limit_tag": r"joints without limits, .*unlimited \(1\): j1",
    "no_lower_upper": r"joints without limits, .*unlimited \(1\): j1",
    "triangle_by_1e-3": r"inconsistent inertias.*\(1\): a \[0.01, 0.01, 0.02001\]",
    "u10_rounding_dust": r"inconsistent inertias, .*\(1\): tip \[3e-06, 0.0, ",
    "u6_ros_extras": r"most have no <transmission> .*shoulder_pan_joint, shoulder_lift",
    "xacro_left_in": r"xacro elements .*\(1\): <xacro:include>",
}


def read(name: str) -> UrdfModel:
    """Read a case, any warning accepted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_urdf(CASES / f"{name}.urdf")


@pytest.mark.parametrize("path", sorted(CASES.glob("*.urdf")), ids=lambda p: p.stem)
def test_a_case_is_read_warned_of_or_refused(path):
    if path.stem in REFUSED:
        with pytest.raises(RobooptError, match=f"`robot`: .*{REFUSED[path.stem]}"):
            read_urdf(path, argument="robot")
    elif path.stem in WARNED:
        with pytest.warns(UserWarning, match=WARNED[path.stem]) as caught:
            read_urdf(path)
        assert len(caught) == 1
    else:
        read_urdf(path)  # Any warning is an error here.


def test_links_without_inertial_are_massless_frames():
    model = read("u5_tool0")
    assert sum(body.mass for body in model.inertials.values()) == 9.0
    assert model.inertials["tool0"].mass == 0 and "tool0" in model.link_names
    heavy = read_urdf(CASES / "u5_tool0.urdf", bullet_defaults=True)
    assert heavy.inertials["tool0"].mass == 1
    np.testing.assert_array_equal(heavy.inertials["tool0"].inertia, np.eye(3))


def test_a_link_without_mass_may_carry_one_with_mass():
    model = read("zero-mass_link_massless_carriage")
    assert [model.inertials[link].mass for link in "ab"] == [0, 1]


@pytest.mark.parametrize(
    "name, limits",
    {
        "basic": (-1, 1),
        "continuous_with_limits": (-np.inf, np.inf),
        "only_upper": (0, 1),
        "no_lower_upper": (-np.inf, np.inf),
        "no_limit_tag": (-np.inf, np.inf),
    }.items(),
)
def test_limits(name, limits):
    assert tuple(read(name).position_limits[:, 0]) == limits


@pytest.mark.parametrize(
    "name", ["xmlns_default", "unbound_prefix", "newline_before_xml", "xacro_left_in"]
)
def test_foreign_xml_is_the_same_robot_as_without(name):
    assert_same(read(name), read("basic"))


@pytest.mark.parametrize("name", ["u1_default_namespace", "u6_ros_extras"])
def test_ros_files_are_the_same_robot_as_without(name):
    # u5 is the arm with a massless frame more, u6 has another name for the forearm.
    model, plain = read(name), read("u5_tool0")
    assert model.joint_names == plain.joint_names
    pairs = zip(model.inertials.values(), plain.inertials.values(), strict=False)
    for ours, theirs in pairs:
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(model.driven, plain.driven)


def assert_same(one, other):
    assert one.link_names == other.link_names
    for joint, twin in zip(one.joints, other.joints, strict=True):
        for a, b in zip(joint, twin, strict=True):
            np.testing.assert_array_equal(a, b)
    for link, body in one.inertials.items():
        for a, b in zip(body, other.inertials[link], strict=True):
            np.testing.assert_array_equal(a, b)


PLAIN = (CASES / "basic.urdf").read_text()


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        b"<!-- before --> <?xml version='1.0' encoding='us-ascii'?>" + PLAIN.encode(),
        PLAIN.replace("<link", "<!-- a -- b -->\n<link", 1).encode(),
        PLAIN.replace("<link", "<!-- g\u00e9n\u00e9r\u00e9 -->\n<link", 1).encode(
            "iso-8859-1"
        ),
        PLAIN.replace("<robot", "<robot xmlns:xacro='http://x' xi:a='b'").encode(),
        PLAIN.replace('"0 1 0"', '" 0, 1  0 "').encode() + b"\r\n\0",
    ],
    ids=["BOM", "UTF-16", "comment first", "dashes", "Latin-1", "prefix", "commas"],
)
def test_bytes_that_pybullet_and_ros_take(data, tmp_path):
    path = tmp_path / "r.urdf"
    path.write_bytes(data)
    assert_same(read_urdf(path), read("basic"))


def test_the_element_has_no_namespaces():
    element = read("u6_ros_extras").element
    assert element.tag == "robot" and list(element.attrib) == ["name"]
    assert element.find("link/visual/geometry/mesh") is not None
    assert read("unbound_prefix").element.find("gazebo") is not None


@pytest.mark.parametrize("name", ["mimic", "u3_mimic_gripper"])
def test_a_finger_follows_the_other(name):
    model = read(name)
    assert len(model.moving) == len(model.joint_names) + 1
    locked = read_urdf(CASES / f"{name}.urdf", locked=[model.joint_names[-1]])
    assert locked.joint_names == model.joint_names[:-1]  # Both fingers are held.
    (follower,) = (joint.name for joint in model.moving if joint.mimic)
    text = f"that they follow moves \\(1\\): {follower} of {model.joint_names[-1]}"
    with pytest.warns(UserWarning, match=text):
        locked = read_urdf(CASES / f"{name}.urdf", locked=[follower])
    assert locked.joint_names == model.joint_names  # The follower alone is held.


def test_negative_efforts_are_overridden():
    model = read_urdf(CASES / "effort_-1.urdf", effort_limits=[5.0, 6.0])
    np.testing.assert_array_equal(model.effort_limits, [5, 6])
    model = read_urdf(CASES / "effort_-1.urdf", effort_limits={"j2": 7, "j1": 8})
    np.testing.assert_array_equal(model.effort_limits, [8, 7])
    with pytest.raises(RobooptError, match="`effort` of joint 'j1'.*-1"):
        read_urdf(CASES / "effort_-1.urdf", effort_limits={"j2": 7.0})


def changed(tmp_path, *pairs) -> Path:
    """Write the plain case with texts replaced, once each."""
    text = PLAIN
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "changed.urdf"
    path.write_text(text)
    return path


def transmission(joint: str) -> tuple[str, str]:
    text = f'<transmission name="t"><joint name="{joint}"/></transmission>'
    return "</robot>", f"{text}</robot>"


def test_a_world_that_is_not_declared_is_the_base(tmp_path):
    weld = '<joint name="weld" type="fixed"><parent link="world"/>'
    weld += '<child link="base"/><origin xyz="0 0 1"/></joint>'
    path = changed(tmp_path, ("</robot>", f"{weld}</robot>"))
    with pytest.warns(UserWarning, match=r"links that are not declared.*: world"):
        model = read_urdf(path)
    assert model.link_names == ("world", "base", "a", "b")
    heights = [
        read("basic").joint_poses[0].offset[2] + 1,
        read("basic").joint_poses[1].offset[2],
    ]
    assert [pose.offset[2] for pose in model.joint_poses] == heights


def test_which_joints_are_driven(tmp_path):
    none = ('effort="10"', 'effort="0"')
    assert read_urdf(changed(tmp_path)).driven.tolist() == [True, True]
    assert read_urdf(changed(tmp_path, none)).driven.tolist() == [False, True]
    with pytest.warns(UserWarning, match=r"passive joints.*\(1\): j1"):
        model = read_urdf(changed(tmp_path, transmission("j2")))
    assert model.driven.tolist() == [False, True]
    # A transmission says more than an effort limit that nobody has filled in.
    path = changed(tmp_path, none, none, transmission("j1"))
    assert read_urdf(path).driven.tolist() == [True, False]
    assert read_urdf(path, actuated=["j2"]).driven.tolist() == [False, True]
    assert read_urdf(path, actuated="all").driven.tolist() == [True, True]
    control = (
        '<ros2_control><joint name="j1"><command_interface name="effort"/></joint>'
    )
    control += '<joint name="j2"><state_interface name="position"/></joint>'
    ros2 = "</robot>", f"{control}</ros2_control></robot>"
    model = read_urdf(changed(tmp_path, none, none, ros2))
    assert model.driven.tolist() == [True, False]


def test_limits_of_zeros_throughout_are_none(tmp_path):
    limit = re.search("<limit[^>]*>", PLAIN)
    assert limit is not None
    zeros = limit[0], '<limit lower="0" upper="0.0" effort="0" velocity="0"/>'
    with pytest.warns(UserWarning, match=r"<limit> of zeros.*\(2\): j1, j2"):
        model = read_urdf(changed(tmp_path, zeros, zeros))
    assert np.isinf(model.position_limits).all() and model.driven.all()
    with pytest.warns(UserWarning, match=r"equal limits.*\(1\): j1"):
        assert read_urdf(changed(tmp_path, zeros)).joint_names == ("j2",)


def test_the_limits_of_a_mimic_joint_that_cannot_be_met_are_left_out(tmp_path):
    text = (CASES / "mimic.urdf").read_text()
    path = tmp_path / "mimic.urdf"
    mimic = re.search("<mimic[^>]*>", text)
    assert mimic is not None
    path.write_text(
        text.replace(mimic[0], mimic[0].replace("/>", ' offset="9"/>'))
        .replace('offset="0"', "", 1)
        .replace(' offset="0"', "")
    )
    with pytest.warns(UserWarning, match="<mimic> joints that no position .* left out"):
        limits = read_urdf(path).position_limits
    np.testing.assert_array_equal(limits, read("mimic").position_limits)


def inertia(xx, yy, zz, mass=1.0) -> str:
    return (
        f'<inertial><mass value="{mass}"/><inertia ixx="{xx}" iyy="{yy}" izz="{zz}" '
        'ixy="0" ixz="0" iyz="0"/></inertial>'
    )


def test_impossible_inertias_are_named_together_or_repaired(tmp_path):
    links = [
        f'<link name="{name}">{inertia(*moments)}</link>'
        for name, moments in {
            "base": (1, 1, 9),
            "a": (1, 1, 2.6),
            "b": (0.1, -0.05, 0.1),
            "c": (1, 2, 3),
        }.items()
    ]
    joints = [
        f'<joint name="{name}" type="continuous"><parent link="{parent}"/>'
        f'<child link="{child}"/></joint>'
        for name, parent, child in [
            ("x", "base", "a"),
            ("y", "a", "b"),
            ("z", "b", "c"),
        ]
    ]
    path = tmp_path / "r.urdf"
    path.write_text(f"<robot name='r'>{''.join(links + joints)}</robot>")
    with pytest.raises(RobooptError, match=r"link a \[1.0, 1.0, 2.6\] kg·m², link b"):
        read_urdf(path)
    with pytest.warns(UserWarning, match=r"nearest possible \(2\): a .*, b "):
        model = read_urdf(path, repair=True)
    # The plate J_3 = J_1 + J_2 nearest to (1, 1, 2.6) is (1.2, 1.2, 2.4); a negative
    # moment makes a rod of two equal ones.
    for link, moments in {"a": (1.2, 1.2, 2.4), "b": (0.1, 0, 0.1)}.items():
        np.testing.assert_allclose(
            np.diag(model.inertials[link].inertia), moments, atol=1e-12
        )
    np.testing.assert_array_equal(model.inertials["c"].inertia, np.diag([1, 2, 3]))


def test_a_robot_without_masses_is_refused_once(tmp_path):
    bare = re.sub("<inertial>.*?</inertial>", "", PLAIN)
    path = tmp_path / "r.urdf"
    path.write_text(bare)
    with pytest.raises(RobooptError, match=r"no masses.*none for \['a', 'b'\]"):
        read_urdf(path)
    assert read_urdf(path, bullet_defaults=True).inertials["b"].mass == 1
    last = re.findall("<inertial>.*?</inertial>", PLAIN)[-1]
    path.write_text("".join(PLAIN.rsplit(last, 1)))
    with pytest.raises(
        RobooptError, match=r"every joint must move a mass.*{'j2': \['b'\]}"
    ):
        read_urdf(path)


def test_a_singular_mass_matrix_is_refused(tmp_path):
    # A point on its axis has no inertia about it, and two equal joints in a row with
    # nothing between them move against each other without any.
    last = re.findall("<inertial>.*?</inertial>", PLAIN)[-1]
    path = tmp_path / "r.urdf"
    path.write_text(
        "".join(PLAIN.rsplit(last, 1)).replace(
            '<link name="b">', f'<link name="b">{inertia(0, 0, 0)}'
        )
    )
    with pytest.raises(RobooptError, match=r"singular mass matrix.*\['j2'\]"):
        read_urdf(path)
    path.with_name("r.urdf.json").write_text('{"armature": {"j2": 0.01}}')
    np.testing.assert_array_equal(read_urdf(path).armature, [0, 0.01])
    text = (CASES / "zero-mass_link_massless_carriage.urdf").read_text()
    path = tmp_path / "twins.urdf"
    path.write_text(text.replace('"1 0 0"', '"0 1 0"'))
    with pytest.raises(RobooptError, match=r"singular mass matrix.*\['j1', 'j2'\]"):
        read_urdf(path)


def test_a_file_is_warned_of_once():
    path = CASES / "no_limit_tag.urdf"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            read_urdf(path)
    assert [Path(each.filename) for each in caught] == [path]


def test_zeros_of_an_exporter_are_no_passive_joints(tmp_path):
    # One joint of three with effort="0" is passive; two are an exporter's zeros.
    text = (CASES / "u5_tool0.urdf").read_text()
    path = tmp_path / "r.urdf"
    parts = text.split('effort="150"')
    assert len(parts) == 4
    path.write_text('effort="0"'.join(parts[:3]) + 'effort="150"' + parts[3])
    with pytest.warns(UserWarning, match=r'effort="0", as most \(2\)'):
        assert read_urdf(path).driven.all()
    path.write_text(parts[0] + 'effort="0"' + 'effort="150"'.join(parts[1:]))
    np.testing.assert_array_equal(read_urdf(path).driven, [False, True, True])


def test_a_lock_outside_of_the_limits_is_warned_of(tmp_path):
    path = changed(tmp_path)
    with pytest.warns(UserWarning, match=r"outside of their limits \(1\): j1 at 9"):
        model = read_urdf(path, locked={"j1": 9})
    assert "j1" not in model.joint_names
    read_urdf(path, locked={"j1": 1})  # Any warning is an error here.


def test_a_file_that_git_has_not_fetched_is_named(tmp_path):
    path = tmp_path / "arm.urdf"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\n")
    with pytest.raises(RobooptError, match=f"{path} is a pointer of Git LFS: get"):
        read_urdf(path)


def test_a_number_that_is_none_gets_no_advice_about_spaces(tmp_path):
    path = changed(tmp_path, ('lower="-1"', 'lower="nan"'))
    with pytest.raises(RobooptError, match=r"number\(s\), got 'nan'\.$"):
        read_urdf(path)


def test_limits_by_name_must_be_positive(tmp_path):
    with pytest.raises(RobooptError, match=r"must be positive for .*'j1'\], got {"):
        read_urdf(changed(tmp_path), effort_limits={"j1": -3})


def test_a_file_that_is_not_there_is_said_not_to_exist(tmp_path):
    with pytest.raises(ValueError, match="gone.urdf, which does not exist"):
        read_urdf(tmp_path / "gone.urdf")
    with pytest.raises(ValueError, match=r"be a URDF file, got [^,]*\.$"):
        read_urdf(tmp_path)
