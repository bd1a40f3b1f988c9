"""Optimizers: gradient descent on any objective, and nonlinear least squares."""

from roboopt._core import trainable_mask as trainable_mask
from roboopt.optimize._bounds import Bound as Bound
from roboopt.optimize._checkpoint import Checkpoint as Checkpoint
from roboopt.optimize._checkpoint import Part as Part
from roboopt.optimize._fit import Fit as Fit
from roboopt.optimize._least_squares import least_squares as least_squares
from roboopt.optimize._minimize import minimize as minimize
from roboopt.optimize._notes import NOTES as NOTES
from roboopt.optimize._optimizers import adam as adam
from roboopt.optimize._optimizers import scale_by_schedule as scale_by_schedule
from roboopt.optimize._partition import leaf_names as leaf_names
from roboopt.optimize._partition import partition as partition
from roboopt.optimize._partition import with_arrays as with_arrays
from roboopt.optimize._result import Result as Result
from roboopt.optimize._result import Status as Status
from roboopt.optimize._sources import Block as Block
from roboopt.optimize._sources import Source as Source
from roboopt.optimize._step_log import Log as Log
from roboopt.optimize._step_log import OneLog as OneLog
