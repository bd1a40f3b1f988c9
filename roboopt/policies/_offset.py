"""The base of policies whose actions are an inner policy's, and an offset."""

import abc
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Jittable
from roboopt.data import Demonstrations


class OffsetPolicy(Jittable):
    """`policy` plus an offset that the observation determines."""

    policy: Any

    @abc.abstractmethod
    def _offset(self, observation: AnyArray, action: Any, name: str) -> Array:
        """Return the offset of the action called `name`, refused if it does not fit."""

    def _total(self, observation: AnyArray, rest: Array) -> Array:
        return self._offset(observation, rest, "policy(observation)") + rest

    def _rest(self, observation: AnyArray, action: AnyArray) -> Array:
        return jnp.asarray(action) - self._offset(observation, action, "action")

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, "..."]:
        """Return the action, or chunk of actions."""
        return self._total(observation, self.policy(observation))

    # Properties, so that `hasattr` answers for the inner policy.
    @property
    def sample(self) -> Callable[..., Array]:
        """Return `sample(observation, key) -> action`."""
        sample = self.policy.sample
        return lambda o, key: self._total(o, sample(o, key))

    @property
    def log_prob(self) -> Callable[..., Array]:
        """Return `log_prob(observation, action)`."""
        log_prob = self.policy.log_prob
        return lambda o, action: log_prob(o, self._rest(o, action))

    @property
    def flow_error(self) -> Callable[..., Array]:
        """Return `flow_error(observation, action, noise, level)`."""
        error = self.policy.flow_error
        return lambda o, action, *noise: error(o, self._rest(o, action), *noise)


def reduced(samples: Demonstrations, offset: AnyArray) -> Demonstrations:
    """Return demonstrations whose actions and their limits are less `offset`."""
    actions, low, high = (
        None if x is None else np.asarray(x) - np.asarray(offset)
        for x in (samples.actions, samples.low, samples.high)
    )
    return Demonstrations(samples.observations, actions, samples.weights, low, high)  # type: ignore
