"""The cost of the notes that `minimize` keeps of each step, in a cloning run.

The run of `cloning_speed.py`: a network of two hidden layers of 64, batches of 256,
Adam, 5000 steps, single precision. Both sides run in turn in one process:

- notes: `minimize` as it is, with the norms of gradient and step and the predicted
  decrease;
- bare: the same loop with these taken out before it is compiled, and the elements of
  the gradient checked for being finite, which the norm tells otherwise.

Times are of a compiled run, by the processor's clock and by the wall's. The models must
come out equal to the bit.

    python benchmarks/notes.py [--runs 15]
"""

import argparse
import contextlib
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
from cloning_speed import BATCH, COUNT, GAINS, RATE, STEPS

import roboopt as ro
from roboopt.optimize import _loop


@contextlib.contextmanager
def bare() -> Iterator[None]:
    """Take the notes out of loops that are compiled inside."""

    def checked(gradient: Any) -> Any:
        leaves = jax.tree.leaves(gradient)
        return jnp.stack([~jnp.isfinite(leaf).all() for leaf in leaves])

    with (
        mock.patch.object(_loop, "step_notes", lambda *_: {}),
        mock.patch.object(_loop, "_not_finite", checked),
    ):
        yield


def main() -> None:
    """Let both sides run in turn, and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    observations = np.random.default_rng(0).normal(size=(COUNT, 4)).astype(np.float32)
    actions = (observations @ GAINS > 0).astype(int)[:, None]
    samples = ro.data.Demonstrations(observations, actions)
    objective = ro.ActionMismatch(loss=ro.losses.NegativeLogLikelihood())
    policy = ro.policies.CategoricalPolicy.of(
        samples, key=jax.random.key(0), start=0, sizes=2, skip=False
    )
    sides = {"notes": contextlib.nullcontext, "bare": bare}
    # JAX compiles anew for every optimizer object: one for each side.
    adams = {side: optax.adam(RATE) for side in sides}

    def train(side: str) -> Any:
        adam = adams[side]
        return ro.minimize(
            objective, policy, samples, steps=STEPS, batch_size=BATCH, optimizer=adam
        )

    spent: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    models = {}
    for number in range(runs + 1):
        for side in sorted(sides, reverse=bool(number % 2)):
            with sides[side]():
                cpu, wall = time.process_time(), time.perf_counter()
                models[side] = jax.tree.leaves(train(side).model)
                if number:  # the first run of a side is compiled
                    used = time.process_time() - cpu, time.perf_counter() - wall
                    spent[side].append(used)
    equal = all(map(np.array_equal, models["notes"], models["bare"]))
    print(f"{STEPS} steps, medians of {runs} runs in turn; equal models: {equal}")
    medians = {side: np.median(times, axis=0) for side, times in spent.items()}
    for side, (cpu, wall) in medians.items():
        low, high = np.min(spent[side], axis=0)[0], np.max(spent[side], axis=0)[0]
        print(
            f"{side:6} {cpu:.3f} s of CPU ({low:.3f} to {high:.3f}), {wall:.3f} s wall"
        )
    cpu, wall = medians["notes"] / medians["bare"]
    print(f"notes / bare: {cpu:.3f} of CPU, {wall:.3f} wall")


if __name__ == "__main__":
    main()
