"""Negative reward: what a policy earns, the other way up.

    L(π) = −E[Σ_t γ^t r_t]

with three sources of gradient, one for every simulator. Through a simulator in JAX it
is that of the rollout itself; through any other, `roboopt.gradients.ZerothOrder` has
it from values
alone; and where a stochastic policy has acted, it is that of the likelihood ratio,
which needs only what was recorded.
"""

from typing import Any

import jax.numpy as jnp

from roboopt._errors import RobooptError
from roboopt.data import Experience, Trajectory
from roboopt.objectives._objective import Term, check_weight
from roboopt.objectives._rollout_objective import RolloutObjective
from roboopt.objectives._short_horizon import Window, short_horizon
from roboopt.objectives._surrogate import surrogate


class NegativeReward(RolloutObjective):
    """The negative of a policy's return, differentiated in the way the batch allows.

    `objective(model, batch)` takes the observations of starts (starts, obs), which it
    runs `rollout` from; an `Experience`, of which it is the surrogate whose gradient is
    the policy's; or a `Window`, which it runs through with a value function at the end.
    """

    rollout: Any = None
    """`rollout(model, starts) -> Trajectory`, with rewards; for starts only."""
    discount: float = 1.0
    """γ, of each step of a rollout."""
    clip: float | None = 0.2
    """How far the likelihood ratio is followed; None for all the way."""
    value_weight: float = 0.5
    """Of the value function's error, in the variance of what it is to say."""
    entropy_weight: float = 0.0
    """What a nat of entropy is worth."""

    def __check_init__(self):
        if not 0 < self.discount <= 1:
            raise RobooptError(
                f"`discount` must be above 0 and at most 1, got {self.discount}."
            )
        if self.clip is not None and not self.clip > 0:
            raise RobooptError(f"`clip` must be positive or None, got {self.clip}.")
        for name in ("value_weight", "entropy_weight"):
            check_weight(name, getattr(self, name))

    def ranks(self, batch: Any) -> bool:
        """Return whether a lower value on `batch` means a better model.

        A surrogate's says nothing of it: only its gradient means something.
        """
        return not isinstance(batch, Experience | Window)

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return the parts of the negative reward of `model` on `batch`.

        Raises:
            RobooptError: if `batch` holds starts, and there is no rollout, or one
            without
                rewards.
        """
        if isinstance(batch, Experience):
            return surrogate(self, model, batch)
        if isinstance(batch, Window):
            return short_horizon(self, model, batch)
        if self.rollout is None:
            raise RobooptError("`rollout` must be given where the batch holds starts.")
        return super().terms(model, batch)

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
