"""Episodes and recordings in memory: dicts of arrays, and objects that hold them."""

import dataclasses
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
