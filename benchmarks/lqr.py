"""Tuned linear feedback against the discrete-time LQR optimum, both run in PyBullet.

The task is quadratic and the starts are small, so that the optimum is known:
SciPy's `solve_discrete_are` on the linearized twin. The gains start from a guess by
hand and are descended on the rollouts' cost alone. Prints both costs and their ratio,
for a controller at every time step and for one whose forces are held for 1/60 s.
"""

import jax
import jax.numpy as jnp
import numpy as np
from roboopt_envs.cart_pole import CartPoleBalance
from scipy.linalg import solve_discrete_are

import roboopt as ro

jax.config.update("jax_enable_x64", True)

SMALL = 0.02  # of the environment's own starts


def lqr_gains(twin: ro.Twin, task, held: int) -> np.ndarray:
    """Return K of the infinite horizon, with the cost on every state reached.

    With u_k held over time steps i = 1 to `held`, each of which reaches
    x_i = Aⁱ x_k + Σ_{j<i} Aʲ B u_k, the cost Σ_i x_iᵀ Q x_i + u_kᵀ R u_k is quadratic
    in (x_k, u_k), with a product of both.
    """
    A, B = ro.dynamics.linearize(twin, jnp.zeros(4), jnp.zeros(1))
    A, B = np.asarray(A), np.asarray(B)
    scales = (
        task.position_scale,
        task.angle_scale,
        task.speed_scale,
        task.angular_speed_scale,
    )
    weight = np.diag([*(1 / np.square(scales)), 1 / task.force_scale**2])
    step, total = np.eye(5), np.zeros((5, 5))
    for _ in range(held):
        step = np.vstack([np.hstack([A, B]) @ step, np.eye(5)[4:]])
        total += step.T @ weight @ step
    A, B = step[:4, :4], step[:4, 4:]
    Q, S, R = total[:4, :4], total[:4, 4:], total[4:, 4:]
    P = solve_discrete_are(A, B, Q, R, s=S)
    return np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A + S.T)


def ratio(control_period: float | None) -> float:
    """Tune, compare, and return the ratio of the costs in PyBullet."""
    env = CartPoleBalance(duration=8.0, control_period=control_period)
    twin = ro.Twin.from_env(env)
    rollout = ro.Rollout(twin, env.horizon, control_period=control_period)
    objective = ro.EnergyTaskCost(rollout, env.task, env.actuators)
    starts = SMALL * env.sample_starts(16, seed=0)
    guess = ro.policies.LinearFeedback(jnp.array([[-2.0, -40.0, -4.0, -10.0]]))
    result = ro.minimize(objective, guess, starts, steps=60)
    controllers = {
        "guess": guess,
        "tuned": result.model,
        "LQR": ro.policies.LinearFeedback(
            jnp.asarray(lqr_gains(twin, env.task, env.substeps))
        ),
    }
    judged = SMALL * env.sample_starts(20, seed=1)
    costs = {}
    for name, controller in controllers.items():
        trajectory = ro.rollouts.collect(env, controller, starts=judged)
        costs[name] = float(objective.measure(trajectory)["task_cost"].value)
        gains = np.asarray(controller.gains).round(3)[0]
        print(f"{name:6} cost {costs[name]:.9f} s   gains {gains}")
    found = costs["tuned"] / costs["LQR"]
    print(f"{result.message} in {result.seconds:.1f} s; tuned / LQR = {found:.6f}")
    return found


def main() -> list[float]:
    """Return the ratios at every time step and at 60 Hz."""
    return [ratio(None), ratio(1 / 60)]


if __name__ == "__main__":
    main()
