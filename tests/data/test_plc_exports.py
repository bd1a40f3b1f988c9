"""Recordings that TwinCAT Scope and WinCC export as text."""

import warnings

import numpy as np
import pytest

from roboopt.data import ColumnError, load_recordings

JOINTS = ["shoulder", "elbow"]
SHORT = ["q1", "q2", "dq1", "dq2", "tau1", "tau2"]
AXES = [f"Axes.Axis {k}.{q}" for q in ("ActPos", "ActVelo", "ActTorque") for k in "12"]


def motion(t):
    """Return positions, velocities and efforts at times [s], a column each."""
    q, dq = (np.stack([f(3 * t), f(3 * t + 1)], 1) for f in (np.sin, np.cos))
    return np.concatenate([q, 3 * dq, 5 * np.sin(np.stack([2 * t, t], 1))], 1)


def scope(path, groups, *, sep="\t", mark=",", rows=100, more=None, ticks=None):
    """Write an export of TwinCAT Scope.

    Args:
        path: where to.
        groups: of the channels of a sample time: [ms], the first time [ms], numbers in
            `motion`, names and symbols.
        sep: what separates cells.
        mark: of decimals.
        rows: of the first group; others end at the same time.
        more: further rows of the header.
        ticks: the first time in the file's long form, in place of ms.
    """
    known = {"Name": 3, "SymbolName": 4}
    keys = [*known, "SampleTime[ms]", *(more or {})]
    lines = ["Name|Project", r"File|C:\a b.csv", "Starttime of export|1329|Montag", ""]
    for key in keys:
        cells = []
        for group in groups:
            own = (more or {}).get(key, f"{group[0]}".replace(".", mark))
            cells += [
                key,
                *(group[known[key]] if key in known else [own] * len(group[2])),
            ]
        lines.append("|".join(cells))
    lines.append("")
    end = rows * groups[0][0]
    counts = [int((end - start) // step) for step, start, *_ in groups]
    for k in range(max(counts)):
        cells = []
        for (step, start, numbers, *_), count in zip(groups, counts, strict=True):
            t = start + k * step
            stamp = f"{t:g}" if ticks is None else str(ticks + round(1e4 * t))
            values = motion(np.array([t / 1e3]))[0, numbers]
            own = [stamp, *(f"{value:.12g}" for value in values)]
            cells += own if k < count else [""] * len(own)
        lines.append("|".join(cells).rstrip("|").replace(".", mark))
    path.write_text("\n".join([*lines, "EOF"]).replace("|", sep))


def read(path, joints=None):
    columns = None if joints is None else {"joints": joints}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (run,) = load_recordings(path, joints=JOINTS, columns=columns)
    return run, " ".join(str(w.message) for w in caught)


def check(run, step, tolerance=1e-9):
    expected = motion(step * np.arange(run.steps + 1))
    np.testing.assert_allclose(run.observations, expected[:, :4], atol=tolerance)
    np.testing.assert_allclose(run.actions, expected[:-1, 4:], atol=tolerance)


LAYOUTS = {
    "one column of times": {"groups": [(2, 0, range(6), SHORT, SHORT)]},
    "one for each channel": {
        "groups": [(2, 0, [k], [n], [n]) for k, n in enumerate(SHORT)]
    },
    "semicolons": {"groups": [(2, 0, range(6), SHORT, SHORT)], "sep": ";"},
    "commas": {"groups": [(2, 0, range(6), SHORT, SHORT)], "sep": ",", "mark": "."},
    "long times": {
        "groups": [(2, 0, range(6), SHORT, SHORT)],
        "ticks": 132959733843760000,
    },
    "symbols": {"groups": [(2, 0, range(6), ["ActPos"] * 6, AXES)]},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_exports_of_twincat_scope_are_read(tmp_path, name):
    scope(tmp_path / "x.csv", **LAYOUTS[name])
    run, said = read(tmp_path / "x.csv")
    assert run.steps == 99 and run.time_step == pytest.approx(0.002)
    check(run, 0.002)
    assert "Offset" not in said


def test_channels_of_other_sample_times_are_interpolated(tmp_path):
    # A line through samples 4 ms apart is off by at most 5 · 2² · 0.004² / 8 = 4e-5.
    groups = [
        (0.5, 0, [4], ["temperature"], ["MAIN.t"]),
        (2, 0, range(4), SHORT[:4], SHORT[:4]),
        (4, -1, range(4, 6), SHORT[4:], SHORT[4:]),
    ]
    scope(tmp_path / "x.csv", groups, rows=400)
    run, said = read(tmp_path / "x.csv")
    assert "tau1, tau2 have rows of their own, every 0.004 s" in said
    assert run.time_step == pytest.approx(0.002) and run.steps > 90
    check(run, 0.002, 4e-5)


def test_units_are_converted_and_scales_are_told(tmp_path):
    path, groups = tmp_path / "x.csv", [(2, 0, range(6), SHORT, SHORT)]
    scope(path, groups, more={"ScaleFactor": "2", "Unit": "deg (Angle)"})
    with pytest.raises(ColumnError, match=r"unit of dq1 \[deg\], dq2 \[deg\]"):
        read(path)
    scope(path, groups, more={"ScaleFactor": "2", "Offset": "0", "Unit": "(None)"})
    run, said = read(path)
    check(run, 0.002)
    assert "q1, q2, dq1, dq2, tau1, tau2 have an Offset or a ScaleFactor" in said


@pytest.mark.parametrize("unit, told", [("", True), ("Nm", False)])
def test_torques_without_a_unit_are_told(tmp_path, unit, told):
    path = tmp_path / "scope.csv"
    torques = [(2, 0, [k], ["torque"], [AXES[k]]) for k in (4, 5)]
    others = [(2, 0, [k], ["other"], [AXES[k]]) for k in range(4)]
    scope(path, [*others, *torques])
    text = path.read_text().splitlines()
    row = next(k for k, line in enumerate(text) if line.startswith("SymbolName"))
    cells = [cell for _ in others for cell in ("Unit", "(None)")]
    cells += [cell for _ in torques for cell in ("Unit", unit)]
    path.write_text("\n".join([*text[: row + 1], "\t".join(cells), *text[row + 1 :]]))
    run, notes = read(path)
    check(run, 0.002)
    assert ("rated torque" in notes) == told


def test_exports_that_cannot_be_read_say_how_to_export(tmp_path):
    path, groups = tmp_path / "x.csv", [(2, 0, range(6), SHORT, SHORT)]
    scope(path, groups)
    lines = path.read_text().splitlines()
    samples = [line.partition("\t")[2] for line in lines if line[:1].isdigit()]
    rest = [line for line in lines if not line[:1].isdigit()]
    path.write_text("\n".join([*rest, *samples]))
    with pytest.raises(ValueError, match="names 7 columns, and .* 6 cells.*Timelines"):
        read(path)
    scope(path, groups, sep=":")
    with pytest.raises(ValueError, match="tabs or semicolons between cells"):
        read(path)


def wincc(path, names, *, mark=",", invalid=()):
    """Write a log of WinCC, a sample each 0.1 s; `Time_ms` counts days times 1e6."""
    lines = ['"VarName";"TimeString";"VarValue";"Validity";"Time_ms"']
    for k, row in enumerate(motion(0.1 * np.arange(40))):
        days = 1e6 * (44683.5 + 0.1 * k / 86400)
        for name, value in zip(names, row, strict=True):
            cells = f"{value:.9f};{int(k not in invalid)};{days:.6f}"
            lines.append(f'"{name}";"02.05.22 12:00:00";{cells.replace(".", mark)}')
    lines.append('"$RT_OFF$";"02.05.22 12:00:05";0;2;44683600000' + mark + "5")
    path.write_text("\r\n".join(lines))


@pytest.mark.parametrize("mark", [",", "."])
def test_logs_of_wincc_are_read_at_their_times(tmp_path, mark):
    wincc(tmp_path / "x.csv", SHORT, mark=mark)
    run, _ = read(tmp_path / "x.csv")
    assert run.steps == 39 and run.time_step == pytest.approx(0.1, rel=1e-5)
    check(run, 0.1, 1e-8)


def test_invalid_rows_are_left_out_and_variables_named(tmp_path):
    names = [f"DB_Axis_{k}_{q}" for q in ("Pos", "Speed", "Torque") for k in "12"]
    wincc(tmp_path / "x.csv", names, invalid=[39])
    run, said = read(tmp_path / "x.csv", ["db 1", "db 2"])
    assert run.steps == 38 and "6 rows are not valid: left out" in said
    check(run, 0.1, 1e-8)
    with pytest.raises(ColumnError, match=r"db 1, db 2 are .* 'DB_Axis_1_Pos'"):
        read(tmp_path / "x.csv")
