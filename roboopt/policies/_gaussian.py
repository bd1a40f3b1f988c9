"""Gaussian policies, and Gaussian policies squashed into bounds.

    a = μ(o) + σ ∘ ε,   or   a = m + h tanh(u),  u = μ(o) + σ ∘ ε,   ε ~ N(0, 1)

σ is held within 0.001 and 10 times the spread of the demonstrated actions: the
likelihood of a demonstrator who never varies would be unbounded.
"""

from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import Frozen
from roboopt._errors import RobooptError
from roboopt.data import Demonstrations, Normalizer
from roboopt.networks import NormalizedMLP
from roboopt.policies._distributions import (
    EntropyPolicy,
    Normal,
    Observation,
    TanhNormal,
    bounded_log_deviation,
    squash,
    unsquash,
)
from roboopt.policies._policy_network import (
    NetworkSettings,
    action_units,
    policy_network,
)


class GaussianPolicy(EntropyPolicy):
    """A normal distribution of actions, its mean given by a network."""

    network: NormalizedMLP
    """Gives the mean, and log σ if σ depends on the observation."""
    outputs: Normalizer
    log_deviation: Float[Array, " axis"]
    """log σ in the spread of the demonstrated actions, before it is bounded."""

    @classmethod
    def of(
        cls,
        samples: Any,
        *,
        key: PRNGKeyArray,
        varying: bool = False,
        **settings: Unpack[NetworkSettings],
    ) -> "GaussianPolicy":
        """Build a policy for demonstrations, with about their spread.

        Args:
            samples: demonstrations with real-valued actions, or chunks of them.
            key: random key of the weights.
            varying: whether σ depends on the observation. It then also explains what
                the mean has not learned yet, at the cost of the mean.
            **settings: as `MLPPolicy.of`.

        Raises:
            RobooptError: as `MLPPolicy.of`.
        """
        samples = Demonstrations.of(samples)
        outputs = action_units(samples)
        network = policy_network(
            samples.observations,
            outputs.size * (2 if varying else 1),
            key=key,
            targets=jax.vmap(outputs)(samples.actions),
            **settings,
        )
        return cls(network, outputs, jnp.zeros(outputs.size))

    def distribution(self, observation: Observation) -> Normal:
        """Return p(action | observation)."""
        mean, *varying = self.network(observation).reshape(-1, self.outputs.size)
        log_deviation = bounded_log_deviation(sum(varying, self.log_deviation))
        shape = self.outputs.shape
        return Normal(mean.reshape(shape), log_deviation.reshape(shape), self.outputs)


class TanhGaussianPolicy(EntropyPolicy):
    """A normal distribution squashed between `low` and `high`."""

    latent: GaussianPolicy
    """The distribution of u."""
    low: Frozen[Float[Array, "..."]]
    high: Frozen[Float[Array, "..."]]

    @classmethod
    def of(
        cls,
        samples: Any,
        *,
        key: PRNGKeyArray,
        low: Any = None,
        high: Any = None,
        varying: bool = False,
        **settings: Unpack[NetworkSettings],
    ) -> "TanhGaussianPolicy":
        """Build a policy for demonstrations, with about their spread.

        Args:
            samples: demonstrations with real-valued actions, or chunks of them.
            key: random key of the weights.
            low: the least action, one number or one an axis; None for the samples'.
            high: the greatest action, likewise.
            varying: as `GaussianPolicy.of`.
            **settings: as `MLPPolicy.of`.

        Raises:
            RobooptError: if a bound is missing or not finite, does not fit the actions,
                or `low` is not below `high`; and as `MLPPolicy.of`.
        """
        samples = Demonstrations.of(samples)
        shape = samples.actions.shape[1:]
        low = _bound("low", low, samples.low, shape)
        high = _bound("high", high, samples.high, shape)
        if not np.all(low < high):
            raise RobooptError(f"`low` must be below `high`, got {low} and {high}.")
        action_units(samples)  # Checks the actions: clipping would hide infinite ones.
        u = jax.vmap(lambda a: unsquash(a, low, high))(samples.actions)
        inner = Demonstrations(samples.observations, u, samples.weights)
        latent = GaussianPolicy.of(inner, key=key, varying=varying, **settings)
        return cls(latent, Frozen(low), Frozen(high))

    def squashed(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the action m + h tanh(u)."""
        return squash(u, self.low(), self.high())

    def distribution(self, observation: Observation) -> TanhNormal:
        """Return p(action | observation)."""
        latent = self.latent.distribution(observation)
        return TanhNormal(latent, self.low(), self.high())


def _bound(name: str, given: Any, censored: Any, shape: tuple[int, ...]) -> Array:
    """Return the given bound, else the samples', in the shape of an action."""
    if given is None:
        if censored is None:
            raise RobooptError(f"`{name}` must be given where `samples` have none.")
        given = np.asarray(censored)[0]
        if np.any(np.asarray(censored) != given):
            raise RobooptError(
                f"`{name}` must be given where that of the samples varies."
            )
    bound = np.asarray(given, float)
    if bound.shape not in ((), shape[-1:], shape) or not np.all(np.isfinite(bound)):
        raise RobooptError(
            f"`{name}` must be one finite number or {shape[-1]}, got {given}."
        )
    return jnp.asarray(np.broadcast_to(bound, shape), float)
