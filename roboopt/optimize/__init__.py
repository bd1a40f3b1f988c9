"""The optimizer: gradient descent on any objective."""

from roboopt.optimize._bounds import Bound
from roboopt.optimize._minimize import Status, minimize
from roboopt.optimize._result import Result

__all__ = ["Bound", "Result", "Status", "minimize"]
