"""Controllers tuned to follow a trajectory on a robot that is not known exactly.

Masses, damping and friction are drawn within ±20 % for each start, and actions come 10
ms late. Every controller by name is tuned on the two-link arm, and with `--urdf` the
PID on that robot. The root mean square error of the tool is over random test starts,
which the tuning did not use, in the twin and in PyBullet, each with the same robots.
`own` is a user's function of a dictionary of gains: PD control that follows the
velocity, and lifts the weight that it supposes.

    python benchmarks/tracking.py [--urdf PATH] [--steps 20]
"""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp

import roboopt as ro

LAWS = "pd", "pid", "computed-torque", "impedance", "lqr", "own"
ROW = "{:16} {:>9} {:>9} {:>10} {:>10} {:>6} {:>9} {:>9} {:>8}"
ERROR = "tool error, root mean square"


def own(gains: dict[str, jax.Array], observation: jax.Array) -> jax.Array:
    """Return the efforts of the two-link arm [N·m]."""
    q, velocity, desired, speed, _ = jnp.split(observation, 5)
    weight = gains["lift"] * jnp.cos(jnp.cumsum(q))
    return gains["k"] * (desired - q) + gains["d"] * (speed - velocity) + weight


GAINS = {"k": [20.0, 8.0], "d": [2.0, 0.5], "lift": [5.0, 1.0]}
UNITS = {"k": "N·m/rad", "d": "N·m·s/rad", "lift": "N·m"}
OWN = ro.policies.ControlLaw(own, GAINS, UNITS, positive=["k", "d"])


def row(name: str, law: str, **robot: Any) -> str:
    """Tune one controller; return its row of the table."""
    began = time.perf_counter()
    result = ro.tune(
        task="track",
        controller=OWN if law == "own" else law,
        delay=0.01,
        processes=0,
        seed=0,
        **robot,
    )
    seconds = time.perf_counter() - began
    assert result.comparison is not None
    values = {row.name: row.values for row in result.comparison.rows}
    cost, error = values["task cost"], values[ERROR]
    ratio = error["PyBullet"]["before"] / error["PyBullet"]["after"]
    gap = max(result.comparison.gaps["after"].values())
    return ROW.format(
        f"{name} {law}",
        f"{cost['PyBullet']['before']:.4g}",
        f"{cost['PyBullet']['after']:.4g}",
        f"{1e3 * error['PyBullet']['before']:.3g} mm",
        f"{1e3 * error['PyBullet']['after']:.3g} mm",
        f"{ratio:.1f}",
        f"{1e3 * error['twin']['after']:.3g} mm",
        f"{gap:.0e}",
        f"{seconds:.0f} s",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--urdf", help="Another robot, for the PID.")
    parser.add_argument("--steps", type=int, default=20, help="Steps of a descent.")
    parser.add_argument("--laws", nargs="*", default=LAWS, help="On the two-link arm.")
    parser.add_argument("--episodes", type=int, default=20, help="Test starts.")
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    settings = {"steps": given.steps, "episodes": given.episodes}
    settings |= {"starts": 8, "options": {"randomize": 0.2}}
    heads = "controller", "cost [s]", "tuned", "tool error", "tuned", "ratio"
    print(ROW.format(*heads, "in twin", "twin-Bul.", "time"), flush=True)
    for law in given.laws:
        print(row("two-link", law, robot="two-link", **settings), flush=True)
    if given.urdf:
        print(row("URDF", "pid", urdf=given.urdf, **settings), flush=True)
