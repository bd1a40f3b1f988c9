"""Loggers for `log=`: what a descent is told of each step, kept or sent elsewhere."""

from roboopt.loggers._logger import Logger as Logger
from roboopt.loggers._loggers import LOGGERS as LOGGERS
from roboopt.loggers._loggers import JSONLines as JSONLines
from roboopt.loggers._loggers import TensorBoard as TensorBoard
from roboopt.loggers._services import MLflow as MLflow
from roboopt.loggers._services import WandB as WandB
