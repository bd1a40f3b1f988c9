"""Give an environment of your own a twin, and learn in it by its exact gradient.

A puck slides on a rail with friction; the environment is plain NumPy, its twin the same
physics in JAX. Both are compared before the twin is trusted.
"""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

import roboopt as ro

jax.config.update("jax_enable_x64", True)
STEP, STEPS, MASS, FRICTION, LIMIT = 0.02, 100, 0.5, 0.4, 2.0  # SI units


def physics(state: Any, force: Any) -> tuple[Any, Any]:
    """Return position and velocity after one step; for NumPy and JAX alike."""
    x, v = state[0], state[1]
    v = v + STEP * (force[0] - FRICTION * v) / MASS
    return x + STEP * v, v


class Puck(gymnasium.Env):
    """Bring a puck to rest at 0; an episode takes 2 s."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-LIMIT, LIMIT, (1,), np.float64)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """Begin at rest within a meter of 0."""
        super().reset(seed=seed)
        self.steps = 0
        self.state = np.array([self.np_random.uniform(-1, 1), 0.0])
        return self.state, {}

    def step(self, action: np.ndarray):
        """Push for one step."""
        action = np.clip(action, -LIMIT, LIMIT)
        self.state = np.array(physics(self.state, action))
        self.steps += 1
        return (
            self.state,
            reward(None, action, self.state),
            False,
            self.steps == STEPS,
            {},
        )


def reward(state: Any, action: Any, after: Any) -> Any:
    """Return minus the squared distance and a little effort."""
    return -STEP * (after[0] ** 2 + 0.1 * after[1] ** 2 + 0.001 * action[0] ** 2)


class PuckDynamics:
    """The same puck in JAX, with what a `Rollout` asks of a dynamics."""

    time_step, joints, action_size = STEP, 1, 1

    def clip(self, action: jax.Array) -> jax.Array:
        """Return the force that the actuator can follow."""
        return jnp.clip(action, -LIMIT, LIMIT)

    effort = clip

    def __call__(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """Return the state after one step."""
        return jnp.stack(physics(state, self.clip(action)))


def main() -> float:
    """Register, check, learn, and return the mean return."""
    rollout = ro.Rollout(PuckDynamics(), STEPS, reward)
    ro.rollouts.register_twin(Puck, lambda env: rollout)
    env = gymnasium.wrappers.TimeLimit(Puck(), STEPS)
    feedback = ro.policies.LinearFeedback(np.array([[1.0, 0.0]]))
    real = ro.rollouts.collect(env, feedback, episodes=3, seed=0)
    twin = rollout(feedback, jnp.asarray(real.observations[:, 0]))
    gap = float(np.abs(np.asarray(twin.observations) - real.observations).max())
    print(f"largest difference between environment and twin: {gap:.1e}")
    result = ro.reinforce(
        lambda: gymnasium.wrappers.TimeLimit(Puck(), STEPS),
        policy=feedback,
        algorithm="analytic",
        timesteps=100_000,
    )
    assert result.evaluation is not None and result.start_evaluation is not None
    before = result.start_evaluation.mean_return.value
    after = result.evaluation.mean_return.value
    print(f"mean return of 100 new episodes: {before:.4f} before, {after:.4f} after")
    return after


if __name__ == "__main__":
    main()
