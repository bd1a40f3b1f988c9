"""Demonstrations in memory, as users hold them: steps, pairs and dicts of arrays."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from roboopt.data import Trajectory, with_steps

BESIDE = {"weights", "low", "high"}
"""What a dict of samples may hold beside observations and actions."""


def named_arrays(source: Any) -> tuple[Any, Any]:
    """Return a source with its steps put together, and with its pairs by name, too."""
    source = with_steps(source)
    if type(source) not in (list, tuple):
        return source, source
    return source, [_named_pair(one) for one in source]


def _named_pair(one: Any) -> Any:
    """Return the observations and actions of a tuple by name, or what else it is."""
    pair = isinstance(one, tuple) and len(one) == 2 and np.ndim(one[0]) == 2
    return {"observations": one[0], "actions": one[1]} if pair else one


def is_plain(source: Any) -> bool:
    """Return whether a source is a dict of as many observations as actions alone."""
    if not isinstance(source, Mapping) or len({*source} - BESIDE) != 2:
        return False
    return len({np.shape(value)[:1] for value in source.values()}) == 1


def with_choices(episode: Trajectory) -> Trajectory:
    """Return an episode, its actions that are true or false as choices."""
    actions = np.asarray(episode.actions)
    if actions.dtype != bool:
        return episode
    return dataclasses.replace(episode, actions=actions.astype(int))
