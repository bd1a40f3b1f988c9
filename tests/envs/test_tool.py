"""The link that an arm reaches with, in trees as makers draw them."""

import warnings
from pathlib import Path

import pytest
from roboopt_envs._tool import find_tool, tool_choice
from roboopt_envs.arm import ArmReach

from roboopt.urdf import read_urdf

from .urdfs import INERTIAL, gripper_arm

CASES = Path(__file__).parents[1] / "cases" / "urdf"


def robot(*joints: tuple[str, ...]) -> str:
    """Return a robot of joints: their name, type, parent link and child link."""
    links = {"base": "<link name='base'/>"}
    elements = []
    for number, (name, kind, parent, child, *inside) in enumerate(joints):
        moves = kind != "fixed"
        links[child] = f"<link name='{child}'>{INERTIAL if moves else ''}</link>"
        axis = "<axis xyz='0 1 0'/>" if number % 2 else "<axis xyz='0 0 1'/>"
        elements.append(
            f"<joint name='{name}' type='{kind}'><parent link='{parent}'/>"
            f"<child link='{child}'/><origin xyz='0.3 0 0.1'/>{axis}"
            f"<limit lower='-1' upper='1' effort='90'/>{''.join(inside)}</joint>"
        )
    return f"<robot name='r'>{''.join([*links.values(), *elements])}</robot>"


ARM = (
    ("j1", "revolute", "base", "upper"),
    ("j2", "revolute", "upper", "lower"),
    ("j3", "revolute", "lower", "wrist"),
)
FINGERS = (
    ("left_joint", "prismatic", "palm", "left"),
    ("right_joint", "prismatic", "palm", "right"),
)
TOOLS = {
    "the last link": ((), "wrist"),
    "a frame at the end": ((("f", "fixed", "wrist", "probe"),), "probe"),
    "a camera deeper than the wrist": (
        (
            ("f", "fixed", "wrist", "mount"),
            ("g", "fixed", "mount", "camera_link"),
            ("h", "fixed", "camera_link", "camera_optical_frame"),
        ),
        "mount",
    ),
    "tool0 beside deeper frames": (
        (
            ("f", "fixed", "wrist", "flange"),
            ("g", "fixed", "flange", "ur_tool0"),
            ("h", "fixed", "flange", "plate"),
            ("i", "fixed", "plate", "sticker"),
        ),
        "ur_tool0",
    ),
    "a linkage that keeps the tool level": (
        (
            ("level", "revolute", "wrist", "plate", "<mimic joint='j2'/>"),
            ("rod", "revolute", "base", "rod_link", "<mimic joint='j2'/>"),
        ),
        "plate",
    ),
    "fingers on a palm": ((("f", "fixed", "wrist", "palm"), *FINGERS), "palm"),
    "a hand with fingers": (
        (
            ("f", "fixed", "wrist", "palm"),
            ("g", "fixed", "palm", "robot_hand"),
            *FINGERS,
        ),
        "robot_hand",
    ),
    "one moving jaw": ((("gripper", "revolute", "wrist", "moving_jaw"),), "wrist"),
    "a link called gripper that the wrist turns": (
        (
            ("wrist_roll", "revolute", "wrist", "gripper"),
            ("grip", "revolute", "gripper", "jaw"),
        ),
        "gripper",
    ),
    "three fingers of two joints": (
        (
            ("f", "fixed", "wrist", "mount"),
            *(
                (f"j{f}{k}", "revolute", f"f{f}{k - 1}" if k else "mount", f"f{f}{k}")
                for f in range(3)
                for k in range(2)
            ),
        ),
        "mount",
    ),
    "fingers of fewer joints than the arm has": (
        (
            ("j4", "revolute", "wrist", "carpals"),
            *(
                (f"j{f}{k}", "revolute", f"f{f}{k - 1}" if k else "carpals", f"f{f}{k}")
                for f in range(3)
                for k in range(3)
            ),
        ),
        "carpals",
    ),
    "a palm behind fixed fingers": (
        (
            ("f", "fixed", "wrist", "palm_link"),
            ("g", "fixed", "palm_link", "fingertip_left"),
        ),
        "palm_link",
    ),
    "fixed fingers on a link of any name": (
        (
            ("f", "fixed", "wrist", "body"),
            ("g", "fixed", "body", "finger_left"),
            ("h", "fixed", "finger_left", "aruco_finger_left"),
        ),
        "body",
    ),
    "a grasp center beside markers": (
        (
            ("f", "fixed", "wrist", "body"),
            ("g", "fixed", "body", "link_grasp_center"),
            ("h", "fixed", "body", "finger_left"),
            ("i", "fixed", "finger_left", "aruco_fingertip_left"),
        ),
        "link_grasp_center",
    ),
}
FINGER_ROBOT = [
    joint
    for finger in ("_0", "_120", "_240")
    for joint in (
        (f"finger_base_to_upper{finger}", "revolute", "base", f"finger_upper{finger}"),
        (
            *(f"finger_upper_to_lower{finger}", "revolute"),
            *(f"finger_upper{finger}", f"finger_lower{finger}"),
        ),
        (
            *(f"finger_to_tip{finger}", "fixed"),
            *(f"finger_lower{finger}", f"finger_tip{finger}"),
        ),
    )
]


def test_a_robot_of_fingers_reaches_with_a_tip(write):
    model = read_urdf(write(robot(*FINGER_ROBOT)))
    assert find_tool(model) == "finger_tip_0"


def test_a_hand_counts_before_a_longer_leg(write):
    joints = [
        (f"l{k}", "revolute", f"l{k - 1}" if k else "base", f"l{k}") for k in range(5)
    ]
    more = ("h", "fixed", "wrist", "right_hand")
    assert find_tool(read_urdf(write(robot(*ARM, more, *joints)))) == "right_hand"


def test_arms_on_a_torso_are_no_fingers(write):
    joints = [("waist", "revolute", "base", "hips"), ("bow", "revolute", "hips", "w")]
    for side, count in (("left", 4), ("right", 4), ("head", 2)):
        names = ["w", *(f"{side}{k}" for k in range(count))]
        pairs = zip(names, names[1:], strict=False)
        joints += [(f"to_{child}", "revolute", by, child) for by, child in pairs]
    assert find_tool(read_urdf(write(robot(*joints)))) == "left3"


@pytest.mark.parametrize("more, tool", TOOLS.values(), ids=TOOLS)
def test_the_tool(more, tool, write):
    env = ArmReach(write(robot(*ARM, *more)), effort_limits=1e4)
    assert env.tool == tool
    env.close()


def test_the_tool_of_a_gripper_whose_finger_follows(write):
    assert ArmReach(write(gripper_arm())).tool == "hand"


@pytest.mark.parametrize(
    "name, tool",
    {
        "camera_deeper_than_arm": "b",
        "u3_mimic_gripper": "hand",
        "r7_arm_with_gripper_joint": "hand",
        "u5_tool0": "tool0",
        "tool0_without_inertial": "tool0",
    }.items(),
)
def test_the_tool_of_cases(name, tool):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert ArmReach(CASES / f"{name}.urdf").tool == tool


def test_a_joint_that_follows_another_is_not_counted_apart(write):
    frames, _ = TOOLS["a linkage that keeps the tool level"]
    model = read_urdf(write(robot(*ARM, *frames)))
    assert tool_choice(model, "plate", told=True) == "as told, moved by 3 of 3 joints"
