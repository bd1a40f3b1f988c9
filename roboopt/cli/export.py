"""`roboopt export`: write a policy as files that run without JAX."""

import dataclasses
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from roboopt._errors import RobooptError, argument_called, require
from roboopt._reading import read_json
from roboopt.cli._flags import flag
from roboopt.cli._run_folder import SETTINGS, policy_file

OBSERVATIONS = 100  # random ones on which actions are compared
SATURATING = 1e3  # scale of observations that take actions to their limits
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

    policy: Path = flag(
        dataclasses.MISSING,
        "Folder of a run, or a file of roboopt.save.",
        shown="RUN",
        positional=True,
    )
    format: str = flag("numpy", "Format of the files.", choices=("numpy", "onnx"))
    out: Path | None = flag(
        None, "Folder of the files.", "export, in the run's folder", shown="DIR"
    )
    observation_size: int | None = flag(
        None, "Size of an observation.", "that of the run or the policy"
    )

    def run(self) -> int:
        """Export, compare, and say how the files are used; return the exit code."""
        file = policy_file(self.policy)
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
        import jax.numpy as jnp
        import numpy as np

        from roboopt.policies import Clipped

        size = self.observation_size or _observation_size(file, policy)
        observations = np.random.default_rng(0).standard_normal((OBSERVATIONS, size))
        if isinstance(policy, Clipped):
            # The second half reaches the limits of the actions.
            observations[OBSERVATIONS // 2 :] *= SATURATING
        _check_acts(policy, observations[0])
        export = _export_onnx if self.format == "onnx" else _export_numpy
        difference, largest, usage = export(policy, observations, out)
        print(
            f"Largest difference on {OBSERVATIONS} random observations: "
            f"{difference:.2g}, of actions up to {largest:.3g}."
        )
        wrong = difference > TOLERANCES[jnp.result_type(float).name] * largest
        if wrong:
            print("This is more than rounding: do not use these files.")
        print(f"\n{usage}")
        return int(wrong)


def _loaded(file: Path) -> Any:
    """Return the policy in `file`, in the precision in which it was saved."""
    import jax

    import roboopt as ro

    with argument_called("path", "policy"):
        arrays = ro.data.read_archive(file)
        if any(array.dtype == float for array in arrays.values()):
            jax.config.update("jax_enable_x64", True)
        policy = ro.load(file)
    if not callable(policy) and not isinstance(policy, ro.policies.StatefulPolicy):
        raise RobooptError(f"{file} must hold a policy, got a {type(policy).__name__}")
    return policy


def _observation_size(file: Path, policy: Any) -> int:
    """Return the size of an observation, as the run recorded or the policy tells it."""
    from roboopt.data import read_archive
    from roboopt.policies import OpenLoop, observation_size

    try:
        settings = read_json(file.parent / SETTINGS)
        return int(settings["environment"]["observation_size"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    for name in MOTIONS:
        if (file.parent / name).is_file():
            return read_archive(file.parent / name)["observations"].shape[-1]
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

    from roboopt.policies import act, initial_carry, observation_size

    def once(observation: Any, time: Any) -> Any:
        return act(policy, initial_carry(policy), observation, time)[1]

    try:
        jax.eval_shape(once, jnp.asarray(observation), jnp.zeros(()))
    except Exception as error:  # A policy may fail in any way on another size.
        reason, size = " ".join(str(error).split()), observation_size(policy)
        rule = f"be {size}, the size of an observation of the policy"
        given = len(observation)
        require(size in (None, given), "observation_size", rule, given)
        raise RobooptError(
            f"the policy fails on {len(observation)} numbers, give "
            f"--observation-size: {reason}"
        ) from error


def _export_numpy(
    policy: Any, observations: Any, folder: Path
) -> tuple[float, float, str]:
    """Return the largest difference, the largest action, and how to use the files."""
    import numpy as np

    from roboopt.export import agreement, export_numpy

    exported = export_numpy(policy, observations[0], folder)
    times = TIME_STEP_S * np.arange(len(observations))
    source = exported.runner.read_text("utf-8")
    timed = ", time" if "policy(observation, time)" in source else ""
    reset = "\npolicy.reset()  # at the beginning of an episode"
    usage = (
        f"{exported.arrays}\n{exported.runner}\n\nfrom policy import Policy\n"
        f'policy = Policy("{exported.arrays.name}")\n'
        f"action = policy(observation{timed})"
        f"{reset if 'def reset(self)' in source else ''}"
    )
    return *agreement(exported, policy, observations, times), usage


def _export_onnx(
    policy: Any, observations: Any, folder: Path
) -> tuple[float, float, str]:
    """Return the largest difference, the largest action, and how to use the file."""
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
    kind = jnp.result_type(float).name
    given = ", ".join(f'"{name}": np.asarray({name}, np.{kind})' for name in names)
    usage = (
        f"{file}\n\nimport numpy as np\nimport onnxruntime\n"
        f'session = onnxruntime.InferenceSession("{file.name}")\n'
        f"(action,) = session.run(None, {{{given}}})"
    )
    return difference, largest, usage
