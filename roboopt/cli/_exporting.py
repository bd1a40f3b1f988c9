"""The work of `roboopt export`."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt.cli._export import Export
from roboopt.cli._run_folder import SETTINGS
from roboopt.cli._usage import UsageError
from roboopt.policies import OpenLoop

OBSERVATIONS = 100  # random ones that are compared
TIME_STEP = 0.01  # s between them
# Of the largest action, what rounding explains in each type of numbers.
TOLERANCES = {"float64": 1e-6, "float32": 1e-3}
MOTIONS = ("after.npz", "before.npz")


def export(arguments: Export) -> int:
    """Export the controller, compare, and say how the files are used.

    Raises:
        UsageError: if the file holds no controller, the size of its observations cannot
            be told, or it cannot be exported.
    """
    if arguments.format == "onnx":
        missing = [m for m in ("jax2onnx", "onnxruntime") if find_spec(m) is None]
        if missing:
            raise UsageError(
                f"--format onnx needs {', '.join(missing)}: pip install 'roboopt[onnx]'"
            )
    controller = _loaded(arguments.file)
    size = arguments.observation_size or _recorded(arguments.file) or _told(controller)
    observations = np.random.default_rng(0).standard_normal((OBSERVATIONS, size))
    _check_acts(controller, observations[0])
    try:
        if arguments.format == "onnx":
            return _export_onnx(controller, observations, arguments.folder)
        return _export_numpy(controller, observations, arguments.folder)
    except (ValueError, OSError) as error:
        raise UsageError(" ".join(str(error).split())) from error


def _loaded(file: Path) -> Any:
    """Return the controller in `file`, in the type of numbers that it was saved in."""
    import roboopt as ro

    try:
        with np.load(file, allow_pickle=False) as arrays:
            double = any(arrays[name].dtype == np.float64 for name in arrays.files)
        if double:
            jax.config.update("jax_enable_x64", True)
        controller = ro.load(file)
    except Exception as error:  # whatever a file that is no archive brings about
        reason = " ".join(str(error).split())
        raise UsageError(f"{file} is not a saved controller: {reason}") from error
    if not callable(controller) and not isinstance(
        controller, ro.policies.StatefulPolicy
    ):
        raise UsageError(
            f"{file} must hold a controller, got a {type(controller).__name__}"
        )
    return controller


def _recorded(file: Path) -> int | None:
    """Return the size of the observations that the run recorded, if it did."""
    try:
        settings = json.loads((file.parent / SETTINGS).read_text("utf-8"))
        return int(settings["environment"]["observation_size"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    for name in MOTIONS:
        try:
            with np.load(file.parent / name, allow_pickle=False) as motions:
                return int(motions["observations"].shape[-1])
        except (OSError, ValueError, LookupError):
            continue
    return None


def _told(controller: Any) -> int:
    from roboopt.export import observation_size

    if isinstance(controller, OpenLoop):
        return 1
    size = observation_size(controller)
    if size is None:
        raise UsageError(
            f"give --observation-size: a {type(controller).__name__} does not tell it"
        )
    return size


def _check_acts(controller: Any, observation: np.ndarray) -> None:
    """Raise a UsageError if the controller fails on an observation of this size."""
    import roboopt as ro

    if isinstance(controller, ro.policies.StatefulPolicy):
        return  # Whether it takes chance is said by the export.
    from roboopt.policies import act

    def once(observation, time):
        return act(controller, None, observation, time)[1]

    try:
        jax.eval_shape(once, jnp.asarray(observation), jnp.zeros(()))
    except Exception as error:  # whatever a controller brings about
        reason = " ".join(str(error).split())
        raise UsageError(
            f"the controller fails on {len(observation)} numbers, give "
            f"--observation-size: {reason}"
        ) from error


def _export_numpy(controller: Any, observations: np.ndarray, folder: Path) -> int:
    from roboopt.export import agreement, export_numpy

    exported = export_numpy(controller, observations[0], folder)
    times = TIME_STEP * np.arange(len(observations))
    found = agreement(exported, controller, observations, times)
    code = _print_agreement(found.difference, found.largest)
    source = exported.runner.read_text("utf-8")
    timed = "policy(observation, time)" in source
    print(f"\n{exported.arrays}\n{exported.runner}\n")
    print("from policy import Policy")
    print(f'policy = Policy("{exported.arrays.name}")')
    print(f"action = policy(observation{', time' if timed else ''})")
    if "def reset(self)" in source:
        print("policy.reset()  # when an episode begins")
    return code


def _export_onnx(controller: Any, observations: np.ndarray, folder: Path) -> int:
    import onnxruntime  # pyright: ignore[reportMissingImports]

    from roboopt.export import export_onnx
    from roboopt.policies import act

    file = export_onnx(controller, observations[0], folder / "policy.onnx")
    session = onnxruntime.InferenceSession(str(file))
    names = [given.name for given in session.get_inputs()]
    difference = largest = 0.0
    for i, observation in enumerate(observations):
        seen, time = jnp.asarray(observation), jnp.asarray(TIME_STEP * i)
        inputs = {"observation": np.asarray(seen), "time": np.asarray(time)}
        (action,) = session.run(None, {name: inputs[name] for name in names})
        expected = np.asarray(act(controller, None, seen, time)[1])
        difference = max(difference, float(np.max(np.abs(action - expected))))
        largest = max(largest, float(np.max(np.abs(expected))))
    code = _print_agreement(difference, largest)
    given = ", ".join(f'"{name}": {name}' for name in names)
    print(f"\n{file}\n\nimport onnxruntime")
    print(f'session = onnxruntime.InferenceSession("{file.name}")')
    print(f"(action,) = session.run(None, {{{given}}})")
    return code


def _print_agreement(difference: float, largest: float) -> int:
    """Say how far apart the actions are, and return the exit code."""
    print(
        f"Largest difference on {OBSERVATIONS} random observations: {difference:.2g}, "
        f"of actions up to {largest:.3g}."
    )
    tolerance = TOLERANCES[jnp.result_type(float).name]
    if difference > tolerance * largest:
        print("This is more than rounding: do not use these files.")
        return 1
    return 0
