"""Deploy a controller as one NumPy file, and run it at 500 Hz without JAX or roboopt.

A network from six joint values to two efforts is exported; a fresh Python process loads
the file, which needs NumPy alone, and steps it on a clock of 2 ms, as a loop on the
robot's computer would. Printed are the time that one action takes, and how far its
actions are from those of the policy in JAX.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import roboopt as ro

jax.config.update("jax_enable_x64", True)

LOOP = """
import sys, time
import numpy as np
sys.path.insert(0, sys.argv[1])
from policy import Policy

PERIOD = 0.002  # [s], 500 Hz
policy, observations = Policy(sys.argv[1] + "/policy.npz"), np.load(sys.argv[2])
actions, took, late = [], [], 0
due = time.perf_counter()
for observation in observations:  # on a robot: read the joints here
    start = time.perf_counter()
    actions.append(policy(observation))
    took.append(time.perf_counter() - start)
    due += PERIOD
    late += time.perf_counter() > due  # on a robot: send the action here
    time.sleep(max(0.0, due - time.perf_counter()))
np.save(sys.argv[3], actions)
assert "jax" not in sys.modules and "roboopt" not in sys.modules
median, worst = 1e6 * np.median(took), 1e6 * np.percentile(took, 99)
print(f"one action takes {median:.0f} µs, 99 % less than {worst:.0f} µs, of 2000 µs")
print(f"{late} of {len(actions)} actions came late")
"""


def main() -> float:
    """Export, run, and return the largest difference between the actions."""
    network = eqx.nn.MLP(6, 2, 64, 2, jnp.tanh, key=jax.random.key(0))
    policy = ro.policies.Clipped(network, jnp.full(2, -10.0), jnp.full(2, 10.0))
    observations = np.random.default_rng(0).normal(size=(1000, 6))
    with tempfile.TemporaryDirectory() as folder:
        ro.export.export_numpy(policy, observations[0], folder)
        seen, acted = Path(folder) / "seen.npy", Path(folder) / "acted.npy"
        np.save(seen, observations)
        command = [sys.executable, "-c", LOOP, folder, str(seen), str(acted)]
        subprocess.run(command, check=True)
        exported = np.load(acted)
    expected = jax.vmap(policy)(jnp.asarray(observations))
    gap = float(np.abs(exported - np.asarray(expected)).max())
    rounding = 10.0 ** np.ceil(np.log10(gap))
    print(f"the actions are those of the policy in JAX to {rounding:.0e}")
    return gap


if __name__ == "__main__":
    main()
