"""Demonstrations read from disk block by block."""

import errno
import os
import subprocess
import sys
import threading
import warnings
from typing import Any

import equinox as eqx
import numpy as np
import optax
import pytest

import roboopt as ro
from roboopt.data import (
    Demonstrations,
    StreamedDemonstrations,
    Trajectory,
    load_recordings,
    save_episodes,
    split_episodes,
)


@pytest.fixture(params=["demos", "demos.npz", "demos.hdf5"])
def folder(tmp_path, request):
    """30 episodes of 1 to 30 steps, 465 samples, each with a number of its own."""
    episodes, first = [], 0
    for steps in range(1, 31):
        seen = 1000.0 * steps + np.arange(steps + 1.0)
        acted = first + np.arange(steps)
        first += steps
        episodes.append(
            Trajectory(
                np.stack([seen, -seen], axis=1),
                np.stack([acted, acted % 7], axis=1).astype(np.float32),
                0.1,
            )
        )
    save_episodes(tmp_path / request.param, episodes)
    return tmp_path / request.param


def numbers(samples):
    return samples.actions.reshape(len(samples), -1)[:, 0].astype(int).tolist()


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"history": 3, "low": -1.0, "high": [5.0, np.inf]},
        {"chunk": 4},
        {"chunk": 1},
    ],
)
def test_samples_are_those_of_demonstrations(folder, arguments):
    mapped = StreamedDemonstrations(folder, **arguments)
    expected = Demonstrations.from_trajectories(load_recordings(folder), **arguments)
    assert len(mapped) == mapped.size == len(expected) == 465
    block = mapped.block(0)
    order = np.argsort(numbers(block))
    assert not np.array_equal(order, np.arange(465))
    for name, value in vars(expected).items():
        mine = getattr(block, name)
        if value is None:
            assert mine is None
        else:
            np.testing.assert_array_equal(mine[order], value)
            assert mine.dtype == value.dtype


@pytest.mark.parametrize("name", ["x", "x.npz", "x.hdf5"])
def test_limits_of_the_steps_are_read(name, tmp_path):
    high = np.linspace(0.5, 1.0, 12)[:, None]
    runs = [
        Trajectory(np.arange(13.0)[:, None], 0.4 * high, 0.1, low=-k * high, high=high)
        for k in (1, 2)
    ]
    save_episodes(tmp_path / name, runs)
    found = StreamedDemonstrations(tmp_path / name, high=0.9, chunk=2).sample(99)
    expected = Demonstrations.from_trajectories(runs, high=0.9, chunk=2)
    assert found.high is not None and found.high.max() == 0.9
    np.testing.assert_array_equal(found.high, expected.high)
    np.testing.assert_array_equal(found.low, expected.low)


@pytest.mark.parametrize("size", [10, 64, 100, 465])
def test_each_sample_comes_once_an_epoch(folder, size):
    mapped = StreamedDemonstrations(folder, block=size)
    blocks = [mapped.block(k) for k in range(2 * 465 // size + 1)]
    assert {len(block) for block in blocks} == {size}
    # An epoch ends after 465 samples: in the block in which it does, those of both are
    # told apart by the order in which they come elsewhere.
    counts = np.bincount([n for block in blocks for n in numbers(block)])
    left = len(blocks) * size - 2 * 465
    assert counts.min() >= 2 and counts.max() <= 3 and counts.sum() - 930 == left
    whole = 465 // size
    first = [n for block in blocks[:whole] for n in numbers(block)]
    assert len(set(first)) == len(first)


def test_blocks_follow_from_the_seed_and_their_number(folder):
    mapped = StreamedDemonstrations(folder, block=100, seed=3)
    again = StreamedDemonstrations(folder, block=100, seed=3)
    later = again.block(7)
    assert eqx.tree_equal(mapped.block(7), later)
    assert numbers(mapped.block(8)) != numbers(later)
    other = StreamedDemonstrations(folder, block=100, seed=4)
    assert numbers(other.block(7)) != numbers(later)
    assert mapped.steps == 256 and mapped.drifts is False
    assert StreamedDemonstrations(folder, steps=10).steps == 10


def test_a_block_holds_samples_of_many_episodes(folder):
    block = StreamedDemonstrations(folder, block=128).block(0)
    episodes = (block.observations[:, 0] // 1000).astype(int)
    assert len(set(episodes.tolist())) > 20
    # And they do not come one after the other.
    assert np.mean(np.diff(numbers(block)) == 1) < 0.1


def test_a_sample_for_normalizers_is_drawn_from_all(folder):
    mapped = StreamedDemonstrations(folder, block=10)
    drawn = numbers(mapped.sample(200, seed=1))
    assert len(set(drawn)) == 200 and max(drawn) > 400 and min(drawn) < 50
    assert drawn == numbers(mapped.sample(200, seed=1))
    assert drawn != numbers(mapped.sample(200, seed=2))
    assert sorted(numbers(mapped.sample(10_000))) == list(range(465))
    with pytest.raises(ValueError, match="`count` must be at least 1, got 0"):
        mapped.sample(0)


def test_episodes_are_split_as_in_memory(folder):
    mapped = StreamedDemonstrations(folder, history=2, high=3.0, block=400, steps=7)
    train, held_out = mapped.split(0.2, seed=5)
    expected = split_episodes(load_recordings(folder), 0.2, seed=5)
    for part, runs in zip((train, held_out), expected, strict=True):
        samples = Demonstrations.from_trajectories(runs, history=2, high=3.0)
        assert len(part) == len(samples) and part.steps == 7
        np.testing.assert_array_equal(
            part.sample(1000).observations, samples.observations
        )
    # What was split is split again among its own.
    first, second = train.split(0.5)
    assert set(first.episodes) | set(second.episodes) == set(train.episodes)


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"block": 0}, "`block` must be at least 1, got 0"),
        ({"steps": 0}, "`steps` must be at least 1, got 0"),
        ({"history": 0}, "`history` must be at least 1, got 0"),
        ({"chunk": 0}, "`chunk` must be at least 1, got 0"),
        ({"low": [1.0] * 3}, r"`low` must be one number or 2, got shape \(3,\)"),
    ],
)
def test_settings_that_do_not_fit_are_refused(folder, arguments, match):
    with pytest.raises(ValueError, match=match):
        StreamedDemonstrations(folder, **arguments)


def test_what_cannot_be_read_in_parts_is_refused(tmp_path):
    path = tmp_path / "demos"
    with pytest.raises(ValueError, match="`path` must be a folder, or a file .npz"):
        StreamedDemonstrations(tmp_path)
    nothing = Trajectory(np.zeros((1, 2)), np.zeros((0, 1)), 0.1)
    save_episodes(path, nothing)
    with pytest.raises(ValueError, match="`path` must hold samples, but .* holds no"):
        StreamedDemonstrations(path)
    arrays: dict[str, Any] = {
        "observations": np.zeros((3, 2)),
        "actions": np.zeros((2, 1)),
    }
    np.savez(path.with_suffix(".npz"), **arrays)
    with pytest.raises(
        ValueError, match="`path` must hold episodes.* lacks lengths, time_step"
    ):
        StreamedDemonstrations(path.with_suffix(".npz"))
    arrays |= {"lengths": np.array([2]), "time_step": np.array([0.1])}
    np.savez_compressed(path.with_suffix(".npz"), **arrays)
    with pytest.raises(ValueError, match="`path` must not be compressed"):
        StreamedDemonstrations(path.with_suffix(".npz"))
    path.with_suffix(".hdf5").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="`path` must be an HDF5 file"):
        StreamedDemonstrations(path.with_suffix(".hdf5"))
    with pytest.raises(ValueError, match="`observation_keys` must be None except for"):
        StreamedDemonstrations(path, observation_keys=["state"])


def test_observations_of_robomimic_are_joined(tmp_path):
    h5py = pytest.importorskip("h5py")
    seen = np.arange(12.0).reshape(6, 2)
    with h5py.File(tmp_path / "robomimic.hdf5", "w") as file:
        for k in (10, 9):  # sorted by number; 9 lacks what it saw last
            group = file.create_group(f"data/demo_{k}")
            group["actions"] = k * np.ones((5, 1))
            group["obs/right"], group["obs/left"] = seen[:5], -seen[:5] - k
        group = file["data/demo_10"]
        group["next_obs/right"], group["next_obs/left"] = seen[1:], -seen[1:] - 10
        file["data"].attrs["env_args"] = '{"env_kwargs": {"control_freq": 20}}'
    with pytest.warns(UserWarning, match="`next_obs`"):
        runs = load_recordings(tmp_path / "robomimic.hdf5")
    expected = Demonstrations.from_trajectories(runs)
    streamed = StreamedDemonstrations(tmp_path / "robomimic.hdf5")
    assert len(streamed) == 9
    assert eqx.tree_equal(streamed.sample(9), expected)
    right = StreamedDemonstrations(
        tmp_path / "robomimic.hdf5", observation_keys=["right"]
    )
    np.testing.assert_array_equal(
        right.sample(9).observations, seen[[0, 1, 2, 3, *range(5)]]
    )


def test_rows_beyond_the_samples_of_robomimic_are_padding_or_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    path, rng = tmp_path / "robomimic.hdf5", np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for k in range(2):
            group = file.create_group(f"data/demo_{k}")
            group["actions"], group["obs/x"] = rng.normal(size=(2, 8, 2))
            group.attrs["num_samples"] = 8 if k == 0 else 5
        file["data"].attrs["env_args"] = '{"env_kwargs": {"control_freq": 20}}'
    with pytest.raises(ValueError, match="demo_1 .* holds 8, .*`num_samples` is 5"):
        StreamedDemonstrations(path)
    with h5py.File(path, "a") as file:
        for name in ("actions", "obs/x"):
            file["data/demo_1"][name][5:] = 0.0
    streamed = StreamedDemonstrations(path)
    assert len(streamed) == 7 + 4
    with pytest.warns(UserWarning, match="lack `next_obs`"):
        expected = Demonstrations.from_trajectories(load_recordings(path))
    assert eqx.tree_equal(streamed.sample(11), expected)


@pytest.mark.parametrize("padded, count", [(True, 7 + 4 + 2), (False, 3 * 7)])
def test_rows_that_hold_the_last_one_are_padding(tmp_path, padded, count):
    h5py = pytest.importorskip("h5py")
    path, rng = tmp_path / "robomimic.hdf5", np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for k, length in enumerate((8, 5, 3)):
            group = file.create_group(f"data/demo_{k}")
            for name in ("actions", "obs/x"):
                values = rng.normal(size=(8, 2))
                if padded:
                    values[length:] = values[length - 1]
                group[name] = values
            group["rewards"] = np.zeros(8)
        file["data"].attrs["env_args"] = '{"env_kwargs": {"control_freq": 20}}'
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        streamed = StreamedDemonstrations(path)
        expected = Demonstrations.from_trajectories(load_recordings(path))
    assert len(streamed) == count
    assert eqx.tree_equal(streamed.sample(count), expected)
    said = [str(one.message) for one in told if "left out as padding" in str(one)]
    assert len(said) == 2 * padded


def test_the_next_block_is_read_while_one_is_used(folder):
    streamed = StreamedDemonstrations(folder, block=100)
    plain = StreamedDemonstrations(folder, block=100)
    reading, threads = streamed.block, []

    def block(number):
        threads.append(threading.current_thread())
        return reading(number)

    streamed.block = block
    for number in range(3):
        assert eqx.tree_equal(streamed.next(None, None), plain.block(number))
    assert threads[0] is threading.main_thread()
    assert threading.main_thread() not in threads[1:3]
    # A checkpoint goes on where it was, whatever has been read ahead.
    streamed.restore({"number": np.asarray(7)})
    assert eqx.tree_equal(streamed.next(None, None), plain.block(7))


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="a system without advice")
@pytest.mark.parametrize("folder", ["demos", "demos.npz"], indirect=True)
def test_the_kernel_is_asked_for_all_pieces_before_the_first_is_read(
    folder, monkeypatch
):
    plain = StreamedDemonstrations(folder, block=100).block(2)
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *words: asked.append(words))
    assert eqx.tree_equal(StreamedDemonstrations(folder, block=100).block(2), plain)
    rows = plain.observations.nbytes + plain.actions.nbytes
    assert sum(size for _, _, size, _ in asked) >= rows
    assert {advice for *_, advice in asked} == {os.POSIX_FADV_WILLNEED}

    def refuse(*_):
        raise OSError(errno.EINVAL, "no advice")

    for missing in (refuse, None):
        monkeypatch.setattr(os, "posix_fadvise", missing)
        assert eqx.tree_equal(StreamedDemonstrations(folder, block=100).block(2), plain)


LARGE = """
import resource, sys
import numpy as np
from pathlib import Path
import roboopt

folder, length = Path(sys.argv[1]), 1000
episodes = 1250
steps = episodes * length
folder.mkdir()
for name, shape in (("observations", (steps + episodes, 20)), ("actions", (steps, 2))):
    kind = np.float64 if name == "observations" else np.float32
    array = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, shape)
    array[-1] = 1.0
    del array
np.save(folder / "lengths.npy", np.full(episodes, length))
np.save(folder / "time_step.npy", np.full(episodes, 0.1))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before = peak()
mapped = roboopt.data.StreamedDemonstrations(folder, block=32768)
ones = sum(mapped.block(k).actions.sum() for k in range(-(-steps // 32768)))
drawn = mapped.sample(20_000)
print(int(ones), len(drawn), peak() - before)
"""


def test_a_file_larger_than_memory_may_be_read(tmp_path):
    # 200 MB: a block is 6 MB, in a few copies.
    said = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path / "demos")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    ones, drawn, megabytes = int(said[0]), int(said[1]), float(said[2])
    assert ones >= 2 and drawn == 20_000
    assert megabytes < 80


def test_minimize_descends_on_its_blocks(tmp_path):
    # u = 2 o, which is LinearFeedback's −K o with K = −2.
    seen = np.random.default_rng(0).normal(size=(20, 51, 1))
    episodes = [Trajectory(o, 2 * o[:-1], 0.1) for o in seen]
    save_episodes(tmp_path / "linear", episodes)
    found = ro.minimize(
        ro.ActionMismatch(),
        ro.policies.LinearFeedback(np.zeros((1, 1))),
        StreamedDemonstrations(tmp_path / "linear", block=128, steps=32),
        batch_size=16,
        steps=400,
        optimizer=optax.adam(0.05),
    )
    np.testing.assert_allclose(found.model.gains, -2.0, atol=1e-3)
