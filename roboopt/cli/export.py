"""`roboopt export`: write a policy as files that run without JAX."""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import tyro

from roboopt._errors import RobooptError
from roboopt.cli._flags import flag
from roboopt.cli._run_folder import ACTORS, SETTINGS, actor_file
from roboopt.cli._usage import require_choice, require_count

FORMATS = ("numpy", "onnx")
OBSERVATIONS = 100  # random ones on which actions are compared
TIME_STEP_S = 0.01  # between them
TOLERANCES = {"float64": 1e-6, "float32": 1e-3}  # of the largest action
MOTIONS = ("after.npz", "before.npz")


@dataclass(frozen=True)
class Export:
    """Write a policy as files that run without JAX and roboopt.

    As numpy these are policy.npz and policy.py, which needs NumPy alone; as onnx,
    policy.onnx. The files are run on random observations in another process, and their
    actions are compared with those of the policy.
    """

    policy: Annotated[
        Path,
        tyro.conf.Positional,
        flag("RUN", "Folder of a run, or a file of roboopt.save."),
    ]
    format: Annotated[str, flag("{numpy,onnx}", "Format of the files.")] = "numpy"
    out: Annotated[
        Path | None, flag("DIR", "Folder of the files.", "export, in the run's folder")
    ] = None
    observation_size: Annotated[
        int | None,
        flag("INT", "Size of an observation.", "that of the run or the policy"),
    ] = None

    def run(self) -> int:
        """Export, compare, and say how the files are used; return the exit code."""
        require_choice("--format", self.format, FORMATS)
        require_count("--observation-size", self.observation_size)
        file = self.policy
        if file.is_dir():
            found = actor_file(file)
            if found is None:
                raise RobooptError(f"{file} holds no {' or '.join(ACTORS)}")
            file = found
        out = file.parent / "export" if self.out is None else self.out
        if out.exists() and not out.is_dir():
            raise RobooptError(f"--out must be a folder, got {out}")
        if self.format == "onnx":
            missing = [m for m in ("jax2onnx", "onnxruntime") if find_spec(m) is None]
            if missing:
                raise RobooptError(
                    f"--format onnx needs {', '.join(missing)}: pip install "
                    "'roboopt[onnx]'"
                )
        policy = _loaded(file)
        import numpy as np

        size = self.observation_size or _recorded_size(file) or _told_size(policy)
        observations = np.random.default_rng(0).standard_normal((OBSERVATIONS, size))
        _check_acts(policy, observations[0])
        export = _export_onnx if self.format == "onnx" else _export_numpy
        return export(policy, observations, out)


def _loaded(file: Path) -> Any:
    """Return the policy in `file`, in the precision in which it was saved."""
    import jax

    import roboopt as ro

    arrays = ro.data.read_archive(file)
    if any(array.dtype == float for array in arrays.values()):
        jax.config.update("jax_enable_x64", True)
    policy = ro.load(file)
    if not callable(policy) and not isinstance(policy, ro.policies.StatefulPolicy):
        raise RobooptError(f"{file} must hold a policy, got a {type(policy).__name__}")
    return policy


def _recorded_size(file: Path) -> int | None:
    """Return the size of the observations that the run recorded, if it did."""
    from roboopt.data import read_archive

    try:
        settings = json.loads((file.parent / SETTINGS).read_text("utf-8"))
        return int(settings["environment"]["observation_size"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    for name in MOTIONS:
        try:
            return int(read_archive(file.parent / name)["observations"].shape[-1])
        except (RobooptError, LookupError):
            continue
    return None


def _told_size(policy: Any) -> int:
    from roboopt.policies import OpenLoop, observation_size

    size = 1 if isinstance(policy, OpenLoop) else observation_size(policy)
    if size is None:
        raise RobooptError(
            f"give --observation-size: a {type(policy).__name__} does not tell it"
        )
    return size


def _check_acts(policy: Any, observation: Any) -> None:
    """Check that the policy accepts an observation of this size."""
    import jax
    import jax.numpy as jnp

    from roboopt.policies import act, initial_carry

    def once(observation: Any, time: Any) -> Any:
        return act(policy, initial_carry(policy), observation, time)[1]

    try:
        jax.eval_shape(once, jnp.asarray(observation), jnp.zeros(()))
    except Exception as error:  # A policy may fail in any way on another size.
        reason = " ".join(str(error).split())
        raise RobooptError(
            f"the policy fails on {len(observation)} numbers, give "
            f"--observation-size: {reason}"
        ) from error


def _export_numpy(policy: Any, observations: Any, folder: Path) -> int:
    import numpy as np

    from roboopt.export import agreement, export_numpy

    exported = export_numpy(policy, observations[0], folder)
    times = TIME_STEP_S * np.arange(len(observations))
    code = _print_agreement(*agreement(exported, policy, observations, times))
    source = exported.runner.read_text("utf-8")
    timed = "policy(observation, time)" in source
    print(f"\n{exported.arrays}\n{exported.runner}\n\nfrom policy import Policy")
    print(f'policy = Policy("{exported.arrays.name}")')
    print(f"action = policy(observation{', time' if timed else ''})")
    if "def reset(self)" in source:
        print("policy.reset()  # at the beginning of an episode")
    return code


def _export_onnx(policy: Any, observations: Any, folder: Path) -> int:
    import jax.numpy as jnp
    import numpy as np
    import onnxruntime  # pyright: ignore[reportMissingImports]

    from roboopt.export import export_onnx
    from roboopt.policies import act

    file = export_onnx(policy, observations[0], folder / "policy.onnx")
    session = onnxruntime.InferenceSession(str(file))
    names = [given.name for given in session.get_inputs()]
    difference = largest = 0.0
    for i, observation in enumerate(observations):
        seen, time = jnp.asarray(observation), jnp.asarray(TIME_STEP_S * i)
        inputs = {"observation": np.asarray(seen), "time": np.asarray(time)}
        (action,) = session.run(None, {name: inputs[name] for name in names})
        expected = np.asarray(act(policy, None, seen, time)[1])
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
    import jax.numpy as jnp

    print(
        f"Largest difference on {OBSERVATIONS} random observations: {difference:.2g}, "
        f"of actions up to {largest:.3g}."
    )
    if difference > TOLERANCES[jnp.result_type(float).name] * largest:
        print("This is more than rounding: do not use these files.")
        return 1
    return 0
