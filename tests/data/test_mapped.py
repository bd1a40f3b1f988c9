"""Demonstrations read from disk block by block."""

import subprocess
import sys

import equinox as eqx
import numpy as np
import optax
import pytest

import roboopt as ro
from roboopt.data import (
    Demonstrations,
    MemmapDemonstrations,
    Trajectory,
    load_recordings,
    save_episodes,
    split_episodes,
)


@pytest.fixture
def folder(tmp_path):
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
    save_episodes(tmp_path / "demos", episodes)
    return tmp_path / "demos"


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
    mapped = MemmapDemonstrations(folder, **arguments)
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


@pytest.mark.parametrize("size", [10, 64, 100, 465])
def test_each_sample_comes_once_an_epoch(folder, size):
    mapped = MemmapDemonstrations(folder, block=size)
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
    mapped = MemmapDemonstrations(folder, block=100, seed=3)
    again = MemmapDemonstrations(folder, block=100, seed=3)
    later = again.block(7)
    assert eqx.tree_equal(mapped.block(7), later)
    assert numbers(mapped.block(8)) != numbers(later)
    other = MemmapDemonstrations(folder, block=100, seed=4)
    assert numbers(other.block(7)) != numbers(later)
    assert mapped.steps == 256 and mapped.drifts is False
    assert MemmapDemonstrations(folder, steps=10).steps == 10


def test_a_block_holds_samples_of_many_episodes(folder):
    block = MemmapDemonstrations(folder, block=128).block(0)
    episodes = (block.observations[:, 0] // 1000).astype(int)
    assert len(set(episodes.tolist())) > 20
    # And they do not come one after the other.
    assert np.mean(np.diff(numbers(block)) == 1) < 0.1


def test_a_sample_for_normalizers_is_drawn_from_all(folder):
    mapped = MemmapDemonstrations(folder, block=10)
    drawn = numbers(mapped.sample(200, seed=1))
    assert len(set(drawn)) == 200 and max(drawn) > 400 and min(drawn) < 50
    assert drawn == numbers(mapped.sample(200, seed=1))
    assert drawn != numbers(mapped.sample(200, seed=2))
    assert sorted(numbers(mapped.sample(10_000))) == list(range(465))
    with pytest.raises(ValueError, match="`count` must be at least 1, got 0"):
        mapped.sample(0)


def test_episodes_are_split_as_in_memory(folder):
    mapped = MemmapDemonstrations(folder, history=2, high=3.0, block=400, steps=7)
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
        MemmapDemonstrations(folder, **arguments)


def test_only_folders_of_episodes_are_read(tmp_path):
    with pytest.raises(ValueError, match="`folder` must be one that `save_episodes`"):
        MemmapDemonstrations(tmp_path)
    nothing = Trajectory(np.zeros((1, 2)), np.zeros((0, 1)), 0.1)
    save_episodes(tmp_path / "demos", nothing)
    with pytest.raises(ValueError, match="`folder` must hold samples, but .* holds no"):
        MemmapDemonstrations(tmp_path / "demos")


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
mapped = roboopt.data.MemmapDemonstrations(folder, block=32768)
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
        MemmapDemonstrations(tmp_path / "linear", block=128, steps=32),
        batch_size=16,
        steps=400,
        optimizer=optax.adam(0.05),
    )
    np.testing.assert_allclose(found.model.gains, -2.0, atol=1e-3)
