"""Reading recordings from files that people have."""

import bz2
import gzip
import lzma
import re
import zipfile

import numpy as np
import pytest

from roboopt.cli._flag_names import name_flag
from roboopt.cli.identify import Identify
from roboopt.data import ColumnError, Columns, Trajectory, load_recordings


def table(path, header, rows):
    """Write `rows` under `header`, compressed where the name says so."""
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    text = "\n".join(lines) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


ROWS = [
    (0.0, 1.0, 2.0, 0.1, 0.2, 5.0, 6.0),
    (0.5, 1.5, 2.5, 0.3, 0.4, 7.0, 8.0),
    (1.0, 1.7, 2.7, 0.5, 0.6, 9.0, 10.0),
]
"""Time, positions, velocities and efforts of two joints."""


def check_rows(run, order=(0, 1)):
    """Check that `run` holds `ROWS`, joints in `order`, without the last effort."""
    first, second = order
    rows = np.array(ROWS)
    pick = [1 + first, 1 + second, 3 + first, 3 + second]
    np.testing.assert_array_equal(run.observations, rows[:, pick])
    np.testing.assert_array_equal(run.actions, rows[:-1, [5 + first, 5 + second]])
    assert run.time_step == 0.5 and run.times is None and run.efforts is None


@pytest.mark.parametrize(
    "header",
    [
        "time,q1,q2,dq1,dq2,tau1,tau2",
        "t,q_1,q_2,qd_1,qd_2,u_1,u_2",
        "timestamp,pos1,pos2,vel1,vel2,force1,force2",
        "stamp,joint_0_pos,joint_1_pos,joint_0_vel,joint_1_vel,joint_0_tau,joint_1_tau",
        "__time,/joint_states/position[0],/joint_states/position[1],"
        "/joint_states/velocity[0],/joint_states/velocity[1],"
        "/joint_states/effort[0],/joint_states/effort[1]",
        "Time [s],q1 [rad],q2 [rad],q1_dot [rad/s],q2_dot [rad/s],torque1 (Nm),"
        "torque2 (Nm)",
        "# time,theta1,theta2,theta1dot,theta2dot,torque1,torque2",
        "t,q1_pos,q2_pos,q1_vel,q2_vel,q1_tau,q2_tau",
        "Time, Theta_1, Theta_2, D_Theta_1, D_Theta_2, Torque_1, Torque_2",
    ],
)
def test_customary_names_are_recognized(tmp_path, header):
    (run,) = load_recordings(table(tmp_path / "run.csv", header, ROWS))
    check_rows(run)


def test_measured_is_better_than_commanded_and_filtered_is_never_read(tmp_path):
    # The columns of the DFKI double pendulum: 100 and more must not be read.
    header = (
        "time,pos_meas1,pos_meas2,vel_meas1,vel_meas2,pos_filt1,pos_filt2,vel_filt1,"
        "vel_filt2,pos_des1,pos_des2,tau_con1,tau_con2,tau_fric1,tau_fric2,"
        "tau_meas1,tau_meas2,tau_des1,tau_des2"
    )
    rows = [(*r[:5], *range(100, 110), *r[5:], 111, 112) for r in ROWS]
    (run,) = load_recordings(table(tmp_path / "run.csv.gz", header, rows))
    check_rows(run)


def test_commanded_efforts_serve_where_none_are_measured(tmp_path):
    header = "time,q1,q2,dq1,dq2,tau_cmd1,tau_cmd2,q1_cmd,q2_ref"
    rows = [(*r, 50, 60) for r in ROWS]
    with pytest.warns(UserWarning, match="commanded ones, such as tau_cmd1"):
        (run,) = load_recordings(table(tmp_path / "run.csv", header, rows))
    check_rows(run)
    # Nothing is said of columns that are named.
    named = Columns(efforts=["tau_cmd1", "tau_cmd2"])
    check_rows(*load_recordings(tmp_path / "run.csv", columns=named))


def test_named_columns_are_put_in_the_order_of_the_joints(tmp_path):
    header = (
        "time,shoulder_lift_position,elbow_position,shoulder_lift_velocity,"
        "elbow_velocity,shoulder_lift_effort,elbow_effort,gripper_position"
    )
    path = table(tmp_path / "run.csv", header, [(*r, 9) for r in ROWS])
    (run,) = load_recordings(path, joints=["elbow", "shoulder_lift"])
    check_rows(run, order=(1, 0))
    with pytest.raises(ColumnError, match="lacks positions of joint wrist"):
        load_recordings(path, joints=["elbow", "wrist"])
    # Without the names of the joints only numbers are recognized.
    with pytest.raises(ColumnError, match="lacks positions"):
        load_recordings(path)
    header = "t,position.a,position.b,velocity.a,velocity.b,effort.a,effort.b"
    path = table(tmp_path / "other.csv", header, ROWS)
    check_rows(load_recordings(path, joints=["a", "b"])[0])


def test_columns_can_be_named(tmp_path):
    path = table(tmp_path / "run.csv", "clock,a,b,c,d,e,f", ROWS)
    named = Columns(
        time="clock", positions=["b", "a"], velocities=["d", "c"], efforts=["f", "e"]
    )
    check_rows(load_recordings(path, columns=named)[0], order=(1, 0))
    # What is not named is recognized, and a joint that nothing drives has no column.
    path = table(tmp_path / "other.csv", "time,q1,q2,dq1,dq2,i1,i2", ROWS)
    (run,) = load_recordings(path, columns=Columns(efforts=["i1", None]))
    np.testing.assert_array_equal(run.actions, [[5.0, 0.0], [7.0, 0.0]])


def test_units_in_names_are_converted(tmp_path):
    # 180° is π, a revolution a minute 2π/60 rad/s, 250 ms a quarter of a second.
    path = table(
        tmp_path / "run.csv",
        "time_ms,q1 [deg],dq1 [rpm],tau1 [mNm]",
        [(1000, 180, 60, 500), (1250, 90, 30, 0)],
    )
    with pytest.warns(
        UserWarning, match="positions in deg, velocities in rpm, efforts"
    ):
        (run,) = load_recordings(path)
    np.testing.assert_allclose(
        run.observations, [[np.pi, 2 * np.pi], [np.pi / 2, np.pi]], rtol=1e-15
    )
    np.testing.assert_allclose(run.actions, [[0.5]])
    assert run.time_step == 0.25


def test_uneven_times_are_kept_from_the_beginning_on(tmp_path):
    rows = [(10.0 + t, t, 1, 0) for t in (0.0, 0.1, 0.3)]
    (run,) = load_recordings(table(tmp_path / "run.csv", "t,q,dq,tau", rows))
    assert run.times is not None
    np.testing.assert_allclose(run.times, [0.0, 0.1, 0.3], atol=1e-12)
    assert run.time_step == pytest.approx(0.15)
    # A jitter of less than a millionth is rounding.
    rows = [(0.1 * k + 1e-8 * (k % 2), 0, 1, 0) for k in range(10)]
    (run,) = load_recordings(table(tmp_path / "run.csv", "t,q,dq,tau", rows))
    assert run.times is None and run.time_step == pytest.approx(0.1, rel=1e-6)


def test_a_time_step_stands_in_for_times_and_overrides_them(tmp_path):
    rows = [(0, 1, 2), (0, 1, 2)]
    (run,) = load_recordings(
        table(tmp_path / "a.csv", "q,dq,tau", rows), time_step=0.25
    )
    assert run.time_step == 0.25
    (run,) = load_recordings(
        table(tmp_path / "b.csv", "t,q,dq,tau", [(0, *rows[0]), (9, *rows[1])]),
        time_step=0.25,
    )
    assert run.time_step == 0.25 and run.times is None


def test_a_column_of_runs_makes_several(tmp_path):
    rows = [("b", 0.0, 1), ("a", 5.0, 2), ("b", 0.5, 3), ("a", 5.5, 4), ("b", 1.0, 5)]
    rows = [(name, t, q, 0, 10 * q) for name, t, q in rows]
    path = table(tmp_path / "runs.csv", "run,t,q,dq,tau", rows)
    first, second = load_recordings(path)
    np.testing.assert_array_equal(first.observations[:, 0], [1, 3, 5])
    np.testing.assert_array_equal(second.observations[:, 0], [2, 4])
    np.testing.assert_array_equal(first.actions[:, 0], [10, 30])
    assert first.time_step == second.time_step == 0.5


def test_missing_velocities_are_estimated_with_a_warning(tmp_path):
    # q = t² at 0, 1, 2, 4: q̇ = 2t, to the second order even at uneven stamps.
    rows = [(t, t**2, 1) for t in (0, 1, 2, 4)]
    path = table(tmp_path / "run.csv", "t [s],q,tau", rows)
    with pytest.warns(UserWarning, match="no velocities were recorded.*run.csv"):
        (run,) = load_recordings(path)
    np.testing.assert_allclose(run.observations[:, 1], [0, 2, 4, 8], atol=1e-12)


def test_other_delimiters_quotes_and_an_empty_last_effort(tmp_path):
    path = tmp_path / "run.csv"
    path.write_text(
        '\ufeff"time [s]";"q_a";"dq_a";"note";"tau_a"\n0;1;2;x;3\n0.5;4;5;y;\n'
    )
    (run,) = load_recordings(path, joints=["a"])
    np.testing.assert_array_equal(run.observations, [[1, 2], [4, 5]])
    np.testing.assert_array_equal(run.actions, [[3]])


def test_a_folder_is_read_in_order_of_its_names(tmp_path):
    table(tmp_path / "b.csv", "time,q1,q2,dq1,dq2,tau1,tau2", ROWS)
    table(tmp_path / "c.csv.gz", "time,q1,q2,dq1,dq2,tau1,tau2", ROWS)
    Trajectory(np.zeros((2, 3, 4)), np.zeros((2, 2, 2)), 0.5).save(tmp_path / "a.npz")
    (tmp_path / "notes.txt").write_text("not a recording")
    runs = load_recordings(tmp_path)
    assert [run.observations.shape for run in runs] == [(3, 4)] * 4
    assert not runs[0].observations.any() and not runs[1].observations.any()
    check_rows(runs[2])
    check_rows(runs[3])


def test_trajectories_come_back_and_fit_the_joints(tmp_path):
    # An observation of an environment holds a goal; the efforts are on all joints.
    rng = np.random.default_rng(0)
    saved = Trajectory(
        rng.normal(size=(3, 6)),
        rng.normal(size=(2, 1)),
        0.5,
        efforts=rng.normal(size=(2, 2)),
    )
    saved.save(tmp_path / "run.npz")
    (run,) = load_recordings(tmp_path / "run.npz")
    np.testing.assert_array_equal(run.observations, saved.observations)
    np.testing.assert_array_equal(run.actions, saved.actions)
    (run,) = load_recordings(tmp_path / "run.npz", joints=["a", "b"], time_step=0.1)
    np.testing.assert_array_equal(run.observations, saved.observations[:, :4])
    assert saved.efforts is not None and run.time_step == 0.1
    np.testing.assert_array_equal(run.actions, saved.efforts)
    with pytest.raises(ValueError, match="the robot has the joints a, b, c: name"):
        load_recordings(tmp_path / "run.npz", joints=["a", "b", "c"])


@pytest.mark.parametrize(
    "header, columns, match",
    [
        ("x,q1,q2,dq1,dq2,u1,u2", None, "must hold one column of times"),
        ("time,t,q2,dq1,dq2,u1,u2", None, "one column of times, got"),
        ("t,q1,angle1,dq1,dq2,u1,u2", None, "positions of joint 1, got"),
        ("t,a,b,dq1,dq2,u1,u2", None, "lacks positions"),
        ("t,q1_cmd,q2_des,dq1,dq2,u1,u2", None, "lacks positions"),
        ("t,q1,q2,dq1,b,u1,u2", None, "lacks velocities of joint 2"),
        ("t,q1,q2,dq1,dq2,u1,b", None, "lacks efforts of joint 2"),
        ("t,q1,q2,dq1,dq2,a,b", None, "lacks efforts"),
        ("t,q1,q2,dq1,dq2,T_1 torque,u2", None, "lacks efforts of joint 1"),
        ("t,q1,q2,dq1,dq2,a,b", Columns(efforts=["a", "z"]), "no .'z'"),
        ("t,q1,q2,dq1,dq2,a,b", Columns(efforts=["a"]), "efforts of 2 joints"),
        ("t,a,a,dq1,dq2,u1,u2", Columns(positions=["a", "a"]), "each column once"),
        ("run,episode,q1,dq1,u1,t,b", None, "must hold one column of runs"),
    ],
)
def test_columns_that_are_missing_or_ambiguous_are_refused(
    tmp_path, header, columns, match
):
    path = table(tmp_path / "run.csv", header, ROWS)
    with pytest.raises(ColumnError, match="`path` .*`columns=Columns") as caught:
        load_recordings(path, columns=columns)
    assert re.search(match, caught.value.rule)
    assert caught.value.path == str(path)
    assert caught.value.header == header.split(",")


def test_numbered_columns_must_be_as_many_as_the_joints(tmp_path):
    path = table(tmp_path / "run.csv", "time,q1,q2,dq1,dq2,tau1,tau2", ROWS)
    check_rows(load_recordings(path, joints=["a", "b"])[0])
    said = r"must hold positions of 3 joints \(a, b, c\), got"
    with pytest.raises(ValueError, match=said):
        load_recordings(path, joints=["a", "b", "c"])
    # As where the robot's other joint is locked.
    with pytest.raises(ColumnError, match=r"of 1 joints \(b\), got") as caught:
        load_recordings(path, joints=["b"])
    assert "leave its columns out by naming the others" in caught.value.rule
    line = name_flag(caught.value.rule, Identify)
    assert "by --positions q1 with --velocities dq1 with --efforts tau1" in line
    named = {"positions": ["q2"], "velocities": ["dq2"], "efforts": ["tau2"]}
    (run,) = load_recordings(path, joints=["b"], columns=named)
    assert run.observations[0].tolist() == [2.0, 0.2]


@pytest.mark.parametrize(
    "rows, match",
    [
        ([], "`path` must hold samples, but .*run.csv holds none, only the names of 4"),
        ([(0, 1, 2, 3)], "recording 0 of .* at least 2 samples, got 1"),
        ([(1, 1, 2, 3), (0, 1, 2, 3)], "recording 0 of .*`times` must increase"),
        (
            [(0, 1, 2, 3), (1, "fast", 2, 3)],
            "finite numbers, but .* 'fast' in column q, sample 1",
        ),
        (
            [(0, 1, 2, 3), (1, 1, 2, 3), (2, 1, "1e999", 3)],
            "finite numbers, but .* '1e999' in column dq, sample 2",
        ),
        (
            [(0, 1, 2, 3), (1, "none", 2, "-inf"), (2, "x", 2, 3)],
            "finite numbers, but .* '(x' in column q, sample 2|-inf' in column tau)",
        ),
    ],
)
def test_tables_without_a_recording_are_refused(tmp_path, rows, match):
    path = table(tmp_path / "run.csv", "t,q,dq,tau", rows)
    with pytest.raises(ValueError, match=match):
        load_recordings(path)


def test_paths_without_recordings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`path` must be a file or folder"):
        load_recordings(tmp_path / "no.csv")
    with pytest.raises(
        ValueError, match="`path` must hold files of .npz, .npy, .mat, .hdf5, .h5, .csv"
    ):
        load_recordings(tmp_path)
    (tmp_path / "run.doc").write_text("")
    with pytest.raises(ValueError, match="`path` must end in .npz, .*.csv.gz, .* or"):
        load_recordings(tmp_path / "run.doc")
    with pytest.raises(ValueError, match="`time_step` must be positive and finite"):
        load_recordings(tmp_path, time_step=-1.0)


def test_web_pages_and_empty_files_are_told_from_tables(tmp_path):
    path = tmp_path / "run.csv"
    for text, said in (("", "it is empty"), ("<!DOCTYPE html>\n<p>x,y", "a web page")):
        path.write_text(text)
        with pytest.raises(ValueError, match=f"`path` must .*run.csv .*{said}"):
            load_recordings(path, joints=["a"])


@pytest.mark.parametrize("cell", ["-", "--", "n/a", "null", "None", "NA"])
def test_customary_words_for_nothing_are_gaps(tmp_path, cell):
    rows = [[f"{k / 100}", f"{k / 7}", "1", "2"] for k in range(40)]
    rows[20][1] = cell
    lines = ["time,q,dq,tau", *map(",".join, rows)]
    (path := tmp_path / "run.csv").write_text("\n".join(lines))
    with pytest.warns(UserWarning, match="1 rows of run.csv hold no positions"):
        (run,) = load_recordings(path, joints=["a"])
    assert run.times is not None and len(run.times) == 39


def test_columns_may_be_a_dict_of_their_fields(tmp_path):
    lines = ["time,x,tau", *(f"{k / 100},{k / 7},2" for k in range(40))]
    (path := tmp_path / "run.csv").write_text("\n".join(lines))
    named = {"positions": ["x"], "efforts": ("tau",)}
    with pytest.warns(UserWarning, match="no velocities"):
        one, other = (
            load_recordings(path, joints=["a"], columns=columns)[0]
            for columns in (named, Columns(positions=["x"], efforts=["tau"]))
        )
    np.testing.assert_array_equal(one.observations, other.observations)
    for wrong in ({"position": ["x"]}, "x", {"positions": "x"}, ["x"]):
        with pytest.raises(ValueError, match=r"`columns(\.positions)?` must be"):
            Columns.of(wrong)


def test_other_names_of_several_joints_are_not_put_in_an_order(tmp_path):
    names = "time,hip_pos,knee_pos,hip_torque,knee_torque"
    lines = [names, *(f"{k / 100},1,2,3,4" for k in range(40))]
    (path := tmp_path / "run.csv").write_text("\n".join(lines))
    # Which is which nobody knows: a list to copy might be in the wrong order.
    with pytest.raises(ColumnError, match="hip, knee are other names") as caught:
        load_recordings(path, joints=["a", "b"])
    assert "joints=['hip'" not in str(caught.value)
    assert "not recorded by `locked`" in str(caught.value)


def test_a_table_is_unpacked_whatever_its_name(tmp_path):
    header = "time,q1,q2,dq1,dq2,tau1,tau2"
    packed = table(tmp_path / "run.csv.gz", header, ROWS)
    (run,) = load_recordings(packed.rename(tmp_path / "run.csv"))
    check_rows(run)
    plain = table(tmp_path / "plain.csv", header, ROWS)
    (run,) = load_recordings(plain.rename(tmp_path / "plain.csv.gz"))
    check_rows(run)


@pytest.mark.parametrize("end", ["bz2", "xz", "zip"])
def test_tables_that_are_packed_otherwise_are_read(tmp_path, end):
    plain = table(tmp_path / "run.csv", "time,q1,q2,dq1,dq2,tau1,tau2", ROWS)
    path, text = tmp_path / f"packed.csv.{end}", plain.read_bytes()
    if end == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("run.csv", text)
    else:
        path.write_bytes({"bz2": bz2, "xz": lzma}[end].compress(text))
    (run,) = load_recordings(path)
    check_rows(run)
    whole = path.read_bytes()
    for cut in (whole[: len(whole) // 2], whole[:7]):
        path.write_bytes(cut)
        with pytest.raises(ValueError, match="`path` must be a table"):
            load_recordings(path)
    if end == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.csv", text)
            archive.writestr("b.csv", text)
        with pytest.raises(ValueError, match="archive of one table, .* holds 2 files"):
            load_recordings(path)


@pytest.mark.parametrize("name", ["run.zip", "run.csv.7z", "run.npz.gz"])
def test_other_archives_have_to_be_unpacked(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match="Unpack it"):
        load_recordings(tmp_path / name)


def test_a_folder_of_tfrecord_files_is_told_what_to_write(tmp_path):
    for name in ("x-train.tfrecord-00000-of-00001", "dataset_info.json"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match="arrays of each episode by `np.savez`"):
        load_recordings(tmp_path)


def test_separators_of_thousands_are_named(tmp_path):
    rows = ["t;q1;dq1;tau1", "0;0,5;0,1;1.091,5", "0,1;0,6;0,1;12.345.678,25"]
    (tmp_path / "x.csv").write_text("\n".join(rows))
    with pytest.warns(UserWarning, match="tau1 have separators of thousands"):
        (run,) = load_recordings(tmp_path / "x.csv")
    assert run.actions.tolist() == [[1091.5]]
    rows = [row.replace(".", "'") for row in rows]
    (tmp_path / "x.csv").write_text("\n".join(rows))
    with pytest.raises(ValueError, match="1'091.5.* without separators of thousands"):
        load_recordings(tmp_path / "x.csv")
