"""Negative reward: minus the expected discounted return of a policy.

    L(π) = −E[Σ_t γ^t r_t]

Through a rollout in JAX the gradient is that of the rollout; through any other
simulator `roboopt.gradients.ZerothOrder` estimates the gradient from values alone.
"""

from typing import Any

import jax.numpy as jnp

from roboopt._errors import RobooptError
from roboopt.data import Trajectory
from roboopt.objectives._objective import Term
from roboopt.objectives._rollout_objective import RolloutObjective, check_discount


class NegativeReward(RolloutObjective):
    """The negative of a policy's mean return over the starts in the batch."""

    rollout: Any
    """`rollout(policy, starts) -> Trajectory`, with rewards."""
    discount: float = 1.0
    """γ of one step."""

    def __check_init__(self):
        check_discount(self.discount)

    def trajectory_terms(self, trajectory: Trajectory, batch: Any) -> dict[str, Term]:
        """Return the negative reward of the motions made from the starts in `batch`."""
        rewards = trajectory.rewards
        if rewards is None:
            raise RobooptError(
                "`rollout` must return trajectories with rewards, got none: give the "
                "`Rollout` a `reward`."
            )
        rewards = jnp.asarray(rewards)
        weights = self.discount ** jnp.arange(rewards.shape[-1], dtype=rewards.dtype)
        return {"negative_reward": Term(-jnp.mean(rewards @ weights), 1.0, "1")}
