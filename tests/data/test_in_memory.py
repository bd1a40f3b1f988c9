"""Episodes and recordings in memory: dicts of arrays, and objects that hold them."""

import collections
import dataclasses
import itertools
import warnings
from typing import Any

import numpy as np
import pytest

import roboopt as ro
from roboopt.data import load_episodes
from roboopt.sysid._recordings import load_all

RNG = np.random.default_rng(0)
SMALL: dict[str, Any] = {"policy": "linear", "steps": 2, "held_out": 0.5}
SEEN, ACTED = RNG.normal(size=(9, 2)), RNG.normal(size=(8, 1))


@dataclasses.dataclass
class Held:
    """A trajectory as imitation holds it."""

    obs: np.ndarray
    acts: np.ndarray
    infos: Any = None
    terminal: bool = True


@pytest.mark.filterwarnings("ignore:`time_step`")
@pytest.mark.parametrize(
    "episode",
    [
        {"obs": SEEN, "acts": ACTED},
        {
            "observations": SEEN.tolist(),
            "actions": ACTED.tolist(),
            "rewards": [1.0] * 8,
        },
        {"obs": {"x": SEEN[:, :1], "y": SEEN[:, 1:]}, "action": ACTED},
        Held(SEEN, ACTED),
    ],
)
def test_an_episode_is_read_by_the_names_of_its_arrays(episode):
    (run,) = load_episodes(episode)
    np.testing.assert_array_equal(run.observations, SEEN)
    np.testing.assert_array_equal(run.actions, ACTED)
    made = ro.clone([episode] * 4, **SMALL)
    assert sum(map(len, made.error_over_time)) == 16


def test_objects_beside_arrays_are_named():
    infos = np.array([{"a": 1}] * 8)
    with pytest.warns(UserWarning, match="infos left out"):
        load_episodes(Held(SEEN, ACTED, infos=infos), time_step=0.1)
    with pytest.raises(ro.RobooptError, match="lacks|hold"):
        load_episodes({"a": SEEN}, time_step=0.1)


def test_flags_beside_observations_and_actions_end_episodes():
    ends = np.arange(8) % 4 == 3
    given = {"obs": SEEN[:8], "acts": ACTED, "dones": ends, "rews": ends * 1.0}
    with warnings.catch_warnings(action="ignore"):
        made = ro.clone(given, **SMALL)
        assert [run.steps for run in load_episodes(given)] == [3, 3]
    assert len(made.held_out) == 1


def test_as_many_observations_as_actions_alone_keep_the_last_action():
    made = ro.clone([{"obs": SEEN[:8], "acts": ACTED}] * 2, **SMALL)
    assert made.held_out[0].steps == 8


@pytest.mark.filterwarnings("ignore:`time_step`")
@pytest.mark.parametrize("count", [2, 3])
def test_pairs_are_an_episode_each(count):
    made = ro.clone([(SEEN, ACTED)] * count, **SMALL)
    assert made.held_out[0].steps == 8 and len(made.held_out) < count
    made = ro.clone([(SEEN[:8], ACTED > 0)] * count, steps=2, held_out=0.5)
    assert made.held_out[0].actions.dtype == int


def test_what_several_lack_is_told_once():
    with pytest.warns(UserWarning) as caught:
        ro.clone([{"obs": SEEN, "acts": ACTED}] * 4, **SMALL)
    told = [str(w.message) for w in caught if "`time_step`" in str(w.message)]
    assert len(told) == 1


@pytest.mark.parametrize("given", [(1.0, 2.0), {"obs": 1.0, "acts": 2.0}])
def test_numbers_alone_are_refused(given):
    with pytest.raises(ro.RobooptError, match="`observations` must have shape"):
        ro.clone(given, **SMALL)


def test_recordings_are_read_by_the_names_of_their_arrays():
    t = np.arange(200) * 0.01
    q = np.stack([np.sin(3 * t), np.cos(2 * t)], 1)
    rates = np.stack([3 * np.cos(3 * t), -2 * np.sin(2 * t)], 1)
    given = {"t": t, "q": q, "dq": rates, "tau": q}
    runs = ro.data.load_recordings(given, joints=["cart", "pole"])
    np.testing.assert_array_equal(runs[0].observations[:, :2], q)
    recorded = load_all([given] * 2, ["cart", "pole"], None, None)
    assert [one.run.steps for one in recorded] == [199, 199]


def steps(sizes=(10, 12, 15, 11), **more):
    """Return the steps of episodes as dicts, and their observations and actions."""
    rng, made, arrays = np.random.default_rng(1), [], []
    for size in sizes:
        seen, acted = rng.normal(size=(size + 1, 3)), rng.normal(size=(size, 2))
        one = []
        for k in range(size):
            known = {name: value(seen, k) for name, value in more.items()}
            step = {"observation": seen[k], "action": acted[k], "reward": 1.0}
            one.append({**step, "done": k == size - 1, **known})
        made.append(one)
        arrays.append((seen, acted))
    return made, arrays


Step = collections.namedtuple("Step", "obs act done")
ONE = {
    "dicts": lambda one: [step for part in one for step in part],
    "lists of dicts": lambda one: one,
    "generator": lambda one: (step for part in one for step in part),
    "generators": lambda one: ((step for step in part) for part in one),
    "RLDS": lambda one: [{"steps": iter(part), "number": 1} for part in one],
    "named tuples": lambda one: [
        Step(s["observation"], s["action"], s["done"]) for part in one for s in part
    ],
}


@pytest.mark.filterwarnings("ignore:`time_step`", "ignore:the dict.* as many")
@pytest.mark.parametrize("form", ONE)
def test_steps_are_read_as_the_episodes_that_they_make(form):
    one, arrays = steps()
    runs = load_episodes(ONE[form](one))
    for run, (seen, acted) in zip(runs, arrays, strict=True):
        np.testing.assert_array_equal(run.observations, seen[:-1])
        np.testing.assert_array_equal(run.actions, acted[:-1])
    made = ro.clone(ONE[form](one), **SMALL)
    pairs = itertools.combinations((9, 11, 14, 10), 2)  # Two are held out.
    assert sum(map(len, made.error_over_time)) in set(map(sum, pairs))


@pytest.mark.filterwarnings("ignore:`time_step`")
def test_steps_of_groups_with_next_observations_lose_no_action():
    group = {"q": lambda s, k: s[k], "gripper": lambda s, k: s[k, :1]}

    def seen(later):
        return lambda s, k: {name: value(s, k + later) for name, value in group.items()}

    one, arrays = steps(obs=seen(0), next_obs=seen(1))
    flat = [{n: s[n] for n in s if n != "observation"} for part in one for s in part]
    runs = load_episodes(flat)  # A warning would be an error.
    for run, (whole, acted) in zip(runs, arrays, strict=True):
        expected = np.concatenate([whole[:, :1], whole], 1)
        np.testing.assert_array_equal(run.observations, expected)
        np.testing.assert_array_equal(run.actions, acted)


@pytest.mark.filterwarnings("ignore:`time_step`", "ignore:the dict.* as many")
def test_pairs_of_one_step_each_are_one_episode():
    pairs = [(seen, acted) for seen, acted in zip(SEEN[:-1], ACTED, strict=True)]
    (run,) = load_episodes(pairs)
    np.testing.assert_array_equal(run.observations, SEEN[:-1])
    np.testing.assert_array_equal(run.actions, ACTED[:-1])


def test_episodes_of_single_numbers_are_no_steps():
    (run,) = load_episodes([{"obs": SEEN[:, 0], "acts": ACTED[:, 0]}], time_step=0.1)
    assert run.observations.shape == (9, 1)


WRONG = {
    r"tuples of 5.*`observation`": lambda flat: [
        (s["observation"], s["action"], 1.0, s["observation"], False) for s in flat
    ],
    r"step 3 holds observation\.": lambda flat: [
        *flat[:3],
        {"observation": SEEN[0]},
        *flat[3:],
    ],
    r"one size in each step, got shapes \(3,\), \(4,\)": lambda flat: [
        *flat,
        {**flat[0], "observation": np.ones(4)},
    ],
    r"first or step 48 lacks force": lambda flat: [*flat, {**flat[0], "force": 1.0}],
}


@pytest.mark.parametrize("said", WRONG)
def test_steps_that_do_not_fit_are_refused(said):
    wrong = WRONG[said](ONE["dicts"](steps()[0]))
    with pytest.raises(ro.RobooptError, match=said):
        load_episodes(wrong)
    with pytest.raises(ro.RobooptError, match=f"`demonstrations`.*{said}"):
        ro.clone(wrong, **SMALL)
