"""A multilayer perceptron as a policy, with inputs and outputs in a robot's units."""

from collections.abc import Callable
from typing import Any, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Jittable
from roboopt._errors import require_positive
from roboopt.data import Normalizer
from roboopt.networks import NormalizedMLP
from roboopt.policies._policy_network import (
    NetworkSettings,
    policy_network,
    untrained_network,
    with_units,
)


class MLPPolicy(Jittable):
    """a = μ + σ ∘ final_activation(network(o))."""

    network: NormalizedMLP
    outputs: Normalizer
    final_activation: Callable[[Array], Array] = eqx.field(
        static=True, default=jax.nn.identity
    )
    """tanh for bounded actions, or the identity."""

    @classmethod
    def bounded(
        cls, scale: Any, limits: Any, *, key: PRNGKeyArray, **settings: Any
    ) -> "MLPPolicy":
        """Build a policy with small random weights and actions bounded by tanh.

        Args:
            scale: typical size of each observation axis, in its unit.
            limits: greatest magnitude of each action axis [N·m or N].
            key: random key of the weights.
            **settings: as `of`, with a width of 32 and without linear path by default.
        """
        require_positive(scale=scale)
        require_positive(limits=limits)
        network = untrained_network(
            Normalizer(np.zeros(len(scale)), scale),
            len(limits),
            key=key,
            **{"width": 32, "skip": False, **settings},
        )
        return cls(network, Normalizer(np.zeros(len(limits)), limits), jnp.tanh)

    @classmethod
    def of(
        cls, samples: Any, *, key: PRNGKeyArray, **settings: Unpack[NetworkSettings]
    ) -> "MLPPolicy":
        """Build a policy for demonstrations, which normalize its inputs and outputs.

        The policy begins at the linear one nearest to the demonstrations, which goes
        beyond `low` and `high` where actions are censored. Its actions are unbounded:
        see `Clipped`.

        Args:
            samples: demonstrations with real-valued actions, or chunks of them.
            key: random key of the weights.
            **settings: `width`, `depth`, `activation`, `angles`, `skip`, `quantiles`.

        Raises:
            RobooptError: if `samples` are empty or not finite, their actions are
                integers, or a setting breaks its rule.
        """
        quantiles = settings.get("quantiles", False)
        samples, outputs = with_units(samples, quantiles=quantiles)
        units = lambda a: None if a is None else jax.vmap(outputs)(a)  # noqa: E731
        network = policy_network(
            samples.observations,
            outputs.size,
            key=key,
            targets=units(samples.actions),
            lower=units(samples.low),
            upper=units(samples.high),
            **settings,
        )
        return cls(network, outputs)

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, "..."]:
        """Return the action, or chunk of actions, in its units."""
        y = self.final_activation(self.network(observation))
        return self.outputs.inverse(y.reshape(self.outputs.shape))
