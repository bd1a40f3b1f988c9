"""Clones of demonstrations like people's, beside their baselines and a torch loop.

    python benchmarks/human_demonstrations.py [first seed] [data sets] [processes]

Every data set is another task: 10 to 25 episodes of a reach to a goal past an obstacle,
on one side or the other, with tremor, pauses, another pace in each episode, noisy
observations, and axes that never change. Actions are velocities or desired positions.
The default `clone` is judged beside persistence, the linear least squares and the
nearest neighbor: on the three to five episodes that it holds out, and, knowing the
others, on 20 further episodes of the task. Seeds below 30, from 100 to 123 and from 200
to 239 were looked at while the defaults were made; the others were not.

Where torch is installed, the customary loop (two layers of 64, Adam, early stopping on
a fifth of the episodes) has the processor time that `clone` took, once on observations
and once with the last action beside them; the better of the two on validation episodes
is judged on the same held-out and further episodes.
"""

import dataclasses
import math
import multiprocessing
import os
import sys
import time
from typing import Any

import jax
import numpy as np

import roboopt as ro

STEP_S = 0.05
FURTHER = 20  # episodes
NAMES = ("clone", "persistence", "linear", "nearest neighbor")
PATIENCE = 50  # epochs of the torch loop
TIE = 1 + 1e-6  # ratio of errors of one least squares, by two solvers


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


def demonstrations(
    seed: int,
) -> tuple[list[ro.data.Trajectory], list[ro.data.Trajectory]]:
    """Return the episodes of one data set, and further ones of the same task."""
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
    known = int(rng.integers(10, 26))
    for _ in range(known + FURTHER):
        goal = 0.3 * rng.normal(size=axes)
        path = reach(rng, goal, task)
        count = len(path)
        seen = path + noise * rng.normal(size=path.shape)
        rest = [np.repeat(goal[None], count, 0), np.full((count, 1), 0.04)]
        done = path[1:] if positions else np.diff(path, axis=0) / STEP_S
        actions = np.concatenate([done, np.full((count - 1, constants), 1.0)], 1)
        seen = np.concatenate([seen, *rest], 1)
        episodes.append(ro.data.Trajectory(seen, actions, STEP_S))
    return episodes[:known], episodes[known:]


def torch_error(parts: list[tuple], seconds: float) -> tuple[float, float]:
    """Return the errors of the customary loop on what selects it, and on the rest.

    Args:
        parts: observations and actions of training, validation and test samples.
        seconds: of processor time.
    """
    import torch  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    mean = [x.mean(0) for x in parts[0]]
    seen = parts[0][0].std(0)
    scale = np.where(seen > 1e-9, seen, 1.0), 1.0
    units = [
        [torch.tensor((p[k] - mean[k]) / scale[k], dtype=torch.float32) for k in (0, 1)]
        for p in parts
    ]
    moves = torch.tensor(np.ptp(parts[0][1], 0) > 0)  # the axes that count in an error
    net = torch.nn.Sequential(
        *(torch.nn.Linear(parts[0][0].shape[1], 64), torch.nn.ReLU()),
        *(torch.nn.Linear(64, 64), torch.nn.ReLU()),
        torch.nn.Linear(64, parts[0][1].shape[1]),
    )
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)

    def error(part: list) -> float:
        with torch.no_grad():
            return float(((net(part[0]) - part[1])[:, moves] ** 2).mean() ** 0.5)

    best, stale, began = (np.inf, np.inf), 0, time.process_time()
    while stale < PATIENCE and time.process_time() - began < seconds:
        for rows in torch.randperm(len(units[0][0])).split(256):
            optimizer.zero_grad()
            ((net(units[0][0][rows]) - units[0][1][rows]) ** 2).mean().backward()
            optimizer.step()
        found = error(units[1])
        stale = 0 if found < best[0] else stale + 1
        if found < best[0]:
            best = found, error(units[2])
    return best


def customary(
    known: list[ro.data.Trajectory], tested: list[ro.data.Trajectory], seconds: float
) -> float:
    """Return the error of the better of two torch loops, in the actions' spread."""
    training, validation = ro.data.split_episodes(known, 0.2, seed=0)
    first = np.mean([e.actions[0] for e in known], 0)
    spread = np.concatenate([np.asarray(e.actions) for e in known]).std(0)
    spread = np.where(spread > 0, spread, 1.0)
    results = []
    for length in (0, 1):
        parts = [
            ro.policies.with_past_actions(part, first, length=length)
            for part in (training, validation, tested)
        ]
        samples = [ro.data.Demonstrations.from_trajectories(part) for part in parts]
        # Errors are counted in the spread of all, as those of the clone.
        arrays = [
            (np.asarray(x.observations), np.asarray(x.actions) / spread)
            for x in samples
        ]
        results.append(torch_error(arrays, seconds / 2))
    return min(results)[1]


def has_torch() -> bool:
    """Return whether the customary loop can run."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    torch.set_num_threads(1)
    return True


def of_part(found: ro.imitation.CloneResult, part: slice) -> ro.imitation.CloneResult:
    """Return the result as judged by a part of its held-out episodes."""
    runs = {name: x[part] for name, x in found.baseline_over_time.items()}
    clone = found.error_over_time[part]
    every = {"clone": clone, **runs}
    errors = {
        k: float((np.concatenate(x) ** 2).mean() ** 0.5) for k, x in every.items()
    }
    return dataclasses.replace(
        found, errors=errors, error_over_time=clone, baseline_over_time=runs
    )


def compared(seed: int) -> tuple[str, list[bool]]:
    """Return the row of a data set, and whether the clone was no worse.

    The latter on held-out and further episodes, of baselines, by the sentences that
    the results print, and of the torch loop.
    """
    jax.config.update("jax_enable_x64", True)
    episodes, further = demonstrations(seed)
    # The episodes that `clone` holds out by itself.
    count = min(5, math.ceil(len(episodes) / 4))
    known, aside = ro.data.split_episodes(episodes, count / len(episodes), seed=0)
    began = time.process_time()
    found = ro.clone(known, held_out=[*aside, *further])
    seconds = time.process_time() - began
    both = of_part(found, slice(count)), of_part(found, slice(count, None))
    rows = []
    for one, tested in zip(both, (aside, further), strict=True):
        other = customary(known, tested, seconds) if has_torch() else np.nan
        rows.append([one.errors[name] for name in NAMES] + [other])
    held = [row[0] <= TIE * min(row[1:4]) for row in rows]
    held += ["more than the baseline" not in " ".join(str(x).split()) for x in both]
    held += [not row[4] < row[0] for row in rows]
    numbers = " |".join("".join(f"{x:9.4f}" for x in row) for row in rows)
    said = found.record()["training"]
    words = f"{seconds:5.1f} s, {said['input']}, {said['policy']}"
    return f"{seed:8d}{numbers}  {words}", held


def main() -> None:
    """Print a row for each data set, and how often the clone was no worse."""
    given = [int(word) for word in sys.argv[1:]]
    first, count, processes = given + [0, 50, 1][len(given) :]
    # One core each: the processor time of one data set is then comparable.
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    os.environ["OMP_NUM_THREADS"] = "1"
    header = "".join(f"{name[:8]:>9}" for name in (*NAMES, "torch"))
    print(f"data set{header} |{header}")
    counted = []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for row, held in pool.imap(compared, range(first, first + count)):
            print(row, flush=True)
            counted.append(held)
    totals = np.sum(counted, 0)
    where = f"in {{}} of {count} on held-out and in {{}} on further episodes."
    print("The clone errs by no more than every baseline", where.format(*totals[:2]))
    print("It is not said to be worse", where.format(*totals[2:4]))
    if has_torch():
        print("The torch loop is no better", where.format(*totals[4:]))


if __name__ == "__main__":
    main()
