"""Joints that files call otherwise than the robot does."""

import numpy as np
import pytest
from told import read_told

from roboopt.data import ColumnError, Columns

TIMES = 0.004 * np.arange(80)
Q = np.sin(TIMES[:, None] * [1.0, 2.0])
DQ, TAU = Q + 1, 10 * Q
QUANTITIES = {"position": Q, "velocity": DQ, "effort": TAU}


def read(source, joints, **options):
    (run,), said = read_told(source, joints=joints, **options)
    return run, said


def check(source, joints, sign=1, **options):
    run, said = read(source, joints, **options)
    np.testing.assert_allclose(run.observations, sign * np.hstack([Q, DQ]), atol=1e-9)
    np.testing.assert_allclose(run.actions, sign * TAU[:-1], atol=1e-9)
    return said


def table(path, pattern, robots):
    """Write the joints of robots in reverse; the second moves the other way."""
    header, columns = ["time"], [TIMES]
    for sign, joints in zip((1, -1), robots, strict=False):
        for quantity, values in QUANTITIES.items():
            header += [pattern.format(j, quantity) for j in reversed(joints)]
            columns += [*(sign * values.T[::-1])]
    rows = np.column_stack(columns)
    np.savetxt(path, rows, delimiter=",", header=",".join(header), comments="")
    return path


@pytest.mark.parametrize("pattern", ["{}_{}", "/joint_states/{}/{}", "actual_{1}_{0}"])
@pytest.mark.parametrize(
    "robot, recorded",
    [
        (["joint1", "joint2"], ["panda_joint1", "panda_joint2"]),
        (["pan_joint", "lift_joint"], ["left/pan_joint", "left/lift_joint"]),
        (["pan", "lift"], ["pan_motor", "lift_motor"]),
        (["left_pan_joint", "left_lift_joint"], ["pan", "lift"]),
        (["pan_joint", "lift_joint"], ["pan", "lift"]),
        (["panda_joint1", "panda_joint2"], ["fer_joint1", "fer_joint2"]),
        (
            ["left_pan_joint", "left_lift_joint"],
            ["right/pan_motor", "right/lift_motor"],
        ),
    ],
)
def test_words_that_all_names_share_may_differ(tmp_path, pattern, robot, recorded):
    said = check(table(tmp_path / "x.csv", pattern, [recorded]), robot)
    assert f"are read as the robot's {robot[0]}, {robot[1]}" in said


def test_names_in_another_case_are_the_same(tmp_path):
    path = table(tmp_path / "x.csv", "{}_{}", [["Pan", "LIFT"]])
    assert not check(path, ["pan", "lift"])


def test_the_joints_of_two_robots_have_to_be_named(tmp_path):
    robots = [[f"{side}/joint_{k}" for k in (1, 2)] for side in ("left", "right")]
    path = table(tmp_path / "x.csv", "/joint_states/{}/{}", robots)
    joints = ["joint_1", "joint_2"]
    with pytest.raises(ValueError, match="left 1, left 2 or right 1, right 2: name"):
        read(path, joints)
    for sign, robot in zip((1, -1), robots, strict=True):
        assert not check(path, joints, sign, columns=Columns(joints=robot))
    with pytest.raises(ValueError, match="joints a, b, as you name them"):
        read(path, joints, columns=Columns(joints=["a", "b"]))
    with pytest.raises(ValueError, match="`joints` must name the 2 joints"):
        read(path, joints, columns=Columns(joints=["left/joint_1"]))


def test_names_of_another_kind_are_given_in_the_robots_order(tmp_path):
    path = table(tmp_path / "x.csv", "{}_{}", [["S", "L"]])
    with pytest.raises(ValueError, match="lacks positions"):
        read(path, ["swing", "lift"])
    assert not check(path, ["swing", "lift"], columns=Columns(joints=["S", "L"]))


def test_references_are_no_positions(tmp_path):
    columns = np.column_stack([TIMES, Q, TAU])
    header = "time,pos_ref_1,pos_ref_2,tau_1,tau_2"
    np.savetxt(tmp_path / "x.csv", columns, delimiter=",", header=header, comments="")
    with pytest.raises(ValueError, match="lacks positions"):
        read(tmp_path / "x.csv", ["joint_1", "joint_2"])


def test_names_in_an_array_may_have_a_prefix(tmp_path):
    arrays = {"t": TIMES, **{q[:3]: x[:, ::-1] for q, x in QUANTITIES.items()}}
    names = np.array(["panda_joint2", "panda_joint1"])
    np.savez(tmp_path / "x.npz", joint_names=names, **arrays)
    said = check(tmp_path / "x.npz", ["joint1", "joint2"])
    assert "panda_joint1, panda_joint2 are read as the robot's joint1" in said
    given = Columns(joints=["panda_joint1", "panda_joint2"])
    assert not check(tmp_path / "x.npz", ["a", "b"], columns=given)


def test_names_in_messages_may_have_a_prefix(tmp_path):
    pytest.importorskip("rosbags")
    from rosbags.rosbag2 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    kinds = store.types
    with Writer(tmp_path / "bag", version=9) as writer:
        kind = "sensor_msgs/msg/JointState"
        topic = writer.add_connection("/joint_states", kind, typestore=store)
        for k, moving in enumerate(zip(Q, DQ, TAU, strict=True)):
            stamp = kinds["builtin_interfaces/msg/Time"](sec=7, nanosec=4_000_000 * k)
            head = kinds["std_msgs/msg/Header"](stamp=stamp, frame_id="")
            names = ["left/lift_joint", "left/pan_joint"]
            message = kinds[kind](head, names, *(one[::-1].copy() for one in moving))
            raw = store.serialize_cdr(message, kind)
            writer.write(topic, 7_000_000_000 + 4_000_000 * k, raw)
    said = check(tmp_path / "bag", ["pan_joint", "lift_joint"])
    assert "left/pan_joint, left/lift_joint are read as" in said
    given = Columns(joints=["left/pan_joint", "left/lift_joint"])
    assert not check(tmp_path / "bag", ["a", "b"], columns=given)
    said = check(tmp_path / "bag", ["ur10_pan_joint", "ur10_lift_joint"])
    assert "left/pan_joint, left/lift_joint are read as" in said
    with pytest.raises(ValueError, match="JointState of the joints.*by `--joints`"):
        read(tmp_path / "bag", ["wrist", "elbow"])


@pytest.mark.parametrize("joints", [None, ["j1", "j2"]])
def test_joints_of_two_arms_are_named_for_a_choice(tmp_path, joints):
    path, arms = tmp_path / "arms.csv", ("left", "right")
    names = [
        f"{arm}_{q}_{k}" for q in ("pos", "effort") for arm in arms for k in (0, 1)
    ]
    rows = [[0.01 * k, *(k * np.arange(1.0, 9.0))] for k in range(20)]
    text = [",".join(["time", *names]), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(text))
    with pytest.raises(ColumnError, match="may be left 0, left 1, right 0, right 1:"):
        read(path, joints)
    chosen = {"columns": Columns(joints=["right 0", "right 1"])} if joints else {}
    run, _ = read(path, joints or ["right_0", "right_1"], **chosen)
    np.testing.assert_allclose(run.observations[1, :2], [3.0, 4.0])
    np.testing.assert_allclose(run.actions[1], [7.0, 8.0])
