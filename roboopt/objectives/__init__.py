"""Objectives: what is minimised, in one form."""

from roboopt.objectives._each_member import EachMember
from roboopt.objectives._effort_error import EffortError
from roboopt.objectives._energy_task_cost import EnergyTaskCost
from roboopt.objectives._excitation import Excitation
from roboopt.objectives._keyed import Keyed
from roboopt.objectives._losses import Huber, Loss, Squared
from roboopt.objectives._multiple_shooting import MultipleShooting, Shooting
from roboopt.objectives._objective import Objective, Sum, Term, total
from roboopt.objectives._prediction_error import PredictionError
from roboopt.objectives._prior import Prior
from roboopt.objectives._residuals import ResidualObjective

__all__ = [
    "EachMember",
    "EffortError",
    "EnergyTaskCost",
    "Excitation",
    "Huber",
    "Keyed",
    "Loss",
    "MultipleShooting",
    "Objective",
    "PredictionError",
    "Prior",
    "ResidualObjective",
    "Shooting",
    "Squared",
    "Sum",
    "Term",
    "total",
]
