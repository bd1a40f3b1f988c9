"""Which Gymnasium spaces a policy can observe and act in."""

from typing import Any

import numpy as np

from roboopt._errors import RobooptError


def check_observation_space(space: Any) -> None:
    """Refuse observations that are not one vector each.

    Raises:
        RobooptError: if `space` is not a Box of one axis.
    """
    from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

    if isinstance(space, Box) and len(space.shape) == 1:
        return
    advice = "wrap it with a `gymnasium.wrappers.TransformObservation`"
    if isinstance(space, Box | Dict | Tuple | Discrete | MultiDiscrete | MultiBinary):
        advice = "wrap it, `gymnasium.wrappers.FlattenObservation(env)`"
    if isinstance(space, Box):
        advice += ", or with a `TransformObservation` that makes features of its images"
    raise RobooptError(
        f"`env` must have observations in a Box of one axis, got {space}: {advice}."
    )


def check_action_space(space: Any) -> None:
    """Refuse actions that are neither one vector of real numbers nor discrete.

    Raises:
        RobooptError: if `space` is neither a floating-point Box with one axis, nor
            Discrete, nor MultiDiscrete with one axis.
    """
    from gymnasium.spaces import Box, Discrete, MultiDiscrete

    if isinstance(space, Discrete):
        return
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return
    floating = isinstance(space, Box) and np.issubdtype(space.dtype, np.floating)
    if floating and len(space.shape) == 1:
        return
    raise RobooptError(
        "`env` must have actions in a Box of floating point numbers with one axis, a "
        f"Discrete or a MultiDiscrete with one axis, got {space}: wrap it, "
        "`gymnasium.wrappers.TransformAction(env, function, space)`, where `space` is "
        "one of these."
    )
