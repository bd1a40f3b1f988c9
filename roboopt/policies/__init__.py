"""Policies, which answer an observation, and plans, which follow the time."""

from roboopt._act import Actor, Plan, Tracker, act, begin
from roboopt.policies._actor_critic import ActorCritic
from roboopt.policies._categorical import CategoricalPolicy
from roboopt.policies._compensated import Compensated
from roboopt.policies._exploring import Exploring
from roboopt.policies._exploring_parameters import ExploringParameters
from roboopt.policies._flow import FlowPolicy
from roboopt.policies._fourier import FourierReference
from roboopt.policies._gaussian import GaussianPolicy, TanhGaussianPolicy
from roboopt.policies._linear import LinearFeedback
from roboopt.policies._memory import Chunked, Noisy, Sampled, WithHistory
from roboopt.policies._mixture import MixturePolicy
from roboopt.policies._network import NetworkPolicy
from roboopt.policies._pd import PDGravityCompensation
from roboopt.policies._spline import SplinePlan
from roboopt.policies._swing_up import EnergyShapingSwingUp
from roboopt.policies._tracking import TrackingController

__all__ = [
    "Actor",
    "ActorCritic",
    "CategoricalPolicy",
    "Chunked",
    "Compensated",
    "EnergyShapingSwingUp",
    "Exploring",
    "ExploringParameters",
    "FlowPolicy",
    "FourierReference",
    "GaussianPolicy",
    "LinearFeedback",
    "MixturePolicy",
    "NetworkPolicy",
    "Noisy",
    "PDGravityCompensation",
    "Plan",
    "Sampled",
    "SplinePlan",
    "TanhGaussianPolicy",
    "Tracker",
    "TrackingController",
    "WithHistory",
    "act",
    "begin",
]
