"""Recordings in the letters, units and orders that programs write them in."""

from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat
from told import read_told

from roboopt.data import ColumnError, Columns
from roboopt.data.io._columns import split_name

JOINTS = ["pan", "lift"]
TIMES = 0.004 * np.arange(80)
Q = np.sin(TIMES[:, None] * [1.0, 2.0])
DQ = np.cos(TIMES[:, None] * [1.0, 2.0]) * [1.0, 2.0]
TAU = 10 * Q - DQ
HEADER = ["t", "q1", "q2", "dq1", "dq2", "tau1", "tau2"]


def read(source, **options):
    return read_told(source, joints=JOINTS, **options)


def check(source, runs=1, **options):
    found, said = read(source, **options)
    assert len(found) == runs
    for run in found:
        np.testing.assert_allclose(run.observations, np.hstack([Q, DQ]), atol=1e-9)
        np.testing.assert_allclose(run.actions, TAU[:-1], atol=1e-9)
        assert run.times is None and run.time_step == pytest.approx(0.004)
    return said


def table(header=HEADER, separator=",", times: Any = TIMES, comma=False, quote=""):
    def cell(x):
        text = f"{x!s}" if isinstance(x, str) else f"{x:.12f}"
        return quote + (text.replace(".", ",") if comma else text) + quote

    columns = [times, *Q.T, *DQ.T, *TAU.T]
    rows = [separator.join(map(cell, row)) for row in zip(*columns, strict=True)]
    return "\n".join([separator.join(header), *rows]) + "\n"


UNITS = "s,rad,rad,rad/s,rad/s,Nm,N·m\n"
DATES = [f"2024-05-01 10:00:{1e-3 * (4 * k):09.6f}+00:00" for k in range(len(TIMES))]


@pytest.mark.parametrize(
    "text",
    [
        table(separator=";", comma=True),
        table(separator="\t", comma=True),
        table(comma=True, quote='"'),
        "sep=;\n" + table(separator=";"),
        "% written by a laboratory\n" + table(),
        "# robot, 2024\n" + table(),
        table().replace("\n", "\n" + UNITS, 1),
        table(separator="|"),
        table(
            ["Zeit", "jointPos1", "jointPos2", "Vel_J1", "Vel_J2", "Trq_J1", "Trq_J2"]
        ),
        table(["t", "q₁", "q₂", "q̇₁", "q̇₂", "τ₁", "τ₂"]),
        table(["t", "θ1", "θ2", "vel1", "vel2", "eff1", "eff2"]),
        table(times=DATES),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tables_of_other_countries_and_programs(tmp_path, text, encoding):
    path = tmp_path / "run.CSV"
    path.write_text(text, encoding)
    assert not check(path)


def test_a_table_in_latin_letters_is_read_with_a_word(tmp_path):
    header = ["t", "q1 [rad]", "q2 [rad]", "dq1", "dq2", "tau1", "tau2", "T [°C]"]
    path = tmp_path / "run.log"
    text = table(header[:7]).replace("\n", ",1\n").replace("tau2,1", "tau2,T [°C]")
    path.write_bytes(text.encode("latin-1"))
    assert "read as Latin-1" in check(path)


def test_the_motor_of_libfranka_stands_behind_its_joint(tmp_path):
    motors = ["theta1", "theta2", "dtheta1", "dtheta2"]
    header = ",".join(["t", *HEADER[1:], *motors])
    columns = np.column_stack([TIMES, Q, DQ, TAU, Q + 1, DQ + 1])
    np.savetxt(tmp_path / "x.csv", columns, delimiter=",", header=header, comments="")
    check(tmp_path / "x.csv")


def arrays(order=(0, 1), **names):
    order = list(order)
    return {"t": TIMES, "q": Q[:, order], "qd": DQ[:, order], "tau": TAU[:, order]}


def test_names_of_joints_decide_the_order_of_arrays(tmp_path):
    named = {"joint_names": np.array(["lift", "pan"])}
    swapped: dict[str, Any] = arrays((1, 0)) | named
    np.savez(tmp_path / "x.npz", **swapped)
    savemat(
        tmp_path / "x.mat", swapped | {"joint_names": np.array(["lift", "pan"], object)}
    )
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, value in swapped.items():
            text = value.dtype.kind == "U"
            file[f"joint_states/{name}"] = value.astype("S") if text else value
    for name in ("x.npz", "x.mat", "x.h5"):
        assert not check(tmp_path / name)


def test_names_of_other_joints_and_objects_are_told(tmp_path):
    np.savez(tmp_path / "x.npz", **arrays(), name=np.array(["a", "b"]))
    assert "none of which the robot has" in check(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", **arrays(), name=np.array(["lift", "pan"], object))
    with pytest.raises(ValueError, match="names of joints as text, but name of"):
        read(tmp_path / "y.npz")


@pytest.mark.parametrize(
    "told", [{"dt": 0.004}, {"fs": 250}, {"fps": np.array([250.0])}]
)
def test_a_number_tells_the_time_step(tmp_path, told):
    one = arrays()
    del one["t"]
    np.savez(tmp_path / "x.npz", **one, **told)
    check(tmp_path / "x.npz")


def test_groups_of_arrays_are_recordings(tmp_path):
    savemat(tmp_path / "one.mat", {"log": {**arrays(), "robot": "arm"}})
    assert "log.robot left out" in check(tmp_path / "one.mat")
    runs = np.array([arrays(), arrays()], object)
    savemat(tmp_path / "two.mat", {"runs": runs})
    check(tmp_path / "two.mat", runs=2)
    with h5py.File(tmp_path / "eleven.h5", "w") as file:
        for k in range(11):
            for name, value in arrays().items():
                file[f"run_{k}/{name}"] = value
    check(tmp_path / "eleven.h5", runs=11)
    found, _ = read(tmp_path / "eleven.h5")
    assert len(found) == 11


def test_a_table_of_one_array_is_read(tmp_path):
    cells = zip(TIMES, *Q.T, *DQ.T, *TAU.T, strict=True)
    rows = np.array([*cells], [(name, float) for name in HEADER])
    np.savez(tmp_path / "x.npz", log=rows)
    check(tmp_path / "x.npz")


def test_spans_of_time_are_times():
    pandas = pytest.importorskip("pandas")
    columns = dict(zip(HEADER[1:], [*Q.T, *DQ.T, *TAU.T], strict=True))
    spans = pandas.to_timedelta((TIMES * 1e9).round().astype(np.int64))
    assert not check(pandas.DataFrame({"time": spans} | columns))


def test_samples_that_go_back_in_time_are_refused(tmp_path):
    lines = table().splitlines()
    lines[20], lines[40] = lines[40], lines[20]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="sample 20 is .* s before sample 19"):
        read(tmp_path / "x.csv")


def test_files_come_by_their_numbers(tmp_path):
    for k in (1, 2, 10):
        np.savez(tmp_path / f"run_{k}.npz", t=TIMES, q=Q + k, qd=DQ, tau=TAU)
    runs, _ = read(tmp_path)
    assert [run.observations[0, 0] for run in runs] == [1, 2, 10]


def test_columns_named_by_hand_ignore_names_of_joints(tmp_path):
    np.savez(tmp_path / "x.npz", **arrays(), name=np.array(["lift", "pan"]))
    names = [[f"{name}[{k}]" for k in (0, 1)] for name in ("q", "qd", "tau")]
    check(tmp_path / "x.npz", columns=Columns("t", *names))


def test_cells_may_hold_numbers_of_numpy(tmp_path):
    # As pandas writes lists of NumPy 2.
    rows = [
        f'{t},"{[*q]!r}","{[*dq]!r}","{[*tau]!r}"'
        for t, q, dq, tau in zip(TIMES, Q, DQ, TAU, strict=True)
    ]
    assert "np.float64(" in rows[0]
    (tmp_path / "x.csv").write_text("\n".join(["t,q,dq,tau", *rows]) + "\n")
    check(tmp_path / "x.csv")


def test_commanded_efforts_are_told(tmp_path):
    # Of UR's RTDE: its model's moments, beside measured currents.
    names = [
        f"{n}_{k}" for n in ("actual_q", "actual_qd", "target_moment") for k in "01"
    ]
    text = table(["timestamp", *names])
    (tmp_path / "x.csv").write_text(text)
    said = check(tmp_path / "x.csv")
    assert "the efforts are commanded ones, such as target_moment_0" in said


def test_dots_are_derivatives_of_q_and_parts_ofsplit_name():
    assert split_name("q̇₁") == ["q", "dot", "1"] and split_name("q̈2") == [
        "q",
        "ddot",
        "2",
    ]
    assert split_name("Tür_θ̇ [rad/s]") == ["tür", "θ", "dot"]


@pytest.mark.parametrize(
    "position, velocity, effort, scale",
    [
        ("q_1_rad", "dq_1_rad_s", "tau_1_n_m", 1.0),
        ("pos 1 [degrees]", "vel 1 [deg/sec]", "torque 1 (N.m)", np.pi / 180),
        ("pos1_deg", "vel1_deg_per_s", "eff1_Nm", np.pi / 180),
        ("angle1 [mrad]", "qd1 [°/s]", "u1 [kN]", None),
    ],
)
def test_units_in_names_are_converted(tmp_path, position, velocity, effort, scale):
    scales = [scale, scale, 1.0] if scale else [1e-3, np.pi / 180, 1e3]
    names = [
        n.replace("1", str(k)) for n in (position, velocity, effort) for k in (1, 2)
    ]
    columns = np.hstack([Q / scales[0], DQ / scales[1], TAU / scales[2]])
    rows = np.column_stack([TIMES, columns])
    path = tmp_path / "x.csv"
    for time in ("time_s", "t [s]", "Elapsed Time (sec)"):
        header = ",".join([time, *names])
        np.savetxt(path, rows, delimiter=",", header=header, comments="")
        assert ("converted to SI units" in check(path)) == (scale != 1)


@pytest.mark.parametrize("step", [0.7, 1, 2])
def test_times_that_may_be_milliseconds_are_told(tmp_path, step):
    header = ",".join(["t", *HEADER[1:]])
    rows = np.column_stack([step * np.arange(len(TIMES)), Q, DQ, TAU])
    path = tmp_path / "x.csv"
    np.savetxt(path, rows, delimiter=",", header=header, comments="")
    (run,), said = read(path)
    if step < 1:  # of a slow logger, or of one at 1.4 kHz
        assert run.time_step == pytest.approx(step)
        assert "steps of 0.7 s: name the unit, as in `t_ms`" in said
    else:
        assert run.time_step == pytest.approx(1e-3 * step)
        assert "`t` is read as times in ms." in said


@pytest.mark.parametrize("old", [False, True])
def test_libfranka_logs_milliseconds(tmp_path, old):
    # As `logToCSV` of src/log.cpp writes them: 0.8 to 0.13, and later. The old one
    # names an empty column between states and commands, and twice the same names.
    state = ["q", "q_d", "dq", "dq_d", "tau_J", "tau_ext_hat_filtered"]
    names = [f"{n}[{k}]" if old else f"state.{n}[{k}]" for n in state for k in (0, 1)]
    sent = [f"q_d[{k}]" if old else f"cmd.q_d[{k}]" for k in (0, 1)]
    begin = ["duration", "success rate"] if old else ["time", "success_rate"]
    header = [*begin, *names, *(["sent commands"] if old else []), *sent]
    rows = []
    for k in range(len(TIMES)):
        cells = [4 * k, 1, *Q[k], *Q[k], *DQ[k], *DQ[k], *TAU[k], *TAU[k]]
        rows.append([*cells, *([""] if old else []), *Q[k]])
    lines = [
        (", " if old else ",").join(header),
        *(",".join(map(str, r)) for r in rows),
    ]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    assert "times in ms are converted" in check(tmp_path / "x.csv")


@pytest.mark.parametrize(
    "cell",
    [
        str,
        lambda one: str(tuple(one)),
        lambda one: str(one) if isinstance(one[0], str) else f"array('d', {one})",
        lambda one: str(np.array(one)) if isinstance(one[0], str) else f"{[*one]}",
    ],
)
def test_cells_that_hold_lists_are_read_by_the_names_in_them(tmp_path, cell):
    # As pandas, rosbag_to_csv and loops over messages write joint states.
    lines = [
        "time,.header.stamp.secs,.header.stamp.nsecs,.name,.position,.velocity,.effort"
    ]
    for k in range(len(TIMES)):
        lists = [one[k, ::-1].tolist() for one in (Q, DQ, TAU)]
        cells = [f'"{cell(one)}"' for one in (["lift", "pan"], *lists)]
        stamp = f"2024/05/01/10:00:00.{4 * k:06d},3,{4_000_000 * k}"
        lines.append(",".join([stamp, *cells]))
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    assert not check(tmp_path / "x.csv")
    lines[5] = lines[5].replace(")", ", 1.0)").replace("]", ", 1.0]")
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"positions of 2 joints.*'.position'"):
        read(tmp_path / "x.csv")


def test_angles_within_one_turn_go_on(tmp_path):
    turns = TIMES[:, None] * [20.0, -30.0]
    wrapped = np.rad2deg((turns + np.pi) % (2 * np.pi) - np.pi)
    columns = np.column_stack([TIMES, wrapped, TAU])
    header = "t,q1 [deg],q2 [deg],tau1,tau2"
    np.savetxt(tmp_path / "x.csv", columns, delimiter=",", header=header, comments="")
    (run,), said = read(tmp_path / "x.csv")
    np.testing.assert_allclose(run.observations[:, :2], turns, atol=1e-9)
    np.testing.assert_allclose(run.observations[:, 2:], [[20.0, -30.0]] * 80, atol=1e-6)
    assert "q1 [deg], q2 [deg] jump by a turn" in said


@pytest.mark.parametrize(
    "names",
    [
        ["t", "pan", "lift", "dq_pan", "dq_lift", "tau_pan", "tau_lift"],
        ["t", "Pan", "LIFT [rad]", "pan_vel", "lift_vel", "pan/torque", "lift/torque"],
        ["t", "pan_pos", "lift", "dq1", "dq2", "tau1", "tau2"],
    ],
)
def test_columns_that_are_called_as_joints_are_positions(tmp_path, names):
    path = tmp_path / "x.csv"
    path.write_text(table(names))
    assert "called as" in check(path)
    # What else is called so, or has the unit of another quantity, is no position.
    twice = [*names[:2], names[1], *names[3:]]
    for wrong in (twice, [names[0], "pan [Nm]", *names[2:]]):
        path.write_text(table(wrong))
        with pytest.raises(ColumnError, match="lacks|one of the"):
            read(path)


def test_columns_called_as_joints_are_not_read_beside_positions(tmp_path):
    path, names = tmp_path / "x.csv", [*HEADER[:3], *HEADER[3:5], "pan", "lift"]
    path.write_text(table(names))
    with pytest.raises(ColumnError, match="lacks efforts"):
        read(path)


def test_missing_efforts_are_named_by_the_joint_with_what_would_do(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(table([*HEADER[:6], "b"]))
    with pytest.raises(ColumnError) as caught:
        read(path)
    assert caught.value.rule == (
        "lacks efforts of joint 2 (lift), beside tau1; if nothing drives the joint, "
        "say so by `actuated=['pan']`"
    )
    (run,), _ = read(path, actuated=[0])
    np.testing.assert_array_equal(run.actions[:, 1], 0)
    path.write_text(table([*HEADER[:5], "a", "b"]))
    with pytest.raises(ColumnError, match=r"say so by `actuated=\[\]`"):
        read(path)
    (run,), _ = read(path, actuated=[])
    np.testing.assert_array_equal(run.actions, np.zeros_like(TAU[:-1]))


def test_joints_of_other_names_are_suggested(tmp_path):
    path = tmp_path / "x.csv"
    names = ["t", "q_pan", "q_wrist", "dq_pan", "dq_wrist", "tau_pan", "tau_wrist"]
    path.write_text(table(names))
    with pytest.raises(ColumnError, match=r"by `joints=\['pan', 'wrist'\]`"):
        read(path)
    check(path, columns=Columns(joints=["pan", "wrist"]))


def test_a_unit_behind_the_name_that_the_user_gives_is_that_of_the_column(tmp_path):
    rows = np.column_stack([1e3 * TIMES, np.degrees(Q), DQ, 1e3 * TAU])
    path = tmp_path / "x.csv"
    np.savetxt(path, rows, delimiter=",", header=",".join(HEADER), comments="")
    columns = Columns(
        time="t_ms",
        positions=["q1 [deg]", "q2_deg"],
        efforts=["tau1 [mNm]", "tau2 (mNm)"],
    )
    said = check(path, columns=columns)
    assert "times in ms, positions in deg, efforts in mN·m are converted" in said


def test_what_several_files_lack_is_said_once(tmp_path):
    for k in range(6):
        (tmp_path / f"{k}.csv").write_text(table(["t", "q1", "q2", *"ab", *HEADER[5:]]))
    runs, said = read(tmp_path)
    assert len(runs) == 6 and said.count("no velocities were recorded") == 1
    assert "in 0.csv, 1.csv, 2.csv, 3.csv and 2 more" in said


@pytest.mark.parametrize(
    "names, targets",
    [
        (
            ["IstPosition_{}", "IstGeschwindigkeit_{}", "Drehmoment_{}"],
            "SollPosition_{}",
        ),
        (
            ["Winkel {} [rad]", "Drehzahl {} [1/min]", "Moment {} [Nm]"],
            "Soll Winkel {}",
        ),
        (["q{}", "dq{}", "tau_fb{}"], "tau_cmd{}"),
    ],
)
def test_german_words_and_feedback_are_known(tmp_path, names, targets):
    scale = np.pi / 30 if "1/min" in names[1] else 1.0
    header = ["Zeit", *(n.format(k) for n in [*names, targets] for k in (1, 2))]
    columns = np.column_stack([TIMES, Q, DQ / scale, TAU, Q + 1])
    header = ";".join(header)
    np.savetxt(tmp_path / "x.csv", columns, delimiter=";", header=header, comments="")
    check(tmp_path / "x.csv")
