"""Gaussian exploration around a deterministic policy, to learn from reward.

    a = π(o) + σ ∘ ε,   ε ~ N(0, 1)

for any deterministic π, gains and networks alike. σ is learned with it.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Frozen, Jittable
from roboopt._errors import RobooptError
from roboopt.policies._action_units import check_shape
from roboopt.policies._gaussian import log_densities, out_of_range, within_range


class GaussianExploration(Jittable):
    """A normal distribution about what `policy` does; as a policy, `policy` itself."""

    policy: Any
    log_deviation: Float[Array, "..."]
    """Of σ in `spread`, before it is held in a range about it."""
    spread: Frozen[Float[Array, "..."]]
    """Of σ at first, in the actions' units."""

    def __init__(self, policy: Any, spread: Any):
        """Explore around `policy`, at first with a standard deviation of `spread`.

        Args:
            policy: from an observation to an action of real numbers.
            spread: one number, or one an axis, in the actions' units; σ stays between
                a thousandth of it and ten times it.

        Raises:
            RobooptError: if `spread` is other than one number or one an axis, or not
                positive and finite.
        """
        values = np.asarray(spread, float)
        if values.ndim > 1 or not np.all((values > 0) & np.isfinite(values)):
            raise RobooptError(
                "`spread` must hold one number, or one an axis of actions, positive "
                f"and finite, got {values}."
            )
        self.policy = policy
        self.spread = Frozen(jnp.asarray(values, float))
        self.log_deviation = jnp.full(values.shape, out_of_range(0.0))

    def _parameters(self, observation: AnyArray) -> tuple[Array, Array]:
        """Return the mean and the logarithm of σ, in the actions' units.

        Raises:
            RobooptError: if `spread` does not fit the policy's actions.
        """
        mean = jnp.asarray(self.policy(observation))
        logarithm = within_range(self.log_deviation) + jnp.log(self.spread())
        if logarithm.ndim and logarithm.shape != mean.shape:
            raise RobooptError(
                f"`spread` must hold one number or {mean.shape}, one an axis of "
                f"actions, got shape {logarithm.shape}."
            )
        return mean, jnp.broadcast_to(logarithm, mean.shape)

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return what `policy` does."""
        return self.policy(observation)

    def sample(
        self, observation: Float[AnyArray, " obs"], key: PRNGKeyArray
    ) -> Float[Array, " act"]:
        """Return an action drawn with `key`."""
        mean, log_deviation = self._parameters(observation)
        drawn = jax.random.normal(key, mean.shape, mean.dtype)
        return mean + jnp.exp(log_deviation) * drawn

    def log_prob(
        self, observation: Float[AnyArray, " obs"], action: Float[AnyArray, " act"]
    ) -> Float[Array, ""]:
        """Return the logarithm of the density at `action`, in the actions' units.

        Raises:
            RobooptError: if `action` is not of the shape of the policy's.
        """
        mean, log_deviation = self._parameters(observation)
        check_shape("action", action.shape, mean.shape)
        return log_densities(jnp.asarray(action), mean, log_deviation).sum()

    def entropy(self, observation: Float[AnyArray, " obs"]) -> Float[Array, ""]:
        """Return that of the density [nat]."""
        log_deviation = self._parameters(observation)[1]
        return jnp.sum(log_deviation + 0.5 * math.log(2 * math.pi * math.e))
