"""Distributions of an action, given the observation.

A distribution is computed for the normalized action, in which a network works, and
knows the units of the action: `mode()`, `sample(key)`, `log_prob(action)` and
`entropy()` are of actions in their units. Log-densities and entropies [nat] of a chunk
of actions have one number a step.
"""

import math
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from roboopt._core import AnyArray, Jittable, check_shape, compiled
from roboopt.data import Normalizer

# Limits of log σ, in the spread of the actions.
MIN_LOG_DEVIATION, MAX_LOG_DEVIATION = math.log(1e-3), math.log(10.0)
TANH_MARGIN = 1e-3  # of half the range: actions nearer to a bound count as this near

Action = Shaped[AnyArray, "..."]
Observation = Float[AnyArray, " obs"]


def bounded_log_deviation(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log σ, held smoothly between 0.001 and 10 times the actions' spread."""
    below = MAX_LOG_DEVIATION - jax.nn.softplus(MAX_LOG_DEVIATION - x)
    return MIN_LOG_DEVIATION + jax.nn.softplus(below - MIN_LOG_DEVIATION)


def unbounded_log_deviation(log_deviation: float) -> float:
    """Return the inverse of `bounded_log_deviation` at a value between its limits."""
    below = MIN_LOG_DEVIATION + math.log(math.expm1(log_deviation - MIN_LOG_DEVIATION))
    return MAX_LOG_DEVIATION - math.log(math.expm1(MAX_LOG_DEVIATION - below))


def _log_density(y: Array, mean: Array, log_deviation: Array) -> Array:
    """Return log N(y; mean, deviation²) of each axis."""
    error = (y - mean) * jnp.exp(-log_deviation)
    return -(0.5 * error**2 + log_deviation + 0.5 * math.log(2 * math.pi))


class Normal(eqx.Module):
    """Independent normal distributions of the axes."""

    mean: Float[Array, "*shape"]
    log_deviation: Float[Array, "*shape"]
    units: Normalizer | None = None
    """Units of the action; None where `mean` is in the action's units."""

    def mode(self) -> Array:
        """Return the mean."""
        return self._action(self.mean)

    def sample(self, key: PRNGKeyArray) -> Array:
        """Return an action drawn with `key`."""
        drawn = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return self._action(self.mean + jnp.exp(self.log_deviation) * drawn)

    def log_prob(self, action: Action) -> Float[Array, "*chunk"]:
        """Return the log-density at `action`."""
        check_shape("action", action.shape, self.mean.shape)
        y = jnp.asarray(action) if self.units is None else self.units(action)
        density = _log_density(y, self.mean, self.log_deviation)
        return (density - self._log_scale()).sum(-1)

    def entropy(self) -> Float[Array, "*chunk"]:
        """Return the differential entropy [nat]."""
        log_deviation = self.log_deviation + self._log_scale()
        return (log_deviation + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def _action(self, y: Array) -> Array:
        return y if self.units is None else self.units.inverse(y)

    def _log_scale(self) -> Array:
        if self.units is None:
            return jnp.zeros_like(self.log_deviation)
        return jnp.log(self.units.scale())


class TanhNormal(eqx.Module):
    """m + h tanh(u) with u normal, between `low` = m − h and `high` = m + h.

    The density is by change of variables (Haarnoja et al., 2018, Soft actor-critic,
    appendix C). An action at a bound, which would need an infinite u, is taken as one
    inside by a thousandth of half the range. The entropy is that of u: the action's has
    no closed form.
    """

    latent: Normal
    low: Float[Array, "*shape"]
    high: Float[Array, "*shape"]

    def mode(self) -> Array:
        """Return the squashed mean of u."""
        return squash(self.latent.mode(), self.low, self.high)

    def sample(self, key: PRNGKeyArray) -> Array:
        """Return an action drawn with `key`."""
        return squash(self.latent.sample(key), self.low, self.high)

    def log_prob(self, action: Action) -> Float[Array, "*chunk"]:
        """Return the log-density at `action`."""
        check_shape("action", action.shape, self.low.shape)
        u = unsquash(jnp.asarray(action), self.low, self.high)
        # log(1 − tanh² u) without the difference, which is 0 for u > 9 in float32.
        slope = 2 * (math.log(2.0) - u - jax.nn.softplus(-2 * u))
        volume = jnp.sum(jnp.log((self.high - self.low) / 2) + slope, axis=-1)
        return self.latent.log_prob(u) - volume

    def entropy(self) -> Float[Array, "*chunk"]:
        """Return the entropy of u [nat]."""
        return self.latent.entropy()


def squash(u: Array, low: Array, high: Array) -> Array:
    """Return m + h tanh(u)."""
    return (low + high) / 2 + (high - low) / 2 * jnp.tanh(u)


def unsquash(action: Array, low: Array, high: Array) -> Array:
    """Return u of an action, kept away from the bounds."""
    y = (jnp.asarray(action) - (low + high) / 2) / ((high - low) / 2)
    return jnp.arctanh(jnp.clip(y, -1 + TANH_MARGIN, 1 - TANH_MARGIN))


class NormalMixture(eqx.Module):
    """Σ_c w_c N(μ_c, σ_c²), the axes independent given the component.

    The mode is taken as the mean of the component of the greatest weight. The
    log-density of a chunk is one number, since its steps share the component.
    """

    means: Float[Array, "component axis"]
    log_deviations: Float[Array, "component axis"]
    log_weights: Float[Array, " component"]
    units: Normalizer

    def mode(self) -> Array:
        """Return the mean of the likeliest component."""
        return self._action(self.means[jnp.argmax(self.log_weights)])

    def sample(self, key: PRNGKeyArray) -> Array:
        """Return an action drawn with `key`."""
        for_component, for_noise = jax.random.split(key)
        which = jax.random.categorical(for_component, self.log_weights)
        noise = jax.random.normal(for_noise, self.means.shape[1:], self.means.dtype)
        deviation = jnp.exp(self.log_deviations[which])
        return self._action(self.means[which] + deviation * noise)

    def log_prob(self, action: Action) -> Float[Array, ""]:
        """Return the log-density at `action`."""
        check_shape("action", action.shape, self.units.shape)
        y = jnp.ravel(self.units(action))
        axes = jax.vmap(lambda m, s: _log_density(y, m, s))
        density = axes(self.means, self.log_deviations).sum(-1)
        mixed = jax.scipy.special.logsumexp(self.log_weights + density)
        return mixed - jnp.log(self.units.scale()).sum()

    def _action(self, y: Array) -> Array:
        return self.units.inverse(y.reshape(self.units.shape))


class Categorical(eqx.Module):
    """Independent choices of the axes of an integer action, from `start` on.

    The log-probabilities are padded with −∞ to the greatest number of choices.
    """

    log_probabilities: Float[Array, "*shape choice"]
    start: Int[Array, "*shape"]

    def mode(self) -> Array:
        """Return the likeliest values."""
        return jnp.argmax(self.log_probabilities, axis=-1) + self.start

    def sample(self, key: PRNGKeyArray) -> Array:
        """Return values drawn with `key`."""
        drawn = jax.random.categorical(key, self.log_probabilities, axis=-1)
        return drawn + self.start

    def log_prob(self, action: Action) -> Float[Array, "*chunk"]:
        """Return the log-probability of `action`, −∞ if it is no choice."""
        check_shape("action", action.shape, self.start.shape)
        choices = self.log_probabilities.shape[-1]
        chosen = jax.nn.one_hot(jnp.asarray(action) - self.start, choices, dtype=bool)
        return jnp.max(jnp.where(chosen, self.log_probabilities, -jnp.inf), -1).sum(-1)

    def entropy(self) -> Float[Array, "*chunk"]:
        """Return the entropy [nat]."""
        # For the padding's −∞, 0 · log 0 would be NaN.
        logs = self.log_probabilities
        finite = jnp.where(jnp.isfinite(logs), logs, 0.0)
        return -jnp.sum(jnp.exp(logs) * finite, axis=(-1, -2))


class StochasticPolicy(Jittable):
    """A policy with a distribution of actions; called, it takes the likeliest one."""

    @abstractmethod
    def distribution(self, observation: Observation) -> Any:
        """Return p(action | observation)."""

    @compiled
    def __call__(self, observation: Observation) -> Shaped[Array, "..."]:
        """Return the likeliest action, or chunk of actions."""
        return self.distribution(observation).mode()

    @compiled
    def sample(self, observation: Observation, key: PRNGKeyArray) -> Any:
        """Return an action drawn with `key`."""
        return self.distribution(observation).sample(key)

    @compiled
    def log_prob(self, observation: Observation, action: Action) -> Array:
        """Return the log-density, or log-probability, of `action`."""
        return self.distribution(observation).log_prob(action)


class EntropyPolicy(StochasticPolicy):
    """A `StochasticPolicy` whose entropy has a closed form."""

    @compiled
    def entropy(self, observation: Observation) -> Array:
        """Return the entropy of the distribution [nat]."""
        return self.distribution(observation).entropy()
