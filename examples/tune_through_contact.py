"""Tune an arm that works against a table, which only PyBullet simulates.

The twin has no contact, so the gradient is of zeroth order: differences of rollouts in
PyBullet. Prints the cost of the starting gains, of gains tuned through the twin as if
there were no table, and of gains tuned through contact, all of them judged on the
table.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from roboopt_envs.arm import ArmReach

import roboopt as ro

jax.config.update("jax_enable_x64", True)
TOP = 0.75  # height of the table [m]


class ArmOverTable(ArmReach):
    """A two-link arm above a table that its tool may press on and slide along."""

    has_twin = False  # The table moves the arm, too.

    def __init__(self):
        """Load the arm and the table."""
        super().__init__("two-link", duration=1.0)
        client = self.physics_client
        box = {"halfExtents": [0.4, 0.2, 0.05]}
        shape = client.createCollisionShape(client.GEOM_BOX, **box)
        place = [0.5, 0.04, TOP - 0.05]
        self.table = client.createMultiBody(0, shape, basePosition=place)


def tasks(env: ArmOverTable, count: int, seed: int) -> np.ndarray:
    """Return starts above the table whose goals are below its top, by up to 5 cm."""
    random, place = np.random.default_rng(seed), env.task.chain.position
    found = []
    while len(found) < count:
        start, goal = random.uniform([-0.5, -2.0], [1.5, 2.0], (2, 2))
        elbow = 0.8 + 0.4 * np.sin([start[0], goal[0]])
        (_, _, above), (x, _, below) = place(start), place(goal)
        high = above > TOP + 0.1 and (elbow > TOP + 0.1).all()
        if high and x > 0.2 and TOP - 0.05 < below < TOP:
            found.append(np.concatenate([start, 0 * start, goal]))
    return np.array(found)


def main(steps: int = 8) -> tuple[float, float, float]:
    """Tune both ways, print the table, and return its costs."""
    env, free = ArmOverTable(), ArmReach("two-link", duration=1.0)
    starts, judged = tasks(env, 4, seed=0), tasks(env, 20, seed=1)
    twin = ro.Twin.from_env(free)
    first = ro.policies.PDGravityCompensation.from_limits(
        twin.robot, free.effort_limits, free.time_step, implicit_damping=True
    )
    settings: Any = {"work_weight": 0.1, "joule_weight": 0.01}
    motors = env.task, env.actuators
    inside = ro.EnergyTaskCost(ro.Rollout(twin, env.horizon), *motors, **settings)
    by_twin = ro.minimize(inside, first, jnp.asarray(starts), steps=steps).model
    rollout = ro.GymRollout(ArmOverTable, env.horizon, envs=4)
    touching = ro.EnergyTaskCost(rollout, *motors, **settings)
    gradient = ro.gradients.ZerothOrder(pairs=8)
    by_contact = ro.minimize(
        touching, first, starts, steps=steps, gradient=gradient
    ).model
    print(f"{'':28}{'objective':>10}{'task [s]':>10}{'energy [J]':>12}")
    costs = []
    for name, policy in (
        ("starting gains", first),
        ("tuned in the twin, no table", by_twin),
        ("tuned through contact", by_contact),
    ):
        policy = ro.policies.within_limits(policy, env.action_space)
        terms = touching.measure(ro.rollouts.collect(env, policy, starts=judged))
        costs.append(float(ro.objectives.total(terms)))
        task, *energy = (float(term.value) for term in terms.values())
        print(f"{name:28}{costs[-1]:10.3f}{task:10.3f}{sum(energy):12.2f}")
    rollout.close()
    return costs[0], costs[1], costs[2]


if __name__ == "__main__":
    main()
