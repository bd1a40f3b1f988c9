"""What a policy can observe and act in: Gymnasium spaces, and their sizes."""

from typing import Any

import equinox as eqx
import numpy as np

from roboopt._errors import RobooptError
from roboopt.networks import NormalizedMLP
from roboopt.policies._joint_control import PDGravityCompensation, TrackingController
from roboopt.policies._linear import LinearFeedback
from roboopt.policies._linear_policy import LinearPolicy
from roboopt.policies._memory import ObservationHistory
from roboopt.policies._past_actions import PastActions
from roboopt.policies._setpoint_shaping import SetpointShaping
from roboopt.policies._stable import StablePolicy
from roboopt.policies._swing_up import EnergyShapingSwingUp


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


def observation_size(policy: Any) -> int | None:
    """Return the size of the observations of `policy`; None if its parts do not tell.

    For a controller that reads the beginning of an observation, the size is that of the
    part it reads.
    """
    match policy:
        case ObservationHistory():
            return policy.observation_size
        case LinearFeedback():
            return policy.gains.shape[1]
        case PDGravityCompensation():
            return 3 * policy.log_stiffness.shape[0]
        case SetpointShaping():
            return 3 * policy.lead.shape[0]
        case TrackingController():
            return 2 * policy.log_stiffness.shape[0]
        case EnergyShapingSwingUp():
            return 4
        case eqx.nn.MLP(in_size=int(size)) | eqx.nn.Linear(in_features=int(size)):
            return size
        case NormalizedMLP() | LinearPolicy() | StablePolicy():
            return policy.size
        case PastActions():
            inner = observation_size(policy.model)
            past = policy.length * policy.first.value.size
            return None if inner is None else inner - past
    for part in ("policy", "model", "network", "latent"):
        if isinstance(inner := getattr(policy, part, None), eqx.Module):
            return observation_size(inner)
    return None
