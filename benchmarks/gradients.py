"""Gradients from values, and mixed ones, beside exact ones: gains tuned in PyBullet.

smoothed: the PD gains of the iiwa, by exact gradients through its twin and by smoothed
ones from PyBullet alone; the cost of both in PyBullet from unseen starts, and ratio.

mixed: a regulator of the cart-pole, with a twin that takes every mass as it is, or for
half of it: by the twin's gradient alone, by smoothed ones from PyBullet with one pair
of perturbations a step, and by both mixed. Prints the cost in PyBullet from unseen
starts before and after, and how many steps nine tenths of the way took.

    python benchmarks/gradients.py [smoothed mixed]
"""

import functools
import sys
import time

import equinox as eqx
import jax
import numpy as np
from roboopt_envs.arm import ArmReach
from roboopt_envs.cart_pole import CartPoleBalance

import roboopt as ro
from roboopt.objectives import total
from roboopt.tuning import TuningProblem

jax.config.update("jax_enable_x64", True)

JUDGED = 32
WRONG = 0.5
STEPS = 40
SMOOTHED_STEPS = 12


def cost_in_pybullet(
    problem: TuningProblem, simulation: ro.GymRollout, model, starts
) -> float:
    """Return the objective's value there."""
    trajectory = simulation(model, starts)
    return float(total(problem.objective.measure(trajectory)))


def smoothed() -> None:
    """Tune the iiwa by exact and by smoothed gradients."""
    problem = TuningProblem.of("arm", robot="iiwa", starts=4)
    simulation = ro.GymRollout(
        functools.partial(ArmReach, robot="iiwa"),
        problem.env.unwrapped.horizon,
        envs=16,
        processes=2,
    )
    objective = eqx.tree_at(lambda o: o.rollout, problem.objective, simulation)
    judged = problem.env.unwrapped.sample_starts(JUDGED, seed=10**6)
    size = sum(
        x.size for x in jax.tree.leaves(eqx.filter(gains(problem), eqx.is_array))
    )
    exact = ro.minimize(problem.objective, problem.controller, problem.starts, steps=60)
    began = time.perf_counter()
    found = ro.minimize(
        objective,
        problem.controller,
        problem.starts,
        gradient=ro.gradients.ZerothOrder(),
        steps=SMOOTHED_STEPS,
    )
    seconds = time.perf_counter() - began
    steps = simulation.steps_made
    costs = {
        name: cost_in_pybullet(problem, simulation, model, judged)
        for name, model in (
            ("start", problem.controller),
            ("exact", exact.model),
            ("smoothed", found.model),
        )
    }
    print(f"iiwa, {size} gains, cost in PyBullet from {JUDGED} unseen starts:")
    for name, cost in costs.items():
        print(f"    {name:10} {cost:.5f}")
    ratio = costs["smoothed"] / costs["exact"]
    print(f"    on the starts tuned on: {exact.loss:.5f} and {found.loss:.5f}")
    print(
        f"    ratio {ratio:.4f}; exact {exact.seconds:.0f} s, smoothed {seconds:.0f} s"
    )
    print(f"    and {steps} steps of PyBullet")
    simulation.close()


def gains(problem: TuningProblem):
    """Return what is tuned of the problem's controller."""
    controller = problem.controller
    return controller.log_stiffness, controller.log_damping


def mixed() -> None:
    """Tune a cart-pole's regulator with a twin that is right, and with one that is not.

    The start is the linear-quadratic regulator that the right twin has.
    """
    problem = TuningProblem.of("cart-pole", task="balance", starts=8)
    start, _ = ro.imitation.demonstrator(problem.env)
    simulation = ro.GymRollout(
        CartPoleBalance, problem.env.unwrapped.horizon, envs=12, processes=2
    )
    objective = eqx.tree_at(lambda o: o.rollout, problem.objective, simulation)
    judged = problem.env.unwrapped.sample_starts(JUDGED, seed=10**6)
    for factor in (1.0, WRONG):
        robot = problem.rollout.dynamics.robot
        bodies = factor * robot.masses, factor * robot.inertias
        wrong = eqx.tree_at(lambda r: (r.masses, r.inertias), robot, bodies)
        twin = eqx.tree_at(lambda t: t.robot, problem.rollout.dynamics, wrong)
        rollout = ro.Rollout(twin, problem.env.unwrapped.horizon)
        believed = eqx.tree_at(lambda o: o.rollout, problem.objective, rollout)
        few = ro.gradients.ZerothOrder(pairs=1)
        ways = {
            "twin alone": (believed, ro.gradients.Automatic()),
            "smoothed": (objective, few),
            "mixed": (
                objective,
                ro.gradients.Mixed(ro.gradients.Automatic(believed), few),
            ),
        }
        print(f"cart-pole, the twin's masses times {factor:g}; cost in PyBullet:")
        before = cost_in_pybullet(problem, simulation, start, judged)
        print(f"    {'start':12} {before:.5f}")
        for name, (tuned_on, way) in ways.items():
            result = ro.minimize(
                tuned_on,
                start,
                problem.starts,
                gradient=way,
                steps=STEPS,
            )
            after = cost_in_pybullet(problem, simulation, result.model, judged)
            share = result.history.get("gradient_share")
            said = "" if share is None else f", the twin's share {np.median(share):.2f}"
            loss = result.history["loss"]
            ninth = loss[0] - 0.9 * (loss[0] - loss.min())
            print(
                f"    {name:12} {after:.5f}   on the starts tuned on {loss[0]:.4f} to "
                f"{loss.min():.4f}, nine tenths of it in {np.argmax(loss <= ninth)} "
                f"steps; {result.seconds:.0f} s{said}"
            )
    simulation.close()


def main() -> None:
    """Run what the arguments name, or both."""
    for name in sys.argv[1:] or ("smoothed", "mixed"):
        {"smoothed": smoothed, "mixed": mixed}[name]()


if __name__ == "__main__":
    main()
