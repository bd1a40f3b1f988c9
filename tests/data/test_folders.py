"""Folders of folders, and folders of arrays."""

import warnings

import numpy as np
import pandas as pd
import pytest

from roboopt.data import load_episodes, load_recordings

RNG = np.random.default_rng(0)
SIZES = (12, 9, 10)
SEEN = [RNG.normal(size=(size, 4)) for size in SIZES]
ACTED = [RNG.normal(size=(size, 2)) for size in SIZES]
COLUMNS = ["obs_0", "obs_1", "obs_2", "obs_3", "action_0", "action_1"]


def check(path):
    with warnings.catch_warnings(action="ignore"):
        runs = load_episodes(path)
    assert len(runs) == 3
    for run, seen, acted in zip(runs, SEEN, ACTED, strict=True):
        np.testing.assert_allclose(run.observations, seen)
        np.testing.assert_allclose(run.actions, acted[:-1])


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("form", ["csv", "npy"])
def test_a_folder_for_each_episode_is_read_in_their_order(tmp_path, form, depth):
    for number, seen, acted in zip((2, 9, 10), SEEN, ACTED, strict=True):
        folder = tmp_path.joinpath(*["day"] * (depth - 1), f"episode_{number}")
        folder.mkdir(parents=True)
        if form == "csv":
            table = pd.DataFrame(np.hstack([seen, acted]), columns=COLUMNS)
            table.to_csv(folder / "data.csv", index=False)
        else:
            np.save(folder / "observations.npy", seen)
            np.save(folder / "actions.npy", acted)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "info.json").write_text('{"robot": "arm", "rate": 20}')
    check(tmp_path)


def test_logs_are_read_before_the_folders_beside_them(tmp_path):
    (tmp_path / "old").mkdir()
    for path, size in ((tmp_path / "run.log", 20), (tmp_path / "old" / "x.csv", 9)):
        table = pd.DataFrame(RNG.normal(size=(size, 2)), columns=["obs_0", "action_0"])
        table.to_csv(path, index=False)
    with warnings.catch_warnings(action="ignore"):
        (run,) = load_episodes(tmp_path)
    assert run.steps == 19


def test_a_replay_buffer_of_npy_files_keeps_its_episodes(tmp_path):
    arrays = {"data/state": np.concatenate(SEEN), "data/action": np.concatenate(ACTED)}
    arrays["meta/episode_ends"] = np.cumsum(SIZES)
    for name, value in arrays.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{name}.npy", value)
    check(tmp_path)


def test_folders_without_files_to_read_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "x.png").write_bytes(b"")
    for read in (load_episodes, load_recordings):
        with pytest.raises(ValueError, match=rf"but {tmp_path} holds none"):
            read(tmp_path)


def test_arrays_that_are_missing_in_a_folder_are_named(tmp_path):
    for name in ("action", "robot0_eef_pos"):
        np.save(tmp_path / f"{name}.npy", np.zeros((9, 3)))
    with pytest.raises(ValueError, match=r"robot0_eef_pos\[0\]"):
        load_episodes(tmp_path)
