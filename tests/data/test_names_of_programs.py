"""Names, labels and shapes by which simulators, data frames and tables hold joints."""

import numpy as np
import pytest
from told import read_told

JOINTS = ["pan", "lift"]
TIMES = 0.004 * np.arange(80)
Q = np.sin(TIMES[:, None] * [1.0, 2.0])
DQ, TAU = Q + 1, 10 * Q
NAMES = ["q1", "q2", "dq1", "dq2", "tau1", "tau2"]


def check(source):
    (run,), said = read_told(source, joints=JOINTS)
    np.testing.assert_allclose(run.observations, np.hstack([Q, DQ]), atol=1e-9)
    np.testing.assert_allclose(run.actions, TAU[:-1], atol=1e-9)
    assert run.times is None and run.time_step == pytest.approx(0.004)
    return said


@pytest.mark.parametrize(
    "names",
    [
        ("time", "joint_pos", "joint_vel", "applied_torque", "computed_torque"),
        ("sim_time", "joint_positions", "joint_velocities", "joint_efforts"),
        ("t", "dof_pos", "dof_vel", "dof_torque"),
        ("sample_times", "positions", "velocities", "torques"),
        ("ts", "theta", "thetadot", "tau", "applied_torque"),
    ],
)
@pytest.mark.parametrize("axis", [False, True])
def test_arrays_of_simulators_are_read(tmp_path, names, axis):
    values = [TIMES, Q, DQ, TAU, TAU + 1]
    if axis:  # of the robots that are simulated at once
        values = [x[:, None] if x.ndim == 2 else x for x in values]
    np.savez(tmp_path / "x.npz", **dict(zip(names, values, strict=False)))
    assert not check(tmp_path / "x.npz")


def test_labels_of_several_levels_are_read():
    pandas = pytest.importorskip("pandas")
    units = ["deg", "deg", "deg/s", "deg/s", "N·m", "N·m"]
    scales = [np.pi / 180 if "deg" in unit else 1.0 for unit in units]
    rows = np.column_stack([Q, DQ, TAU]) / scales
    labels = [("time", "s"), *zip(NAMES, units, strict=True)]
    frame = pandas.DataFrame(np.column_stack([TIMES, rows]))
    frame.columns = pandas.MultiIndex.from_tuples(labels)
    assert "positions in deg, velocities in deg/s are converted" in check(frame)
    kinds = ("position", "velocity", "effort")
    labels = [(kind, joint) for kind in kinds for joint in JOINTS]
    frame = pandas.DataFrame(np.column_stack([Q, DQ, TAU]))
    frame.columns = pandas.MultiIndex.from_tuples(labels)
    for index in (pandas.to_timedelta(TIMES, unit="s"), TIMES):
        frame.index = index
        assert not check(frame)


def test_units_may_stand_behind_a_blank_where_blanks_separate(tmp_path):
    header = "t [s] q1 [mrad] q2 [mrad] dq1 [rad/s] dq2 [rad/s] tau1 [Nm] tau2 [Nm]"
    rows = np.column_stack([TIMES, 1e3 * Q, DQ, TAU])
    np.savetxt(tmp_path / "x.txt", rows, header=header, comments="")
    assert "positions in mrad are converted" in check(tmp_path / "x.txt")


@pytest.mark.parametrize("turned", [False, True])
def test_velocities_may_be_called_v_and_voltages_are_none(tmp_path, turned):
    q = Q[::-1].copy() if turned else Q
    v = np.gradient(q, 0.004, axis=0) + 1e-3
    one = {"t": TIMES, "q": q.T if turned else q, "tau": TAU.T if turned else TAU}
    np.savez(tmp_path / "x.npz", **one, v=v.T if turned else v)
    (run,), said = read_told(tmp_path / "x.npz", joints=JOINTS)
    np.testing.assert_array_equal(run.observations[:, 2:], v)
    assert not said
    np.savez(tmp_path / "y.npz", **one, v=-5.0 * one["tau"])  # volts
    (run,), said = read_told(tmp_path / "y.npz", joints=JOINTS)
    np.testing.assert_allclose(run.observations[:, 2:], v - 1e-3, atol=0.02)
    assert "no velocities were recorded" in said
