"""The optimizer: gradient descent on any objective, second order for least squares."""

from roboopt.optimize._bounds import Bound
from roboopt.optimize._least_squares import least_squares
from roboopt.optimize._minimize import Status, minimize
from roboopt.optimize._result import Result
from roboopt.optimize._source import BlockSource

__all__ = ["BlockSource", "Bound", "Result", "Status", "least_squares", "minimize"]
