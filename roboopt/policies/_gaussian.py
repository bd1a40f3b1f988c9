"""Policies that say how sure they are: Gaussians, and ones squashed into bounds.

    a = μ(o) + σ ∘ ε,   or   a = m + h tanh(u),  u = μ(o) + σ ∘ ε,   ε ~ N(0, 1)

with the density of the second by change of variables (Haarnoja et al., 2018, Soft
actor-critic, appendix C). Ours is that σ keeps within a range, in the spread of the
demonstrated actions: a demonstrator who never varies has no density to be fitted.
"""

import math
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Frozen, Jittable
from roboopt._errors import RobooptError
from roboopt.data import Demonstrations
from roboopt.policies._action_units import ActionUnits, check_shape
from roboopt.policies._observation_network import ObservationNetwork, Settings

LEAST, MOST = math.log(1e-3), math.log(10.0)  # of σ in the spread of the actions
MARGIN = 1e-3  # Where tanh counts as at a bound, in halves of the range.


def within_range(logarithm: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the logarithm of a deviation held smoothly between `LEAST` and `MOST`."""
    below = MOST - jax.nn.softplus(MOST - logarithm)
    return LEAST + jax.nn.softplus(below - LEAST)


def out_of_range(logarithm: float) -> float:
    """Return what `within_range` makes `logarithm` of.

    Raises:
        RobooptError: if it is not between `LEAST` and `MOST`.
    """
    if not LEAST < logarithm < MOST:
        raise RobooptError(
            f"`logarithm` must be between {LEAST} and {MOST}, got {logarithm}."
        )
    below = LEAST + math.log(math.expm1(logarithm - LEAST))
    return MOST - math.log(math.expm1(MOST - below))


def log_densities(
    y: Float[Array, " axis"],
    mean: Float[Array, " axis"],
    log_deviation: Float[Array, " axis"],
) -> Float[Array, " axis"]:
    """Return log N(y; mean, deviation²) of each axis."""
    error = (y - mean) * jnp.exp(-log_deviation)
    return -(0.5 * error**2 + log_deviation + 0.5 * math.log(2 * math.pi))


class GaussianPolicy(Jittable):
    """A normal distribution of actions; as a policy, its mean."""

    network: ObservationNetwork
    """Of the mean, and of the logarithm of σ where that depends on the observation."""
    outputs: ActionUnits
    log_deviation: Float[Array, " axis"]
    """Of σ, in the spread of the demonstrated actions, before it is held in range."""

    @classmethod
    def of(
        cls,
        samples: Demonstrations,
        *,
        key: PRNGKeyArray,
        varying: bool = False,
        **settings: Unpack[Settings],
    ) -> "GaussianPolicy":
        """Return one for `samples`, of about their spread.

        Args:
            samples: of the training split; actions of real numbers, or chunks of them.
            key: of the weights.
            varying: whether σ depends on the observation. It then also explains away
                what the mean has not learned yet, at the cost of the mean.
            **settings: as `MLPPolicy.of`.

        Raises:
            RobooptError: as `MLPPolicy.of`.
        """
        outputs = ActionUnits.of(samples)
        network = ObservationNetwork.of(
            samples.observations,
            outputs.size * (2 if varying else 1),
            key=key,
            targets=jax.vmap(outputs)(samples.actions),
            **settings,
        )
        return cls(network, outputs, jnp.zeros(outputs.size))

    def _parameters(self, observation: AnyArray) -> tuple[Array, Array]:
        """Return the mean and the logarithm of σ of the normalized action."""
        mean, *log_deviation = self.network(observation).reshape(-1, self.outputs.size)
        return mean, within_range(sum(log_deviation, self.log_deviation))

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, "..."]:
        """Return the mean."""
        return self.outputs.inverse(self._parameters(observation)[0])

    def sample(
        self, observation: Float[AnyArray, " obs"], key: PRNGKeyArray
    ) -> Float[Array, "..."]:
        """Return an action drawn with `key`."""
        mean, log_deviation = self._parameters(observation)
        drawn = jax.random.normal(key, mean.shape, mean.dtype)
        return self.outputs.inverse(mean + jnp.exp(log_deviation) * drawn)

    def log_prob(
        self, observation: Float[AnyArray, " obs"], action: Float[AnyArray, "..."]
    ) -> Float[Array, "*chunk"]:
        """Return the logarithm of the density at `action`, in the actions' units.

        Of a chunk it is one for each step, which are independent given the observation.

        Raises:
            RobooptError: if `action` is not of the shape of the samples'.
        """
        density = log_densities(self.outputs(action), *self._parameters(observation))
        density -= self.outputs.log_scale()
        return density.reshape(self.outputs.shape).sum(-1)

    def entropy(self, observation: Float[AnyArray, " obs"]) -> Float[Array, "*chunk"]:
        """Return that of the density, in the actions' units [nat], of each step."""
        log_deviation = self._parameters(observation)[1] + self.outputs.log_scale()
        axes = log_deviation + 0.5 * math.log(2 * math.pi * math.e)
        return axes.reshape(self.outputs.shape).sum(-1)


class TanhGaussianPolicy(Jittable):
    """A Gaussian squashed between `low` and `high`; as a policy, its mean squashed.

    A demonstrated action at a bound, or beyond, would take an infinite u. It is taken
    as one inside, by a thousandth of half the range.
    """

    latent: GaussianPolicy
    """Of u."""
    low: Frozen[Float[Array, "..."]]
    high: Frozen[Float[Array, "..."]]

    @classmethod
    def of(
        cls,
        samples: Demonstrations,
        *,
        key: PRNGKeyArray,
        low: Any = None,
        high: Any = None,
        varying: bool = False,
        **settings: Unpack[Settings],
    ) -> "TanhGaussianPolicy":
        """Return one for `samples`, of about their spread.

        Args:
            samples: of the training split; actions of real numbers, or chunks of them.
            key: of the weights.
            low: the least action, one number for all axes or one each; where the
                samples say it was clipped, if None.
            high: likewise, the greatest.
            varying: as `GaussianPolicy.of`.
            **settings: as `MLPPolicy.of`.

        Raises:
            RobooptError: if a bound is missing or not finite, does not fit the actions,
                or `low` is not below `high`; and as `MLPPolicy.of`.
        """
        shape = samples.actions.shape[1:]
        low = _bound("low", low, samples.low, shape)
        high = _bound("high", high, samples.high, shape)
        if not np.all(low < high):
            raise RobooptError(f"`low` must be below `high`, got {low} and {high}.")
        ActionUnits.of(samples)  # For its checks: below, an infinite u would be hidden.
        u = jax.vmap(lambda a: _unsquashed(a, low, high))(samples.actions)
        inner = Demonstrations(samples.observations, u, samples.weights)
        latent = GaussianPolicy.of(inner, key=key, varying=varying, **settings)
        return cls(latent, Frozen(low), Frozen(high))

    def squashed(self, u: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the action of `u`."""
        low, high = self.low(), self.high()
        return (low + high) / 2 + (high - low) / 2 * jnp.tanh(u)

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, "..."]:
        """Return the mean of u, squashed."""
        return self.squashed(self.latent(observation))

    def sample(
        self, observation: Float[AnyArray, " obs"], key: PRNGKeyArray
    ) -> Float[Array, "..."]:
        """Return an action drawn with `key`."""
        return self.squashed(self.latent.sample(observation, key))

    def entropy(self, observation: Float[AnyArray, " obs"]) -> Float[Array, "*chunk"]:
        """Return that of u [nat]; of what is squashed there is no closed form."""
        return self.latent.entropy(observation)

    def log_prob(
        self, observation: Float[AnyArray, " obs"], action: Float[AnyArray, "..."]
    ) -> Float[Array, "*chunk"]:
        """Return the logarithm of the density at `action`, as `GaussianPolicy` does.

        Raises:
            RobooptError: if `action` is not of the shape of the samples'.
        """
        low, high = self.low(), self.high()
        check_shape("action", action.shape, low.shape)
        u = _unsquashed(jnp.asarray(action), low, high)
        # log(1 − tanh² u) without the difference, which is 0 for u > 9 in float32.
        slope = 2 * (math.log(2.0) - u - jax.nn.softplus(-2 * u))
        volume = jnp.sum(jnp.log((high - low) / 2) + slope, axis=-1)
        return self.latent.log_prob(observation, u) - volume


def _unsquashed(action: Array, low: Array, high: Array) -> Array:
    y = (jnp.asarray(action) - (low + high) / 2) / ((high - low) / 2)
    return jnp.arctanh(jnp.clip(y, -1 + MARGIN, 1 - MARGIN))


def _bound(name: str, given: Any, clipped: Any, shape: tuple[int, ...]) -> Array:
    """Return what is given, else the first sample's, in the shape of an action."""
    if given is None:
        if clipped is None:
            raise RobooptError(f"`{name}` must be given where `samples` have none.")
        given = np.asarray(clipped)[0]
        if np.any(np.asarray(clipped) != given):
            raise RobooptError(
                f"`{name}` must be given where that of the samples is not one for all."
            )
    bound = np.asarray(given, float)
    if bound.shape not in ((), shape[-1:], shape) or not np.all(np.isfinite(bound)):
        raise RobooptError(
            f"`{name}` must be one finite number or {shape[-1]}, got {given}."
        )
    return jnp.asarray(np.broadcast_to(bound, shape), float)
