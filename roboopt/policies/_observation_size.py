"""The size of the observations that a policy takes, where its parts tell."""

from typing import Any

import equinox as eqx

from roboopt.networks import NormalizedMLP
from roboopt.policies._linear import LinearFeedback
from roboopt.policies._memory import ObservationHistory
from roboopt.policies._pd import PDGravityCompensation
from roboopt.policies._swing_up import EnergyShapingSwingUp
from roboopt.policies._tracking import TrackingController


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
        case TrackingController():
            return 2 * policy.log_stiffness.shape[0]
        case EnergyShapingSwingUp():
            return 4
        case eqx.nn.MLP(in_size=int(size)) | NormalizedMLP(size=size):
            return size
    for part in ("policy", "model", "network", "latent"):
        if isinstance(inner := getattr(policy, part, None), eqx.Module):
            return observation_size(inner)
    return None
