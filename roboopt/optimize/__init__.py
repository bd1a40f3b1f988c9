"""The optimizer: gradient descent on any objective, second order for least squares."""

from roboopt.optimize._bounds import Bound
from roboopt.optimize._gradient import Exact, Gradient
from roboopt.optimize._least_squares import least_squares
from roboopt.optimize._minimize import Status, minimize
from roboopt.optimize._mixed import Mixed
from roboopt.optimize._result import Result
from roboopt.optimize._smoothed import Smoothed
from roboopt.optimize._source import Block, BlockSource

__all__ = [
    "Block",
    "BlockSource",
    "Bound",
    "Exact",
    "Gradient",
    "Mixed",
    "Result",
    "Smoothed",
    "Status",
    "least_squares",
    "minimize",
]
