"""Clones of demonstrations like people's, beside their baselines and a torch loop.

    python benchmarks/human_demonstrations.py [first seed] [number of data sets]

Every data set is another task: 10 to 25 episodes of a reach to a goal past an obstacle,
on one side or the other, with tremor, pauses, another pace in each episode, noisy
observations, and axes that never change. Actions are velocities or desired positions.
The default `clone` is judged on held-out episodes beside persistence, the linear least
squares and the nearest neighbor. Where torch is installed, the customary loop (two
layers of 64, Adam, early stopping on the same validation share) has the processor time
that `clone` took, once on observations and once with the last action beside them; the
better of the two on validation episodes is reported.
"""

import sys
import time
from typing import Any

import jax
import numpy as np

import roboopt as ro

STEP_S = 0.05
PATIENCE = 50  # epochs of the torch loop


def reach(rng: np.random.Generator, goal: np.ndarray, task: dict) -> Any:
    """Return the positions of one reach, one a step."""
    steps = int(rng.integers(40, 90))
    start = task["start"] + 0.1 * rng.normal(size=len(goal))
    # Minimum jerk (Flash and Hogan, 1985), bowed to one side of the obstacle.
    s = np.linspace(0, 1, steps + 1)
    s = (10 * s**3 - 15 * s**4 + 6 * s**5)[:, None]
    bow = rng.choice(task["sides"]) * (0.25 + 0.05 * rng.normal())
    path = start + s * (goal - start) + bow * np.sin(np.pi * s) * task["across"]
    for _ in range(rng.poisson(task["pauses"])):
        k, length = rng.integers(5, steps), int(rng.integers(3, 12))
        still = np.repeat(path[k : k + 1], length, 0)
        path = np.concatenate([path[:k], still, path[k:]])
    tremor = np.zeros_like(path)
    for k in range(1, len(path)):
        tremor[k] = 0.8 * tremor[k - 1] + task["tremor"] * rng.normal(size=len(goal))
    return path + tremor


def demonstrations(seed: int) -> list[ro.data.Trajectory]:
    """Return the episodes of one data set."""
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(2, 5))
    across = rng.normal(size=axes)
    task = {
        "start": rng.normal(size=axes),
        "across": across / np.linalg.norm(across),
        "sides": [1.0] if rng.random() < 0.3 else [-1.0, 1.0],
        "pauses": rng.uniform(0, 1.5),
        "tremor": 10 ** rng.uniform(-3.5, -2.2),
    }
    noise = 10 ** rng.uniform(-4, -2)
    positions, constants = rng.random() < 0.5, int(rng.integers(0, 3))
    episodes = []
    for _ in range(int(rng.integers(10, 26))):
        goal = 0.3 * rng.normal(size=axes)
        path = reach(rng, goal, task)
        count = len(path)
        seen = path + noise * rng.normal(size=path.shape)
        rest = [np.repeat(goal[None], count, 0), np.full((count, 1), 0.04)]
        done = path[1:] if positions else np.diff(path, axis=0) / STEP_S
        actions = np.concatenate([done, np.full((count - 1, constants), 1.0)], 1)
        seen = np.concatenate([seen, *rest], 1)
        episodes.append(ro.data.Trajectory(seen, actions, STEP_S))
    return episodes


def torch_error(
    training: tuple, validation: tuple, tested: tuple, seconds: float
) -> tuple[float, float]:
    """Return the errors on validation and test samples of the customary loop."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    mean = [x.mean(0) for x in training]
    scale = [np.where(x.std(0) > 1e-9, x.std(0), 1.0) for x in training]
    parts = [
        [torch.tensor((p[k] - mean[k]) / scale[k], dtype=torch.float32) for k in (0, 1)]
        for p in (training, validation, tested)
    ]
    net = torch.nn.Sequential(
        *(torch.nn.Linear(training[0].shape[1], 64), torch.nn.ReLU()),
        *(torch.nn.Linear(64, 64), torch.nn.ReLU()),
        torch.nn.Linear(64, training[1].shape[1]),
    )
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)

    def error(part: list) -> float:
        with torch.no_grad():
            return float(((net(part[0]) - part[1]) ** 2).mean() ** 0.5)

    best, stale, began = (np.inf, np.inf), 0, time.process_time()
    while stale < PATIENCE and time.process_time() - began < seconds:
        for rows in torch.randperm(len(parts[0][0])).split(256):
            optimizer.zero_grad()
            ((net(parts[0][0][rows]) - parts[0][1][rows]) ** 2).mean().backward()
            optimizer.step()
        found = error(parts[1])
        stale = 0 if found < best[0] else stale + 1
        if found < best[0]:
            best = found, error(parts[2])
    return best


def customary(episodes: list[ro.data.Trajectory], seconds: float) -> float:
    """Return the held-out error of the better of two torch loops."""
    # The episodes that `clone` holds out and validates on.
    known, tested = ro.data.split_episodes(episodes, 0.1, seed=0)
    training, validation = ro.data.split_episodes(known, 0.2, seed=4_000_037)
    first = np.mean([e.actions[0] for e in known], 0)
    results = []
    for length in (0, 1):
        parts = [
            ro.policies.with_past_actions(part, first, length=length)
            for part in (training, validation, tested)
        ]
        samples = [ro.data.Demonstrations.from_trajectories(part) for part in parts]
        fitted, chosen, judged = (
            (np.asarray(x.observations), np.asarray(x.actions)) for x in samples
        )
        results.append(torch_error(fitted, chosen, judged, seconds / 2))
    return min(results)[1]


def main() -> None:
    """Print a row for each data set, and how often the clone was no worse."""
    jax.config.update("jax_enable_x64", True)
    given = [int(word) for word in sys.argv[1:]]
    first, count = given if len(given) == 2 else (0, 50)
    try:
        import torch  # noqa: F401  # pyright: ignore[reportMissingImports]

        loop = True
    except ImportError:
        loop = False
    names = ("clone", "persistence", "linear", "nearest neighbor")
    print("data set ", *(f"{name:>16}" for name in names), "           torch")
    held, faster = 0, 0
    for seed in range(first, first + count):
        episodes = demonstrations(seed)
        began = time.process_time()
        found = ro.clone(episodes)
        seconds = time.process_time() - began
        errors = [found.errors[name] for name in names]
        other = customary(episodes, seconds) if loop else np.nan
        held += errors[0] <= min(errors[1:])
        faster += not other < errors[0]
        print(
            f"{seed:8d} ",
            *(f"{x:16.4f}" for x in (*errors, other)),
            f" {seconds:5.1f} s, {found.record()['training']['input']}, "
            f"{found.record()['training']['policy']}",
            flush=True,
        )
    print(f"The clone is no worse than every baseline in {held} of {count}.")
    if loop:
        print(f"The torch loop is no better in {faster} of {count}.")


if __name__ == "__main__":
    main()
