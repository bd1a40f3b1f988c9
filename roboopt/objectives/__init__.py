"""Objectives: what is minimised, in one form."""

from roboopt.objectives._action_mismatch import ActionMismatch
from roboopt.objectives._each_member import EachMember
from roboopt.objectives._effort_error import EffortError
from roboopt.objectives._energy_task_cost import EnergyTaskCost
from roboopt.objectives._excitation import Excitation
from roboopt.objectives._flow_matching import FlowMatching, Noised, noised
from roboopt.objectives._keyed import Keyed
from roboopt.objectives._likelihood import LogLikelihood
from roboopt.objectives._losses import Absolute, Huber, Loss, Squared
from roboopt.objectives._multiple_shooting import MultipleShooting, Shooting
from roboopt.objectives._negative_reward import NegativeReward
from roboopt.objectives._objective import Objective, Sum, Term, total
from roboopt.objectives._prediction_error import PredictionError
from roboopt.objectives._prior import Prior
from roboopt.objectives._residuals import ResidualObjective
from roboopt.objectives._short_horizon import Window
from roboopt.objectives._trajectory_mismatch import TrajectoryMismatch

__all__ = [
    "Absolute",
    "ActionMismatch",
    "EachMember",
    "EffortError",
    "EnergyTaskCost",
    "Excitation",
    "FlowMatching",
    "Huber",
    "Keyed",
    "LogLikelihood",
    "Loss",
    "MultipleShooting",
    "NegativeReward",
    "Noised",
    "Objective",
    "PredictionError",
    "Prior",
    "ResidualObjective",
    "Shooting",
    "Squared",
    "Sum",
    "Term",
    "TrajectoryMismatch",
    "Window",
    "noised",
    "total",
]
