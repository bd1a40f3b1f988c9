"""Gaussian policies: of a network, in bounds, mixed, or around another policy.

    a = μ(o) + σ ∘ ε,   or   a = m + h tanh(u),  u = μ(o) + σ ∘ ε,   ε ~ N(0, 1)
    or   p(a | o) = Σ_c w_c(o) N(a; μ_c(o), σ_c(o)²)

σ is held within 0.001 and 10 times the spread of the actions: the likelihood of a
demonstrator who never varies would be unbounded.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import Frozen, per_axis
from roboopt._errors import RobooptError, require, require_at_least
from roboopt.data import Demonstrations, Normalizer
from roboopt.networks import NormalizedMLP
from roboopt.policies._distributions import (
    EntropyPolicy,
    Normal,
    NormalMixture,
    Observation,
    StochasticPolicy,
    TanhNormal,
    bounded_log_deviation,
    squash,
    unbounded_log_deviation,
    unsquash,
)
from roboopt.policies._policy_network import policy_network, with_units
from roboopt.policies._protocol import over_action


class GaussianPolicy(EntropyPolicy):
    """A normal distribution of actions, its mean given by a network."""

    network: NormalizedMLP
    """Gives the mean, and log σ if σ depends on the observation."""
    outputs: Normalizer
    log_deviation: Float[Array, " axis"]
    """log σ in the spread of the demonstrated actions, before it is bounded."""

    @classmethod
    def of(
        cls, samples: Any, *, key: PRNGKeyArray, varying: bool = False, **settings: Any
    ) -> "GaussianPolicy":
        """Build a policy for demonstrations, with about their spread.

        The arguments are those of `MLPPolicy.of`, and `varying`: whether σ depends on
        the observation. It then also explains what the mean has not learned yet, at the
        cost of the mean.
        """
        quantiles = settings.get("quantiles", False)
        samples, outputs = with_units(samples, quantiles=quantiles)
        network = policy_network(
            samples.observations,
            outputs.size * (2 if varying else 1),
            key=key,
            targets=jax.vmap(outputs)(samples.actions),
            **settings,
        )
        return cls(network, outputs, jnp.zeros(outputs.size))

    def distribution(self, observation: Observation) -> Normal:
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
        **settings: Any,
    ) -> "TanhGaussianPolicy":
        """Build a policy for demonstrations, as `GaussianPolicy.of`, within bounds.

        The actions lie between `low` and `high`, each one number or one an axis; None
        for the samples' own limits.
        """
        # Checks the actions: clipping would hide infinite ones.
        samples, _ = with_units(samples)
        shape = samples.actions.shape[1:]
        low = _bound("low", low, samples.low, shape)
        high = _bound("high", high, samples.high, shape)
        if not np.all(low < high):
            raise RobooptError(f"`low` must be below `high`, got {low} and {high}.")
        u = jax.vmap(lambda a: unsquash(a, low, high))(samples.actions)
        inner = Demonstrations(samples.observations, u, samples.weights)
        latent = GaussianPolicy.of(inner, key=key, varying=varying, **settings)
        return cls(latent, Frozen(low), Frozen(high))

    def squashed(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the action m + h tanh(u)."""
        return squash(u, self.low(), self.high())

    def distribution(self, observation: Observation) -> TanhNormal:
        latent = self.latent.distribution(observation)
        return TanhNormal(latent, self.low(), self.high())


def _bound(name: str, given: Any, censored: Any, shape: tuple[int, ...]) -> Array:
    """Return the given bound, else the samples', in the shape of an action."""
    if given is None:
        rows = [] if censored is None else np.unique(censored, axis=0)
        if len(rows) != 1:
            raise RobooptError(
                f"`{name}` must be given where `samples` have none, or several."
            )
        given = rows[0]
    bound = np.asarray(given, float)
    valid = bound.shape in ((), shape[-1:], shape) and np.all(np.isfinite(bound))
    require(valid, name, f"be one finite number or {shape[-1]}", given)
    return jnp.asarray(np.broadcast_to(bound, shape), float)


class GMMPolicy(StochasticPolicy):
    """A mixture of normal distributions; called, it takes the likeliest one's mean.

    After Bishop (1994, Mixture density networks), for demonstrators that act in several
    ways: where they pass an obstacle on the left or on the right, the mean of their
    actions hits it. The initialization is ours: the linear policy nearest to the
    samples, plus its error on one sample a component, so that components begin at
    demonstrated actions.
    """

    network: NormalizedMLP
    outputs: Normalizer
    components: int = eqx.field(static=True)

    @classmethod
    def of(
        cls, samples: Any, *, key: PRNGKeyArray, components: int = 5, **settings: Any
    ) -> "GMMPolicy":
        """Build a policy for demonstrations, its components spread over them.

        The arguments are those of `MLPPolicy.of`, and the number of components, of
        which more than there are modes do no harm.
        """
        require_at_least(1, components=components)
        quantiles = settings.get("quantiles", False)
        samples, outputs = with_units(samples, quantiles=quantiles)
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
        few = len(samples) < components
        first = np.asarray(
            jax.random.choice(for_samples, len(samples), (components,), replace=few)
        )
        predicted = jax.vmap(network)(np.asarray(samples.observations)[first])
        errors = np.asarray(y)[first] - np.asarray(predicted)[:, : outputs.size]
        bias = lambda n: n.perceptron.layers[-1].bias  # noqa: E731
        start = np.array(bias(network))
        start[:means] = errors.ravel()
        start = jax.device_put(start)
        return cls(eqx.tree_at(bias, network, start), outputs, components)

    def distribution(self, observation: Observation) -> NormalMixture:
        y = self.network(observation)
        means, log_deviations = y[: -self.components].reshape(
            2, self.components, self.outputs.size
        )
        log_weights = jax.nn.log_softmax(y[-self.components :])
        log_deviations = bounded_log_deviation(log_deviations)
        return NormalMixture(means, log_deviations, log_weights, self.outputs)


class GaussianExploration(EntropyPolicy):
    """A normal distribution around the actions of `policy`, gains or a network.

    σ is learned with the policy.
    """

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
        """
        valid = lambda x: (x > 0) & np.isfinite(x)  # noqa: E731
        values = per_axis("spread", spread, "positive and finite", valid)
        self.policy = policy
        self.spread = Frozen(jnp.asarray(values, float))
        self.log_deviation = jnp.full(values.shape, unbounded_log_deviation(0.0))

    def distribution(self, observation: Observation) -> Normal:
        mean = jnp.asarray(self.policy(observation))
        log_deviation = bounded_log_deviation(self.log_deviation)
        log_deviation = log_deviation + jnp.log(self.spread())
        return Normal(mean, over_action("spread", log_deviation, mean, "policy"))
