"""Recordings as robots log them: right joints, times and samples."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from roboopt import RobooptError
from roboopt.data import Columns, load_recordings

CASES = Path(__file__).parents[1] / "cases" / "recordings"
JOINTS = ["shoulder_pan_joint", "shoulder_lift_joint", "elbow_joint"]
STEPS = 200
TIMES = 0.004 * np.arange(STEPS)
Q = np.sin(TIMES[:, None] * [1.0, 2.0, 3.0])
DQ = np.cos(TIMES[:, None] * [1.0, 2.0, 3.0]) * [1.0, 2.0, 3.0]
TAU = 10 * Q - DQ


def read(source, joints=JOINTS, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (run,) = load_recordings(source, joints=joints, **options)
    return run, " ".join(str(w.message) for w in caught)


def check(run, order=(0, 1, 2), tolerance=1e-9):
    expected = np.hstack([Q[:, order], DQ[:, order]])
    np.testing.assert_allclose(run.observations, expected, atol=tolerance)
    np.testing.assert_allclose(run.actions, TAU[:-1, order], atol=tolerance)
    assert run.times is None and run.time_step == pytest.approx(0.004, rel=1e-6)


def written(path, header, columns, separator=","):
    rows = [separator.join(map(str, row)) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([*([header] if header else []), *rows]) + "\n")
    return path


def joint_columns():
    return [*Q.T, *DQ.T, *TAU.T]


def test_rostopic_echo_is_read_in_the_order_of_the_robot():
    plain, said = read(CASES / "a_plain.csv.gz")
    assert not said and plain.times is None
    ros, _ = read(CASES / "b_rostopic.csv.gz")
    np.testing.assert_allclose(ros.observations, plain.observations, atol=1e-9)
    np.testing.assert_allclose(ros.actions, plain.actions, atol=1e-9)
    assert ros.times is None and ros.time_step == pytest.approx(0.004, rel=1e-9)


def test_rows_of_other_sensors_are_dropped():
    plain, _ = read(CASES / "a_plain.csv.gz")
    sparse, said = read(CASES / "e_plotjuggler.csv.gz")
    assert "rows of other sensors" in said
    np.testing.assert_allclose(sparse.observations, plain.observations, atol=1e-8)
    assert sparse.times is None and sparse.time_step == pytest.approx(0.004)


@pytest.mark.parametrize("separator", [" ", "\t", "   "])
def test_tables_without_names_are_read_by_numbers(tmp_path, separator):
    path = written(tmp_path / "x.txt", "", [TIMES, *joint_columns()], separator)
    numbers = [str(k) for k in range(1, 10)]
    named = Columns("0", numbers[:3], numbers[3:6], numbers[6:])
    check(read(path, columns=named)[0])
    with pytest.raises(ValueError, match=r"columns \['0', '1'"):
        load_recordings(path, joints=JOINTS)


def test_a_table_of_numpy_has_its_names_in_a_comment(tmp_path):
    path = tmp_path / "x.txt"
    header = "t q0 q1 q2 dq0 dq1 dq2 tau0 tau1 tau2"
    np.savetxt(path, np.column_stack([TIMES, *joint_columns()]), header=header)
    check(read(path)[0])


@pytest.mark.parametrize(
    "unit, scale, start",
    [("s", 1.0, 1.7e9), ("ms", 1e3, 1.7e12), ("ns", 1e9, 1.7e18), ("ns", 1e9, 0.0)],
)
def test_stamps_since_1970_and_in_other_units_are_read(tmp_path, unit, scale, start):
    stamps = [f"{int(start)}"] * STEPS
    if unit == "s":
        stamps = [f"{int(start)}.{4 * k:03d}" for k in range(STEPS)]
    else:
        stamps = [str(int(start) + round(0.004 * k * scale)) for k in range(STEPS)]
    header = "stamp,q0,q1,q2,dq0,dq1,dq2,tau0,tau1,tau2"
    path = written(tmp_path / "x.csv", header, [stamps, *joint_columns()])
    run, said = read(path)
    check(run)
    assert (f"times in {unit}" in said) == (unit != "s")


def test_repeated_samples_are_dropped_and_times_kept(tmp_path):
    rows = np.sort(np.append(np.arange(STEPS), [7, 7, 100]))
    rows = rows[rows != 50]
    columns = [column[rows] for column in (TIMES, *joint_columns())]
    header = "t,q0,q1,q2,dq0,dq1,dq2,tau0,tau1,tau2"
    run, said = read(written(tmp_path / "x.csv", header, columns))
    assert "3 samples repeat a stamp" in said
    np.testing.assert_allclose(np.asarray(run.times), np.delete(TIMES, 50), atol=1e-12)


def test_rounded_stamps_of_even_samples_are_even(tmp_path):
    stamps = [f"{np.floor(100 * t + 1e-9) / 100:.2f}" for t in TIMES]
    header = "t,q0,q1,q2,dq0,dq1,dq2,tau0,tau1,tau2"
    run, _ = read(written(tmp_path / "x.csv", header, [stamps, *joint_columns()]))
    assert run.steps == STEPS - 1 and run.times is None
    assert run.time_step == pytest.approx(0.004, rel=1e-3)


def test_a_log_of_a_universal_robot_is_read(tmp_path):
    kinds = ("actual_q", "actual_qd", "target_moment", "target_q", "actual_current")
    names = [f"{kind}_{k}" for kind in kinds for k in range(3)]
    columns = [*joint_columns(), *(Q + 1).T, *TAU.T]
    header = " ".join(["timestamp", *names])
    path = written(tmp_path / "x.csv", header, [TIMES + 5000.0, *columns], " ")
    run, said = read(path)
    check(run)
    assert "the efforts are commanded ones, such as target_moment_0" in said
    header = header.replace("target_moment", "joint_voltage")
    path = written(tmp_path / "y.csv", header, [TIMES, *columns], " ")
    run, said = read(path)
    check(run)
    assert "torque constant" in said


def test_a_log_of_libfranka_is_read(tmp_path):
    kinds = ("state.q", "state.dq", "state.tau_J", "state.q_d", "cmd.tau_J_d")
    names = [f"{kind}[{k}]" for kind in kinds for k in range(3)]
    columns = [*joint_columns(), *Q.T, *(5 * TAU).T]
    path = written(tmp_path / "x.csv", ",".join(["time", *names]), [TIMES, *columns])
    check(read(path)[0])


@pytest.mark.parametrize("transposed", [False, True])
def test_matlab_is_read_by_the_names_of_its_arrays(tmp_path, transposed):
    from scipy.io import savemat

    arrays = {"t": TIMES, "q": Q, "qd": DQ, "tau": TAU, "note": "of a robot"}
    if transposed:
        arrays |= {name: arrays[name].T for name in ("q", "qd", "tau")}
    savemat(tmp_path / "x.mat", {"data": arrays} if transposed else arrays)
    run, said = read(tmp_path / "x.mat")
    check(run)
    assert "note left out" in said
    (tmp_path / "x.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(ValueError, match="`path` must be a MATLAB file"):
        load_recordings(tmp_path / "x.mat")


def test_arrays_of_joints_are_read(tmp_path):
    np.savez(tmp_path / "x.npz", t=TIMES, q=Q, dq=DQ, tau=TAU, name=np.array("arm"))
    run, said = read(tmp_path / "x.npz")
    check(run)
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, value in {"time": TIMES, "position": Q, "velocity": DQ}.items():
            file[f"joint_states/{name}"] = value
        file["joint_states/effort"] = TAU
    check(read(tmp_path / "x.h5")[0])


def test_arrays_with_fewer_samples_are_named_or_are_of_the_steps(tmp_path):
    arrays = {"t": TIMES, "q": Q, "dq": DQ}
    np.savez(tmp_path / "steps.npz", **arrays, tau=TAU[:-1])
    check(read(tmp_path / "steps.npz")[0])
    np.savez(tmp_path / "fewer.npz", **arrays, tau=TAU[:-2])
    with pytest.raises(RobooptError, match=r"tau has shape \(198, 3\).* 200 samples"):
        read(tmp_path / "fewer.npz")
    np.savez(tmp_path / "fewer.npz", t=TIMES, q=Q[:-1], dq=DQ, tau=TAU)
    with pytest.raises(RobooptError, match=r"q has shape \(199, 3\)"):
        read(tmp_path / "fewer.npz")
    np.savez(tmp_path / "more.npz", **arrays, tau=TAU, torque=TAU[:-2])
    check(read(tmp_path / "more.npz")[0])
    names = np.array(["elbow_joint", "shoulder_pan_joint", "elbow_joint"])
    np.savez(tmp_path / "twice.npz", **arrays, tau=TAU, joint_names=names)
    with pytest.raises(RobooptError, match="names elbow_joint more than once"):
        read(tmp_path / "twice.npz")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_are_read(library):
    frames = pytest.importorskip(library)
    names = [f"{joint}_{what}" for what in ("q", "dq", "tau") for joint in JOINTS]
    columns = dict(zip(names, joint_columns(), strict=True))
    check(read(frames.DataFrame({"time": TIMES, **columns}))[0])
    if library == "pandas":
        stamps = 1_700_000_000_000_000_000 + 4_000_000 * np.arange(STEPS)
        index = frames.to_datetime(stamps)
        check(read(frames.DataFrame(columns, index=index))[0])


def test_a_passive_joint_needs_no_efforts(tmp_path):
    header = "t,a_q,b_q,c_q,a_dq,b_dq,c_dq,a_tau,c_tau"
    columns = [TIMES, *Q.T, *DQ.T, TAU[:, 0], TAU[:, 2]]
    path = written(tmp_path / "x.csv", header, columns)
    run, _ = read(path, joints=["a", "b", "c"], actuated=[0, 2])
    np.testing.assert_allclose(run.actions, TAU[:-1] * [1, 0, 1], atol=1e-12)
    with pytest.raises(ValueError, match="lacks efforts of joint b"):
        load_recordings(path, joints=["a", "b", "c"])


def test_a_row_that_is_cut_off_is_left_out(tmp_path):
    header = "t,q0,q1,q2,dq0,dq1,dq2,tau0,tau1,tau2"
    path = written(tmp_path / "x.csv", header, [TIMES, *joint_columns()])
    whole = path.read_text()
    path.write_text(whole + "0.8,0.1,0.")
    run, said = read(path)
    check(run)
    assert "cut off" in said
    lines = whole.splitlines()
    path.write_text("\n".join([*lines[:5], "0.1,2", *lines[5:]]))
    with pytest.raises(ValueError, match="10 cells in each row, but .* 2 in sample 4"):
        load_recordings(path, joints=JOINTS)


def bag(path, version, names, storage="sqlite3", others=()):
    """Write joint states and other topics' messages as a bag.

    Commands, and states without efforts, go to the topics `others` before them.
    """
    from rosbags.rosbag1 import Writer as Writer1
    from rosbags.rosbag2 import StoragePlugin
    from rosbags.rosbag2 import Writer as Writer2
    from rosbags.typesys import Stores, get_typestore

    kind = Stores.ROS1_NOETIC if version == 1 else Stores.ROS2_HUMBLE
    store = get_typestore(kind)
    types = store.types
    stamp_type = types["builtin_interfaces/msg/Time"]
    header_type = types["std_msgs/msg/Header"]
    state_type = types["sensor_msgs/msg/JointState"]
    order = [JOINTS.index(name) for name in names]
    if version == 1:
        writer = Writer1(path)
    else:
        plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        writer = Writer2(path, version=9, storage_plugin=plugin)
    extra = {"seq": 0} if version == 1 else {}
    with writer:
        joints, text = (
            writer.add_connection(topic, kind, typestore=store)
            for topic, kind in (
                ("/joint_states", state_type.__msgtype__),
                ("/rosout", "std_msgs/msg/String"),
            )
        )
        unread = [
            writer.add_connection(topic, state_type.__msgtype__, typestore=store)
            for topic in others
        ]
        for k in range(STEPS):
            stamp = stamp_type(sec=1_700_000_000, nanosec=4_000_000 * k)
            header = header_type(stamp=stamp, frame_id="", **extra)
            message = state_type(
                header=header,
                name=names,
                position=Q[k, order],
                velocity=DQ[k, order],
                effort=TAU[k, order],
            )
            said = types["std_msgs/msg/String"](data="x")
            for connection in unread:
                commanded = "command" in connection.topic
                values = (Q + 1, DQ, TAU) if commanded else (Q + 1, DQ, TAU[:, :0])
                moving = [x[k, order] if x.size else x[k] for x in values]
                one = state_type(header, names, *moving)
                encode = store.serialize_ros1 if version == 1 else store.serialize_cdr
                raw = encode(one, one.__msgtype__)
                writer.write(connection, 1_700_000_000_000_000_000 + 4_000_000 * k, raw)
            arrival = 1_700_000_000_000_000_000 + 4_000_123 * k
            for connection, one in ((joints, message), (text, said)):
                encode = store.serialize_ros1 if version == 1 else store.serialize_cdr
                writer.write(connection, arrival, encode(one, one.__msgtype__))
    return path


@pytest.mark.parametrize("version, storage", [(1, ""), (2, "sqlite3"), (2, "mcap")])
def test_bags_of_ros_are_read_in_the_order_of_the_robot(tmp_path, version, storage):
    pytest.importorskip("rosbags")
    path = tmp_path / ("run.bag" if version == 1 else "run")
    bag(path, version, [JOINTS[2], JOINTS[0], JOINTS[1]], storage)
    check(read(path)[0])
    if version == 2:
        (file,) = [f for f in path.iterdir() if f.suffix in (".mcap", ".db3")]
        check(read(file)[0])
    with pytest.raises(ValueError, match="JointState of the joints .'wrist'.*elbow"):
        load_recordings(path, joints=["wrist"])


@pytest.mark.parametrize("version", [1, 2])
def test_states_with_efforts_are_read_before_commands(tmp_path, version):
    pytest.importorskip("rosbags")
    path = tmp_path / ("run.bag" if version == 1 else "run")
    bag(path, version, JOINTS, others=("/a/joint_states", "/joint_commands"))
    run, said = read(path)
    check(run)
    assert "/joint_states is read, not /a/joint_states, /joint_commands" in said
    if version == 2:
        (file,) = path.glob("*.db3")
        file.rename(f"{file}.zstd")
        file.with_name(f"{file.name}.zstd").write_bytes(b"\x28\xb5\x2f\xfd0")
        with pytest.raises(ValueError, match="not compressed as a whole"):
            read(path)
