"""How many numbers a policy observes, where its parts tell."""

from typing import Any

import equinox as eqx

from roboopt.networks import NormalizedMLP
from roboopt.policies import (
    EnergyShapingSwingUp,
    LinearFeedback,
    ObservationHistory,
    PDGravityCompensation,
    TrackingController,
)


def observation_size(policy: Any) -> int | None:
    """Return the size of the observations of `policy`; None if its parts do not tell.

    For a controller that reads the beginning of an observation, the size is that of the
    part it reads.
    """
    if isinstance(policy, ObservationHistory):
        size = observation_size(policy.model)
        return None if size is None else size // policy.length
    if isinstance(policy, LinearFeedback):
        return policy.gains.shape[1]
    if isinstance(policy, PDGravityCompensation):
        return 3 * policy.log_stiffness.shape[0]
    if isinstance(policy, TrackingController):
        return 2 * policy.log_stiffness.shape[0]
    if isinstance(policy, EnergyShapingSwingUp):
        return 4
    if isinstance(policy, eqx.nn.MLP) and isinstance(policy.in_size, int):
        return policy.in_size
    if isinstance(policy, NormalizedMLP):
        return policy.size
    for part in ("policy", "model", "network", "latent"):
        if isinstance(inner := getattr(policy, part, None), eqx.Module):
            return observation_size(inner)
    return None
