"""How many numbers a policy wants to see, where its parts tell."""

from typing import Any

import equinox as eqx

from roboopt.networks import NormalizedMLP
from roboopt.policies import (
    ActorCritic,
    EnergyShapingSwingUp,
    GaussianExploration,
    GravityCompensated,
    LinearFeedback,
    ObservationHistory,
    PDGravityCompensation,
    TrackingController,
)
from roboopt.rl import ParameterNoise


def observation_size(policy: Any) -> int | None:
    """Return the size of the observations of `policy`; None if it cannot be told.

    Of controllers that read the beginning of an observation it is what they read.
    """
    if isinstance(policy, ObservationHistory):
        size = observation_size(policy.model)
        return None if size is None else size // policy.length
    if isinstance(policy, NormalizedMLP):
        return policy.size
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
    if isinstance(
        policy, GravityCompensated | ActorCritic | GaussianExploration | ParameterNoise
    ):
        return observation_size(policy.policy)
    for part in ("model", "network", "latent"):
        if isinstance(policy, eqx.Module) and hasattr(policy, part):
            return observation_size(getattr(policy, part))
    return None
