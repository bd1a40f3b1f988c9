"""Episodes a second on a Ray cluster of this machine, beside local worker processes.

Two environments, run by linear feedback: CartPole-v1, whose step takes microseconds,
and roboopt's two-link arm in PyBullet. For each number of workers both sides hold as
many environments, 32 a worker, and run the same episodes in turn; the medians are
printed, with their ratio and the seconds that a side needs to start. The motions must
be equal.

    python benchmarks/cluster.py [--workers 1 2] [--runs 5] [--figure throughput.png]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from roboopt.rollouts import GymRollout, Ray

ENVS_PER_WORKER, EPISODES_PER_WORKER = 32, 128
HORIZONS = {"CartPole-v1": 200, "roboopt_envs:roboopt/ArmReach-v0": 200}


def policy(name: str) -> Any:
    """Return a policy: pushes the cart to where the pole falls, damps the arm."""
    if name == "CartPole-v1":
        gains = np.array([0.2, 0.5, 3.0, 1.0])
        return lambda seen: np.array([int(gains @ seen > 0)])
    # Observations are positions, speeds and a goal of two joints.
    gains = np.hstack([np.zeros((2, 2)), np.eye(2), np.zeros((2, 2))])
    return lambda seen: -gains @ seen


def measure(name: str, workers: int, runs: int) -> dict[str, Any]:
    """Return the median episodes a second of both sides, and the seconds of a start."""
    ray = Ray(workers=workers)
    ray.connect()  # The cluster itself is counted apart.
    settings: dict[str, Any] = {
        "horizon": HORIZONS[name],
        "envs": ENVS_PER_WORKER * workers,
    }
    sides: dict[str, Callable[[], GymRollout]] = {
        "processes": lambda: GymRollout(name, processes=workers, **settings),
        "Ray": lambda: GymRollout(name, workers=ray, **settings),
    }
    seeds, act = np.arange(EPISODES_PER_WORKER * workers), policy(name)
    rollouts, starts, seconds, made = {}, {}, {side: [] for side in sides}, {}
    for side, start in sides.items():
        began = time.perf_counter()
        rollouts[side] = start()
        rollouts[side](act, seeds[: 2 * workers])
        starts[side] = time.perf_counter() - began
    for number in range(runs):
        for side in sorted(sides, reverse=bool(number % 2)):
            began = time.perf_counter()
            made[side] = rollouts[side](act, seeds)
            seconds[side].append(time.perf_counter() - began)
    for rollout in rollouts.values():
        rollout.close()
    first, second = map(jax.tree.leaves, made.values())
    assert all(map(np.array_equal, first, second)), "the motions differ"
    rates = {s: len(seeds) / statistics.median(seconds[s]) for s in sides}
    return {"rates": rates, "starts": starts}


def draw(path: str, found: dict[str, dict[int, dict[str, Any]]]) -> None:
    """Draw episodes a second against the number of workers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 3.2), layout="constrained")
    plots = figure.subplots(1, len(found))
    for axes, (name, rows) in zip(plots, found.items(), strict=True):
        for side in ("processes", "Ray"):
            rates = [row["rates"][side] for row in rows.values()]
            axes.plot(list(rows), rates, marker="o", label=side)
        axes.set(title=name.split("/")[-1], xlabel="workers", xticks=list(rows))
        axes.set_ylim(bottom=0)
        axes.set_ylabel("episodes per second")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure both environments with every number of workers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--figure")
    given = parser.parse_args()
    began = time.perf_counter()
    Ray(workers=max(given.workers)).connect()
    print(f"the cluster starts in {time.perf_counter() - began:.1f} s")
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for name in HORIZONS:
        for workers in given.workers:
            row = measure(name, workers, given.runs)
            found.setdefault(name, {})[workers] = row
            rates, starts = row["rates"], row["starts"]
            ratio = rates["Ray"] / rates["processes"]
            print(
                f"{name.split('/')[-1]:12} {workers} workers: processes "
                f"{rates['processes']:6.0f} episodes/s (start "
                f"{starts['processes']:.1f} s), Ray {rates['Ray']:6.0f} (start "
                f"{starts['Ray']:.1f} s), ratio {ratio:.2f}",
                flush=True,
            )
    if given.figure:
        draw(given.figure, found)


if __name__ == "__main__":
    main()
