"""Units in the names of columns: converted and told, or refused by name."""

from typing import Any

import numpy as np
import pytest
from told import read_told

from roboopt._errors import RobooptError
from roboopt.data import Columns
from roboopt.data.io._units import unit_of, without_unit

DEGREE, RPM = np.pi / 180, np.pi / 30
ROWS = np.column_stack(
    [0.1 * np.arange(60), *np.random.default_rng(0).normal(size=(3, 60))]
)


def read(tmp_path, time="t", position="q1", velocity="dq1", effort="tau1", **options):
    path = tmp_path / "x.csv"
    header = ",".join([time, position, velocity, effort])
    np.savetxt(path, ROWS, delimiter=",", header=header, comments="")
    (run,), said = read_told(path, joints=["pan"], **options)
    return run, said


@pytest.mark.parametrize(
    "quantity, name, scale, shown",
    [
        ("time", "time_s", 1, ""),
        ("time", "time_ms", 1e-3, "ms"),
        ("time", "t_us", 1e-6, "µs"),
        ("time", "timestamp [ns]", 1e-9, ""),
        ("time", "elapsed (min)", 60, "min"),
        ("time", "time_min", 60, "min"),
        ("position", "q1_rad", 1, ""),
        ("position", "q1 [°]", DEGREE, "deg"),
        ("position", "q1 [Grad]", DEGREE, "deg"),  # as in German
        ("position", "q_deg_1", DEGREE, "deg"),
        ("position", "q_deg[1]", DEGREE, "deg"),
        ("position", "position_deg_1", DEGREE, "deg"),
        ("position", "q1 (mrad)", 1e-3, "mrad"),
        ("position", "q1_turns", 2 * np.pi, "rev"),
        ("position", "position1_m", 1, ""),
        ("position", "q1_mm", 1e-3, "mm"),
        ("position", "pos_cm_1", 1e-2, "cm"),
        ("position", "q1 [nm]", 1e-9, "nm"),
        ("position", "q1 [in]", 0.0254, "inch"),
        ("velocity", "dq1_rad_s", 1, ""),
        ("velocity", "dq1_m_per_s", 1, ""),
        ("velocity", "dq1_deg_s", DEGREE, "deg/s"),
        ("velocity", "dq1_dps", DEGREE, "deg/s"),
        ("velocity", "dq1 [deg·s⁻¹]", DEGREE, "deg/s"),
        ("velocity", "dq1 [deg s^-1]", DEGREE, "deg/s"),
        ("velocity", "speed_rpm_1", RPM, "rpm"),
        ("velocity", "dq1 [min⁻¹]", RPM, "rpm"),
        ("velocity", "dq1 [rev/s]", 2 * np.pi, "rps"),
        ("velocity", "dq1_mm_s", 1e-3, "mm/s"),
        ("velocity", "dq1 [mm/min]", 1e-3 / 60, "mm/min"),
        ("effort", "tau1_n_m", 1, ""),
        ("effort", "tau1 [N m]", 1, ""),
        ("effort", "tau1_mNm", 1e-3, "mN·m"),
        ("effort", "tau1_Nmm", 1e-3, "N·mm"),
        ("effort", "tau1 [N·cm]", 1e-2, "N·cm"),
        ("effort", "tau_kNm_1", 1e3, "kN·m"),
        ("effort", "force1_mN", 1e-3, "mN"),
        ("effort", "force1_kN", 1e3, "kN"),
        ("effort", "tau1 [kgf·cm]", 0.0980665, "kgf·cm"),
        ("effort", "tau1 [oz-in]", 0.00706155183, "oz·in"),
        ("effort", "tau1 [lbf·ft]", 1.355817948, "lbf·ft"),
        ("effort", "current1_A", 1, ""),
        ("effort", "current1_mA", 1e-3, "mA"),
        ("effort", "tau1 [A]", 1, ""),
    ],
)
def test_units_are_converted_and_told(tmp_path, quantity, name, scale, shown):
    run, said = read(tmp_path, **{quantity: name})
    scales = {"time": 1.0, "position": 1.0, "velocity": 1.0, "effort": 1.0}
    scales[quantity] = scale
    seen = ROWS[:, 1:3] * [scales["position"], scales["velocity"]]
    np.testing.assert_allclose(run.observations, seen, rtol=1e-9)
    np.testing.assert_allclose(run.actions, ROWS[:-1, 3:] * scales["effort"], rtol=1e-7)
    assert run.time_step == pytest.approx(0.1 * scales["time"])
    told = f" in {shown} are converted to SI units"
    assert told in said if shown else "converted" not in said
    assert ("torque constant" in said) == ("A" in name)


@pytest.mark.parametrize(
    "quantity, name",
    [
        ("position", "q1 [ticks]"),
        ("position", "q1_counts"),
        ("position", "q1 [rad/s]"),
        ("position", "q1_ms"),
        ("velocity", "dq1 [ticks/s]"),
        ("velocity", "dq1_deg"),
        ("effort", "tau1 [%]"),
        ("effort", "tau1 [V]"),
        ("effort", "tau1_raw"),
        ("effort", "effort1_V"),
        ("effort", "tau1 [deg]"),
    ],
)
def test_units_that_cannot_be_converted_are_refused_by_name(tmp_path, quantity, name):
    with pytest.raises(RobooptError) as error:
        read(tmp_path, **{quantity: name})
    assert f"for the unit of {name} cannot be converted" in str(error.value)
    named = {"position": "q1", "velocity": "dq1", "effort": "tau1", quantity: name}
    columns = Columns("t", *([one] for one in named.values()))
    with pytest.raises(RobooptError) as error:
        read(tmp_path, **{quantity: name}, columns=columns)
    assert repr(name) in str(error.value) and "converted to SI" in str(error.value)


@pytest.mark.parametrize(
    "name", ["q_min", "q_rev", "tau_ma", "tau_J[3]", "q[0]", "q_m"]
)
def test_words_are_no_units(name):
    assert unit_of(name) is None and without_unit(name) == name


def test_units_of_arrays_are_those_of_their_columns(tmp_path):
    t, q, dq, tau = ROWS.T
    pairs = {
        "q_deg": np.c_[q, 2 * q],
        "dq_rpm": np.c_[dq, 3 * dq],
        "tau_mNm": np.c_[tau, 4 * tau],
    }
    sets: list[dict[str, Any]] = [{}, {"joint_names": np.array(["lift", "pan"])}]
    for names in sets:
        np.savez(tmp_path / "x.npz", t=t, **pairs, **names)
        (run,), said = read_told(tmp_path / "x.npz", joints=["pan", "lift"])
        order = [1, 0] if names else [0, 1]
        np.testing.assert_allclose(
            run.observations,
            np.c_[
                DEGREE * np.c_[q, 2 * q][:, order], RPM * np.c_[dq, 3 * dq][:, order]
            ],
        )
        efforts = 1e-3 * np.c_[tau, 4 * tau][:-1, order]
        np.testing.assert_allclose(run.actions, efforts)
        assert "positions in deg, velocities in rpm, efforts in mN·m are" in said


def test_a_row_of_units_is_converted(tmp_path):
    rows = "\n".join(",".join(map(str, row)) for row in ROWS)
    path = tmp_path / "x.csv"
    path.write_text(f"t,q1,dq1,tau1\n[ms],[°],deg s^-1,-\n{rows}\n", "utf-8")
    (run,), said = read_told(path, joints=["pan"])
    np.testing.assert_allclose(run.observations, DEGREE * ROWS[:, 1:3])
    np.testing.assert_allclose(run.actions, ROWS[:-1, 3:])
    assert run.time_step == pytest.approx(1e-4)
    assert "times in ms, positions in deg, velocities in deg/s are converted" in said


@pytest.mark.parametrize(
    "quantity, name",
    [
        ("time", "t [foo]"),
        ("position", "q1 [foo]"),
        ("position", "q [foo] 1"),
        ("velocity", "dq1 (foo/s)"),
        ("effort", "tau1 [foo·m]"),
    ],
)
def test_units_that_are_not_known_are_told(tmp_path, quantity, name):
    with pytest.raises(RobooptError) as error:
        read(tmp_path, **{quantity: name})
    assert f"for the unit of {name} cannot be converted" in str(error.value)
    # Of columns that the user names, the numbers may be in SI units.
    named = {"time": "t", "position": "q1", "velocity": "dq1", "effort": "tau1"}
    time, *others = (named | {quantity: name}).values()
    run, said = read(
        tmp_path, **{quantity: name}, columns=Columns(time, *([one] for one in others))
    )
    np.testing.assert_allclose(run.observations, ROWS[:, 1:3])
    assert f"of the column {name!r} is no unit that is known" in said


@pytest.mark.parametrize("name", ["tau_J[3]", "q [meas]", "position [pan]", "q[0] 1"])
def test_texts_in_brackets_that_belong_to_names_are_not_told(tmp_path, name):
    header = ["t", "q1", "dq1", "tau1"]
    place = 3 if name.startswith("tau") else 1
    header[place] = name
    columns = Columns("t", *([one] for one in header[1:]))
    (tmp_path / "x.csv").write_text(
        "\n".join([",".join(header), *(",".join(map(str, row)) for row in ROWS)])
    )
    _, said = read_told(tmp_path / "x.csv", joints=["pan"], columns=columns)
    assert "unit" not in said


def test_a_row_of_units_may_hold_one_that_is_not_known(tmp_path):
    rows = "\n".join(",".join(map(str, row)) for row in ROWS)
    path = tmp_path / "x.csv"
    path.write_text(f"t,q1,dq1,tau1\ns,rad,rad/s,foo\n{rows}\n", "utf-8")
    with pytest.raises(RobooptError, match=r"unit of tau1 \[foo\] cannot be converted"):
        read_told(path, joints=["pan"])
