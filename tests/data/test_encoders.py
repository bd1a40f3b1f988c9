"""Positions in turns and in ticks, as drives and servos log them."""

import warnings

import numpy as np
import pytest

from roboopt.data import load_recordings

TIMES = 0.01 * np.arange(200)
Q = np.stack([np.sin(TIMES), 9 * np.sin(3 * TIMES)], 1)
DQ = np.stack([np.cos(TIMES), 27 * np.cos(3 * TIMES)], 1)
TAU = 0.5 * Q + 0.1
TURN = 2 * np.pi


def written(path, names, *arrays):
    """Write a table; names have the joint's number in braces."""
    header = ",".join(["time", *(name.format(k) for name in names for k in (0, 1))])
    rows = np.column_stack([TIMES, *arrays])
    np.savetxt(path, rows, delimiter=",", header=header, comments="")
    return path


ODRIVE = {
    "axis{}.encoder.pos_estimate": "axis{}.encoder.vel_estimate",
    "odrv0.axis{}.pos_estimate": "odrv0.axis{}.vel_estimate",
    "axis{}/pos_estimate": "axis{}/vel_estimate",
    "pos_rev_{}": "vel_rps_{}",
}


@pytest.mark.parametrize("position", ODRIVE)
@pytest.mark.parametrize("effort", ["axis{}.torque_estimate", "torque_{}"])
def test_turns_of_odrives_become_radians(tmp_path, position, effort):
    names = [position, ODRIVE[position], effort]
    path = written(tmp_path / "x.csv", names, Q / TURN, DQ / TURN, TAU)
    with pytest.warns(UserWarning, match="positions in rev, .* converted to SI"):
        (run,) = load_recordings(path, joints=["hip", "knee"])
    np.testing.assert_allclose(run.observations, np.hstack([Q, DQ]), atol=1e-12)
    np.testing.assert_allclose(run.actions, TAU[:-1])


@pytest.mark.parametrize("words", ["{}_{{}}", "present_{}_{{}}"])
def test_ticks_of_encoders_are_refused(tmp_path, words):
    names = [words.format(n) for n in ("position", "velocity", "current")]
    ticks = np.round(2048 + 4096 / TURN * Q)
    path = written(tmp_path / "x.csv", names, ticks, np.round(40 * DQ), 100 * TAU)
    position = names[0].format(0)
    said = rf"{position} of .* holds whole numbers from 2048 to 2700, as ticks"
    with pytest.raises(ValueError, match=said):
        load_recordings(path, joints=["hip", "knee"])
    # Whole degrees are told by their unit.
    units = "deg", "deg/s", "A"
    names = [f"{name} [{u}]" for name, u in zip(names, units, strict=True)]
    path = written(tmp_path / "y.csv", names, np.round(60 * Q), np.round(60 * DQ), TAU)
    with warnings.catch_warnings(action="ignore"):
        (run,) = load_recordings(path, joints=["hip", "knee"])
    expected = np.deg2rad(np.round(60 * Q))
    np.testing.assert_allclose(run.observations[:, :2], expected, atol=1e-12)


def test_small_whole_numbers_and_switches_are_no_ticks(tmp_path):
    names, held = ["q{}", "dq{}", "tau{}"], np.where(Q > 0.5, 400.0, 0.0)
    for positions in (np.round(3 * Q), held):
        path = written(tmp_path / "x.csv", names, positions, DQ, TAU)
        (run,) = load_recordings(path, joints=["hip", "knee"])
        np.testing.assert_array_equal(run.observations[:, :2], positions)
