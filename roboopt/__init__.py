"""Whatever a robot learns, something is minimised: objectives and one optimizer."""

from roboopt._act import Plan
from roboopt._frozen import Frozen
from roboopt.data import Trajectory, collect, load, save
from roboopt.dynamics import (
    Multibody,
    PositionMotors,
    Rollout,
    Twin,
    linearise,
    load_bullet,
    load_urdf,
)
from roboopt.objectives import EnergyTaskCost, Objective, Term
from roboopt.optimize import Bound, Result, Status, minimize
from roboopt.policies import (
    EnergyShapingSwingUp,
    LinearFeedback,
    NetworkPolicy,
    PDGravityCompensation,
    SplinePlan,
)

__version__ = "0.1.0"

__all__ = [
    "Bound",
    "EnergyShapingSwingUp",
    "EnergyTaskCost",
    "Frozen",
    "LinearFeedback",
    "Multibody",
    "NetworkPolicy",
    "Objective",
    "PDGravityCompensation",
    "Plan",
    "PositionMotors",
    "Result",
    "Rollout",
    "SplinePlan",
    "Status",
    "Term",
    "Trajectory",
    "Twin",
    "collect",
    "linearise",
    "load",
    "load_bullet",
    "load_urdf",
    "minimize",
    "save",
]
