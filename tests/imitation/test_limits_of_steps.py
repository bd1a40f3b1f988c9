"""Limits of the actions that change from step to step censor what is cloned."""

from typing import Any

import numpy as np
import pytest

import roboopt as ro

GAINS = np.array([[2.0, -1.0]])


def saturated(seed, steps=60):
    """Return a linear demonstrator's episode, most of whose actions are clipped."""
    rng = np.random.default_rng(seed)
    seen = rng.normal(size=(steps + 1, 2))
    high = rng.uniform(0.1, 2.0, (steps, 1))
    actions = np.clip(seen[:-1] @ GAINS.T, -high, high)
    return ro.data.Trajectory(seen, actions, 0.1, low=-high, high=high)


def gains(made):
    linear = made.policy.policy  # within the limits of its actions
    units = np.asarray(linear.outputs.scale())[:, None]
    return np.asarray(linear.matrix) * units / np.asarray(linear.inputs.scale())


@pytest.mark.slow
def test_the_gains_of_a_saturated_demonstrator_are_found():
    episodes = [saturated(seed) for seed in range(8)]
    # 59 % of the actions or so are at a limit.
    assert np.mean([np.mean(np.abs(e.actions) == e.high) for e in episodes]) > 0.4
    made = ro.clone(episodes, steps=40, width=4, depth=1)
    np.testing.assert_allclose(gains(made), GAINS, rtol=1e-3)
    assert made.errors["clone"] < 1e-3  # clipped to the limits of the held-out steps
    one = {
        name: np.concatenate([getattr(e, name) for e in episodes]) for name in LIMITED
    }
    seen = np.concatenate([e.observations[:-1] for e in episodes])
    again = ro.clone({"obs": seen, **one}, policy="linear", steps=40)
    np.testing.assert_allclose(gains(again), GAINS, rtol=1e-3)
    one = {"obs": seen, "actions": one["actions"]}
    biased = ro.clone(one, policy="linear", steps=40)
    assert abs(gains(biased) - GAINS).max() > 0.3


LIMITED = ("actions", "low", "high")


def test_weights_are_refused():
    given: dict[str, Any] = {"obs": np.zeros((9, 2)), "actions": np.zeros((9, 1))}
    with pytest.raises(ro.RobooptError, match="`weights`"):
        ro.clone({**given, "weights": np.ones(9)}, steps=2)


@pytest.mark.parametrize("name", ["x.npz", "x.hdf5", "x"])
def test_limits_are_saved(name, tmp_path):
    episodes = [saturated(0, 5), saturated(1, 7)]
    ro.data.save_episodes(tmp_path / name, episodes)
    again = ro.data.load_episodes(tmp_path / name)
    for one, other in zip(again, episodes, strict=True):
        np.testing.assert_array_equal(one.low, other.low)
        np.testing.assert_array_equal(one.high, other.high)


def test_limits_of_all_steps_count_besides():
    samples = ro.data.Demonstrations.from_trajectories(saturated(0), high=0.5, chunk=3)
    assert samples.high is not None and samples.low is not None
    assert samples.actions.shape == samples.high.shape == (60, 3, 1)
    assert samples.high.max() == 0.5 and samples.low.min() < -0.5
