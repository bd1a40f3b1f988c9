"""Clone a controller that wastes energy, and save some: a sum of two objectives.

The demonstrator balances a cart-pole with more force than it takes. `ActionMismatch`
alone copies it; adding `w * EnergyTaskCost` says how much a joule is worth against
a likeness of the actions, and the clone finds the compromise.
"""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import roboopt_envs  # noqa: F401  (registers the environments)

import roboopt as ro
from roboopt.objectives import Keyed

jax.config.update("jax_enable_x64", True)


def main() -> float:
    """Clone with and without the second objective; return the ratio of the energies."""
    env: Any = gymnasium.make("roboopt/CartPoleBalance-v0", duration=4.0).unwrapped
    demonstrator = ro.policies.LinearFeedback(jnp.array([[-9.0, -65.0, -10.0, -14.0]]))
    runs = ro.rollouts.collect(env, demonstrator, episodes=10, seed=0)
    limit = env.effort_limits
    demonstrations = ro.data.Demonstrations.from_trajectories(
        runs, low=-limit, high=limit
    )
    mismatch = ro.ActionMismatch(scale=5.0)  # [N]
    rollout = ro.Rollout(ro.Twin.from_env(env), env.horizon)
    cost: Any = ro.EnergyTaskCost(
        rollout, env.task, env.actuators, work_weight=0.05, joule_weight=0.05
    )
    batch = {"actions": demonstrations, "starts": env.sample_starts(8, seed=0)}
    start = ro.policies.LinearFeedback(jnp.array([[-2.0, -40.0, -4.0, -10.0]]))
    judged = env.sample_starts(50, seed=1)
    energies = []
    for weight in (0.0, 0.5):
        objective = Keyed("actions", mismatch)
        if weight:
            objective = objective + weight * Keyed("starts", cost)
        clone = ro.minimize(objective, start, batch, steps=20).model
        motions = ro.rollouts.collect(env, clone, starts=judged)
        terms = cost.measure(motions)
        energies.append(sum(float(t.value) for t in terms.values() if t.unit == "J"))
        success = float(cost.success(motions))
        unlike = float(mismatch(clone, demonstrations))
        print(
            f"weight {weight}: mismatch {unlike:.4f}, energy {energies[-1]:.3f} J, "
            f"success {success:.0%}, gains {np.round(clone.gains, 1).tolist()}"
        )
    saved = 1 - energies[1] / energies[0]
    print(f"a weight of 0.5 saves {saved:.0%} of the energy")
    return saved


if __name__ == "__main__":
    main()
