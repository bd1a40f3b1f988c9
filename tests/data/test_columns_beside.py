"""What tables hold beside the columns that are read, and what is said of it."""

import warnings

import numpy as np
import pandas as pd
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


def steps(change=None):
    """Return a table of two episodes of 4 and 3 steps with next observations."""
    rng, parts = np.random.default_rng(0), []
    for k, size in enumerate((4, 3)):
        seen, acted = rng.normal(size=(size + 1, 2)), rng.normal(size=(size, 1))
        rows = np.concatenate([np.full((size, 1), k), seen[:-1], acted, seen[1:]], 1)
        parts.append(rows)
    names = ["episode", "obs_0", "obs_1", "action_0", "next_obs_0", "next_obs_1"]
    table = pd.DataFrame(np.concatenate(parts), columns=names)
    return table.rename(columns=change or {})


NEXTS = {
    "next_observation": {"next_obs_0": "next_observation_0", "obs_0": "observation_0"}
    | {"next_obs_1": "next_observation_1", "obs_1": "observation_1"},
    "letters": {"obs_0": "s0", "obs_1": "s1", "next_obs_0": "next_s0"}
    | {"next_obs_1": "next_s1"},
    "after": {"next_obs_0": "obs_next_0", "next_obs_1": "obs_next_1"},
    "names": {"obs_0": "obs_x", "obs_1": "obs_y", "next_obs_1": "next_obs_y"}
    | {"next_obs_0": "next_obs_x"},
    "none": {},
}


@pytest.mark.parametrize("name", NEXTS)
@pytest.mark.parametrize("form", ["csv", "parquet", "frame"])
def test_columns_of_next_observations_are_the_last_ones(tmp_path, name, form):
    table = steps(NEXTS[name])
    path = tmp_path / f"x.{form}"
    if form == "csv":
        table.to_csv(path, index=False)
    elif form == "parquet":
        pytest.importorskip("pyarrow")
        table.to_parquet(path)
    given = table if form == "frame" else path
    runs = ro.data.load_episodes(given, time_step=0.1)  # A warning would be an error.
    assert [run.steps for run in runs] == [4, 3]
    for run, (_, own) in zip(runs, steps().groupby("episode"), strict=True):
        rows = own.to_numpy()
        np.testing.assert_allclose(run.observations[:-1], rows[:, 1:3])
        np.testing.assert_allclose(run.observations[-1], rows[-1, 4:])
        np.testing.assert_allclose(run.actions, rows[:, 3:4])


def test_next_observations_that_do_not_follow_are_told_or_refused(tmp_path):
    table = steps()
    table.loc[1, "next_obs_0"] += 1.0
    table.to_csv(tmp_path / "x.csv", index=False)
    with pytest.warns(UserWarning, match="next observations of 1 rows, the first 1"):
        ro.data.load_episodes(tmp_path / "x.csv", time_step=0.1)
    steps().drop(columns="episode").to_csv(tmp_path / "y.csv", index=False)
    with pytest.raises(ValueError, match="row 3 is not the observation of row 4"):
        ro.data.load_episodes(tmp_path / "y.csv", time_step=0.1)


def test_columns_of_demonstrations_that_are_not_read_are_named_in_one_line(tmp_path):
    table = steps().drop(columns=["next_obs_1"])  # The next observations lack one.
    table["goal_x"], table["operator"], table["dt"] = 1.5, "ann", 0.1
    table.to_csv(tmp_path / "x.csv")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        runs = ro.data.load_episodes(tmp_path / "x.csv")
    said = [str(one.message) for one in told if "left out" in str(one.message)]
    assert len(said) == 1 and "next_obs_0, goal_x, operator left out" in said[0]
    assert runs[0].time_step == 0.1 and runs[0].observations.shape == (4, 2)
    pytest.importorskip("pyarrow")
    vectors = {"observation.state": [[k, 1.0] for k in range(7)], "action": [[0.5]] * 7}
    frame = pd.DataFrame({**vectors, "force": np.arange(7.0), "index": np.arange(7)})
    frame.to_parquet(tmp_path / "x.parquet")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ro.data.load_episodes(tmp_path / "x.parquet", time_step=0.1)
    assert "x.parquet: force left out" in " ".join(str(one.message) for one in told)


def test_columns_that_number_or_date_others_are_no_axes(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"obs_0": rng.normal(size=9), "action_0": rng.normal(size=9)})
    table["obs_time"], table["action_id"] = 0.1 * np.arange(9), np.arange(9)
    table.to_csv(tmp_path / "x.csv", index=False)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        (run,) = ro.data.load_episodes(tmp_path / "x.csv", time_step=0.1)
    said = " ".join(str(one.message) for one in told)
    assert "obs_time, action_id left out" in said
    np.testing.assert_allclose(run.observations[:, 0], table["obs_0"])
    np.testing.assert_allclose(run.actions[:, 0], table["action_0"][:-1])
    assert run.observations.shape == (9, 1) and run.actions.shape == (8, 1)


@pytest.mark.filterwarnings("ignore:.* as many observations")
@pytest.mark.parametrize("names", [("s0", "s1", "a"), ("obs_0", "obs_1", "action_id")])
def test_a_single_action_needs_no_number(tmp_path, names):
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(9, 3)), columns=names)
    table[names[2]] = np.arange(9) % 3
    table.to_csv(tmp_path / "x.csv", index=False)
    (run,) = ro.data.load_episodes(tmp_path / "x.csv", time_step=0.1)
    np.testing.assert_array_equal(run.actions[:, 0], np.arange(8) % 3)
    assert run.actions.dtype.kind == "i" and run.observations.shape == (9, 2)
