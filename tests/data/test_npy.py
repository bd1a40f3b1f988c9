"""Recordings in files of one array, and in folders of these."""

import warnings

import numpy as np
import pytest

from roboopt.data import Columns, load_episodes, load_recordings

JOINTS = ["pan", "lift"]
TIMES = 0.004 * np.arange(80)
Q = np.sin(TIMES[:, None] * [1.0, 2.0])
DQ, TAU = Q + 1, 10 * Q
ROWS = np.column_stack([TIMES, Q, DQ, TAU])


def check(source, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (run,) = load_recordings(source, joints=JOINTS, **options)
    np.testing.assert_array_equal(run.observations, np.hstack([Q, DQ]))
    np.testing.assert_array_equal(run.actions, TAU[:-1])
    assert run.times is None and run.time_step == pytest.approx(0.004)


def test_one_array_is_a_table_without_names(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, ROWS)
    named = Columns("0", ("1", "2"), ("3", "4"), ("5", "6"))
    check(path, columns=named)
    check(tmp_path, columns=named)
    with pytest.raises(ValueError, match=r"columns \['0', '1', '2'"):
        load_recordings(path, joints=JOINTS)
    for other in (ROWS.T, TIMES, np.zeros((80, 2, 2)), ROWS.astype(str)):
        np.save(path, other)
        with pytest.raises(ValueError, match="one row a sample"):
            load_recordings(path, joints=JOINTS)


def test_fields_with_names_are_columns(tmp_path):
    joints = [("t", float), ("q", float, 2), ("dq", float, 2), ("tau", float, 2)]
    rows = np.array([*zip(TIMES, Q, DQ, TAU, strict=True)], joints)
    np.save(tmp_path / "x.npy", rows)
    check(tmp_path / "x.npy")


def test_a_folder_of_arrays_is_read_by_their_names(tmp_path):
    for name, value in {"t": TIMES, "q": Q, "dq": DQ, "tau": TAU}.items():
        np.save(tmp_path / f"{name}.npy", value)
    check(tmp_path)
    folder = tmp_path / "demos"
    folder.mkdir()
    np.save(folder / "obs.npy", Q)
    np.save(folder / "actions.npy", TAU)
    with pytest.warns(UserWarning, match="as many observations as actions"):
        (one,) = load_episodes(folder, time_step=0.1)
    np.testing.assert_array_equal(one.actions, TAU[:-1])


def test_objects_are_refused_with_what_to_write(tmp_path):
    episodes = np.array([{"obs": Q, "actions": TAU}], object)
    np.save(tmp_path / "x.npy", episodes, allow_pickle=True)
    with pytest.raises(ValueError, match=r"pickled .* `np.savez\('x.npz', obs"):
        load_episodes(tmp_path / "x.npy")


@pytest.mark.parametrize("size", [0, 5, 60, 300])
def test_a_truncated_array_is_refused(tmp_path, size):
    path = tmp_path / "x.npy"
    np.save(path, ROWS)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="`path` must"):
        load_recordings(path, joints=JOINTS)
