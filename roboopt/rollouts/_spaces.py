"""What an environment shows, and what of a policy's answer it takes and is recorded.

Continuous actions are clipped to their limits, as actuators do; choices are integers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from roboopt._errors import RobooptError


class Refused(ValueError):
    """An action that no environment could take; says why, but not who took it when."""


class Actions(NamedTuple):
    """How the actions of a space are recorded, and how they are handed on."""

    read: Callable[[Any], np.ndarray]
    """Returns what is recorded of what a policy returned, (act,); or `Refused`."""
    give: Callable[[np.ndarray], Any]
    """Returns what the environment takes, of what is recorded."""


def check_observations(env: Any) -> None:
    """Refuse an environment whose observations are not one vector each.

    Raises:
        RobooptError: if so, or if it is many environments in one.
    """
    from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

    if hasattr(env, "single_action_space"):
        raise RobooptError(f"`env` must be one environment, got the vector of {env}.")
    space = env.observation_space
    if isinstance(space, Box) and len(space.shape) == 1:
        return
    if isinstance(space, Dict | Tuple | Discrete | MultiDiscrete | MultiBinary):
        advice = "wrap it, `gymnasium.wrappers.FlattenObservation(env)`"
    elif isinstance(space, Box):
        advice = (
            "wrap it, `gymnasium.wrappers.FlattenObservation(env)`, or with a "
            "`TransformObservation` that makes features of its images"
        )
    else:
        advice = "wrap it with a `gymnasium.wrappers.TransformObservation`"
    raise RobooptError(
        f"`env` must have observations in a Box of one axis, got {space}: {advice}."
    )


def actions_of(space: Any) -> Actions:
    """Return how the actions of `space` are read and given.

    Raises:
        RobooptError: if it is neither a Box of floating point numbers with one axis,
        nor
            Discrete, nor MultiDiscrete with one axis.
    """
    from gymnasium.spaces import Box, Discrete, MultiDiscrete

    if isinstance(space, Discrete):
        return Actions(_choice(space), lambda recorded: int(recorded[0]))
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return Actions(_choices(space), np.copy)
    floating = isinstance(space, Box) and np.issubdtype(space.dtype, np.floating)
    if floating and len(space.shape) == 1:
        return Actions(_numbers(space), np.copy)
    raise RobooptError(
        "`env` must have actions in a Box of floating point numbers with one axis, a "
        f"Discrete or a MultiDiscrete with one axis, got {space}: wrap it, "
        "`gymnasium.wrappers.TransformAction(env, function, space)`, where `space` is "
        "one of these."
    )


def _numbers(space: Any) -> Callable[[Any], np.ndarray]:
    shape, low, high, dtype = space.shape, space.low, space.high, space.dtype

    def read(raw: Any) -> np.ndarray:
        # A copy: it may be memory of JAX, or of a policy that writes over it.
        action = np.array(raw)
        if action.shape != shape or action.dtype.kind not in "fiu":
            raise Refused(
                f"must return numbers of shape {shape}, got {_described(action)}"
            )
        clipped = np.minimum(np.maximum(action, low), high)
        if not np.isfinite(clipped).all():
            raise Refused(f"must return finite actions, got {action}")
        # Last, for what is beyond the limits may be beyond the type.
        return clipped.astype(dtype, copy=False)

    return read


def _choice(space: Any) -> Callable[[Any], np.ndarray]:
    first, last = int(space.start), int(space.start + space.n - 1)

    def read(raw: Any) -> np.ndarray:
        action = np.asarray(raw)
        if action.shape not in ((), (1,)) or action.dtype.kind not in "fiub":
            raise Refused(f"must return an integer, got {_described(action)}")
        value = action.item()
        if not first <= value <= last or value != int(value):
            raise Refused(f"must choose an integer from {first} to {last}, got {value}")
        return np.array([int(value)])

    return read


def _choices(space: Any) -> Callable[[Any], np.ndarray]:
    shape, first, last = space.shape, space.start, space.start + space.nvec - 1

    def read(raw: Any) -> np.ndarray:
        action = np.asarray(raw)
        if action.shape != shape or action.dtype.kind not in "fiub":
            raise Refused(
                f"must return integers of shape {shape}, got {_described(action)}"
            )
        if not np.all((first <= action) & (action <= last) & (action % 1 == 0)):
            raise Refused(f"must choose integers from {first} to {last}, got {action}")
        return action.astype(int)

    return read


def _described(action: np.ndarray) -> str:
    return f"{action.dtype} of shape {action.shape}"
