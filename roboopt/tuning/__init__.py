"""Tuning: controllers improved on energy and task cost through a twin."""

from roboopt.tuning._comparison import Comparison as Comparison
from roboopt.tuning._comparison import Row as Row
from roboopt.tuning._comparison import compare as compare
from roboopt.tuning._parameters import named_arrays as named_arrays
from roboopt.tuning._problem import ROBOTS as ROBOTS
from roboopt.tuning._problem import TASKS as TASKS
from roboopt.tuning._problem import TuningProblem as TuningProblem
from roboopt.tuning._problem import run_name as run_name
from roboopt.tuning._result import TuneResult as TuneResult
from roboopt.tuning._rounds import descend as descend
from roboopt.tuning._tune import tune as tune
