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


def test_episodes_of_different_lengths_stack_and_come_apart():
    def run(steps, **extra):
        seen = np.arange(steps + 1.0)[:, None]
        arrays = {"rewards": np.ones(steps), "success": np.array(steps == 1), **extra}
        return ro.Trajectory(seen, np.ones((steps, 1), int), 0.5, **arrays)

    times = [np.array([0.0, 0.4, 1.0, 1.5]), np.array([0.0, 0.7])]
    runs = [run(3, times=times[0]), run(1, times=times[1])]
    both = ro.Trajectory.from_episodes(runs)
    # The short episode stays at 1, does and earns nothing more; its time goes on.
    np.testing.assert_array_equal(both.observations[1, :, 0], [0, 1, 1, 1])
    np.testing.assert_array_equal(both.actions[1, :, 0], [1, 0, 0])
    np.testing.assert_array_equal(both.returns, [3.0, 1.0])
    assert both.times is not None
    np.testing.assert_allclose(both.times[1], [0.0, 0.7, 1.2, 1.7])
    np.testing.assert_array_equal(both.lengths, [3, 1])
    assert both.actions.dtype.kind == "i"
    for single, original in zip(both.episodes(), runs, strict=True):
        assert eqx.tree_equal(single, original)
    # Arrays that one episode lacks are left out; equal lengths need no `lengths`.
    assert ro.Trajectory.from_episodes([runs[0], run(2)]).times is None
    assert ro.Trajectory.from_episodes([run(2), run(2)]).lengths is None
    with pytest.raises(ro.RobooptError, match="one time step"):
        ro.Trajectory.from_episodes(
            [run(1), dataclasses.replace(run(1), time_step=1.0)]
        )


@pytest.mark.parametrize(
    "observations, actions, extra, match",
    [
        ((3, 2), (3, 1), {}, "`observations` must hold one more step than `actions`"),
        ((2, 4, 2), (3, 1), {}, "`observations` must hold one more step"),
        ((4, 0), (3, 1), {}, "`observations` must hold a number each"),
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


def test_a_missing_or_broken_file_is_refused(tmp_path):
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK none")
    for path in (broken, tmp_path / "missing.npz"):
        with pytest.raises(ro.RobooptError, match="`path` must be"):
            ro.Trajectory.load(path)
