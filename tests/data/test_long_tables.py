"""Long tables: a row for each joint, or for each number."""

import numpy as np
import pytest
from told import read_told

from roboopt.data import ColumnError, Columns

JOINTS = ["pan_joint", "lift_joint"]
TIMES = 0.01 * np.arange(80)
Q = np.sin(TIMES[:, None] * [1.0, 2.0])
DQ, TAU = Q + 1, 10 * Q
FIELDS = {"position": Q, "velocity": DQ, "effort": TAU}


def rows_of_joints(label="joint", names=("lift_joint", "pan_joint", "gripper")):
    """Return a header, and a row for each joint and time: joint by joint."""
    header = ["time", label, *FIELDS]
    rows = []
    for name in names:
        k = JOINTS.index(name) if name in JOINTS else None
        for i, time in enumerate(TIMES):
            values = [0.5 if k is None else values[i, k] for values in FIELDS.values()]
            rows.append([f"{time:.4f}", name, *(f"{x:.12f}" for x in values)])
    return header, rows


def written(path, header, rows, separator=","):
    path.write_text("\n".join(map(separator.join, [header, *rows])) + "\n")
    return path


def check(source, runs=1, **options):
    found, said = read_told(source, joints=JOINTS, **options)
    assert len(found) == runs
    for run in found:
        np.testing.assert_allclose(run.observations, np.hstack([Q, DQ]), atol=1e-9)
        np.testing.assert_allclose(run.actions, TAU[:-1], atol=1e-9)
        assert run.times is None and run.time_step == pytest.approx(0.01)
    return said


@pytest.mark.parametrize("label", ["joint", "name", "joint_name", "motor"])
@pytest.mark.parametrize("separator", [",", "\t", " "])
@pytest.mark.parametrize("sort", [False, True])
def test_a_row_for_each_joint_is_read(tmp_path, label, separator, sort):
    header, rows = rows_of_joints(label)
    rows = sorted(rows, key=lambda row: row[0]) if sort else rows
    assert not check(written(tmp_path / "x.csv", header, rows, separator))


def test_joints_may_be_numbers_and_units_stand_in_names(tmp_path):
    header, rows = rows_of_joints("joint_id", JOINTS)
    rows = [[t, str(JOINTS.index(j) + 1), *cells] for t, j, *cells in rows]
    header[2] = "position [mrad]"
    rows = [[t, j, f"{1e3 * float(q):.9f}", *cells] for t, j, q, *cells in rows]
    said = check(written(tmp_path / "x.csv", header, rows))
    assert "positions in mrad are converted" in said


def test_recordings_and_two_columns_of_times_stay(tmp_path):
    header, rows = rows_of_joints()
    header = ["sec", "nanosec", *header[1:], "run"]
    rows = [
        ["7", str(round(1e9 * float(t))), *cells, run]
        for run in "ab"
        for t, *cells in rows
    ]
    check(written(tmp_path / "x.csv", header, rows), runs=2)


def test_without_times_rows_are_in_order(tmp_path):
    header, rows = rows_of_joints()
    path = written(tmp_path / "x.csv", header[1:], [row[1:] for row in rows])
    check(path, columns=Columns("0.01"))


def test_melted_frames_are_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    names = [f"{kind}{k}" for kind in ("q", "dq", "tau") for k in (1, 2)]
    columns = dict(zip(names, [*Q.T, *DQ.T, *TAU.T], strict=True))
    frame = pandas.DataFrame({"time": TIMES, **columns})
    melted = frame.melt(id_vars="time")
    assert not check(melted)
    melted.to_csv(tmp_path / "x.csv")
    assert not check(tmp_path / "x.csv")
    by_joint = pandas.DataFrame(rows_of_joints()[1], columns=rows_of_joints()[0])
    assert not check(by_joint)
    assert not check(by_joint.melt(id_vars=["time", "joint"]))


def test_joints_with_times_of_their_own_are_interpolated(tmp_path):
    header, rows = rows_of_joints(names=JOINTS)
    late = [f"{float(t) + 0.001 * (j == JOINTS[1]):.4f}" for t, j, *_ in rows]
    rows = [[t, *row[1:]] for t, row in zip(late, rows, strict=True)]
    rows.sort(key=lambda row: row[0])
    (run,), said = read_told(written(tmp_path / "x.csv", header, rows), joints=JOINTS)
    assert "have rows of their own" in said and run.steps == len(TIMES) - 2
    expected = np.sin(2 * (TIMES[1:] - 0.001))
    np.testing.assert_allclose(run.observations[:, 1], expected, atol=1e-7)


def test_names_of_other_joints_are_told(tmp_path):
    header, rows = rows_of_joints()
    rows = [[t, f"x{j[::-1]}", *cells] for t, j, *cells in rows]
    path = written(tmp_path / "x.csv", header, rows)
    with pytest.raises(ColumnError, match="pan_joint, lift_joint in its column joint"):
        check(path)
    given = [f"x{joint[::-1]}" for joint in JOINTS]
    check(path, columns=Columns(joints=given))


def test_times_of_a_joint_that_go_back_are_refused(tmp_path):
    header, rows = rows_of_joints()
    rows[5], rows[6] = rows[6], rows[5]
    with pytest.raises(ValueError, match="those of lift_joint .* go back by 0.01 s"):
        check(written(tmp_path / "x.csv", header, rows))


def test_a_wide_table_with_a_counter_or_a_frame_stays_wide(tmp_path):
    columns = [TIMES, Q[:, 0], DQ[:, 0], TAU[:, 0]]
    for label, cells in {"id": range(80), "name": ["arm"] * 80}.items():
        rows = [
            [*(f"{x:.12f}" for x in row), str(c)]
            for *row, c in zip(*columns, cells, strict=True)
        ]
        path = written(tmp_path / "x.csv", ["t", "q", "dq", "tau", label], rows)
        (run,), _ = read_told(path, joints=["pan"])
        np.testing.assert_allclose(run.observations[:, 0], Q[:, 0], atol=1e-9)
