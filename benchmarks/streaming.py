"""Cloning from 3 GB on disk beside the same in memory: gradient steps a second.

Twelve million transitions, single precision: 48 numbers seen and 12 done, of a linear
demonstrator with noise; a network of two hidden layers of 64, batches of 256, Adam:

- memory: all samples as arrays of JAX, shuffled every epoch;
- disk: `StreamedDemonstrations` of the folder, in blocks of 65,536 samples that 256
  steps are taken on, the next of which is read meanwhile.

The sides run in turn, each in a process of its own, in which steps are counted after
the compiled ones. Peak memory is the largest resident set that the kernel counted. The
kernel may keep the files in its cache; `--cold` asks it to drop them before each run.

    python benchmarks/streaming.py [--gigabytes 3] [--runs 5] [--steps 4096] [--cold]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SEEN, DONE, LENGTH, BATCH, WARM = 48, 12, 1000, 256, 512


def write(folder: Path, gigabytes: float) -> None:
    """Write episodes of 1000 steps, part by part, as `save_episodes` lays them out."""
    episodes = round(gigabytes * 1e9 / (4 * (SEEN + DONE) * LENGTH))
    rng = np.random.default_rng(0)
    gains = rng.normal(size=(SEEN, DONE)).astype(np.float32) / np.sqrt(SEEN)
    folder.mkdir()
    rows = {"observations": episodes * (LENGTH + 1), "actions": episodes * LENGTH}
    arrays = {
        name: np.lib.format.open_memmap(
            folder / f"{name}.npy", "w+", np.float32, (count, width)
        )
        for (name, count), width in zip(rows.items(), (SEEN, DONE), strict=True)
    }
    for k in range(episodes):
        seen = rng.normal(size=(LENGTH + 1, SEEN)).astype(np.float32)
        noise = 0.1 * rng.normal(size=(LENGTH, DONE))
        arrays["observations"][k * (LENGTH + 1) : (k + 1) * (LENGTH + 1)] = seen
        arrays["actions"][k * LENGTH : (k + 1) * LENGTH] = seen[:-1] @ gains + noise
    np.save(folder / "lengths.npy", np.full(episodes, LENGTH))
    np.save(folder / "time_step.npy", np.full(episodes, 0.05))


def measure(side: str, folder: Path, steps: int) -> dict[str, float]:
    """Return steps a second after the compiled ones, peak memory [GB] and the loss."""
    import jax
    import optax

    import roboopt as ro

    source = ro.data.StreamedDemonstrations(folder)
    few = source.sample(20_000)
    policy = ro.policies.MLPPolicy.of(few, key=jax.random.key(0), width=64, depth=2)
    data = source
    if side == "memory":
        count = len(source)
        seen = np.load(folder / "observations.npy", mmap_mode="r")
        kept = np.delete(np.arange(len(seen)), slice(LENGTH, None, LENGTH + 1))
        acted = np.load(folder / "actions.npy")
        data = ro.data.Demonstrations(np.asarray(seen)[kept], acted)
        assert len(data) == count
    times: list[tuple[int, float]] = []
    adam = optax.adam(1e-3)
    result = ro.minimize(
        ro.ActionMismatch(scale=1.0),
        policy,
        data,
        steps=WARM + steps,
        batch_size=BATCH,
        optimizer=adam,
        callback=lambda status: times.append((status.step, time.perf_counter())),
    )
    first = next(k for k, (step, _) in enumerate(times) if step >= WARM)
    (begin, began), (end, ended) = times[first], times[-1]
    return {
        "rate": (end - begin) / (ended - began),
        "peak": peak(),
        "loss": float(np.mean(result.history["loss"][-256:])),
    }


def peak() -> float:
    """Return the largest resident set of this process so far [GB]."""
    # `ru_maxrss` would begin at that of the process which started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) / 1e6


def drop(folder: Path) -> None:
    """Ask the kernel to drop the files from its cache."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Let both sides run in turn, and print the medians, their ratio and the memory."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4096)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        side, folder = given.side
        print(json.dumps(measure(side, Path(folder), given.steps)))
        return
    found: dict[str, list[dict[str, float]]] = {"memory": [], "disk": []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "demos"
        write(folder, given.gigabytes)
        for number in range(given.runs):
            for side in sorted(found, reverse=bool(number % 2)):
                if given.cold:
                    drop(folder)
                words = ["--steps", str(given.steps), "--side", side, str(folder)]
                said = subprocess.run(
                    [sys.executable, __file__, *words],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                found[side].append(json.loads(said.stdout.splitlines()[-1]))
    median = {}
    for side, runs in found.items():
        rates = [run["rate"] for run in runs]
        median[side] = np.median(rates)
        print(
            f"{side:6} {median[side]:7.0f} steps/s ({min(rates):.0f} to "
            f"{max(rates):.0f}), peak {max(run['peak'] for run in runs):.2f} GB, "
            f"loss {np.median([run['loss'] for run in runs]):.4f}"
        )
    print(f"disk / memory: {median['disk'] / median['memory']:.2f}")


if __name__ == "__main__":
    main()
