"""Export: a policy as files that run without JAX and roboopt."""

from roboopt.export._agreement import agreement as agreement
from roboopt.export._numpy import Exported as Exported
from roboopt.export._numpy import export_numpy as export_numpy
from roboopt.export._onnx import export_onnx as export_onnx
