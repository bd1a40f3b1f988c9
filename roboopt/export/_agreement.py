"""The agreement of an exported policy with the policy, run in another process."""

import subprocess
import sys
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.export._numpy import Exported
from roboopt.policies import act, initial_carry

# The process can import NumPy alone, as on the robot.
SCRIPT = """
import importlib.util, inspect, sys
sys.modules.update(dict.fromkeys(("jax", "jaxlib", "equinox", "roboopt")))
import numpy as np
folder, module, given, answer = sys.argv[1:]
# Not through sys.path: other files in the folder are not meant.
spec = importlib.util.spec_from_file_location(module, folder + "/" + module + ".py")
exported = importlib.util.module_from_spec(spec)
spec.loader.exec_module(exported)
policy = exported.Policy(folder + "/" + module + ".npz")
with np.load(given) as file:
    observations, times = file["observations"], file["times"]
timed = "time" in inspect.signature(policy.__call__).parameters
actions = [policy(o, t) if timed else policy(o) for o, t in zip(observations, times)]
np.savez(answer, actions=np.stack(actions))
"""


def agreement(
    exported: Exported, policy: Any, observations: Any, times: Any
) -> tuple[float, float]:
    """Return the largest difference from the policy's actions, and the largest action.

    The exported policy acts on the same episode in a process without JAX.

    Args:
        exported: the files that `export_numpy` wrote.
        policy: the policy that was exported.
        observations: (time, ...), in order.
        times: (time,) [s].

    Raises:
        RobooptError: if the exported policy fails, or its actions have another shape or
            type.
    """
    seen, times = jnp.asarray(observations), jnp.asarray(times, float)
    step = lambda carry, inputs: act(policy, carry, *inputs)  # noqa: E731
    expected = jax.lax.scan(step, initial_carry(policy), (seen, times))[1]
    with tempfile.TemporaryDirectory() as folder:
        given, answer = f"{folder}/given.npz", f"{folder}/answer.npz"
        np.savez(given, observations=seen, times=times)
        place = exported.runner.resolve()
        command = [sys.executable, "-IB", "-c", SCRIPT, str(place.parent), place.stem]
        done = subprocess.run([*command, given, answer], capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason"])[-1]
            raise RobooptError(f"`exported` must run, got: {last}")
        with np.load(answer) as file:
            actions = file["actions"]
    if actions.shape != expected.shape or actions.dtype != expected.dtype:
        raise RobooptError(
            f"`exported` must return {expected.shape} of {expected.dtype}, got "
            f"{actions.shape} of {actions.dtype}."
        )
    expected, actions = np.asarray(expected, float), actions.astype(float)
    same = (expected == actions) | (np.isnan(expected) & np.isnan(actions))
    apart = np.abs(expected[~same] - actions[~same])
    finite = np.abs(expected[np.isfinite(expected)])
    return float(apart.max(initial=0.0)), float(finite.max(initial=0.0))
