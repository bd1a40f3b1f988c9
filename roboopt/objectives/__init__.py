"""Objectives: scalar functions of a model and a batch, which add."""

from roboopt.objectives._action_mismatch import ActionMismatch as ActionMismatch
from roboopt.objectives._energy_task_cost import EnergyTaskCost as EnergyTaskCost
from roboopt.objectives._excitation import ExcitationCost as ExcitationCost
from roboopt.objectives._inverse_dynamics_error import (
    InverseDynamicsError as InverseDynamicsError,
)
from roboopt.objectives._multiple_shooting import MultipleShooting as MultipleShooting
from roboopt.objectives._multiple_shooting import ShootingVariables as ShootingVariables
from roboopt.objectives._negative_reward import NegativeReward as NegativeReward
from roboopt.objectives._objective import Keyed as Keyed
from roboopt.objectives._objective import Objective as Objective
from roboopt.objectives._objective import ResidualObjective as ResidualObjective
from roboopt.objectives._objective import Sum as Sum
from roboopt.objectives._objective import Term as Term
from roboopt.objectives._objective import over_ensemble as over_ensemble
from roboopt.objectives._objective import total as total
from roboopt.objectives._ppo_loss import PPOBatch as PPOBatch
from roboopt.objectives._ppo_loss import PPOLoss as PPOLoss
from roboopt.objectives._prediction_error import PredictionError as PredictionError
from roboopt.objectives._prior import Prior as Prior
from roboopt.objectives._rollout_objective import RolloutObjective as RolloutObjective
from roboopt.objectives._short_horizon_loss import (
    ShortHorizonBatch as ShortHorizonBatch,
)
from roboopt.objectives._short_horizon_loss import ShortHorizonLoss as ShortHorizonLoss
from roboopt.objectives._trajectory_mismatch import (
    TrajectoryMismatch as TrajectoryMismatch,
)
