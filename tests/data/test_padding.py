"""Batches of episodes padded with zeros that no array tells."""

import warnings

import h5py
import numpy as np
import pytest

from roboopt.data import load_episodes, save_episodes

SIZES = (9, 5, 7)
STEPS = max(SIZES)


def batch(more=0, fill=0.0, final=None):
    """Return episodes of `SIZES` actions, and `more` observations than these."""
    rng = np.random.default_rng(0)
    seen = np.full((3, STEPS + more, 2), fill)
    acts, rewards = np.full((3, STEPS, 1), fill), np.full((3, STEPS), fill)
    for k, size in enumerate(SIZES):
        walk = np.cumsum(rng.normal(scale=0.1, size=(size + more, 2)), 0) + 1.0
        seen[k, : size + more] = walk
        acts[k, :size], rewards[k, :size] = rng.normal(size=(size, 1)), -1.0
        if final is not None:  # comes to rest there, and stays
            seen[k] = final + np.exp(-3.0 * np.arange(STEPS + more))[:, None]
            seen[k, size - 2 :] = final
            acts[k, size - 2 :] = rewards[k, size - 2 :] = 0.0
    return {"observations": seen, "actions": acts, "rewards": rewards}


def read(path, arrays):
    np.savez(path, **arrays, time_step=0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runs = load_episodes(path)
    return runs, " ".join(str(w.message) for w in caught)


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_zeros_at_the_ends_are_left_out_with_a_warning(tmp_path, more, fill):
    arrays = batch(more, fill)
    runs, said = read(tmp_path / "x.npz", arrays)
    assert [run.steps for run in runs] == [size - 1 + more for size in SIZES]
    for k, run in enumerate(runs):
        seen = arrays["observations"][k, : SIZES[k] + more]
        np.testing.assert_array_equal(run.observations, seen)
    assert "2 of the 3 episodes are zero at the end" in said


def test_flags_that_tell_no_end_change_nothing(tmp_path):
    dones = np.zeros((3, STEPS), bool)
    runs, _ = read(tmp_path / "x.npz", batch() | {"dones": dones})
    assert [run.steps for run in runs] == [size - 1 for size in SIZES]


def test_a_robot_that_may_rest_at_zero_has_to_be_told(tmp_path):
    arrays = batch(final=0.0)
    with pytest.raises(ValueError, match=r"3 episodes are zero .* 0 from step 7 on"):
        read(tmp_path / "x.npz", arrays)
    told = arrays | {"lengths": np.full(3, STEPS)}
    assert [run.steps for run in read(tmp_path / "y.npz", told)[0]] == [STEPS - 1] * 3


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one | batch(final=0.5),  # rests elsewhere
        lambda one: one | {"rewards": one["rewards"] - 1.0},  # is rewarded to the end
        lambda one: {name: value[:, :6] for name, value in one.items()},  # one zero row
    ],
)
def test_episodes_that_are_not_all_zero_at_the_end_stay_whole(tmp_path, change):
    arrays = change(batch())
    runs, said = read(tmp_path / "x.npz", arrays)
    assert {run.steps for run in runs} == {arrays["actions"].shape[1] - 1}
    assert "padding" not in said


def test_an_episode_of_nothing_but_zeros_is_refused(tmp_path):
    arrays = batch()
    for value in arrays.values():
        value[1] = 0.0
    with pytest.raises(ValueError, match="all arrays of episode 1 are zero"):
        read(tmp_path / "x.npz", arrays)


def held(arrays, last=False):
    """Return the batch with the last row of each episode in place of zeros."""
    made = {name: value.copy() for name, value in arrays.items()}
    for k, size in enumerate(SIZES):
        more = made["observations"].shape[1] - STEPS
        made["observations"][k, size + more :] = made["observations"][
            k, size + more - 1
        ]
        for name in ("actions", "rewards") if last else ():
            made[name][k, size:] = made[name][k, size - 1]
    return made


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("last", [True, False])  # or zero actions and rewards
def test_rows_that_repeat_the_last_are_left_out_with_a_warning(tmp_path, more, last):
    arrays = held(batch(more), last)
    runs, said = read(tmp_path / "x.npz", arrays)
    assert [run.steps for run in runs] == [size - 1 + more for size in SIZES]
    for k, run in enumerate(runs):
        seen = arrays["observations"][k, : SIZES[k] + more]
        np.testing.assert_array_equal(run.observations, seen)
    # Episodes of 5 and 7 of the 9 steps: 4 + 2 in all.
    steps = STEPS - 1 + more
    assert f"2 of the 3 episodes, 6 in all and up to 4 of {steps}, repeat" in said
    told = arrays | {"lengths": np.full(3, STEPS)}
    runs, said = read(tmp_path / "y.npz", told)
    assert [run.steps for run in runs] == [STEPS - 1 + more] * 3
    assert "before exactly" not in said


def test_a_motion_that_slows_down_to_rest_stays_whole_and_is_told(tmp_path):
    runs, said = read(tmp_path / "x.npz", batch(final=0.5))
    assert {run.steps for run in runs} == {STEPS - 1}
    assert "3 episodes" in said and "come to rest" in said


def test_one_episode_that_stops_or_rewards_that_change_are_no_padding(tmp_path):
    arrays = held(batch(), last=True)
    one = {name: value[:2] for name, value in arrays.items()}
    paid = arrays | {"rewards": np.random.default_rng(1).normal(size=(3, STEPS))}
    for name, made in {"one": one, "paid": paid}.items():
        runs, said = read(tmp_path / f"{name}.npz", made)
        assert {run.steps for run in runs} == {STEPS - 1}
        assert "before exactly" not in said


def flat(path, arrays):
    """Write episodes end to end, with a flag where the padding of each ends."""
    made = {n: value.reshape(-1, *value.shape[2:]) for n, value in arrays.items()}
    made["dones"] = np.tile(np.arange(STEPS) == STEPS - 1, len(SIZES))
    np.savez(path / "x.npz", **made, time_step=0.1)
    return path / "x.npz"


def groups(path, arrays):
    """Write a group of robomimic's for each episode."""
    with h5py.File(path / "x.hdf5", "w") as file:
        for k in range(len(SIZES)):
            group = file.create_group(f"data/demo_{k}")
            group["obs/joints"] = arrays["observations"][k]
            group["actions"], group["rewards"] = (
                arrays["actions"][k],
                arrays["rewards"][k],
            )
    return path / "x.hdf5"


def files(path, arrays):
    """Write a file of ALOHA's for each episode."""
    for k in range(len(SIZES)):
        with h5py.File(path / f"episode_{k}.hdf5", "w") as file:
            file["observations/qpos"] = arrays["observations"][k]
            file["action"] = arrays["actions"][k]
    return path


@pytest.mark.parametrize("write", [flat, groups, files])
@pytest.mark.parametrize("last", [True, False, None])  # None: of zeros alone
def test_episodes_of_one_length_are_looked_at_in_every_layout(tmp_path, write, last):
    arrays = batch() if last is None else held(batch(), last)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runs = load_episodes(write(tmp_path, arrays), time_step=0.1)
    assert [run.steps for run in runs] == [size - 1 for size in SIZES]
    for k, run in enumerate(runs):
        seen, acted = arrays["observations"][k], arrays["actions"][k]
        np.testing.assert_array_equal(run.observations, seen[: SIZES[k]])
        np.testing.assert_array_equal(run.actions, acted[: SIZES[k] - 1])
    assert "2 of the 3 episodes" in " ".join(str(w.message) for w in caught)


@pytest.mark.parametrize("write", [flat, groups, files])
def test_a_motion_to_rest_or_of_other_lengths_stays_whole(tmp_path, write):
    arrays = batch(final=0.5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runs = load_episodes(write(tmp_path, arrays), time_step=0.1)
    assert {run.steps for run in runs} == {STEPS - 1}
    assert "come to rest" in " ".join(str(w.message) for w in caught)


def test_episodes_of_several_lengths_are_not_padded(tmp_path):
    arrays = held(batch(), last=True)
    one = {name: value.reshape(-1, *value.shape[2:]) for name, value in arrays.items()}
    dones = np.tile(np.arange(STEPS) == STEPS - 1, len(SIZES))
    one = {name: value[1:] for name, value in (one | {"dones": dones}).items()}
    runs, said = read(tmp_path / "x.npz", one)
    assert [run.steps for run in runs] == [STEPS - 2, STEPS - 1, STEPS - 1]
    assert "before exactly" not in said


@pytest.mark.parametrize("name", ["x.npz", "x.hdf5", "x"])
def test_what_was_saved_stays_whole(tmp_path, name):
    arrays = held(batch(more=1), last=True) | {"lengths": np.full(3, STEPS)}
    runs, _ = read(tmp_path / "told.npz", arrays)
    save_episodes(tmp_path / name, runs)
    assert [run.steps for run in load_episodes(tmp_path / name)] == [STEPS] * 3


def test_an_arm_with_coarse_encoders_that_rests_stays_whole(tmp_path):
    # Of the least step at the end nothing tells that the motion did not slow down.
    tick, time = 360 / 4096, np.arange(60)[:, None] / 30
    seen, acted = [], []
    for k in range(4):
        goal = 8.0 + k * np.array([[1.0, -2.0, 0.5]])
        q = goal * (1 - np.exp(-4 * time)) + 30
        seen.append(np.float32(tick) * np.round(q / tick).astype(np.float32))
        acted.append(np.repeat(goal, 60, 0))
    assert all((one[-9:] == one[-1]).all() for one in seen)
    flags = np.tile(np.arange(60) == 59, 4)
    arrays = {"obs": np.concatenate(seen), "acts": np.concatenate(acted)}
    runs, said = read(tmp_path / "x.npz", arrays | {"dones": flags})
    assert [run.steps for run in runs] == [59] * 4
    assert "come to rest" in said
