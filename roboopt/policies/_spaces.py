"""Which Gymnasium spaces a policy can observe and act in."""

from typing import Any

import numpy as np

from roboopt._errors import RobooptError


def check_observation_space(
    space: Any, rule: str = "`env` must have observations in"
) -> None:
    """Refuse observations that are not one vector each; `rule` begins the message."""
    if not hasattr(space, "low") or len(space.shape) != 1:
        raise RobooptError(
            f"{rule} a Box of one axis, got {space}: wrap the environment, "
            "`gymnasium.wrappers.FlattenObservation(env)`, or a `TransformObservation` "
            "that makes features of images."
        )


def check_action_space(space: Any, rule: str = "`env` must have actions in") -> None:
    """Refuse actions that are neither one vector of real numbers nor discrete."""
    from gymnasium.spaces import Box

    floating = isinstance(space, Box) and np.issubdtype(space.dtype, np.floating)
    if not (floating and len(space.shape) == 1) and choices(space) is None:
        raise RobooptError(
            f"{rule} a Box of floating point numbers with one axis, a Discrete or a "
            f"MultiDiscrete with one axis, got {space}: wrap the environment, "
            "`gymnasium.wrappers.TransformAction(env, function, space)`, where `space` "
            "is one of these."
        )


def choices(space: Any) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the start and the size of each axis of discrete actions, else None."""
    from gymnasium.spaces import Discrete, MultiDiscrete

    if isinstance(space, Discrete):
        return (int(space.start),), (int(space.n),)
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return tuple(space.start.tolist()), tuple(space.nvec.tolist())
    return None
