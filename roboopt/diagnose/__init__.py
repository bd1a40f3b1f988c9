"""Diagnosis: what data can tell of a model, and whether a gradient leads anywhere."""

from roboopt.diagnose._excite import design_excitation
from roboopt.diagnose._gradient_health import gradient_health
from roboopt.diagnose._identifiability import Verdict, identifiability
from roboopt.diagnose._norm_by_horizon import HorizonNorms, norm_by_horizon

__all__ = [
    "HorizonNorms",
    "Verdict",
    "design_excitation",
    "gradient_health",
    "identifiability",
    "norm_by_horizon",
]
