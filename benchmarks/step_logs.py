"""The cost of `log=`: a clone by its defaults, whose every step goes to TensorBoard.

Twenty episodes of a nonlinear demonstrator with noise are cloned with and without
`log=TensorBoard(folder)`, in turn in one process, after one run of each that compiles.
The policies must come out equal to the bit. Runs differ by some percent, so that the
time in the calls of the log is counted too.

    python benchmarks/step_logs.py [--runs 5]
"""

import argparse
import tempfile
import time
from typing import Any

import jax
import numpy as np

import roboopt as ro

EPISODES, STEPS = 20, 150


def episode(number: int) -> ro.Trajectory:
    """Return an episode of a demonstrator of which a linear policy is no clone."""
    rng = np.random.default_rng(number)
    seen = np.cumsum(rng.normal(size=(STEPS + 1, 4)), axis=0) / 5
    acted = np.stack([np.sin(seen[:-1, 0]) * seen[:-1, 1], np.tanh(seen[:-1, 2])], 1)
    return ro.Trajectory(seen, acted + 0.02 * rng.normal(size=acted.shape), 0.02)


class Timed(ro.loggers.TensorBoard):
    """The logger that counts its own time."""

    seconds = 0.0

    def __call__(self, step: int, metrics: dict[str, float]) -> None:
        """Keep the metrics of a step."""
        began = time.process_time()
        super().__call__(step, metrics)
        self.seconds += time.process_time() - began


def main() -> None:
    """Let both sides run in turn, and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    episodes = [episode(number) for number in range(EPISODES)]
    spent: dict[str, list[tuple[float, float]]] = {"log": [], "without": []}
    policies: dict[str, Any] = {}
    in_log: list[float] = []
    steps = 0
    for number in range(runs + 1):
        for side in sorted(spent, reverse=bool(number % 2)):
            with tempfile.TemporaryDirectory() as folder:
                log = Timed(folder) if side == "log" else None
                cpu, wall = time.process_time(), time.perf_counter()
                made = ro.clone(episodes, log=log)
                if log is not None:
                    log.close()
                    in_log.append(log.seconds)
                used = time.process_time() - cpu, time.perf_counter() - wall
            policies[side], steps = jax.tree.leaves(made.policy), made.training.steps
            if number:  # the first run of a side is compiled
                spent[side].append(used)
    equal = all(map(np.array_equal, policies["log"], policies["without"]))
    print(f"{steps} steps, medians of {runs} runs in turn; equal policies: {equal}")
    medians = {side: np.median(times, axis=0) for side, times in spent.items()}
    for side, (cpu, wall) in medians.items():
        low, high = np.min(spent[side], axis=0)[0], np.max(spent[side], axis=0)[0]
        print(
            f"{side:8} {cpu:.3f} s of CPU ({low:.3f} to {high:.3f}), {wall:.3f} s wall"
        )
    cpu, wall = medians["log"] / medians["without"]
    print(f"log / without: {cpu:.3f} of CPU, {wall:.3f} wall")
    share = np.median(in_log) / medians["log"][0]
    print(f"in the log's calls: {np.median(in_log):.3f} s of CPU, {share:.1%}")


if __name__ == "__main__":
    main()
