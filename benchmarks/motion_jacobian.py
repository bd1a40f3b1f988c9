"""Seconds of one Jacobian of the predicted motion by all parameters of an arm.

What each step of a fit of the motion by `identify` needs: derivatives of 2,000 steps
of PyBullet's iiwa in windows of 20, by its masses, centers, inertias, dampings,
frictions, armatures and offsets. Matrices that all directions share, and each direction
by itself, alternate.

    python benchmarks/motion_jacobian.py [--windows 100] [--steps 20] [--rounds 7]
"""

import argparse
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pybullet_data

import roboopt as ro
from roboopt.dynamics import ParametricTwin

FREE = ("mass", "center_of_mass.*", "extent.*", "shear.*", "damping", "friction")


def main() -> None:
    """Time both in turn, and print the medians, the ratio and the difference."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    path = Path(pybullet_data.getDataPath(), "kuka_iiwa", "model.urdf")
    robot = ro.load_urdf(path, linear_damping=0.0, angular_damping=0.0)
    twin = ro.Twin(robot, 0.01, implicit_damping=True)
    rng, steps = np.random.default_rng(0), arguments.steps
    states = 0.3 * rng.normal(size=(arguments.windows, steps + 1, 2 * twin.joints))
    actions = 10 * rng.normal(size=(arguments.windows, steps, twin.joints))
    data = ro.data.Trajectory(states, actions, time_step=twin.time_step)
    error = ro.PredictionError.for_data(twin, data, horizon=steps)
    jacobians, seconds = {}, {}
    for shares in (True, False):
        model = ParametricTwin(twin, (*FREE, "armature", "effort_offset"))
        object.__setattr__(model, "shares_derivatives", shares)
        fit = ro.optimize.Fit.of(error, model, data)
        jacobians[shares] = jax.jit(lambda x, fit=fit: fit.jacobian(x)[1])
    start = jnp.asarray(fit.start())
    made = {shares: np.asarray(f(start)) for shares, f in jacobians.items()}
    for shares in arguments.rounds * (True, False):
        began = time.perf_counter()
        jax.block_until_ready(jacobians[shares](start))
        seconds.setdefault(shares, []).append(time.perf_counter() - began)
    shared, each = (statistics.median(seconds[shares]) for shares in (True, False))
    count = arguments.windows * steps
    print(f"{start.size} parameters, {count} steps, medians of {arguments.rounds}")
    print(f"shared matrices: {shared:.3f} s; each direction: {each:.3f} s")
    print(f"ratio: {each / shared:.1f}")
    largest = abs(made[False]).max()
    print(
        f"difference: {abs(made[True] - made[False]).max() / largest:.1e} of the most"
    )


if __name__ == "__main__":
    main()
