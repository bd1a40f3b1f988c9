"""Splits of episodes into training and validation data.

Samples of one episode are alike: a sample held out while its neighbors are trained on
would measure memorization. So whole episodes are held out; of a single one, its end.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from roboopt._errors import require
from roboopt.data._trajectory import PER_OBSERVATION, PER_STEP, Trajectory
from roboopt.data._windows import single_recordings

DECIMALS = range(1, 8)
MAX_STEP = 0.1  # to which numbers are rounded
ROUNDING = 0.02  # of the last decimal: what float32 makes of it
MIN_LEVELS = 50.0  # of a column, in steps of its last decimal


def split_episodes(
    episodes: Sequence[Trajectory] | Trajectory, fraction: float, *, seed: int = 0
) -> tuple[list[Trajectory], list[Trajectory]]:
    """Return the training episodes and the held-out ones, each in their order.

    Args:
        episodes: of any lengths; a batch counts as its members.
        fraction: share of the episodes to hold out; at least one on each side.
        seed: random seed of the choice.

    Raises:
        RobooptError: if there are fewer than two episodes, or `fraction` is not
            between 0 and 1.
    """
    runs = single_recordings(episodes)
    train, held_out = split_indices(len(runs), fraction, seed)
    return [runs[k] for k in train], [runs[k] for k in held_out]


def split_in_time(
    episode: Trajectory, fraction: float
) -> tuple[Trajectory, Trajectory]:
    """Return the beginning of a single episode, and its end, which is held out.

    Args:
        episode: of at least two steps.
        fraction: share of the steps to hold out; at least one on each side.

    Raises:
        RobooptError: if there are fewer than two steps, or `fraction` is not between 0
            and 1.
    """
    require(0 < fraction < 1, "fraction", "be between 0 and 1", fraction)
    steps = episode.steps
    require(steps >= 2, "episode", "have at least two steps", steps)
    cut = steps - int(np.clip(round(fraction * steps), 1, steps - 1))
    parts = []
    for first, last in ((0, cut), (cut, steps)):
        ends = dict.fromkeys(PER_STEP, last) | dict.fromkeys(PER_OBSERVATION, last + 1)
        arrays = {
            name: np.asarray(getattr(episode, name))[first:end]
            for name, end in ends.items()
            if getattr(episode, name) is not None
        }
        parts.append(Trajectory(time_step=episode.time_step, **arrays))
    return parts[0], parts[1]


def not_among(
    episodes: Sequence[Trajectory], others: Sequence[Trajectory]
) -> list[int]:
    """Return the numbers of the episodes that hold other data than each of `others`.

    A file that is held out may lie in the folder of all, or in another format, which
    rounds to float32, or to decimals as tables do.
    """
    known = {_content(one) for one in others}
    alike: dict[Any, list[Trajectory]] = {}
    for one in others:
        alike.setdefault(_shapes(one), []).append(one)
    starts = {key: np.stack([*map(_start, found)]) for key, found in alike.items()}

    def is_other(episode: Trajectory) -> bool:
        if _content(episode) in known:
            return False
        if (key := _shapes(episode)) not in starts:
            return True
        # Most episodes differ in their first samples already.
        near = (np.abs(starts[key] - _start(episode)) < MAX_STEP).all(1)
        return not any(_rounds(episode, alike[key][k]) for k in np.flatnonzero(near))

    return [k for k, one in enumerate(episodes) if is_other(one)]


def _shapes(episode: Trajectory) -> tuple[tuple[int, ...], ...]:
    return tuple(np.shape(x) for x in (episode.observations, episode.actions))


def _start(episode: Trajectory) -> np.ndarray:
    arrays = episode.observations[:1], episode.actions[:1]
    return np.concatenate([np.ravel(np.asarray(x, float)) for x in arrays])


def _content(episode: Trajectory) -> tuple[bytes, ...]:
    arrays = episode.observations, episode.actions
    with np.errstate(over="ignore"):
        rounded = [np.asarray(x, np.float32) + 0 for x in arrays]  # -0 is 0
    return tuple(hashlib.sha256(x.tobytes()).digest() for x in rounded)


def _rounds(one: Trajectory, other: Trajectory) -> bool:
    """Return whether one of two episodes has the numbers of the other, rounded."""
    pairs = [
        tuple(np.asarray(x, float).reshape(len(x), -1) for x in arrays)
        for arrays in (
            (one.observations, other.observations),
            (one.actions, other.actions),
        )
    ]
    columns = [column for x, y in pairs for column in zip(x.T, y.T, strict=True)]
    return _are_rounded(columns) or _are_rounded([(y, x) for x, y in columns])


def _are_rounded(columns: Sequence[tuple[np.ndarray, np.ndarray]]) -> bool:
    """Return whether the second of each two columns is the first one, rounded.

    One of them must have many values: others may be alike by chance.
    """
    levels = 0.0
    for exact, column in columns:
        step = _rounding(exact, column)
        if step is None:
            return False
        levels = max(levels, float(np.ptp(column)) / step)
    return levels > MIN_LEVELS


def _rounding(exact: np.ndarray, column: np.ndarray) -> float | None:
    """Return the step to which a column is rounded, the largest; None if to none."""
    away = np.abs(exact - column)
    for scale in (1.0, 180 / np.pi):  # of radians that were written in degrees
        for decimals in DECIMALS:
            step = 10.0**-decimals / scale
            if (away > (0.5 + ROUNDING) * step).any():
                break
            parts = column / step
            if (np.abs(parts - np.round(parts)) < ROUNDING).all():
                return step
    return None


def split_indices(
    count: int, fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Return the indices of training episodes and of held-out ones."""
    require(0 < fraction < 1, "fraction", "be between 0 and 1", fraction)
    require(count >= 2, "episodes", "hold at least two to split", count)
    aside = int(np.clip(round(fraction * count), 1, count - 1))
    order = np.random.default_rng(seed).permutation(count)
    return sorted(order[aside:].tolist()), sorted(order[:aside].tolist())
