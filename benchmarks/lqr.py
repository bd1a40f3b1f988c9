"""Tuned linear feedback against the discrete-time LQR optimum, both run in PyBullet.

The task is quadratic and the starts are small, so that the optimum is known:
SciPy's `solve_discrete_are` on the linearized twin. The gains start from a guess by
hand and are descended on the rollouts' cost alone. Prints both costs and their ratio.
"""

import jax
import jax.numpy as jnp
import numpy as np
from roboopt_envs.cart_pole import CartPoleBalance
from scipy.linalg import solve_discrete_are

import roboopt as ro

jax.config.update("jax_enable_x64", True)

SMALL = 0.02  # of the environment's own starts


def lqr_gains(twin: ro.Twin, task) -> np.ndarray:
    """Return K of the infinite horizon, with the cost on the state reached.

    Σ_k x_{k+1}ᵀ Q x_{k+1} + u_kᵀ R u_k differs from the textbook's Σ_k x_kᵀ Q x_k + …
    by x_0ᵀ Q x_0, which no control changes.
    """
    A, B = ro.dynamics.linearize(twin, jnp.zeros(4), jnp.zeros(1))
    A, B = np.asarray(A), np.asarray(B)
    scales = (
        task.position_scale,
        task.angle_scale,
        task.speed_scale,
        task.angular_speed_scale,
    )
    Q = np.diag(1 / np.square(scales))
    R = np.array([[1 / task.force_scale**2]])
    P = solve_discrete_are(A, B, Q, R)
    return np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)


def main() -> float:
    """Tune, compare, and return the ratio of the costs in PyBullet."""
    env = CartPoleBalance(duration=8.0)
    twin = ro.Twin.from_env(env)
    objective = ro.EnergyTaskCost(
        ro.Rollout(twin, env.horizon), env.task, env.actuators
    )
    starts = SMALL * env.sample_starts(16, seed=0)
    guess = ro.policies.LinearFeedback(jnp.array([[-2.0, -40.0, -4.0, -10.0]]))
    result = ro.minimize(objective, guess, starts, steps=60)
    controllers = {
        "guess": guess,
        "tuned": result.model,
        "LQR": ro.policies.LinearFeedback(jnp.asarray(lqr_gains(twin, env.task))),
    }
    judged = SMALL * env.sample_starts(20, seed=1)
    costs = {}
    for name, controller in controllers.items():
        trajectory = ro.rollouts.collect(env, controller, starts=judged)
        costs[name] = float(objective.measure(trajectory)["task_cost"].value)
        gains = np.asarray(controller.gains).round(3)[0]
        print(f"{name:6} cost {costs[name]:.9f} s   gains {gains}")
    ratio = costs["tuned"] / costs["LQR"]
    print(f"{result.message} in {result.seconds:.1f} s; tuned / LQR = {ratio:.6f}")
    return ratio


if __name__ == "__main__":
    main()
