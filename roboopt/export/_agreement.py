"""The agreement of an exported policy with the policy, run in another process."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.export._numpy import Exported
from roboopt.policies import act, initial_carry

# The process can import NumPy alone, as on the robot.
SCRIPT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jax", "jaxlib", "equinox", "roboopt"):
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
folder, module, given, answer = sys.argv[1:]
sys.path.insert(0, folder)
import importlib, inspect
import numpy as np
policy = importlib.import_module(module).Policy(folder + "/" + module + ".npz")
with np.load(given) as file:
    observations, times = file["observations"], file["times"]
timed = "time" in inspect.signature(policy.__call__).parameters
actions = [policy(o, t) if timed else policy(o) for o, t in zip(observations, times)]
np.savez(answer, actions=np.stack(actions))
"""


class Agreement(NamedTuple):
    """How an exported policy's actions compare with those of the policy."""

    difference: float
    """The largest, in the actions' units."""
    largest: float
    """The largest action."""

    @property
    def relative(self) -> float:
        """Return the largest difference as a part of the largest action."""
        return self.difference / self.largest if self.largest else self.difference


def agreement(
    exported: Exported, policy: Any, observations: Any, times: Any
) -> Agreement:
    """Compare the actions on one episode, the exported ones made without JAX.

    Args:
        exported: what `export_numpy` returned.
        policy: what was exported.
        observations: (time, ...), in order.
        times: (time,) [s].

    Raises:
        RobooptError: if the exported policy fails, or its actions have another shape or
            type.
    """
    observations = np.asarray(jnp.asarray(observations))
    times = np.asarray(jnp.asarray(times, float))
    carry = initial_carry(policy)
    step = jax.jit(lambda carry, seen, time: act(policy, carry, seen, time))
    expected = []
    for observation, time in zip(observations, times, strict=True):
        carry, action = step(carry, jnp.asarray(observation), jnp.asarray(time))
        expected.append(np.asarray(action))
    expected = np.stack(expected)
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "given.npz", Path(folder) / "answer.npz"
        np.savez(given, observations=observations, times=times)
        place = exported.runner.resolve()
        command = [sys.executable, "-IB", "-c", SCRIPT, str(place.parent), place.stem]
        done = subprocess.run(
            [*command, str(given), str(answer)], capture_output=True, text=True
        )
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
    one, other = expected.astype(float), actions.astype(float)
    equal = (one == other) | (np.isnan(one) & np.isnan(other))
    apart = np.where(equal, 0.0, np.abs(one - np.where(equal, one, other)))
    finite = np.abs(one[np.isfinite(one)])
    return Agreement(float(apart.max(initial=0.0)), float(finite.max(initial=0.0)))
