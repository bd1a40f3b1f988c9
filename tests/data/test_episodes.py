"""Episodes of any lengths, written and read back."""

import dataclasses
import os
import zipfile

import equinox as eqx
import numpy as np
import pytest

from roboopt import RobooptError
from roboopt.data import Trajectory, load_recordings, save_episodes
from roboopt.data.io import _folder

FORMS = ["demos.npz", "demos", "demos.hdf5"]


def episode(steps, seed=0, **arrays):
    rng = np.random.default_rng(seed)
    return Trajectory(
        rng.normal(size=(steps + 1, 3)), rng.normal(size=(steps, 2)), 0.25, **arrays
    )


def full(steps, seed):
    return episode(
        steps,
        seed,
        rewards=np.arange(1.0 * steps),
        efforts=np.ones((steps, 4)) * seed,
        substep_observations=np.arange(6.0 * steps).reshape(steps, 2, 3),
        substep_efforts=np.arange(8.0 * steps).reshape(steps, 2, 4),
        times=0.3 * np.arange(steps + 1.0),
        terminated=np.array(seed == 1),
        success=np.array(seed == 2),
    )


def check_same(read, written):
    assert len(read) == len(written)
    for one, other in zip(read, written, strict=True):
        assert eqx.tree_equal(one, other)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_is_read_back_equal(tmp_path, form):
    written = [full(3, 0), full(1, 1), full(5, 2)]
    save_episodes(tmp_path / form, written)
    check_same(load_recordings(tmp_path / form), written)
    # Again, over what is there; now without the fields that may be missing, in single
    # precision and with steps of different lengths.
    single = [
        Trajectory(
            np.ones((4, 2), np.float32) * k, np.ones((3, 1), np.float32), 0.1 * k
        )
        for k in (1, 2)
    ]
    save_episodes(tmp_path / form, single)
    read = load_recordings(tmp_path / form)
    check_same(read, single)
    assert read[0].observations.dtype == read[0].actions.dtype == np.float32
    assert sorted(os.listdir(tmp_path)) == [form]
    assert load_recordings(tmp_path / form, time_step=0.5)[1].time_step == 0.5


@pytest.mark.parametrize("form", FORMS)
def test_choices_stay_whole_numbers(tmp_path, form):
    chosen = Trajectory(np.zeros((3, 4)), np.array([[1], [0]]), 0.02)
    save_episodes(tmp_path / form, chosen)
    (read,) = load_recordings(tmp_path / form)
    assert read.actions.dtype == np.int64
    np.testing.assert_array_equal(read.actions, [[1], [0]])


def test_batches_are_taken_apart(tmp_path):
    batch = Trajectory(np.zeros((2, 4, 3)), np.zeros((2, 3, 1)), 0.1, np.zeros((2, 3)))
    save_episodes(tmp_path / "demos.npz", [batch, Trajectory(*one(5), 0.1, np.ones(5))])
    assert [r.steps for r in load_recordings(tmp_path / "demos.npz")] == [3, 3, 5]


def test_a_saved_batch_of_episodes_of_different_lengths_is_taken_apart(tmp_path):
    runs = [episode(3, 0), episode(1, 1)]
    Trajectory.from_episodes(runs).save(tmp_path / "batch.npz")
    check_same(load_recordings(tmp_path / "batch.npz"), runs)


def one(steps):
    return np.zeros((steps + 1, 3)), np.zeros((steps, 1))


def test_what_only_some_episodes_have_is_left_out_with_a_warning(tmp_path):
    some = [full(3, 0), episode(2)]
    with pytest.warns(UserWarning, match="rewards, in 1 of 2; efforts, in 1 of 2; sub"):
        save_episodes(tmp_path / "demos.npz", some)
    first, second = load_recordings(tmp_path / "demos.npz")
    assert first.rewards is None and first.success is None
    # Times follow from the time step where they were not recorded.
    np.testing.assert_array_equal(second.times, [0, 0.25, 0.5])


def test_a_folder_is_mapped_and_its_files_are_safe(tmp_path):
    save_episodes(tmp_path / "demos", [episode(3), episode(2)])
    first, second = load_recordings(tmp_path / "demos")
    base = np.asarray(second.observations)
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)
    first.observations[:] = 7.0
    check_same(load_recordings(tmp_path / "demos"), [episode(3), episode(2)])


def test_nothing_of_an_interrupted_write_is_left(tmp_path, monkeypatch):
    save_episodes(tmp_path / "demos", episode(3))
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("full")))
    for form in FORMS:
        with pytest.raises(OSError, match="full"):
            save_episodes(tmp_path / form, episode(9))
    assert os.listdir(tmp_path) == ["demos"]
    check_same(load_recordings(tmp_path / "demos"), [episode(3)])


def test_a_folder_is_replaced_where_two_cannot_change_places(tmp_path, monkeypatch):
    path = tmp_path / "demos"
    monkeypatch.setattr(_folder, "exchange", lambda one, other: False)
    save_episodes(path, episode(3))
    save_episodes(path, episode(2))
    assert os.listdir(tmp_path) == ["demos"]
    # As a process leaves it that is killed between the two renamings.
    path.rename(tmp_path / ".demos.999999999.former")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        save_episodes(path, episode(9))
    assert os.listdir(tmp_path) == ["demos"]
    check_same(load_recordings(path), [episode(2)])


def test_somebody_elses_folder_is_not_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="`path` must be new, or a folder of episodes"):
        save_episodes(tmp_path / "mine", episode(3))
    save_episodes(tmp_path / "demos", episode(3))
    (tmp_path / "demos" / "notes.txt").write_text("")
    with pytest.raises(ValueError, match="`path` must be new, or a folder of episodes"):
        save_episodes(tmp_path / "demos", episode(3))


@pytest.mark.parametrize(
    "name, episodes, match",
    [
        ("a.npz", [], "`episodes` must hold at least one, got none"),
        ("a.pkl", [episode(2)], r"`path` must end in .npz, .hdf5, .h5 or, for a fol"),
        (
            "a.npz",
            [episode(2), Trajectory(*one(2), 0.1)],
            r"`episodes` must have actions of one size, got \[1, 2\]",
        ),
        (
            "a",
            [Trajectory(*one(2), 0.1), Trajectory(one(1)[0], np.array([[1]]), 0.1)],
            r"actions of one data type, got \['float64', 'int64'\]",
        ),
        (
            "a.h5",
            [Trajectory(np.zeros((1, 3)), np.zeros((0, 2)), 0.1)],
            r"`episodes` must each have an action .* without are \[0\]",
        ),
    ],
)
def test_episodes_that_cannot_be_written_are_refused(tmp_path, name, episodes, match):
    with pytest.raises(ValueError, match=match):
        save_episodes(tmp_path / name, episodes)
    assert os.listdir(tmp_path) == []


def test_an_episode_of_plain_arrays_is_read(tmp_path):
    path = tmp_path / "plain.npz"
    np.savez(path, observations=np.arange(8).reshape(4, 2), actions=np.array([1, 0, 1]))
    (run,) = load_recordings(path, time_step=0.1)
    np.testing.assert_array_equal(run.observations, np.arange(8.0).reshape(4, 2))
    np.testing.assert_array_equal(run.actions, [[1], [0], [1]])
    with pytest.raises(ValueError, match="`time_step` must be given: .*plain.npz does"):
        load_recordings(path)


def test_episodes_of_plain_arrays_are_read_by_their_lengths(tmp_path):
    path = tmp_path / "plain.npz"
    arrays = {"observations": np.zeros((7, 2)), "actions": np.ones(5)}
    np.savez(path, **arrays, lengths=np.array([2, 3]), time_step=0.5)
    first, second = load_recordings(path)
    assert (first.steps, second.steps, second.time_step) == (2, 3, 0.5)
    np.testing.assert_array_equal(second.actions, np.ones((3, 1)))


OBSERVATIONS, ACTIONS = np.zeros((6, 2)), np.zeros((5, 1))


def test_common_other_names_are_read(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, obs=OBSERVATIONS, acts=ACTIONS, dt=0.1, terminals=ACTIONS)
    (run,) = load_recordings(path)
    np.testing.assert_array_equal(run.observations, OBSERVATIONS)
    np.testing.assert_array_equal(run.actions.ravel(), np.ravel(ACTIONS))
    assert run.time_step == 0.1


@pytest.mark.parametrize(
    "arrays, match",
    [
        (
            {"obs": OBSERVATIONS, "state": OBSERVATIONS, "acts": ACTIONS},
            "lacks observations and holds actions, obs, state. Rename "
            "`obs` or `state` to `observations`",
        ),
        ({}, "lacks observations, actions and holds nothing"),
        (
            {"observations": OBSERVATIONS, "actions": ACTIONS[:2]},
            "as many observations as actions, .* 6 observations and 2 actions",
        ),
        (
            {"observations": OBSERVATIONS, "actions": np.array(["a"] * 5)},
            "numbers, but `actions` of .* is of type <U1",
        ),
        (
            {
                "observations": OBSERVATIONS,
                "actions": ACTIONS,
                "lengths": np.array([4]),
            },
            r"5 rows of `observations`, as `lengths` says, .*4 actions .*\(6, 2\)",
        ),
        (
            {
                "observations": OBSERVATIONS,
                "actions": ACTIONS,
                "lengths": np.array([[5.0]]),
            },
            r"`lengths` that count .* are float64 of shape \(1, 1\)",
        ),
        (
            {
                "observations": OBSERVATIONS,
                "actions": ACTIONS,
                "lengths": np.array([5]),
                "time_step": np.ones(3),
            },
            r"one `time_step`, or one for each of 1 episodes, .* \(3,\)",
        ),
    ],
)
def test_arrays_that_are_no_episodes_are_refused(tmp_path, arrays, match):
    path = tmp_path / "x.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="`path` must hold .*" + match):
        load_recordings(path, time_step=None if "time_step" in arrays else 0.1)


def test_broken_files_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    save_episodes(path, episode(300))
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[2000] ^= 255
    for content in (b"", whole[: len(whole) // 2], damaged, b"time,q,dq\n0,1,2\n"):
        path.write_bytes(content)
        with pytest.raises(RobooptError, match="`path` must be an .npz archive"):
            load_recordings(path)
    with open(path, "wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(RobooptError, match="one array without a name"):
        load_recordings(path)
    np.savez(path, observations=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="numbers, but observations of .* holds obj"):
        load_recordings(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.txt", "")
    with pytest.raises(ValueError, match="lacks observations, actions and holds weig"):
        load_recordings(path)


def test_broken_folders_are_refused(tmp_path):
    save_episodes(tmp_path / "demos", episode(300))
    file = tmp_path / "demos" / "actions.npy"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(
        ValueError, match="`path` must hold whole arrays, but .*actions"
    ):
        load_recordings(tmp_path / "demos")
    np.save(file, np.ones((299, 2)))
    with pytest.raises(ValueError, match="actions.npy is not what manifest.json says"):
        load_recordings(tmp_path / "demos")
    (tmp_path / "demos" / "manifest.json").unlink()
    with pytest.raises(ValueError, match="must hold 300 rows of `actions`"):
        load_recordings(tmp_path / "demos")


def test_joints_are_picked_from_episodes_of_robots(tmp_path):
    robot = dataclasses.replace(episode(3), observations=np.arange(20.0).reshape(4, 5))
    save_episodes(tmp_path / "demos.npz", robot)
    (run,) = load_recordings(tmp_path / "demos.npz", joints=["a", "b"])
    np.testing.assert_array_equal(run.observations, robot.observations[:, :4])
