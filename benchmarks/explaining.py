"""Seconds to explain the gradient of a network policy over a long rollout.

A network of about 10,000 parameters (two hidden layers of 96) balances a cart-pole over
500 steps from 8 starts, on the task's cost plus energy. `ro.explain` differentiates
each term, evaluates every array ±1 % and six step sizes, and splits by time.
The first call compiles; the figure is of the second, at other weights.

    python benchmarks/explaining.py [--steps 500] [--width 96] [--starts 8]
"""

import argparse
import time
from typing import Any

import gymnasium
import jax
import numpy as np
import roboopt_envs  # noqa: F401

import roboopt as ro

GAINS = np.array([[-2.0], [-40.0], [-4.0], [-10.0]])  # of the policy's linear start


def main() -> None:
    """Explain twice, and print the seconds and the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--starts", type=int, default=8)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    env: Any = gymnasium.make("roboopt/CartPoleBalance-v0").unwrapped
    rollout = ro.Rollout(ro.Twin.from_env(env), arguments.steps)
    objective = ro.EnergyTaskCost(
        rollout, env.task, env.actuators, work_weight=0.1, joule_weight=0.1
    )
    starts = env.sample_starts(arguments.starts, seed=0)
    shown = env.sample_starts(256, seed=1)
    samples = ro.data.Demonstrations(shown, -shown @ GAINS)
    found = None
    for number in range(3):
        policy = ro.policies.MLPPolicy.of(
            samples, key=jax.random.key(number), width=arguments.width, depth=2
        )
        cpu, wall = time.process_time(), time.perf_counter()
        found = ro.explain(objective, policy, starts)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        what = "after compilation" if number else "with compilation"
        print(
            f"{sum(found.sizes)} parameters, {arguments.steps} steps, {what}: ", end=""
        )
        print(f"{wall:.2f} s wall, {cpu:.2f} s of CPU")
    print(found)


if __name__ == "__main__":
    main()
