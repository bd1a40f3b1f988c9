"""The loss of a short-horizon actor-critic (SHAC).

    L(π) = −E[Σ_{t<h} r_t + V(o_h)] + w_V E[½ (V(o) − G)²] − w_H E[H(π(·|o))]

differentiated through h steps of the dynamics (Xu et al., 2022, Accelerated policy
learning with parallel differentiable simulation). The gradient that a step passes on to
the step before is multiplied by γ, so that the gradient by the action a_k is that of

    Σ_{k≤t<h} γ^(t−k) r_t + γ^(h−k) V(o_h),

the discounted return of each visited state; discounting the sum itself would count the
later actions of a window for less. The value function V learns its targets G in the
second term; the first term does not change V.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from roboopt._core import AnyArray, Frozen
from roboopt._errors import require_at_least
from roboopt.objectives._objective import Objective, Term, check_weights
from roboopt.objectives._rollout_objective import check_discount
from roboopt.policies import draw
from roboopt.rollouts import faded


class ShortHorizonBatch(eqx.Module):
    """Where windows begin, and the targets of the value function along them."""

    starts: Float[AnyArray, "start obs"]
    steps_left: Int[AnyArray, " start"]
    """Steps until the episode ends; the window stands still from there on."""
    keys: UInt32[AnyArray, "start word"] | None
    """Random keys of the agent in each window; None where the agent does not sample."""
    observations: Float[AnyArray, "start time obs"]
    value_targets: Float[AnyArray, "start time"]
    """G at `observations`, in the unit of the value function."""
    value_unit: Float[AnyArray, " start"]
    """The unit of the value function in that of the rewards, the same in every row."""


class ShortHorizonLoss(Objective):
    """The negative reward of short windows with a value function at their end.

    `objective(agent, batch)` takes an agent with `value`, and with `entropy` where the
    agent samples, and a `ShortHorizonBatch`. Rewards count in the unit of the value
    function.
    """

    rollout: Any
    """A `Rollout` with a reward: the windows run through its `step`."""
    horizon: int = eqx.field(static=True)
    """h, steps of a window."""
    discount: float = eqx.field(static=True, default=0.99)
    """γ of one step."""
    value_weight: float = 0.5
    """w_V, per squared unit of the value function."""
    entropy_weight: float = 0.0
    """w_H, per nat; 0 for an agent that does not sample."""

    def __check_init__(self):
        require_at_least(1, horizon=self.horizon)
        check_discount(self.discount)
        check_weights(
            value_weight=self.value_weight, entropy_weight=self.entropy_weight
        )

    def ranks(self, batch: Any) -> bool:
        return False  # Windows that begin elsewhere cannot be compared.

    def terms(self, model: Any, batch: ShortHorizonBatch) -> dict[str, Term]:
        """Return the terms of the loss of the agent `model`."""
        critic = Frozen(model)()

        def reward(start, left, unit, key):
            keys = None
            if key is not None:
                keys = jax.random.split(jax.random.wrap_key_data(key), self.horizon)
            end, total = self._window(model, start, left, keys)
            return total / unit + critic.value(end)

        rewards = jax.vmap(reward)(
            batch.starts, batch.steps_left, batch.value_unit, batch.keys
        )
        error = jax.vmap(jax.vmap(model.value))(batch.observations)
        error = error - batch.value_targets
        terms = {
            "negative_reward": Term(-jnp.mean(rewards), 1.0, "1"),
            "value_error": Term(0.5 * jnp.mean(error**2), self.value_weight, "1"),
        }
        if batch.keys is not None:
            entropy = jnp.mean(jax.vmap(jax.vmap(model.entropy))(batch.observations))
            terms["negative_entropy"] = Term(-entropy, self.entropy_weight, "nat")
        return terms

    def _window(
        self, model: Any, start: Float[Array, " obs"], left: Int[Array, ""], keys: Any
    ) -> tuple[Float[Array, " obs"], Float[Array, ""]]:
        """Return the observation at the end of a window, and the sum of rewards."""

        @jax.checkpoint
        def step(observation, index, key):
            going = index < left
            if key is None:
                action = model(observation)
            else:
                _, action = draw(model, observation, key)
            number = jnp.clip(self.rollout.horizon - left + index, 0, last)
            made = self.rollout.step(observation, action, number, restoring=True)
            reward = self.rollout.rewards(
                observation, made.action, made.observations, made.efforts, number
            )
            after = made.next_observation
            after = jnp.where(going, faded(after, self.discount), observation)
            return after, jnp.where(going, reward, jnp.zeros_like(reward))

        def scanned(carry, inputs):
            observation, total = carry
            index, key = inputs
            observation, reward = step(observation, index, key)
            return (observation, total + reward), None

        last, first = self.rollout.horizon - 1, (start, jnp.zeros((), start.dtype))
        return jax.lax.scan(scanned, first, (jnp.arange(self.horizon), keys))[0]
