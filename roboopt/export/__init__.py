"""Export: a saved policy as files that run where neither JAX nor roboopt is."""

from roboopt.export._agreement import Agreement, agreement
from roboopt.export._numpy import Exported, export_numpy
from roboopt.export._onnx import export_onnx
from roboopt.export._size import observation_size

__all__ = [
    "Agreement",
    "Exported",
    "agreement",
    "export_numpy",
    "export_onnx",
    "observation_size",
]
