"""Arrays that are left out, and those that tell something by another name."""

import h5py
import numpy as np
import pandas as pd
import pytest
from test_demonstration_formats import (
    ACTIONS,
    LAST,
    OBSERVATIONS,
    ROWS,
    SIZES,
    check,
    read,
    saved,
)

from roboopt.data import load_episodes


def test_the_time_step_that_is_given_settles_a_contradiction(tmp_path):
    told = {"dones": LAST, "fps": 20, "dt": 0.1}
    path = saved(tmp_path / "x.npz", obs=OBSERVATIONS, acts=ACTIONS, **told)
    runs, _ = read(path, time_step=0.05)
    check(runs)
    assert {run.time_step for run in runs} == {0.05}


def test_arrays_that_are_not_read_are_named(tmp_path):
    told = {"dones": LAST, "dt": 0.1}
    path = saved(
        tmp_path / "x.npz",
        **{"obs": OBSERVATIONS, "acts": ACTIONS, "goal": OBSERVATIONS},
        **{"images": np.zeros((ROWS, 2, 2, 3), np.uint8), **told},
    )
    runs, said = read(path)
    check(runs)
    assert "images left out: images or groups" in said
    assert "goal left out: the observations are `obs` alone" in said
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        rows = {"observations": OBSERVATIONS, "actions": ACTIONS, "goal": ACTIONS}
        for name, value in {**rows, **told}.items():
            file[name] = value
        file["infos/qpos"] = file["metadata/seed"] = OBSERVATIONS
    said = read(path)[1]
    assert "goal, infos/…, metadata/… left out: neither observations nor" in said
    path = tmp_path / "y.h5"
    with h5py.File(path, "w") as file:
        for name in ("obs", "actions", "states", "dones"):
            file[f"data/demo_0/{name}"] = OBSERVATIONS
    assert "y.h5: states left out." in read(path, time_step=0.1)[1]


def test_groups_of_npz_are_read_without_their_images(tmp_path):
    image = np.zeros((ROWS, 2, 2, 3), np.uint8)
    seen = {"obs/q": OBSERVATIONS, "obs/camera": image}
    path = saved(tmp_path / "x.npz", **seen, actions=ACTIONS, dones=LAST, dt=0.1)
    runs, said = read(path)
    check(runs)
    assert "camera left out: images" in said
    replay = {"data/state": OBSERVATIONS, "data/action": ACTIONS, "data/img": image}
    path = saved(tmp_path / "y.npz", **replay, **{"meta/episode_ends": [4, 6, 9]})
    runs, said = read(path)
    check(runs)
    assert "img left out: images" in said


def test_images_in_place_of_observations_are_refused(tmp_path):
    image = np.zeros((ROWS, 2, 2, 3), np.uint8)
    path = saved(tmp_path / "x.npz", obs=image, acts=ACTIONS, dones=LAST, dt=0.1)
    with pytest.raises(ValueError, match=r"vectors .* \(9, 2, 2, 3\): images are not"):
        load_episodes(path)


def test_trajectories_of_imitation_in_one_file_are_read(tmp_path):
    # `obs` has one row more than `acts` in each episode, `indices` the first rows.
    seen = np.insert(OBSERVATIONS, [4, 6, 9], 100.0, axis=0)
    ended = np.array([True, False, True])
    told = {"terminal": ended, "indices": np.array([4, 6])}
    path = saved(tmp_path / "x.npz", obs=seen, acts=ACTIONS, dt=0.1, **told)
    runs, said = read(path)
    check(runs, dropped=False)
    assert [bool(run.terminated) for run in runs] == [*ended] and not said


def test_times_that_go_back_begin_episodes(tmp_path):
    rows = np.concatenate([np.arange(size) for size in SIZES])
    table = np.concatenate([0.1 * rows[:, None], OBSERVATIONS, ACTIONS], 1)
    frame = pd.DataFrame(table, columns=["time", "obs_0", "obs_1", "action"])
    frame["action"] += 0.5
    frame.to_csv(tmp_path / "x.csv", index=False)
    runs, said = read(tmp_path / "x.csv")
    assert [run.steps for run in runs] == [size - 1 for size in SIZES]
    assert all(abs(run.time_step - 0.1) < 1e-12 for run in runs)
    assert "3 begin where the times go back, the second at row 4" in said


def test_a_flipped_byte_of_parquet_with_checksums_is_seen(tmp_path):
    pa, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
    rng, path = np.random.default_rng(0), tmp_path / "x.parquet"
    table = pa.table({"obs": rng.normal(size=500), "action": rng.normal(size=500)})
    parquet.write_table(table, path, write_page_checksum=True)
    read(path, time_step=0.1)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(ValueError, match="broken"):
        load_episodes(path, time_step=0.1)


@pytest.mark.parametrize(
    "seen, acted, episode",
    [
        ("state_", "a", "ep"),
        ("s", "action_", "traj_id"),
        ("obs_", "control_", "demo"),
        ("observation.state_", "acts_", "trajectory"),
        ("o_", "u_", "EPISODE"),
    ],
)
def test_tables_have_the_customary_names_of_arrays(tmp_path, seen, acted, episode):
    table = pd.DataFrame(
        {f"{seen}{k}": column for k, column in enumerate(OBSERVATIONS.T)}
        | {f"{acted}{k}": column for k, column in enumerate(ACTIONS.T)}
        | {episode: np.repeat(np.arange(len(SIZES)), SIZES), "t": 0.1 * np.arange(ROWS)}
    )
    path = tmp_path / "x.csv"
    table.to_csv(path, index=False)
    check(read(path)[0])


def test_an_array_called_episode_tells_the_episodes(tmp_path):
    for name, words in {"x": [0, 1, 2], "y": ["a", "b", "c"]}.items():
        told = {"episode": np.repeat(words, SIZES), "dt": 0.1}
        path = saved(tmp_path / f"{name}.npz", obs=OBSERVATIONS, acts=ACTIONS, **told)
        check(read(path)[0])


def test_episodes_of_a_table_are_told_by_all_columns_that_number_them(tmp_path):
    table = pd.DataFrame({"obs_0": np.arange(8.0), "act_0": np.arange(8.0) / 3})
    table["run"], table["episode"] = np.repeat([0, 1], 4), [0, 0, 1, 1] * 2
    table.to_csv(tmp_path / "x.csv", index=False)
    runs, _ = read(tmp_path / "x.csv", time_step=0.1)
    assert [run.steps for run in runs] == [1, 1, 1, 1]


def test_a_table_that_lacks_names_is_refused_with_those_to_give(tmp_path):
    frame = pd.DataFrame({"t": [0.0, 0.1], "x": [1.0, 2.0], "a0": [1.0, 2.0]})
    frame.to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(ValueError, match=r"of observations with .*`obs_0`") as caught:
        load_episodes(tmp_path / "x.csv")
    assert "`act_0`" not in str(caught.value)
