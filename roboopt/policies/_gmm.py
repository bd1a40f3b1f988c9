"""A Gaussian mixture policy, for demonstrators that act in several ways.

    p(a | o) = Σ_c w_c(o) N(a; μ_c(o), σ_c(o)²)

after Bishop (1994, Mixture density networks). Where demonstrators pass an obstacle on
the left or on the right, the mean of their actions hits it. The initialization is ours:
the linear policy nearest to the samples, plus its error on one sample a component, so
that components begin at demonstrated actions.
"""

from typing import Any, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from roboopt._errors import RobooptError
from roboopt.data import Demonstrations, Normalizer
from roboopt.networks import NormalizedMLP
from roboopt.policies._distributions import (
    NormalMixture,
    Observation,
    StochasticPolicy,
    bounded_log_deviation,
)
from roboopt.policies._policy_network import (
    NetworkSettings,
    action_units,
    policy_network,
)


class GMMPolicy(StochasticPolicy):
    """A mixture of normal distributions; called, it takes the likeliest one's mean."""

    network: NormalizedMLP
    outputs: Normalizer
    components: int = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        samples: Any,
        *,
        key: PRNGKeyArray,
        components: int = 5,
        **settings: Unpack[NetworkSettings],
    ) -> "GMMPolicy":
        """Build a policy for demonstrations, its components spread over them.

        Args:
            samples: demonstrations with real-valued actions, or chunks of them.
            key: random key of the weights and of the components' first samples.
            components: number of components; more than there are modes does no harm.
            **settings: as `MLPPolicy.of`.

        Raises:
            RobooptError: if `components` is less than 1; and as `MLPPolicy.of`.
        """
        if components < 1:
            raise RobooptError(f"`components` must be at least 1, got {components}.")
        samples = Demonstrations.of(samples)
        outputs = action_units(samples)
        y = jax.vmap(outputs)(samples.actions).reshape(len(samples), -1)
        for_weights, for_samples = jax.random.split(key)
        means = components * outputs.size
        network = policy_network(
            samples.observations,
            2 * means + components,
            key=for_weights,
            targets=np.tile(np.asarray(y), (1, components)),
            **settings,
        )
        first = jax.random.choice(
            for_samples, len(samples), (components,), replace=len(samples) < components
        )
        predicted = jax.vmap(network)(jnp.asarray(samples.observations)[first])
        errors = y[first] - predicted[:, : outputs.size]
        bias = lambda n: n.perceptron.layers[-1].bias  # noqa: E731
        start = bias(network).at[:means].set(errors.reshape(-1))
        return cls(eqx.tree_at(bias, network, start), outputs, components)

    def distribution(self, observation: Observation) -> NormalMixture:
        """Return p(action | observation)."""
        y = self.network(observation)
        means, log_deviations = y[: -self.components].reshape(
            2, self.components, self.outputs.size
        )
        log_weights = jax.nn.log_softmax(y[-self.components :])
        log_deviations = bounded_log_deviation(log_deviations)
        return NormalMixture(means, log_deviations, log_weights, self.outputs)
