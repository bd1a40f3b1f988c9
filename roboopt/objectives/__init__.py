"""Objectives: what is minimised, in one form."""

from roboopt.objectives._energy_task_cost import EnergyTaskCost
from roboopt.objectives._objective import Objective, Sum, Term, total

__all__ = ["EnergyTaskCost", "Objective", "Sum", "Term", "total"]
