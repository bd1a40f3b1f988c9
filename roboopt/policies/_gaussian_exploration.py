"""Gaussian exploration around a deterministic policy, to learn from reward.

    a = π(o) + σ ∘ ε,   ε ~ N(0, 1)

for any deterministic π, gains and networks alike. σ is learned with π.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import Frozen
from roboopt._errors import RobooptError
from roboopt.policies._distributions import (
    EntropyPolicy,
    Normal,
    Observation,
    bounded_log_deviation,
    unbounded_log_deviation,
)


class GaussianExploration(EntropyPolicy):
    """A normal distribution around the actions of `policy`."""

    policy: Any
    log_deviation: Float[Array, "..."]
    """log σ in units of `spread`, before it is bounded."""
    spread: Frozen[Float[Array, "..."]]
    """The initial σ, in the actions' units."""

    def __init__(self, policy: Any, spread: Any):
        """Explore around `policy`, at first with a standard deviation of `spread`.

        Args:
            policy: from an observation to a real-valued action.
            spread: one number, or one an axis, in the actions' units; σ stays between
                a thousandth of the spread and ten times the spread.

        Raises:
            RobooptError: if `spread` is not one number or one an axis, or not positive
                and finite.
        """
        values = np.asarray(spread, float)
        if values.ndim > 1 or not np.all((values > 0) & np.isfinite(values)):
            raise RobooptError(
                "`spread` must hold one number, or one an axis of actions, positive "
                f"and finite, got {values}."
            )
        self.policy = policy
        self.spread = Frozen(jnp.asarray(values, float))
        self.log_deviation = jnp.full(values.shape, unbounded_log_deviation(0.0))

    def distribution(self, observation: Observation) -> Normal:
        """Return p(action | observation).

        Raises:
            RobooptError: if `spread` does not fit the policy's actions.
        """
        mean = jnp.asarray(self.policy(observation))
        log_deviation = bounded_log_deviation(self.log_deviation)
        log_deviation = log_deviation + jnp.log(self.spread())
        if log_deviation.ndim and log_deviation.shape != mean.shape:
            raise RobooptError(
                f"`spread` must hold one number or {mean.shape}, one an axis of "
                f"actions, got shape {log_deviation.shape}."
            )
        return Normal(mean, jnp.broadcast_to(log_deviation, mean.shape))
