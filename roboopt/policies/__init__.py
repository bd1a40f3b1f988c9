"""Policies, which answer an observation, and plans, which follow the time."""

from roboopt._act import Plan, act
from roboopt.policies._linear import LinearFeedback
from roboopt.policies._network import NetworkPolicy
from roboopt.policies._pd import PDGravityCompensation
from roboopt.policies._spline import SplinePlan
from roboopt.policies._swing_up import EnergyShapingSwingUp

__all__ = [
    "EnergyShapingSwingUp",
    "LinearFeedback",
    "NetworkPolicy",
    "PDGravityCompensation",
    "Plan",
    "SplinePlan",
    "act",
]
