"""Demonstrations laid end to end, worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roboopt as ro


def run(steps, offset=0.0, act=1, kind=float):
    """Return a trajectory that observes offset + 0, 1, … and does 10 times that."""
    seen = offset + np.arange(steps + 1.0)[:, None]
    return ro.Trajectory(seen, np.tile(10 * seen[:-1], act).astype(kind), 0.1)


RAGGED = [run(3), run(2, 100.0)]


def test_samples_of_ragged_trajectories_by_hand():
    # An episode's last observation has no action, and so is no sample.
    samples = ro.data.Demonstrations.from_trajectories(RAGGED)
    np.testing.assert_array_equal(samples.observations, [[0], [1], [2], [100], [101]])
    np.testing.assert_array_equal(samples.actions, [[0], [10], [20], [1000], [1010]])
    assert samples.weights is None and samples.low is None and samples.high is None
    assert len(samples) == 5


def test_a_history_by_hand():
    # Oldest first; the first is repeated, and none is of another episode.
    samples = ro.data.Demonstrations.from_trajectories(RAGGED, history=3)
    np.testing.assert_array_equal(
        samples.observations,
        [[0, 0, 0], [0, 0, 1], [0, 1, 2], [100, 100, 100], [100, 100, 101]],
    )
    wide = ro.Trajectory(np.array([[1.0, 2], [3, 4], [5, 6]]), np.ones((2, 1)), 0.1)
    np.testing.assert_array_equal(
        ro.data.Demonstrations.from_trajectories(wide, history=2).observations,
        [[1, 2, 1, 2], [1, 2, 3, 4]],
    )


def test_chunks_by_hand():
    # What is past the end weighs nothing, and is no action of another episode.
    samples = ro.data.Demonstrations.from_trajectories(RAGGED, chunk=2)
    np.testing.assert_array_equal(
        samples.actions[..., 0],
        [[0, 10], [10, 20], [20, 20], [1000, 1010], [1010, 1010]],
    )
    np.testing.assert_array_equal(
        samples.weights, [[1, 1], [1, 1], [1, 0], [1, 1], [1, 0]]
    )
    np.testing.assert_array_equal(samples.observations[:, 0], [0, 1, 2, 100, 101])
    # Longer than the episode.
    np.testing.assert_array_equal(
        ro.data.Demonstrations.from_trajectories(run(2), chunk=4).weights,
        [[1, 1, 0, 0], [1, 0, 0, 0]],
    )
    one = ro.data.Demonstrations.from_trajectories(RAGGED, chunk=1)
    assert one.actions.shape == (5, 1, 1)
    assert one.weights is None or np.all(np.asarray(one.weights) == 1)


def test_limits_are_one_number_or_one_an_axis():
    samples = ro.data.Demonstrations.from_trajectories(
        [run(2, act=2)], low=-1, high=[5.0, np.inf], chunk=3
    )
    assert samples.actions.shape == (2, 3, 2)
    np.testing.assert_array_equal(samples.low, np.full((2, 3, 2), -1.0))
    np.testing.assert_array_equal(samples.high, np.tile([5.0, np.inf], (2, 3, 1)))
    assert ro.data.Demonstrations.from_trajectories([run(2)], high=1).low is None


def test_batches_are_taken_apart_and_choices_stay_integers():
    batch = jax.tree.map(
        lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]),
        *[run(2, 7.0, kind=int), run(2, 100.0, kind=int)],
    )
    samples = ro.data.Demonstrations.from_trajectories(batch, history=2)
    np.testing.assert_array_equal(samples.observations[:, 1], [7, 8, 100, 101])
    assert samples.actions.dtype.kind == "i" and samples.actions.shape == (4, 1)


@pytest.mark.parametrize(
    "trajectories, arguments, match",
    [
        ([], {}, "`trajectories` must hold at least one, got none"),
        (RAGGED, {"history": 0}, "`history` must be at least 1, got 0"),
        (RAGGED, {"chunk": 0}, "`chunk` must be at least 1, got 0"),
        ([run(2), run(2, act=2)], {}, r"must have actions of one size, got \[1, 2\]"),
        (
            [run(2), ro.Trajectory(np.ones((2, 3)), np.ones((1, 1)), 0.1)],
            {},
            r"`trajectories` must have observations of one size, got \[1, 3\]",
        ),
        (RAGGED, {"low": [0, 1]}, r"`low` must be one number or 1, got shape \(2,\)"),
        (RAGGED, {"high": [[0]]}, r"`high` must be one number or 1, got"),
        (RAGGED, {"low": np.nan}, "`low` must be numbers"),
        (RAGGED, {"low": 1, "high": 1}, "`low` must be below `high`"),
    ],
)
def test_bad_input_is_refused(trajectories, arguments, match):
    with pytest.raises(ValueError, match=match):
        ro.data.Demonstrations.from_trajectories(trajectories, **arguments)


@pytest.mark.parametrize(
    "shapes, match",
    [
        ({"observations": (4, 1, 2)}, "`observations` must have shape"),
        ({"actions": (4,)}, "`observations` must have shape"),
        ({"actions": (3, 1)}, "got 4 and 3"),
        ({"weights": (3,)}, r"`weights` must have shape \(4,\) or"),
        ({"low": (4,)}, r"`low` must have the shape of `actions`, \(4, 1\)"),
        ({"high": (1,)}, "`high` must have the shape of `actions`"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(shapes, match):
    shapes = {"observations": (4, 2), "actions": (4, 1), **shapes}
    with pytest.raises(ValueError, match=match):
        ro.data.Demonstrations(
            **{name: np.ones(shape) for name, shape in shapes.items()}
        )


SEEN, DONE = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0], [6.0]])


@pytest.mark.parametrize(
    "batch",
    [
        (SEEN, DONE),
        [SEEN, DONE],
        {"observations": SEEN, "actions": DONE},
        {"obs": SEEN, "action": DONE, "reward": np.zeros(2)},
        ro.Trajectory(np.concatenate([SEEN, SEEN[:1]]), DONE, 0.1),
        ro.data.Demonstrations(SEEN, DONE),
    ],
)
def test_batches_of_the_customary_forms_are_demonstrations(batch):
    samples = ro.data.Demonstrations.of(batch)
    np.testing.assert_array_equal(samples.observations, SEEN)
    np.testing.assert_array_equal(samples.actions, DONE)


def test_what_stands_after_the_end_of_an_episode_is_no_demonstration():
    seen = np.arange(6.0).reshape(2, 3, 1)
    batch = ro.Trajectory(seen, np.ones((2, 2, 1)), 0.1, lengths=np.array([2, 1]))
    samples = ro.data.Demonstrations.of(batch)
    np.testing.assert_allclose(samples.shares((4,)), [1 / 3, 1 / 3, 1 / 3, 0.0])


def test_a_dict_may_hold_weights_and_limits():
    batch = {"obs": SEEN, "actions": DONE, "weights": np.array([1.0, 3.0]), "low": DONE}
    samples = ro.data.Demonstrations.of(batch)
    np.testing.assert_array_equal(samples.shares((2,)), [0.25, 0.75])
    np.testing.assert_array_equal(samples.low, DONE)


@pytest.mark.parametrize(
    "batch",
    [
        3.0,
        (SEEN, DONE, DONE),
        {"actions": DONE},
        {"obs": SEEN, "observations": SEEN, "actions": DONE},
        (SEEN[:0], DONE[:0]),
    ],
)
def test_batches_of_other_forms_are_refused(batch):
    with pytest.raises(ro.RobooptError, match="`batch` must"):
        ro.data.Demonstrations.of(batch)
