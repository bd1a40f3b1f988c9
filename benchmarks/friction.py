"""Intervals of friction: how often they hold the true values.

    python benchmarks/friction.py [--seeds 5] [--first 0] [--velocities 0.003 0.01]
        [--arms "two-joint arm"]

Arms with Coulomb and viscous friction follow Fourier series, logged at 200 Hz with
noise of 1e-4 rad on encoders and of 3 % on efforts. Below a velocity of each run the
Coulomb friction is smooth; `identify` is given robots with masses off by 20 %, without
friction, and with a velocity of 0.01 rad/s. Printed are how many 95 % intervals hold
the true values, and the estimates of the velocity over the true one.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import roboopt as ro

STEP_S, SECONDS = 0.005, 30.0
ENCODER_NOISE, EFFORT_NOISE = 1e-4, 0.03
PERIOD_S, HARMONICS, SPEED = 10.0, 5, 0.5
KINDS = "damping", "friction"
AXES = {
    "two-joint arm": ("0 1 0", "0 1 0"),
    "three-joint arm": ("0 0 1", "0 1 0", "0 1 0"),
    "elbow arm": ("0 0 1", "0 1 0", "1 0 0", "0 1 0"),
}
LINK = """<link name="link{0}"><inertial><origin xyz="0.01 0.02 0.15"/>
<mass value="{1}"/><inertia ixx="0.012" iyy="0.011" izz="0.004" ixy="1e-4" ixz="2e-4"
iyz="-3e-4"/></inertial></link>
<joint name="joint{0}" type="revolute"><parent link="{2}"/><child link="link{0}"/>
<origin xyz="0 0 0.3"/><axis xyz="{3}"/><dynamics damping="0" friction="0"/>
<limit lower="-3" upper="3" effort="100" velocity="5"/></joint>"""


def urdf(name: str, folder: Path) -> Path:
    """Write the URDF of an arm."""
    links, parent = [], "base"
    for number, axis in enumerate(AXES[name], 1):
        links.append(LINK.format(number, 2.5 - 0.5 * number, parent, axis))
        parent = f"link{number}"
    path = folder / "arm.urdf"
    path.write_text(f'<robot name="arm"><link name="base"/>{"".join(links)}</robot>')
    return path


def recording(robot: ro.dynamics.Multibody, seed: int) -> ro.Trajectory:
    """Return a noisy recording of the robot on a Fourier series."""
    rng, joints = np.random.default_rng(seed), len(robot.joint_names)
    times = STEP_S * np.arange(round(SECONDS / STEP_S) + 1)
    k = 2 * np.pi / PERIOD_S * np.arange(1, HARMONICS + 1)
    a, b = SPEED * rng.normal(size=(2, HARMONICS, joints)) / k[:, None]
    sine, cosine = np.sin(times[:, None] * k), np.cos(times[:, None] * k)
    q, velocity = sine @ a + cosine @ b, (cosine * k) @ a - (sine * k) @ b
    motion = q, velocity, -(sine * k**2) @ a - (cosine * k**2) @ b
    effort = np.asarray(jax.vmap(robot.inverse_dynamics)(*map(jnp.asarray, motion)))
    size = np.sqrt((effort**2).mean(0))
    effort = effort + EFFORT_NOISE * size * rng.normal(size=effort.shape)
    q = q + ENCODER_NOISE * rng.normal(size=q.shape)
    seen = np.hstack([q, np.gradient(q, STEP_S, axis=0)])
    return ro.Trajectory(seen, effort[:-1], STEP_S)


def identified(name: str, velocity: float, seed: int) -> ro.sysid.IdentifyResult:
    """Return the identification of one arm."""
    with tempfile.TemporaryDirectory() as folder:
        path = urdf(name, Path(folder))
        given = ro.load_urdf(path, linear_damping=0.0, angular_damping=0.0)
    rng, joints = np.random.default_rng(100 + seed), len(given.joint_names)
    scale = np.where(given.masses > 0, rng.uniform(0.8, 1.2, len(given.masses)), 1)
    fields = "masses", "inertias", "damping", "friction", "friction_velocity"
    real = eqx.tree_at(
        lambda r: [getattr(r, field) for field in fields],
        given,
        [
            given.masses * scale,
            given.inertias * scale[:, None, None],
            jnp.asarray(rng.uniform(0.5, 2, joints)),
            jnp.asarray(rng.uniform(0.5, 2, joints)),
            jnp.full(joints, velocity),
        ],
    )
    with warnings.catch_warnings(action="ignore"):
        return ro.identify(given, recording(real, seed), truth=real)


def main() -> None:
    """Identify all arms, and print the coverage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--velocities", type=float, nargs="+", default=[0.003, 0.01, 0.03, 0.1]
    )
    parser.add_argument("--arms", nargs="+", default=list(AXES))
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    for name in arguments.arms:
        for velocity in arguments.velocities:
            inside = {kind: [] for kind in (*KINDS, "others")}
            errors = {kind: [] for kind in inside}
            found, cutoffs = [], []
            for seed in range(arguments.first, arguments.first + arguments.seeds):
                made = identified(name, velocity, seed)
                for row in made.parameters:
                    kind = row.name.partition("[")[0]
                    kind = kind if kind in KINDS else "others"
                    if row.covered is not None and row.true is not None:
                        inside[kind].append(row.covered)
                        half = (row.upper - row.lower) / 2
                        errors[kind].append((row.estimate - row.true) / half)
                robot = made.model.robot
                scales = np.broadcast_to(robot.friction_velocity, made.model.joints)
                found += (scales / velocity).tolist()
                cutoffs.append(made.cutoff)
            told = ", ".join(
                f"{kind} {sum(held)}/{len(held)} (z {np.mean(errors[kind]):+.2f})"
                for kind, held in inside.items()
            )
            print(
                f"{name}, {velocity:g} rad/s: inside {told}; velocity estimated "
                f"{min(found):.2f} to {max(found):.2f} times; cut-off {cutoffs}",
                flush=True,
            )


if __name__ == "__main__":
    main()
