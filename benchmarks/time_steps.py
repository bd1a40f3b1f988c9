"""How long a time step may be: what the controllers that tuning starts from still do.

An effort is held for a whole step, so that the step limits how fast feedback can act.
Thirteen robots run their task from 20 random starts with the controller from which
`tune` would start, chosen anew for each rate. Prints a table of the successes.

    python benchmarks/time_steps.py
"""

import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pybullet_data

import roboopt as ro

jax.config.update("jax_enable_x64", True)
EXAMPLES, DATA = Path(__file__).parents[1] / "examples", pybullet_data.getDataPath()
RATES_HZ = 480, 240, 120, 60, 40, 20, 10
STARTS = 20
ROBOTS: dict[str, dict[str, Any]] = {
    "two-link": {"robot": "two-link"},
    "double pendulum": {"urdf": f"{EXAMPLES}/double_pendulum/double_pendulum.urdf"},
    "iiwa": {"robot": "iiwa"},
    "panda": {"robot": "panda"},
    "xarm6": {"urdf": f"{DATA}/xarm/xarm6_robot.urdf"},
    "pendulum5": {"urdf": f"{DATA}/pendulum5.urdf"},
    "a1": {"urdf": f"{DATA}/a1/a1.urdf"},
    "laikago": {"urdf": f"{DATA}/laikago/laikago.urdf"},
    "minitaur": {"urdf": f"{DATA}/quadruped/minitaur.urdf"},
    "r2d2": {"urdf": f"{DATA}/r2d2.urdf"},
    "pr2_gripper": {"urdf": f"{DATA}/pr2_gripper.urdf"},
    "cart-pole": {"env": "cart-pole"},
    "furuta": {"urdf": f"{EXAMPLES}/furuta/furuta.urdf", "task": "balance"},
}


def successes(robot: dict[str, Any], rate: float) -> float:
    """Return the share of starts from which the task succeeds in the twin."""
    settings = {"time_step": 1 / rate}
    # The weights of energy do not matter here, and take a compilation to find.
    problem = ro.tuning.TuningProblem.of(
        **robot, options=settings, work_weight=0.0, joule_weight=0.0, starts=1
    )
    env = problem.env.unwrapped
    starts = env.sample_starts(STARTS, seed=1)
    motions = jax.jit(problem.rollout)(problem.controller, starts)
    env.close()
    seen = np.asarray(motions.observations)
    return float(np.mean([env.task.success(one, env.time_step) for one in seen]))


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    print(f"| robot | {' | '.join(f'{rate} Hz' for rate in RATES_HZ)} |")
    print(f"|---|{'---|' * len(RATES_HZ)}")
    for name, robot in ROBOTS.items():
        shares = [f"{100 * successes(robot, rate):.0f}" for rate in RATES_HZ]
        print(f"| {name} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
