"""How fast agents act in the twin: physics steps a second, policy included.

An agent with two hidden layers of 64 draws every action of so many cart-poles, in
single precision; episodes begin anew at their end. Prints for each number of twins the
best of several blocks of 128 steps, and the seconds of the first, with its compilation.

    python benchmarks/collecting.py [envs ...]
"""

import sys
import time

import jax
import numpy as np
from roboopt_envs.cart_pole import CartPoleSwingUp

import roboopt as ro

ENVS = (64, 256, 1024)
STEPS, BLOCKS = 128, 20


def measure(envs: int) -> tuple[float, float]:
    """Return steps a second, and the seconds of the first block."""
    env = CartPoleSwingUp()
    space = env.action_space
    agent = ro.policies.ActorCritic.of(4, space, key=jax.random.key(0), angles=(1,))
    starts = env.sample_starts(512, seed=0)
    world = ro.rollouts.TwinVectorEnv(
        ro.rollouts.twin_rollout(env).require(), starts, envs
    )
    world.begin(0)
    seconds = []
    for block in range(BLOCKS + 1):
        began = time.perf_counter()
        steps, _ = world.collect(agent, jax.random.key(block), STEPS)
        np.asarray(steps.rewards)
        seconds.append(time.perf_counter() - began)
    env.close()
    return envs * STEPS / min(seconds[1:]), seconds[0]


def main() -> None:
    """Measure what the arguments name, or every number of twins."""
    for envs in [int(word) for word in sys.argv[1:]] or ENVS:
        rate, first = measure(envs)
        print(f"{envs:5d} twins: {rate / 1e6:.2f} million steps/s, first {first:.1f} s")


if __name__ == "__main__":
    main()
