"""What tables hold beside the columns that are read, and what is said of it."""

import warnings

import numpy as np
import pytest

import roboopt as ro
from roboopt.data import ColumnError


def test_joints_that_the_robot_lacks_are_named_if_they_move(tmp_path):
    names = [
        f"{j}/{q}" for j in ("hip", "ankle", "jaw") for q in ("position", "effort")
    ]
    table = np.random.default_rng(0).normal(size=(30, 7))
    table[:, 0], table[:, 5] = 0.01 * np.arange(30), 0.3  # the jaw rests
    path = tmp_path / "leg.csv"
    header = ",".join(["t", *names])
    np.savetxt(path, table, delimiter=",", header=header, comments="")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ro.data.load_recordings(path, joints=["hip"])
        ro.data.load_recordings(path, joints=["hip", "ankle", "jaw"])
    said = [str(one.message) for one in told if "does not have" in str(one.message)]
    assert len(said) == 1 and "ankle" in said[0] and "jaw" not in said[0]


def test_motor_torques_are_efforts_and_an_error_lists_the_columns_of_the_file(tmp_path):
    def written(torque):
        path = tmp_path / f"{torque}.csv"
        rows = [f"17;{k}0000000;{k % 7};{k % 5}" for k in range(30)]
        path.write_text("\n".join([f"secs;nsecs;angle [deg];{torque} [Nm]", *rows]))
        return path

    with warnings.catch_warnings(action="ignore"):
        (run,) = ro.data.load_recordings(written("motor torque"), joints=["table"])
    np.testing.assert_allclose(np.asarray(run.actions)[:6, 0], [0, 1, 2, 3, 4, 0])
    with pytest.raises(ColumnError, match=r"`efforts=\['spindle torque \[Nm\]") as told:
        ro.data.load_recordings(written("spindle torque"), joints=["table"])
    assert told.value.header[:2] == ["secs", "nsecs"]
    assert "efforts=" in told.value.rule.partition("actuated=")[0]
