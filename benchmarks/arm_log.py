"""Identification of a 7-joint arm from a log with the faults that logs have.

    python benchmarks/arm_log.py [--seconds 20] [--folder FOLDER]

An arm with Coulomb and viscous friction and offsets follows a Fourier series, logged at
1 kHz: stamps jitter by up to 9 ms, 5 % of the samples repeat the one before, encoders
have noise of 1e-4 rad, and efforts of 5 % of their root mean square. `roboopt identify`
gets the log as CSV and a URDF whose masses and frictions are off by 30 %, no option.
Printed are its seconds and its memory, and the error of the efforts of a second log,
beside that of the unconstrained least squares; and how many intervals hold the truth.
"""

import argparse
import csv
import dataclasses
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pybullet_data

import roboopt as ro

RATE = 1000.0  # Hz
JITTER_S = 7e-4, 9e-3
REPEATED, EFFORT_NOISE, ENCODER_NOISE = 0.05, 0.05, 1e-4
PERIOD_S, HARMONICS = 10.0, 5
WRONG = 0.3


def motion(times: np.ndarray, joints: int, seed: int) -> list[np.ndarray]:
    """Return positions, velocities and accelerations of a Fourier series."""
    generator = np.random.default_rng(seed)
    k = 2 * np.pi / PERIOD_S * np.arange(1, HARMONICS + 1)
    a, b = generator.normal(size=(2, HARMONICS, joints)) * 0.35 / k[:, None]
    phase = times[:, None] * k
    sine, cosine = np.sin(phase), np.cos(phase)
    return [
        sine @ a + cosine @ b,
        (cosine * k) @ a - (sine * k) @ b,
        -(sine * k**2) @ a - (cosine * k**2) @ b,
    ]


def log(robot: ro.dynamics.Multibody, offsets: np.ndarray, seconds: float, seed: int):
    """Return the table of a log: time, positions, velocities and efforts."""
    generator = np.random.default_rng(seed)
    count = int(seconds * RATE)
    jitter = generator.uniform(0, 1, count) ** 4 * (JITTER_S[1] - JITTER_S[0])
    times = np.cumsum(JITTER_S[0] + jitter * RATE / RATE)
    times *= seconds / times[-1]
    q, velocity, acceleration = moved = motion(times, len(robot.joint_names), seed)
    effort = np.asarray(jax.vmap(robot.inverse_dynamics)(*map(jnp.asarray, moved)))
    effort = effort + offsets
    noise = generator.normal(size=effort.shape)
    effort = effort + EFFORT_NOISE * np.sqrt((effort**2).mean(0)) * noise
    q = q + ENCODER_NOISE * generator.normal(size=q.shape)
    velocity = velocity + 10 * ENCODER_NOISE * generator.normal(size=q.shape)
    table = np.hstack([times[:, None], q, velocity, effort])
    for row in np.flatnonzero(generator.uniform(size=count) < REPEATED):
        if row:
            table[row] = table[row - 1]
    return table


def main() -> None:
    """Make the logs, run the command, and print the errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    path = Path(pybullet_data.getDataPath(), "kuka_iiwa", "model.urdf")
    arm = ro.load_urdf(path)
    none, joints = jnp.zeros(()), len(arm.joint_names)
    arm = dataclasses.replace(arm, linear_damping=none, angular_damping=none)
    generator = np.random.default_rng(0)
    size = np.linspace(8.0, 1.0, joints)
    real = eqx.tree_at(
        lambda r: (r.masses, r.damping, r.friction),
        arm,
        (
            arm.masses * generator.uniform(1 - WRONG, 1 + WRONG, len(arm.masses)),
            jnp.asarray(0.5 * size * generator.uniform(0.7, 1.3, joints)),
            jnp.asarray(0.4 * size * generator.uniform(0.7, 1.3, joints)),
        ),
    )
    offsets = 0.2 * generator.normal(size=joints)
    kinds = ("q", "dq", "tau")
    header = ",".join(["t", *(f"{kind}{j}" for kind in kinds for j in range(joints))])
    for name, seed in (("log", 1), ("test", 2)):
        table = log(real, offsets, arguments.seconds, seed)
        file = folder / f"{name}.csv"
        np.savetxt(file, table, delimiter=",", header=header, comments="", fmt="%.7g")
    ro.dynamics.save_urdf(arm, path, folder / "arm.urdf")
    command = [
        *(
            sys.executable,
            "-c",
            "from roboopt.cli import main; raise SystemExit(main())",
        ),
        *("identify", folder / "log.csv", "--test", folder / "test.csv"),
        *("--urdf", folder / "arm.urdf", "--name", "arm", "--overwrite"),
    ]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(done.stdout[-6000:] or done.stderr[-3000:])
    warnings = re.findall(r"warning: .*", done.stderr)
    print(*warnings, sep="\n")
    print(f"{seconds:.1f} s, {memory:.2f} GiB, exit code {done.returncode}")
    kinds = {"damping": real.damping, "friction": real.friction}
    with (folder / "runs" / "arm" / "parameters.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    for kind, values in kinds.items():
        inside = [
            float(rows[f"{kind}[{name}]"]["lower"] or -np.inf)
            <= value
            <= float(rows[f"{kind}[{name}]"]["upper"] or np.inf)
            for name, value in zip(real.joint_names, np.asarray(values), strict=True)
        ]
        print(f"true {kind} within its interval: {sum(inside)} of {joints}")


if __name__ == "__main__":
    main()
