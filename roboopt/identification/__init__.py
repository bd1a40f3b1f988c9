"""Identification: from a robot's recordings to a fitted model with a verdict."""

from roboopt.identification._forecast import Forecasts, forecasts
from roboopt.identification._identify import Identification, identify
from roboopt.identification._noise import cutoff_frequency, noise_share

__all__ = [
    "Forecasts",
    "Identification",
    "cutoff_frequency",
    "forecasts",
    "identify",
    "noise_share",
]
