"""What `roboopt tune` reaches: every robot and task, judged in PyBullet.

Each recipe is tuned as the command does it, and the starting and the tuned controller
run from the same 100 random starts in PyBullet. Prints, for each, success, task cost
and energy before and after, the largest difference between twin and PyBullet over all
motions, and the seconds of the tuning, the first step with its compilation said apart.

    python benchmarks/tuning.py [balance swing-up two-link iiwa panda]
"""

import sys

import equinox as eqx
import jax
import numpy as np

import roboopt as ro
from roboopt.cli._recipes import TASKS, Recipe, arm, cart_pole
from roboopt.cli._rounds import descend

jax.config.update("jax_enable_x64", True)

EVERYTHING = (*TASKS, "two-link", "iiwa", "panda")
EPISODES = 100


def judge(recipe: Recipe, controller, starts) -> dict[str, float]:
    """Return what a controller does from `starts` in PyBullet."""
    trajectory = ro.rollouts.collect(recipe.env, controller, starts=starts)
    twin = ro.Twin.from_env(recipe.env, joint_limits=True)
    rollout = ro.Rollout(twin, recipe.env.horizon)
    simulated = eqx.filter_jit(rollout)(controller, starts)
    terms = recipe.objective.measure(trajectory)
    energy = terms["mechanical_work"].value + terms["joule_loss"].value
    difference = np.abs(trajectory.observations - np.asarray(simulated.observations))
    return {
        "success": float(recipe.objective.success(trajectory)),
        "task cost [s]": float(terms["task_cost"].value),
        "energy [J]": float(energy),
        "twin − PyBullet": float(difference.max()),
    }


def main() -> None:
    """Tune and judge what the arguments name, or everything."""
    for name in sys.argv[1:] or EVERYTHING:
        recipe = cart_pole(task=name) if name in TASKS else arm(robot=name)
        starts = recipe.env.sample_starts(EPISODES, seed=10**6)
        result = descend(recipe, steps=recipe.steps)
        before = judge(recipe, recipe.controller, starts)
        after = judge(recipe, result.model, starts)
        print(
            f"{name}: {result.message}; {result.seconds:.1f} s, of which the first "
            f"step with its compilation {result.compile_seconds:.1f} s"
        )
        for key in before:
            print(f"    {key:16} {before[key]:12.5g} → {after[key]:.5g}")
        recipe.env.close()


if __name__ == "__main__":
    main()
