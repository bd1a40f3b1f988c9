"""Setting whole episodes aside."""

import numpy as np
import pytest

from roboopt.data import Trajectory, split_episodes


def episodes(count):
    return [
        Trajectory(np.full((3, 1), 1.0 * k), np.ones((2, 1)), 0.1) for k in range(count)
    ]


def numbers(part):
    return [int(run.observations[0, 0]) for run in part]


def test_every_episode_is_on_one_side_and_in_order():
    train, held_out = split_episodes(episodes(10), 0.3, seed=4)
    assert len(train) == 7 and len(held_out) == 3
    assert sorted(numbers(train) + numbers(held_out)) == list(range(10))
    assert numbers(train) == sorted(numbers(train))
    again = split_episodes(episodes(10), 0.3, seed=4)
    assert numbers(again[1]) == numbers(held_out)
    other = [numbers(split_episodes(episodes(10), 0.3, seed=s)[1]) for s in range(5)]
    assert len({tuple(one) for one in other}) > 1


@pytest.mark.parametrize("fraction, aside", [(0.01, 1), (0.5, 2), (0.99, 2)])
def test_neither_side_is_empty(fraction, aside):
    batch = Trajectory(np.zeros((3, 4, 2)), np.zeros((3, 3, 1)), 0.1)
    train, held_out = split_episodes(batch, fraction)
    assert len(held_out) == aside
    assert len(train) == 3 - len(held_out)


@pytest.mark.parametrize(
    "count, fraction, match",
    [
        (1, 0.5, "`episodes` must hold at least two to split, got 1"),
        (0, 0.5, "`episodes` must hold at least two to split, got 0"),
        (3, 0.0, "`fraction` must be between 0 and 1, got 0.0"),
        (3, 1.0, "`fraction` must be between 0 and 1, got 1.0"),
    ],
)
def test_what_cannot_be_split_is_refused(count, fraction, match):
    with pytest.raises(ValueError, match=match):
        split_episodes(episodes(count), fraction)
