"""Trajectories: their checks, and their own files."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest

import roboopt as ro


def test_a_return_is_the_sum_of_the_rewards():
    run = ro.Trajectory(np.zeros((2, 3, 1)), np.zeros((2, 2, 1)), 0.1)
    with pytest.raises(ValueError, match="`rewards` must be there"):
        _ = run.returns
    rewarded = dataclasses.replace(run, rewards=np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.testing.assert_array_equal(rewarded.returns, [3.0, 7.0])


def test_a_trajectory_saves_and_loads(tmp_path):
    trajectory = ro.Trajectory(
        np.arange(12.0).reshape(2, 3, 2),
        np.ones((2, 2, 1), int),
        0.25,
        np.zeros((2, 2)),
        terminated=np.array([True, False]),
        success=np.array([False, True]),
    )
    trajectory.save(tmp_path / "t.npz")
    loaded = ro.Trajectory.load(tmp_path / "t.npz")
    assert eqx.tree_equal(trajectory, loaded) and loaded.efforts is None
    assert loaded.time_step == 0.25 and loaded.steps == 2


def test_times_are_kept_with_what_is_not_evenly_spaced(tmp_path):
    times = np.array([[0.0, 0.1, 0.4], [0.0, 0.2, 0.3]])
    trajectory = ro.Trajectory(
        np.zeros((2, 3, 2)), np.zeros((2, 2, 1)), 0.175, times=times
    )
    trajectory.save(tmp_path / "t.npz")
    loaded = ro.Trajectory.load(tmp_path / "t.npz")
    assert eqx.tree_equal(trajectory, loaded)
    second = jax.tree.map(lambda leaf: leaf[1], loaded)
    np.testing.assert_array_equal(second.times, times[1])


@pytest.mark.parametrize(
    "observations, actions, extra, match",
    [
        ((3, 2), (3, 1), {}, "`observations` must hold one more step than `actions`"),
        ((2, 4, 2), (3, 1), {}, "`observations` must hold one more step"),
        ((4, 2), (3, 1), {"time_step": 0.0}, "`time_step` must be positive"),
        ((4, 2), (3, 1), {"rewards": np.ones(4)}, "`rewards` must hold one step"),
        ((4, 2), (3, 1), {"efforts": np.ones((2, 2))}, "`efforts` must hold one step"),
        ((4, 2), (3, 1), {"times": np.ones(3)}, "`times` must hold one for each obs"),
        ((2, 4, 2), (2, 3, 1), {"times": np.ones(4)}, "`times` must hold one for each"),
        ((4, 2), (3, 1), {"success": np.ones(1, bool)}, "`success` must hold one a tr"),
        (
            (2, 4, 2),
            (2, 3, 1),
            {"terminated": np.array(True)},
            "`terminated` must hold",
        ),
    ],
)
def test_bad_trajectories_are_refused(observations, actions, extra, match):
    arguments = {"time_step": 0.1, **extra}
    with pytest.raises(ValueError, match=match):
        ro.Trajectory(np.ones(observations), np.ones(actions), **arguments)


def test_a_file_without_a_trajectory_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", observations=np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"lacks \['actions', 'time_step'\]"):
        ro.Trajectory.load(tmp_path / "x.npz")
