"""Demonstrations as public datasets hold them: right episodes, nothing ignored."""

import json
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

import roboopt as ro
from roboopt.data import episode_masks, load_episodes

CASES = Path(__file__).parents[1] / "cases" / "demonstrations"
ROWS, SIZES = 9, (4, 2, 3)
"""Three episodes of 4, 2 and 3 rows, as many observations as actions."""
OBSERVATIONS = np.arange(2.0 * ROWS).reshape(ROWS, 2)
ACTIONS = -np.arange(1.0 * ROWS)[:, None]
STARTS = np.isin(np.arange(ROWS), (0, 4, 6))
STEP = np.concatenate([np.arange(size) for size in SIZES])
LAST = np.isin(np.arange(ROWS), (3, 5, 8))


def read(source, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = load_episodes(source, **options)
    return found, " ".join(str(w.message) for w in caught)


def names_of(source):
    """Return what the source calls its observations and actions."""
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_episodes(source, names=names)
    return names["observations"], names["actions"]


def test_columns_of_tables_name_the_axes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time,obs_x [m],obs_speed,action_push\n0,1,2,3\n0.1,2,3,4\n")
    assert names_of(path) == (["obs_x [m]", "obs_speed"], ["action_push"])
    rows = [f"{k / 10},{k},{2 * k},3,4" for k in range(4)]
    path.write_text("\n".join(["time,q1 [deg],q2 [deg],tau1,tau2", *rows]))
    seen = ["q1", "q2", "rate of q1", "rate of q2"]
    assert names_of(path) == (seen, ["tau1", "tau2"])


def test_flags_that_mark_no_row_are_told(tmp_path):
    path, none = tmp_path / "a.npz", np.zeros(len(LAST), bool)
    flags = {"terminals": none, "timeouts": none}
    runs, said = read(saved(path, observations=OBSERVATIONS, actions=ACTIONS, **flags))
    assert len(runs) == 1 and "terminals, timeouts mark no row" in said
    flags["timeouts"] = LAST
    runs, said = read(saved(path, observations=OBSERVATIONS, actions=ACTIONS, **flags))
    assert len(runs) == 3 and "mark no row" not in said


def write_table(path, columns):
    if path.suffix == ".npz":
        np.savez(path, **columns)
    else:
        frame = pd.DataFrame(columns)
        to = {".csv": frame.to_csv, ".parquet": frame.to_parquet}
        to[path.suffix](path, index=False)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_columns_of_several_files_are_matched_by_name(suffix, tmp_path):
    time = np.arange(5) / 10
    columns = {
        "time": time,
        **{f"obs_{name}": k + time for k, name in enumerate("pv")},
        **{f"action_{name}": 10.0 * k + time for k, name in enumerate("xy", 1)},
    }
    write_table(tmp_path / f"a1{suffix}", columns)
    write_table(tmp_path / f"a2{suffix}", dict(reversed(columns.items())))
    first, second = read(tmp_path)[0]
    np.testing.assert_array_equal(first.observations, second.observations)
    np.testing.assert_array_equal(first.actions, second.actions)
    np.testing.assert_array_equal(second.actions[0], [10.0, 20.0])
    names = {}
    for k in (1, 2):  # one by one, as of several sources
        (alone,) = read(tmp_path / f"a{k}{suffix}", names=names)[0]
        np.testing.assert_array_equal(alone.actions, first.actions)
    for name in ("obs_v", "action_y"):
        rest = {n: x for n, x in columns.items() if n != name}
        write_table(tmp_path / f"a2{suffix}", rest)
        with pytest.raises(ro.RobooptError, match=f"a2(.|\n)*a1(.|\n)*{name}"):
            read(tmp_path)


def test_joined_observations_of_several_files_have_the_same_names(tmp_path):
    vectors = [*np.ones((5, 2))]
    for k, name in enumerate(("position", "gripper")):
        columns = {f"observation.{name}": vectors, "action": vectors}
        pd.DataFrame(columns).to_parquet(tmp_path / f"a{k}.parquet")
    with pytest.raises(ro.RobooptError, match=r"gripper\[0\](.|\n)*position\[0\]"):
        read(tmp_path)


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def check(runs, dropped=True):
    assert len(runs) == len(SIZES)
    first = 0
    for run, size in zip(runs, SIZES, strict=True):
        rows = slice(first, first + size)
        np.testing.assert_array_equal(run.observations[:size], OBSERVATIONS[rows])
        steps = size - dropped
        np.testing.assert_array_equal(run.actions, ACTIONS[rows][:steps])
        assert len(run.observations) == steps + 1
        first += size


@pytest.mark.parametrize(
    "told",
    [
        {"episode_starts": STARTS},
        {"is_first": STARTS, "is_last": LAST},
        {"dones": LAST},
        {"dones": LAST[:, None].astype(float)},
        {"episode_ends": np.array([4, 6, 9])},
        {"episode_ends": np.array([4.0, 6.0, 9.0])},
        {"episode_starts": np.array([0, 4, 6])},
        {"lengths": np.array(SIZES)},
        {"traj_lens": np.array(SIZES), "not_done": ~LAST},
        {"not_dones": 1.0 - LAST[:, None]},
        {"terminals": np.arange(ROWS) == 3, "step": STEP},
        {"step": STEP, "index": np.arange(ROWS)},
        {"dones": LAST, "index": np.arange(ROWS) % 3},
        {"frame_index": 2 + 5 * STEP},
        {"episode_index": np.repeat([7, 8, 9], SIZES)},
        {"terminals": LAST & (np.arange(ROWS) != 5), "timeouts": np.arange(ROWS) == 5},
        {"episode_starts": STARTS, "terminals": np.arange(ROWS) == 3},
        {"episode_starts": STARTS, "episode_returns": np.zeros(3)},
    ],
)
def test_flags_and_counts_tell_the_episodes(tmp_path, told):
    path = saved(tmp_path / "x.npz", obs=OBSERVATIONS, acts=ACTIONS, dt=0.1, **told)
    runs, said = read(path)
    check(runs)
    assert "as many observations as actions" in said and "dropped" in said
    assert runs[0].time_step == 0.1
    if {"not_done", "not_dones"} & {*told}:
        assert all(run.terminated for run in runs)
    if "terminals" in told:
        ended = [bool(told["terminals"][row]) for row in (3, 5, 8)]
        assert [bool(run.terminated) for run in runs] == ended


@pytest.mark.parametrize("name, first", [("step", 0), ("Unnamed: 0", 0), ("steps", 1)])
def test_a_counter_of_a_table_that_begins_anew_splits_episodes(tmp_path, name, first):
    path = tmp_path / "x.csv"

    def told(counter):
        rows = np.column_stack([counter, OBSERVATIONS, ACTIONS])
        header = f"{name},s0,s1,a0"
        np.savetxt(path, rows, delimiter=",", header=header, comments="")
        return read(path, time_step=0.1)

    runs, said = told(STEP + first)
    check(runs)
    assert f"3 begin where `{name.lower()}` begins anew, the second at row 4" in said
    (run,), said = told(np.arange(ROWS))
    assert run.steps == ROWS - 1 and name.lower() not in said.lower()
    # Rows out of order, and phases, number no rows.
    for other in ([1, 2, 4, 3, 5, 7, 6, 8, 10], [0, 0, 1, 1, 1, 0, 0, 1, 1]):
        (run,), said = told(other)
        assert run.steps == ROWS - 1
        assert f"{name.lower()} left out: no numbers of rows" in said


@pytest.mark.parametrize("rewards", [LAST.astype(float), LAST, np.where(LAST, 1, 0)])
def test_a_sparse_reward_of_the_last_action_stays_in_the_return(rewards, tmp_path):
    whole = {"obs": OBSERVATIONS, "acts": ACTIONS, "rews": rewards, "dt": 0.1}
    runs, _ = read(saved(tmp_path / "x.npz", dones=LAST, **whole))
    check(runs)
    assert [run.returns for run in runs] == [1, 1, 1]
    lost = np.where(np.arange(ROWS) == 5, np.nan, rewards)  # as dm_env leaves it
    runs, _ = read(saved(tmp_path / "x.npz", dones=LAST, **whole | {"rews": lost}))
    assert [run.returns for run in runs] == [1, 0, 1]


@pytest.mark.parametrize(
    "told, match",
    [
        (
            {"episode_starts": STARTS, "dones": np.arange(ROWS) == 4},
            "`dones` ends an episode at row 4, and `episode_starts` does not",
        ),
        (
            {"episode_ends": np.array([4, 9]), "lengths": np.array(SIZES)},
            "`lengths` ends an episode at row 5, and `episode_ends` does not",
        ),
        ({"episode_starts": np.arange(ROWS) == 4}, "the first is row 4"),
        ({"episode_starts": STARTS[:7]}, "each of the 9 rows of the actions.*are 7"),
        ({"episode_starts": np.array([0, 4, 16])}, "rows below 9,.* the last 16"),
        ({"episode_ends": np.array([4, 10])}, "number of rows, 9, .* the last is 10"),
        ({"episode_ends": np.array([6, 4, 9])}, "rises, .* number 1 is 4 after 6"),
        ({"episode_ends": np.array([4, 6.5, 9])}, "whole numbers.*number 1 is 6.5"),
        ({"lengths": np.array([4, 2, 2])}, "sums to the 9 rows .*the sum is 8"),
        ({"lengths": np.array([4, 0, 5])}, "counts actions, .* number 1 is 0"),
        ({"dones": LAST, "step": np.arange(ROWS) % 3}, "`step` .* row 2, and `dones`"),
        (
            {"not_done": ~LAST, "traj_lens": np.array([4, 5])},
            "`not_done` ends .* row 5",
        ),
        ({"dones": LAST[:7]}, "`dones` that has a number for each of the 9 .* are 7"),
        ({"dones": np.where(LAST, np.nan, 0)}, "`dones` .*whole.* number 3 is nan"),
        ({"terminals": np.tile(LAST, (2, 1))}, r"`terminals` .*bool of shape \(2, 9\)"),
        ({"episode_index": np.array([0, 0, 1])}, "`episode_index` .* 9 .* are 3"),
        ({"time_step": np.array([0.1, 0.2])}, "one `time_step`, .* holds 2"),
        (
            {"episode_starts": STARTS, "episode_returns": np.zeros(4)},
            "3 episodes and 4 `episode_returns`",
        ),
        ({"dones": LAST, "observations": OBSERVATIONS + 1}, "`observations` and `obs`"),
        ({"dones": LAST, "actions": ACTIONS + 1}, "`actions` and `acts` .* differ"),
        ({"dones": LAST, "fps": 20}, "`time_step` says 0.1 s and `fps` 0.05 s"),
        ({"times": np.arange(ROWS) * 0.02}, "`time_step` says 0.1 s and `times` 0.02"),
    ],
)
def test_arrays_that_contradict_are_refused(tmp_path, told, match):
    told = {"time_step": 0.1, **told}
    path = saved(tmp_path / "x.npz", obs=OBSERVATIONS, acts=ACTIONS, **told)
    with pytest.raises(ValueError, match=match):
        load_episodes(path)


def test_flags_tell_episodes_with_an_observation_more_than_actions(tmp_path):
    seen = np.insert(OBSERVATIONS, [4, 6, 9], 100.0, axis=0)
    path = saved(tmp_path / "x.npz", obs=seen, acts=ACTIONS, terminals=LAST, dt=0.1)
    runs, said = read(path)
    check(runs, dropped=False)
    assert all(run.terminated and run.observations[-1, 0] == 100 for run in runs)
    assert not said
    one = np.arange(ROWS) == 3
    path = saved(tmp_path / "y.npz", obs=seen, acts=ACTIONS, dones=one, dt=0.1)
    with pytest.raises(ValueError, match="holds 12 and 9 in 2"):
        load_episodes(path)


PADDED = np.arange(4) < np.array(SIZES)[:, None]
"""Which rows of a batch of three episodes, padded to four rows, are theirs."""
ENDED = np.arange(4) >= np.array(SIZES)[:, None] - 1


def padded(path, **told):
    seen, acts = np.zeros((3, 4, 2)), np.zeros((3, 4, 1))
    seen[PADDED], acts[PADDED] = OBSERVATIONS, ACTIONS
    return saved(path, obs=seen, acts=acts, dt=0.1, **told)


@pytest.mark.parametrize(
    "told",
    [
        {"lengths": np.array(SIZES)},
        {"traj_lengths": np.array(SIZES)},
        {"seq_lens": np.array(SIZES), "not_done": ~ENDED},
        {"mask": PADDED},
        {"valid": PADDED[..., None].astype(float)},
        {"is_pad": ~PADDED},
        {"dones": ENDED},
        {"terminals": np.zeros_like(ENDED), "timeouts": ENDED, "is_valid": PADDED},
    ],
)
def test_padding_of_a_batch_is_left_out(tmp_path, told):
    runs, _ = read(padded(tmp_path / "x.npz", **told))
    check(runs)


@pytest.mark.parametrize(
    "told, match",
    [
        ({"mask": ~PADDED}, "`mask` that changes at the end of each"),
        ({"mask": PADDED, "lengths": np.array([4, 3, 3])}, "1 has 3 .* 2 by `mask`"),
        ({"mask": PADDED, "dones": np.arange(4) > [[0], [0], [3]]}, "by `dones`"),
        ({"lengths": np.array([4, 0, 3])}, "1 to 4 steps, .* have 0 to 4 by `lengths`"),
    ],
)
def test_padding_that_is_contradicted_is_refused(tmp_path, told, match):
    with pytest.raises(ValueError, match=match):
        load_episodes(padded(tmp_path / "x.npz", **told))


def test_arrays_with_the_number_of_their_episode_are_its(tmp_path):
    ends = np.cumsum(SIZES)
    parts: dict[str, Any] = {"total_size": np.array(3)}
    for k, (end, size) in enumerate(zip(ends, SIZES, strict=True)):
        parts[f"observations_{k}"] = OBSERVATIONS[end - size : end]
        parts[f"actions_{k}"] = ACTIONS[end - size : end]
        parts[f"terminated_{k}"] = np.array(k == 1)
    for path in (tmp_path / "x.npz", tmp_path / "x.h5"):
        if path.suffix == ".npz":
            np.savez(path, **parts)
        else:  # as d3rlpy writes it
            with h5py.File(path, "w") as file:
                for name, value in parts.items():
                    file[name] = value
        runs, said = read(path)
        check(runs)
        assert [bool(run.terminated) for run in runs] == [False, True, False]
        assert "total_size left out" in said
    axes = {f"obs_{k}": OBSERVATIONS[:, k] for k in (0, 1)} | {"action_0": ACTIONS}
    check([read(saved(tmp_path / "y.npz", **axes, dones=LAST))[0][k] for k in range(3)])


def test_rows_of_an_episode_must_be_together(tmp_path):
    table = pd.DataFrame(
        {"obs": range(6), "act": range(6), "episode": [0, 0, 1, 1, 0, 1]}
    )
    with pytest.raises(ValueError, match="together, .* row 4, 0, was there before"):
        load_episodes(table)


def test_success_may_be_told_at_each_step(tmp_path):
    # As ManiSkill writes it: groups of episodes, an observation more than actions.
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for k, size in enumerate(SIZES):
            group = file.create_group(f"traj_{k}")
            group["obs"] = np.ones((size + 1, 2))
            group["actions"] = np.ones((size, 1))
            group["success"] = np.arange(size) == size - 1 - k
            group["truncated"] = np.arange(size) == size - 1
    runs, _ = read(tmp_path / "x.h5")
    assert [run.steps for run in runs] == [*SIZES]
    assert [bool(run.success) for run in runs] == [True, False, False]


def test_groups_of_observations_in_groups_of_episodes_are_joined(tmp_path):
    # As ManiSkill writes states.
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for k, size in enumerate(SIZES):
            group = file.create_group(f"traj_{k}")
            group["obs/agent/qpos"] = np.full((size + 1, 2), 1.0)
            group["obs/extra/tcp"] = np.full((size + 1, 3), 2.0)
            group["actions"] = np.ones((size, 1))
    runs, _ = read(tmp_path / "x.h5")
    assert [run.steps for run in runs] == [*SIZES]
    np.testing.assert_array_equal(runs[0].observations[0], [1, 1, 2, 2, 2])
    runs, _ = read(tmp_path / "x.h5", observation_keys=["extra.tcp"])
    np.testing.assert_array_equal(runs[2].observations[3], [2, 2, 2])


def test_numbers_of_episodes_may_be_names(tmp_path):
    names = np.repeat(["a", "b", "c"], SIZES)
    path = saved(
        tmp_path / "x.npz", obs=OBSERVATIONS, acts=ACTIONS, dt=0.1, episode_id=names
    )
    runs, said = read(path)
    check(runs)
    assert "left out" not in said


def test_next_observations_keep_the_last_action(tmp_path):
    path = saved(
        tmp_path / "x.npz",
        observations=OBSERVATIONS,
        next_observations=OBSERVATIONS + 100,
        actions=ACTIONS,
        dones=LAST,
        rewards=np.ones((ROWS, 1)),
        dt=0.1,
    )
    runs, said = read(path)
    check(runs, dropped=False)
    assert "next observations of 6 rows" in said
    np.testing.assert_array_equal(runs[1].observations[-1], OBSERVATIONS[5] + 100)
    assert np.shape(np.asarray(runs[1].rewards)) == (2,)


def test_an_expert_of_stable_baselines_is_read_as_its_episodes():
    runs, said = read(CASES / "d1_sb_expert.npz")
    assert len(runs) == 20 and sum(run.steps for run in runs) == 3190 - 20
    assert "does not tell its time step" in said and "dropped" in said
    with np.load(CASES / "d1_sb_expert.npz", allow_pickle=False) as raw:
        second = np.flatnonzero(raw["episode_starts"])[1]
        np.testing.assert_array_equal(runs[1].actions[0], raw["actions"][second])
        np.testing.assert_array_equal(runs[0].observations, raw["obs"][:second])


def test_objects_that_nobody_needs_are_left_out():
    (run,), said = read(CASES / "d1b_imitation.npz", time_step=0.02)
    assert run.steps == 150 and run.time_step == 0.02
    assert run.terminated is not None and "infos left out" in said


def test_d4rl_is_read():
    runs, said = read(CASES / "d2_d4rl.hdf5", time_step=0.02)
    assert len(runs) == 20 and sum(run.steps for run in runs) == 3190
    (left_out,) = said.split(". ")
    assert "infos/… left out" in left_out
    assert all(run.terminated is not None for run in runs)
    h5py = pytest.importorskip("h5py")
    with h5py.File(CASES / "d2_d4rl.hdf5") as file:
        after = file["next_observations"][-1]
    np.testing.assert_array_equal(runs[-1].observations[-1], after)


def test_aloha_is_read_without_its_images():
    runs, said = read(CASES / "d3_aloha", time_step=0.02)
    assert [run.observations.shape for run in runs] == [(60, 28)] * 2
    assert [run.actions.shape for run in runs] == [(59, 14)] * 2
    assert "images/top left out" in said
    h5py = pytest.importorskip("h5py")
    with h5py.File(CASES / "d3_aloha" / "episode_1.hdf5") as file:
        states = file["observations/qpos"][()], file["observations/qvel"][()]
    np.testing.assert_array_equal(runs[1].observations, np.hstack(states))


def test_robomimic_is_read_without_its_images_and_with_its_masks():
    path = CASES / "d5_robomimic_images.hdf5"
    runs, said = read(path)
    assert [run.observations.shape for run in runs] == [(50, 5)] * 4
    assert runs[0].time_step == 0.05 and said.count("agentview_image left out") == 1
    masks = episode_masks(path)
    assert set(masks) == {"train", "valid"}
    assert sorted(masks["train"] + masks["valid"]) == [0, 1, 2, 3]


@pytest.mark.parametrize("version", ["2.1", "3"])
def test_lerobot_is_read(tmp_path, version):
    pa, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
    table = pa.table(
        {
            "observation.state": OBSERVATIONS.tolist(),
            "action": ACTIONS.tolist(),
            "timestamp": np.concatenate([np.arange(n) / 10 for n in SIZES]),
            "episode_index": np.repeat([0, 1, 2], SIZES),
            "observation.image": [{"path": "x.png"}] * ROWS,
        }
    )
    (tmp_path / "meta").mkdir()
    features = {
        "observation.state": {"names": {"motors": ["shoulder", "elbow"]}},
        "action": {"names": ["torque"]},
        "observation.image": {"names": ["height", "width", "channel"]},
    }
    info = {"fps": 10, "features": features}
    (tmp_path / "meta" / "info.json").write_text(json.dumps(info))
    folder = tmp_path / "data" / "chunk-000"
    folder.mkdir(parents=True)
    if version == "3":
        parquet.write_table(table, folder / "file-000.parquet")
    else:
        ends = np.cumsum(SIZES)
        for k, (end, size) in enumerate(zip(ends, SIZES, strict=True)):
            part = table.slice(end - size, size)
            parquet.write_table(part, folder / f"episode_{k:06d}.parquet")
    runs, said = read(tmp_path)
    check(runs)
    assert runs[0].time_step == 0.1 and "observation.image left out" in said
    assert names_of(tmp_path) == (["shoulder", "elbow"], ["torque"])
    info["features"]["observation.state"]["names"] = ["one"]  # of two axes
    (tmp_path / "meta" / "info.json").write_text(json.dumps(info))
    assert names_of(tmp_path)[0] == ["state[0]", "state[1]"]
    (file, *_) = sorted(folder.iterdir())
    assert read(file)[0][0].time_step == pytest.approx(0.1)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match="`path` must be a Parquet file"):
        load_episodes(tmp_path)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_replay_buffer_in_zarr_is_read(tmp_path, zipped):
    zarr = pytest.importorskip("zarr")
    path = tmp_path / ("buffer.zarr.zip" if zipped else "buffer.zarr")
    kind = zarr.storage.ZipStore if zipped else zarr.storage.LocalStore
    store = kind(path, mode="w") if zipped else kind(path)
    told = {"control_freq": 10}
    root = zarr.open_group(store, mode="w", zarr_format=2, attributes=told)
    arrays = {
        "data/state": OBSERVATIONS,
        "data/action": ACTIONS,
        "data/img": np.zeros((ROWS, 4, 4, 3), np.uint8),
        "meta/episode_ends": np.cumsum(SIZES),
    }
    for name, values in arrays.items():
        root.create_array(name, data=values)
    store.close()
    runs, said = read(path)
    check(runs)
    assert runs[0].time_step == 0.1
    with pytest.raises(ValueError, match="observation_keys.*img is an image"):
        load_episodes(path, observation_keys=["img"])


def test_a_table_of_demonstrations_is_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "episode": np.repeat(["a", "b", "c"], SIZES),
            "obs_0": OBSERVATIONS[:, 0],
            "obs_1": OBSERVATIONS[:, 1],
            "action_0": ACTIONS[:, 0],
            "reward": 1.0,
        }
    )
    frame.to_csv(tmp_path / "x.csv", index=False)
    for source in (frame, tmp_path / "x.csv"):
        runs, _ = read(source, time_step=0.1)
        check(runs)
        np.testing.assert_array_equal(np.asarray(runs[2].rewards), [1.0, 2.0])


@pytest.mark.parametrize(
    "told, match",
    [
        ({"dones": LAST, "terminals": STARTS}, "`terminals` ends an episode at row 0"),
        ({"next_observations": OBSERVATIONS[::-1]}, "next observation of row 0 is not"),
    ],
)
def test_what_ends_no_episode_is_refused(tmp_path, told, match):
    path = saved(tmp_path / "x.npz", obs=OBSERVATIONS, acts=ACTIONS, **told)
    with pytest.raises(ValueError, match=match):
        load_episodes(path)


def test_next_observations_that_do_not_follow_are_told(tmp_path):
    after = OBSERVATIONS + 2.0
    arrays = {"obs": OBSERVATIONS, "next_obs": after, "acts": ACTIONS, "dones": LAST}
    _, said = read(saved(tmp_path / "x.npz", **arrays), time_step=0.1)
    assert not said
    after[1] += 1.0
    _, said = read(saved(tmp_path / "x.npz", **arrays), time_step=0.1)
    assert "next observations of 1 rows, the first 1" in said


def test_ends_by_a_limit_of_time_show_in_next_observations(tmp_path):
    count, ends = 60, np.array([19, 39, 59])
    seen = np.arange(2.0 * count).reshape(count, 2)
    after, rows = seen + 2.0, np.arange(count)
    after[ends] += 100.0
    arrays = {"obs": seen, "acts": seen, "terminals": rows == 19, "dt": 0.1}
    runs, said = read(saved(tmp_path / "x.npz", next_obs=after, **arrays))
    assert [run.steps for run in runs] == [20, 20, 20]
    assert [bool(run.terminated) for run in runs] == [True, False, False]
    assert "so do 1 rows, the first 39" in said
    # Without next observations nobody knows.
    runs, said = read(saved(tmp_path / "y.npz", **arrays))
    assert [run.steps for run in runs] == [19, 39]
    assert "`terminals` alone tells" in said and "`timeouts` would" in said
    arrays["terminals"] = np.isin(rows, ends)
    assert "alone" not in read(saved(tmp_path / "z.npz", **arrays))[1]


def test_a_table_tells_its_times_and_names_of_episodes(tmp_path):
    times = np.concatenate([0.02 * np.arange(size) for size in SIZES])
    label = np.repeat(["left", "right", "left again"], SIZES)
    lines = ["episode_id,obs_10,obs_9,action,time"]
    cells = (label, *OBSERVATIONS.T[::-1], ACTIONS[:, 0] + 0.5, times)
    lines += [",".join(map(str, row)) for row in zip(*cells, strict=True)]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    runs, said = read(tmp_path / "x.csv")
    assert "time step" not in said
    assert [run.time_step for run in runs] == pytest.approx([0.02] * 3)
    np.testing.assert_array_equal(runs[0].observations, OBSERVATIONS[:4])


def test_a_rate_tells_the_time_step(tmp_path):
    arrays = {"obs": OBSERVATIONS, "acts": ACTIONS, "dones": LAST, "fps": 50}
    runs, said = read(saved(tmp_path / "x.npz", **arrays))
    assert runs[0].time_step == 0.02 and "time step" not in said


def test_files_of_one_observation_end_nothing(tmp_path):
    for k, size in enumerate((4, 1, 3, 4)):
        saved(tmp_path / f"{k}.npz", obs=OBSERVATIONS[:size], acts=ACTIONS[:size])
    runs, said = read(tmp_path)
    assert [run.steps for run in runs] == [3, 2, 3]
    assert "single observation" in said
    assert said.count("as many observations") == 1 and "So it is in 3 others" in said
    for path in tmp_path.glob("[023].npz"):
        path.unlink()
    with pytest.raises(ValueError, match="has a single observation and no action"):
        load_episodes(tmp_path)


def test_a_table_without_demonstrations_is_told_what_it_lacks(tmp_path):
    path = saved(tmp_path / "x.npz", qpos=OBSERVATIONS, ctrl=ACTIONS)
    with pytest.raises(ValueError, match=r"`obs…`\) and actions .* holds qpos\[0\]"):
        load_episodes(path)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_matlab_episode_of_one_step_keeps_its_shape(tmp_path, size):
    # MATLAB drops no axis, but its reader does: 2 observations of 3, one action.
    seen, acted = np.arange(6.0).reshape(2, 3), np.arange(1.0, size + 1)[None]
    savemat = pytest.importorskip("scipy.io").savemat
    savemat(tmp_path / "x.mat", {"observations": seen, "actions": acted, "dt": 0.1})
    (one,) = load_episodes(tmp_path / "x.mat")
    np.testing.assert_array_equal(one.observations, seen)
    np.testing.assert_array_equal(one.actions, acted)
    # A row of actions beside as many observations is one of several steps.
    row = {"obs": np.ones((5, 3)), "act": np.ones((1, 5)), "dt": 1}
    savemat(tmp_path / "y.mat", row)
    with pytest.warns(UserWarning, match="as many observations as actions"):
        (one,) = load_episodes(tmp_path / "y.mat")
    assert one.actions.shape == (4, 1)


def test_a_frame_whose_cells_hold_vectors_is_one_of_their_numbers():
    pandas = pytest.importorskip("pandas")
    index = np.repeat(np.arange(3), SIZES)
    acted = [[x] for x in ACTIONS[:, 0]]  # lists, as LeRobot's tables have them
    columns = {"observation.state": list(OBSERVATIONS), "action": acted}
    frame = pandas.DataFrame({**columns, "episode_index": index})
    check(read(frame)[0])
    frame.at[1, "observation.state"] = np.zeros(3)
    with pytest.raises(ro.RobooptError, match="observation.state, sample 0"):
        load_episodes(frame)


def test_names_of_groups_tell_the_episodes_of_an_archive(tmp_path):
    ends = np.cumsum(SIZES)
    arrays = {}
    for k, (end, size) in enumerate(zip(ends, SIZES, strict=True)):
        rows = slice(end - size, end)
        arrays |= {f"episode_{k}/obs": OBSERVATIONS[rows]}
        arrays |= {f"episode_{k}/actions": ACTIONS[rows]}
    check(read(saved(tmp_path / "x.npz", **arrays))[0])
    ragged = np.array([OBSERVATIONS[:4], OBSERVATIONS[4:]], object)
    path = saved(tmp_path / "y.npz", obs=ragged, actions=ACTIONS)
    with pytest.raises(ValueError, match=r"obs of .* objects. Write .* lengths="):
        load_episodes(path)


@pytest.mark.parametrize("timed", [False, True])
def test_an_episode_in_two_files_of_lerobot_is_one(tmp_path, timed):
    pa, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text(json.dumps({"fps": 10}))
    columns = {
        "observation.state": OBSERVATIONS.tolist(),
        "action": ACTIONS.tolist(),
        "episode_index": np.repeat(np.arange(len(SIZES)), SIZES),
    }
    if timed:
        columns["timestamp"] = np.concatenate([np.arange(n) / 10 for n in SIZES])
    table = pa.table(columns)
    (tmp_path / "data").mkdir()
    for k in (0, 1):
        file = tmp_path / "data" / f"file-{k}.parquet"
        parquet.write_table(table.slice(2 * k, 2 if not k else None), file)
    episodes, _ = read(tmp_path)
    assert [x.steps + 1 for x in episodes] == [*SIZES]
    np.testing.assert_array_equal(episodes[0].observations, OBSERVATIONS[: SIZES[0]])
    if timed:  # A copy of a file does not go on.
        parquet.write_table(table, tmp_path / "data" / "file-0.parquet")
        _, said = read(tmp_path)
        assert "holds episode 0 of another file again" in said


@pytest.mark.parametrize("turned", ["both", "observations", "actions"])
def test_transposed_arrays_are_named(tmp_path, turned):
    seen, acted = np.random.default_rng(0).normal(size=(2, 40, 5))
    arrays = {"observations": seen, "actions": acted[:, :2]}
    arrays = {n: x.T if turned in (n, "both") else x for n, x in arrays.items()}
    with pytest.raises(ValueError, match=f"{turned} seem transposed"):
        load_episodes(saved(tmp_path / "x.npz", **arrays))
