"""Tune the gains that balance a cart-pole, and judge them in PyBullet."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import roboopt_envs  # noqa: F401  (registers the environments)

import roboopt as ro

jax.config.update("jax_enable_x64", True)


def main() -> float:
    """Tune, judge in PyBullet, and return the fraction of starts balanced."""
    env: Any = gymnasium.make("roboopt/CartPoleBalance-v0").unwrapped
    twin = ro.Twin.from_env(env)
    objective = ro.EnergyTaskCost(
        ro.Rollout(twin, env.horizon), env.task, env.actuators, work_weight=0.02
    )
    start = ro.policies.LinearFeedback(jnp.array([[-2.0, -40.0, -4.0, -10.0]]))
    result = ro.minimize(objective, start, env.sample_starts(32, seed=0), steps=40)
    print(f"{result.message}: loss {result.history['loss'][0]:.4f} → {result.loss:.4f}")

    print(f"gains {result.model.gains.round(2).tolist()}")
    success = 0.0
    judged = env.sample_starts(100, seed=1)
    for name, controller in (("start", start), ("tuned", result.model)):
        trajectory = ro.rollouts.collect(env, controller, starts=judged)
        success = float(objective.success(trajectory))
        terms = objective.measure(trajectory)
        print(*(f"  {k} {float(t.value):.4g} {t.unit}" for k, t in terms.items()))
        print(f"{name} in PyBullet: {success:.0%} of 100 starts balanced")
    return success


if __name__ == "__main__":
    main()
