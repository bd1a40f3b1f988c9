"""Which demonstrations a clone is judged by: a mask of the file, or named ones."""

import dataclasses
import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roboopt as ro
from roboopt.cli import main
from roboopt.imitation._demonstration_set import DemonstrationSet

CASES = Path(__file__).parents[1] / "cases" / "demonstrations"
MASKED = CASES / "d5_robomimic_images.hdf5"
SMALL: dict[str, Any] = {"steps": 2, "width": 4, "depth": 1}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def samples(**arguments):
    return ro.clone(MASKED, **SMALL, **arguments).description["samples"]


@pytest.mark.slow
def test_the_mask_of_a_file_is_the_split():
    # Three episodes of 50 observations and one, without their last actions.
    # The three to learn from select the default policy by cross-validation; of a policy
    # that was asked for, one of them does.
    crossed = "147 for training, and by cross-validation for selection"
    assert samples() == f"{crossed} (3 episodes in 3 parts), 49 held out as masked"
    parts = "98 for training, 49 for validation, 49 held out as masked"
    assert samples(policy="mlp") == samples(validation=0.2) == parts
    none = {"validation": 0, "held_out": 0.5}
    said = "98 for training, 0 for validation, 98 held out by episode"
    assert samples(**none) == said


@pytest.mark.parametrize(
    "count, aside", [(2, 1), (4, 1), (5, 2), (10, 3), (20, 5), (49, 5), (100, 10)]
)
def test_a_tenth_is_held_out_or_five_up_to_a_quarter(count, aside):
    one = ro.data.Trajectory(np.zeros((3, 1)), np.eye(2, 1), 1.0)
    parts = DemonstrationSet.load([one] * count, None, seed=0, time_step=None)
    assert len(parts.held_out) == aside and len(parts.whole) == count - aside


def test_the_first_action_is_that_of_episodes_and_not_of_their_parts():
    rng = np.random.default_rng(0)
    runs = [
        ro.data.Trajectory(rng.normal(size=(21, 2)), rng.normal(size=(20, 1)), 0.1)
        for _ in range(3)
    ]
    load = partial(DemonstrationSet.load, env=None, seed=0, time_step=None)
    firsts = [run.actions[0] for run in runs]
    two = load(runs[:2])  # One is held out, and the other split to select by.
    assert len(two.known) == 2 and len(two.whole) == 1
    known = int((two.whole[0].actions[0] == firsts[1]).item())
    np.testing.assert_array_equal(two.first_action, firsts[known])
    np.testing.assert_array_equal(load(runs[:1]).first_action, firsts[0])
    named = load(runs[:1], held_out=[runs[1]], validation=[runs[2]])
    expected = np.mean([firsts[0], firsts[2]], axis=0)
    np.testing.assert_allclose(named.first_action, expected, rtol=1e-12)
    # The error of persistence by hand, in deviations of the known actions.
    made = ro.clone(runs[:2], policy="linear", **SMALL)
    acted = runs[1 - known].actions
    gap = acted - np.concatenate([firsts[known][None], acted[:-1]])
    error = np.sqrt(np.mean(gap**2)) / runs[known].actions.std()
    assert made.errors["persistence"] == pytest.approx(error, rel=1e-5)


@pytest.mark.slow
def test_held_out_demonstrations_are_named(tmp_path):
    # What is held out is not learned from, though the file has it too.
    first, second, *_ = ro.data.load_episodes(MASKED)
    parts = "147 for training, and by cross-validation for selection"
    named = f"{parts} (3 episodes in 3 parts), 49 held out as named"
    path = tmp_path / "first.npz"
    ro.data.save_episodes(path, [first])
    found = [samples(held_out=x) for x in ([first], path, [str(path)])]
    assert found == [named] * 3
    said = "98 for training, 49 for validation, 49 held out as named"
    assert samples(held_out=[first], validation=[second]) == said
    # But for its name an episode is new if a number of it is, beyond float32.
    other = dataclasses.replace(first, actions=np.asarray(first.actions) + 1e-4)
    parts = "196 for training, and by cross-validation for selection"
    named = f"{parts} (4 episodes in 4 parts), 49 held out as named"
    assert samples(held_out=[other]) == named
    for name in ("held_out", "validation"):
        with pytest.raises(ro.RobooptError, match=f"`{name}` must leave episodes"):
            samples(**{name: MASKED})
    with pytest.raises(ro.RobooptError, match="`held_out` must be a file or folder"):
        samples(held_out="missing.npz")


def test_held_out_episodes_are_found_among_others_up_to_float32():
    rng = np.random.default_rng(0)
    runs = [
        ro.data.Trajectory(rng.normal(size=(9, 2)), rng.normal(size=(8, 1)), 0.1)
        for _ in range(4)
    ]
    rounded = [
        dataclasses.replace(
            run,
            observations=np.float32(run.observations),
            actions=np.float32(run.actions),
        )
        for run in runs
    ]
    load = partial(DemonstrationSet.load, runs, None, seed=0, time_step=None)
    assert len(load(held_out=rounded[:1]).whole) == 3
    with pytest.raises(ro.RobooptError, match="`held_out` must leave episodes"):
        load(held_out=rounded)


@pytest.mark.parametrize("decimals, scale", [(4, 1.0), (2, 180 / np.pi)])
def test_held_out_episodes_are_found_among_others_up_to_decimals(decimals, scale):
    rng = np.random.default_rng(0)

    def rounded(values):
        return np.float32(np.round(scale * values, decimals) / scale)

    runs = [
        ro.data.Trajectory(rng.normal(size=(9, 2)), np.zeros((8, 1)), 0.1)
        for _ in range(4)
    ]
    copy = dataclasses.replace(runs[1], observations=rounded(runs[1].observations))
    load = partial(DemonstrationSet.load, runs, None, seed=0, time_step=None)
    assert len(load(held_out=[copy]).whole) == 3
    # A single number that rounding does not explain is of another episode.
    seen = np.array(copy.observations)
    seen[4, 1] += 10.0**-decimals / scale
    other = dataclasses.replace(copy, observations=seen)
    assert len(load(held_out=[other]).whole) == 4
    # Nor are episodes copies that hold few values, which may be alike.
    few = [np.round(0.1 * run.observations, 1) for run in runs]
    coarse = [ro.data.Trajectory(x, np.zeros((8, 1)), 0.1) for x in few]
    slight = dataclasses.replace(coarse[0], observations=few[0] + 1e-3)
    load = partial(DemonstrationSet.load, coarse, None, seed=0, time_step=None)
    assert len(load(held_out=[slight]).whole) == 4


def test_a_mask_that_leaves_nothing_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "x.hdf5"
    path.write_bytes(MASKED.read_bytes())
    with h5py.File(path, "a") as file:
        every = [name.encode() for name in file["data"]]
        del file["mask/valid"]
        file["mask/valid"] = every
    with pytest.raises(ro.RobooptError, match="mask `valid` of .* names all of them"):
        ro.clone(path, **SMALL)


@pytest.mark.parametrize(
    "train, valid, learned, aside, said",
    [
        ([0, 1, 2], [2, 3], [0, 1], [2, 3], "episode 2 is in both: held out"),
        ([0], [3], [0], [3], "2 episodes, 1, 2, are in neither: left out"),
        ([0, 1, 2], [], None, None, "`valid` names no episode: .*; episode 3 is in n"),
        ([0, 1, 2], None, None, None, "`valid` names no episode"),
        (None, [1], [0, 2, 3], [1], ""),
        ([0, 1, 2], [3], [0, 1, 2], [3], ""),
    ],
)
def test_masks_that_contradict_are_told(tmp_path, train, valid, learned, aside, said):
    episodes, path = masked(tmp_path, train, valid)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = DemonstrationSet.load(path, None, seed=0, time_step=None, validation=0)
    told = " ".join(str(w.message) for w in caught if "the masks" in str(w.message))
    assert bool(told) == bool(said) and re.search(said, told)

    def numbers(part):
        known = [e.observations.tobytes() for e in episodes]
        return sorted(known.index(np.asarray(e.observations).tobytes()) for e in part)

    found = numbers(parts.training), numbers(parts.held_out)
    if learned is not None:
        assert found == (learned, aside)
    else:
        assert sorted(found[0] + found[1]) == [0, 1, 2] and found[1]


def masked(folder, train, valid):
    h5py = pytest.importorskip("h5py")
    path = folder / "x.hdf5"
    path.write_bytes(MASKED.read_bytes())
    with h5py.File(path, "a") as file:
        names = np.array([name.encode() for name in file["data"]])
        for name, numbers in (("train", train), ("valid", valid)):
            del file[f"mask/{name}"]
            if numbers is not None:
                file[f"mask/{name}"] = names[np.array(numbers, int)]
    return ro.data.load_episodes(path), path


def test_a_mask_that_learns_from_nothing_is_refused(tmp_path):
    _, path = masked(tmp_path, [], [1])
    with pytest.raises(ro.RobooptError, match="mask `train` of .* names none"):
        ro.clone(path, **SMALL)


def test_the_command_names_them(tmp_path, capsys):
    few = ["--steps", "2", "--width", "4", "--depth", "1", "--runs", str(tmp_path)]
    ro.data.save_episodes(tmp_path / "one.npz", ro.data.load_episodes(MASKED)[:1])
    assert main(["clone", str(MASKED), "--test", str(tmp_path / "one.npz"), *few]) == 0
    assert main(["clone", str(MASKED), "--test", str(MASKED), *few]) == 2
    assert "--test must leave episodes to learn from" in capsys.readouterr().err
    assert main(["clone", str(MASKED), "--test", "missing.npz", *few]) == 2
    assert "--test must be a file or folder" in capsys.readouterr().err
    both = ["--test", str(MASKED), "--held-out", "0.5"]
    capsys.readouterr()
    assert main(["clone", str(MASKED), *both, *few]) == 2
    assert "--test and --held-out exclude each other" in capsys.readouterr().err


def test_demonstrations_of_other_sizes_are_named_with_their_file(tmp_path):
    one = ro.data.Trajectory(np.zeros((4, 2)), np.ones((3, 1)), 1.0)
    other = dataclasses.replace(one, observations=np.zeros((4, 5)))
    for name, episode in {"one": one, "other": other}.items():
        ro.data.save_episodes(tmp_path / f"{name}.npz", [episode] * 2)
    files = [tmp_path / "one.npz", tmp_path / "other.npz"]
    reading: dict[str, Any] = {"seed": 0, "time_step": None}
    for argument in ("held_out", "validation"):
        with pytest.raises(ro.RobooptError, match=f"`{argument}` .* 5 in .*other.npz"):
            DemonstrationSet.load([one], None, **{argument: files}, **reading)
