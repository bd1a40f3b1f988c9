"""Losses: how an error of a prediction or an action counts."""

from roboopt.losses._losses import L1 as L1
from roboopt.losses._losses import L2 as L2
from roboopt.losses._losses import FunctionLoss as FunctionLoss
from roboopt.losses._losses import Huber as Huber
from roboopt.losses._losses import Loss as Loss
from roboopt.losses._losses import as_loss as as_loss
from roboopt.losses._policy_losses import FlowBatch as FlowBatch
from roboopt.losses._policy_losses import FlowMatching as FlowMatching
from roboopt.losses._policy_losses import NegativeLogLikelihood as NegativeLogLikelihood
from roboopt.losses._policy_losses import flow_batches as flow_batches
