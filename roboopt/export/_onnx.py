"""Export to ONNX, by jax2onnx, for runtimes such as ONNX Runtime and TensorRT."""

from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from roboopt._errors import MissingPackage, RobooptError, require
from roboopt.data import atomic_write
from roboopt.export._numpy import check_action
from roboopt.policies import OpenLoop, StatefulPolicy, TimeVaryingPolicy


def export_onnx(policy: Any, observation: Any, path: str | PathLike) -> Path:
    """Write `policy` as an ONNX file of one output, `action`, and return its path.

    Its input is `observation`; for a `TimeVaryingPolicy` also `time` [s], which is the
    only input for an `OpenLoop`. Inputs without influence on the action are left out.

    Args:
        policy: a policy without chance or memory.
        observation: an example, of which shape and type matter.
        path: a file that ends in .onnx.

    Raises:
        ImportError: if jax2onnx is not installed.
        RobooptError: if `policy` has a memory, does not return one array, or uses a
            primitive that jax2onnx lacks.
    """
    path = Path(path)
    require(path.suffix == ".onnx", "path", "end in .onnx", path.name)
    if isinstance(policy, StatefulPolicy):
        raise RobooptError(
            "`policy` must have no memory to become an ONNX file, got a "
            f"{type(policy).__name__}: export it to NumPy."
        )
    try:
        from jax2onnx import to_onnx  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingPackage(
            "`export_onnx` needs jax2onnx: pip install 'roboopt[onnx]'"
        ) from error
    seen, inputs = jnp.asarray(observation), {}
    if not isinstance(policy, OpenLoop):
        inputs["observation"] = seen
    if isinstance(policy, OpenLoop | TimeVaryingPolicy):
        inputs["time"] = jnp.zeros((), jnp.result_type(float))
    check_action(jax.eval_shape(lambda *x: policy(*x), *inputs.values()))
    try:
        model: Any = to_onnx(
            lambda *x: policy(*x),
            [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs.values()],
            model_name=type(policy).__name__,
            enable_double_precision=seen.dtype == jnp.float64,
            input_names=list(inputs),
            output_names=["action"],
        )
    except NotImplementedError as error:
        raise RobooptError(
            f"`policy` must use primitives that jax2onnx has: {error}"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(model.SerializeToString())
    return path
