"""Learn a cart-pole's dynamics from recordings: a network, five, and what physics miss.

Recorded in PyBullet under random smooth forces; judged on motions that none has seen,
beside a twin whose masses are 30 % off and a guess that velocities stay as they are.
"""

from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import roboopt_envs  # noqa: F401  (registers the environments)

import roboopt as ro
from roboopt.dynamics import Ensemble, NetworkDynamics, ResidualDynamics
from roboopt.objectives import PredictionError, over_ensemble

jax.config.update("jax_enable_x64", True)

KEY = jax.random.key(0)
STEPS, BATCH = 2000, 256


def record(env: Any, episodes: int, seed: int) -> ro.Trajectory:
    """Return motions of 1 s from random states, within the rail."""
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(episodes):
        plan = ro.policies.OpenLoopSpline(
            rng.uniform(-5, 5, (9, 1)), env.horizon * env.time_step
        )
        start = rng.uniform([-0.1, -np.pi, -1, -1], [0.1, np.pi, 1, 1])
        runs.append(ro.rollouts.collect(env, plan, starts=[start]))
    return jax.tree.map(lambda *runs: np.concatenate(runs), *runs)


def error(dynamics: Any, runs: ro.Trajectory, horizon: int) -> float:
    """Return the error after `horizon` steps, over the motions' standard deviation."""
    errors = PredictionError(horizon=horizon).errors(dynamics, runs)
    size = np.std(runs.observations, axis=(0, 1))
    return float(np.sqrt(np.mean((np.asarray(errors[:, -1]) / size) ** 2)))


def main() -> float:
    """Learn, compare, and return the residual's error after 50 steps."""
    env: Any = gymnasium.make("roboopt/CartPoleSwingUp-v0", duration=1.0).unwrapped
    training, held_out = record(env, 60, seed=0), record(env, 15, seed=1)
    steps = ro.data.sliding_windows(training, 1)
    change = np.diff(steps.observations, axis=1).std((0, 1))

    masses = lambda twin: (twin.robot.masses, twin.robot.inertias)  # noqa: E731
    wrong: Any = eqx.tree_at(
        masses, ro.Twin.from_env(env), replace_fn=lambda x: 1.3 * x
    )

    def unchanged(state: jax.Array, action: jax.Array) -> jax.Array:
        """Return the state if no velocity changes."""
        velocity = state[2:]
        return state + env.time_step * jnp.concatenate([velocity, 0 * velocity])

    def network(key: jax.Array) -> NetworkDynamics:
        """Return a network with weights of its own."""
        limits = {"actuated": (0,), "effort_limits": env.effort_limits}
        return NetworkDynamics.of(training, key=key, angles=(1,), **limits)

    def learned(objective: Any, model: Any) -> Any:
        """Return `model` after the descent."""
        return ro.minimize(objective, model, steps, steps=STEPS, batch_size=BATCH).model

    objective = PredictionError(horizon=1, scale=change)
    residual = ResidualDynamics.of(wrong, training, key=KEY, angles=(1,))
    models = {
        "constant velocity": unchanged,
        "twin 30 % off": wrong,
        "network": learned(objective, network(KEY)),
        "ensemble of 5": learned(
            over_ensemble(objective), Ensemble.of(network, 5, KEY)
        ),
        "twin + residual": learned(objective, residual),
    }
    print(f"{'held-out error':18s}   1 step  50 steps")
    errors = {}
    for name, model in models.items():
        errors[name] = [error(model, held_out, horizon) for horizon in (1, 50)]
        print(f"{name:18s} {errors[name][0]:8.4%} {errors[name][1]:8.3%}")
    before, after = errors["twin 30 % off"][1], errors["twin + residual"][1]
    print(
        f"after 50 steps the residual divides the twin's error by {before / after:.0f}"
    )
    return after


if __name__ == "__main__":
    main()
