"""The same computations on the CPU and on an accelerator: do they agree, which wins?

The double pendulum of `examples/`, held upright by its motors, in double precision
(agreement) and in single precision (speed):

- collecting: an agent with two hidden layers of 64 acts in so many twins at once;
- descent: value and gradient of energy plus task cost by a network's parameters, over
  240 steps from so many starts;
- cloning: `minimize` on 200,000 samples, networks of two hidden layers.

Needs the core alone. Times are medians of compiled runs, and where JAX finds no
accelerator the CPU's alone are printed:

    python benchmarks/accelerator.py [agreement] [speed]
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import roboopt as ro

URDF = Path(__file__).parents[1] / "examples/double_pendulum/double_pendulum.urdf"
HORIZON, RUNS = 240, 5


class Upright:
    """Both links upright, with little effort."""

    def cost_rate(self, observation: Any, action: Any) -> Any:
        """Return the cost per second [1/s]."""
        first, second = observation[..., 0], observation[..., 1]
        height = jnp.cos(first) + jnp.cos(first + second)
        return 2 + height + 1e-3 * jnp.sum(jnp.square(action), -1)

    def success(self, observations: Any, time_step: float) -> Any:
        """Return whether each motion ends within 0.1 of upright."""
        first, second = observations[..., -1, 0], observations[..., -1, 1]
        return 2 + jnp.cos(first) + jnp.cos(first + second) < 0.1


class Motors:
    """Motors whose mechanical work counts, without resistance."""

    def mechanical_power(self, effort: Any, velocity: Any, next_velocity: Any) -> Any:
        """Return the magnitude of the power of each joint [W]."""
        return jnp.abs(effort * (velocity + next_velocity) / 2)

    def joule_power(self, effort: Any) -> Any:
        """Return zero for each joint [W]."""
        return 0 * effort


def starts(count: int) -> np.ndarray:
    """Return starts near upright, in JAX's precision."""
    drawn = np.random.default_rng(0).normal(size=(count, 4)) * 0.1
    return (drawn + [np.pi, 0, 0, 0]).astype(jnp.zeros(()).dtype)


def rollout() -> ro.Rollout:
    """Return a second of the arm at 240 Hz."""
    twin = ro.Twin(ro.load_urdf(URDF), 1 / 240, effort_limits=10.0)
    return ro.Rollout(twin, HORIZON, reward=Upright())


def policy(width: int = 64) -> Any:
    """Return a network policy of the arm's states."""
    seen = starts(256)
    samples = ro.data.Demonstrations(seen, np.zeros((256, 2), seen.dtype))
    return ro.policies.MLPPolicy.of(
        samples, key=jax.random.key(0), width=width, depth=2
    )


def collecting(envs: int) -> tuple[Callable[[], Any], float, str]:
    """Return a run of 64 steps in each of `envs` twins, its steps, and their name."""
    limits = -10 * np.ones(2), 10 * np.ones(2)
    agent = ro.policies.ActorCritic.of(4, limits, key=jax.random.key(0))
    world = ro.rollouts.TwinVectorEnv(rollout(), starts(512), envs)
    world.begin(0)
    key = jax.random.key(1)
    return (
        lambda: world.collect(agent, key, 64)[0].rewards,
        64 * envs,
        f"collecting, {envs} twins [steps/s]",
    )


def descent(count: int) -> tuple[Callable[[], Any], float, str]:
    """Return value and gradient from `count` starts, its steps, and their name."""
    objective = ro.EnergyTaskCost(rollout(), Upright(), Motors(), work_weight=0.1)
    gradient = jax.jit(jax.value_and_grad(objective))
    model, batch = policy(), starts(count)
    return (
        lambda: gradient(model, batch),
        HORIZON * count,
        f"value and gradient, {count} starts [steps/s]",
    )


def cloning(width: int, batch: int) -> tuple[Callable[[], Any], float, str]:
    """Return a fit of 2000 or 200 steps, its steps, and their name."""
    observations = starts(200_000)
    samples = ro.data.Demonstrations(observations, np.sin(3 * observations[:, :2]))
    model, objective = policy(width), ro.ActionMismatch(scale=(1.0, 1.0))
    steps = 2000 if width < 256 else 200
    return (
        lambda: (
            ro.minimize(objective, model, samples, steps=steps, batch_size=batch).model
        ),
        steps,
        f"cloning, {width}-{width}, batches of {batch} [steps/s]",
    )


def rate(run: Callable[[], Any], count: float) -> float:
    """Return how many a second the compiled run makes."""
    jax.block_until_ready(run())
    spent = []
    for _ in range(RUNS):
        began = time.perf_counter()
        jax.block_until_ready(run())
        spent.append(time.perf_counter() - began)
    return count / statistics.median(spent)


CASES: list[tuple[Callable[..., Any], tuple[int, ...]]] = [
    *((collecting, (envs,)) for envs in (64, 1024, 16_384)),
    *((descent, (count,)) for count in (16, 256, 4096)),
    *((cloning, sizes) for sizes in ((64, 256), (1024, 8192))),
]


def compare_values(devices: list[Any]) -> None:
    """Print the largest relative difference of value and gradient from the CPU's."""
    with jax.enable_x64(True):
        found = []
        for device in devices:
            with jax.default_device(device):
                leaves = jax.tree.leaves(descent(16)[0]())
                found.append([np.asarray(leaf) for leaf in leaves])
    for device, leaves in zip(devices[1:], found[1:], strict=True):
        pairs = zip(leaves, found[0], strict=True)
        worst = max(abs(a - b).max() / abs(b).max() for a, b in pairs if b.any())
        print(f"double precision, {device.device_kind} − CPU: {worst:.1e} relative")


def compare_rates(devices: list[Any]) -> None:
    """Print each device's rates and their ratio to the CPU's."""
    for make, sizes in CASES:
        rates, name = [], ""
        for device in devices:
            with jax.default_device(device):
                run, count, name = make(*sizes)
                rates.append(rate(run, count))
        told = "  ".join(f"{x:12,.0f} {x / rates[0]:7.2f}x" for x in rates)
        print(f"{name:45}{told}", flush=True)


def main() -> None:
    """Compare what the arguments name, or both."""
    chosen = sys.argv[1:] or ["agreement", "speed"]
    devices = [jax.devices("cpu")[0]]
    if jax.default_backend() != "cpu":
        devices += jax.devices()[:1]
    print("devices:", *(x.device_kind for x in devices), sep="\n  ")
    if "agreement" in chosen:
        compare_values(devices)
    if "speed" in chosen:
        compare_rates(devices)


if __name__ == "__main__":
    main()
