"""Diagnosis: what data can tell of a model, and what they cannot."""

from roboopt.diagnose._excite import design_excitation
from roboopt.diagnose._identifiability import Verdict, identifiability

__all__ = ["Verdict", "design_excitation", "identifiability"]
