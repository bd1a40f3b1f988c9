"""Policies, which answer an observation, and plans, which follow the time."""

from roboopt._act import Plan, Tracker, act
from roboopt.policies._fourier import FourierReference
from roboopt.policies._linear import LinearFeedback
from roboopt.policies._network import NetworkPolicy
from roboopt.policies._pd import PDGravityCompensation
from roboopt.policies._spline import SplinePlan
from roboopt.policies._swing_up import EnergyShapingSwingUp
from roboopt.policies._tracking import TrackingController

__all__ = [
    "EnergyShapingSwingUp",
    "FourierReference",
    "LinearFeedback",
    "NetworkPolicy",
    "PDGravityCompensation",
    "Plan",
    "SplinePlan",
    "Tracker",
    "TrackingController",
    "act",
]
