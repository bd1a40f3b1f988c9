"""A policy of choices: for each axis of an action, how likely every value is.

    p(a | o) = Π_j softmax(f(o))_j,a_j

for the `Discrete` and `MultiDiscrete` actions of Gymnasium, whose axes are independent
given the observation. Actions are integers, the environment's own.
"""

from typing import Any, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from roboopt._core import AnyArray, Jittable
from roboopt._errors import RobooptError
from roboopt.data import Demonstrations
from roboopt.policies._action_units import check_shape
from roboopt.policies._observation_network import ObservationNetwork, Settings


class CategoricalPolicy(Jittable):
    """A probability for every choice; as a policy, the likeliest."""

    network: ObservationNetwork
    shape: tuple[int, ...] = eqx.field(static=True)
    """(act,), or (chunk, act)"""
    start: tuple[int, ...] = eqx.field(static=True)
    """Of each axis, the least value."""
    sizes: tuple[int, ...] = eqx.field(static=True)
    """Of each axis, how many values there are."""

    @classmethod
    def of(
        cls,
        samples: Demonstrations,
        *,
        key: PRNGKeyArray,
        start: Any = None,
        sizes: Any = None,
        **settings: Unpack[Settings],
    ) -> "CategoricalPolicy":
        """Return one for `samples`, about equally likely to do anything.

        Args:
            samples: of the training split; actions of integers, or chunks of them.
            key: of the weights.
            start: the least value, one for all axes or one each, as `action_space` has
                it; the least of the samples, if None.
            sizes: how many values there are, likewise `action_space.n` or `.nvec`; up
                to the samples' greatest, if None.
            **settings: as `MLPPolicy.of`.

        Raises:
            RobooptError: if the actions are not integers, or not among the choices,
                `start` or `sizes` does not fit them; and as `MLPPolicy.of`.
        """
        actions = np.asarray(samples.actions)
        if not np.issubdtype(actions.dtype, np.integer) or not len(actions):
            raise RobooptError(
                "`samples` must have at least one action, of integers, got "
                f"{len(actions)} of {actions.dtype}."
            )
        rows = actions.reshape(-1, actions.shape[-1])
        least = _axes("start", start, rows.min(0))
        count = _axes("sizes", sizes, rows.max(0) - least + 1)
        if np.any((rows < least) | (rows >= least + count)):
            raise RobooptError(
                f"`samples` must have actions from `start`, {least}, to below `start` +"
                f" `sizes`, {least + count}, got {rows.min(0)} to {rows.max(0)}."
            )
        shape = actions.shape[1:]
        network = ObservationNetwork.of(
            samples.observations,
            int(np.prod(shape) * count.max()),
            key=key,
            **settings,
        )
        return cls(network, shape, tuple(least.tolist()), tuple(count.tolist()))

    def _log_probabilities(self, observation: AnyArray) -> Array:
        """Return them padded to the most choices that an axis has, with −∞."""
        most = max(self.sizes)
        scores = self.network(observation).reshape(*self.shape, most)
        exists = np.arange(most) < np.array(self.sizes)[:, None]
        exists = np.broadcast_to(exists, scores.shape)
        return jax.nn.log_softmax(jnp.where(exists, scores, -jnp.inf), axis=-1)

    def _value(self, choice: Array) -> Array:
        return choice + jnp.broadcast_to(jnp.array(self.start), self.shape)

    def probabilities(
        self, observation: Float[AnyArray, " obs"]
    ) -> Float[Array, "*shape choice"]:
        """Return those of each axis' values from `start` on, 0 for what is no value."""
        return jnp.exp(self._log_probabilities(observation))

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Int[Array, "*shape"]:
        """Return the likeliest values."""
        return self._value(jnp.argmax(self._log_probabilities(observation), axis=-1))

    def sample(
        self, observation: Float[AnyArray, " obs"], key: PRNGKeyArray
    ) -> Int[Array, "*shape"]:
        """Return values drawn with `key`."""
        logarithms = self._log_probabilities(observation)
        return self._value(jax.random.categorical(key, logarithms, axis=-1))

    def log_prob(
        self, observation: Float[AnyArray, " obs"], action: Int[AnyArray, "*shape"]
    ) -> Float[Array, "*chunk"]:
        """Return the logarithm of the probability of `action`, −∞ if it is no choice.

        Of a chunk it is one for each step, which are independent given the observation.

        Raises:
            RobooptError: if `action` is not of the shape of the samples'.
        """
        check_shape("action", action.shape, self.shape)
        logarithms = self._log_probabilities(observation)
        choice = jnp.asarray(action) - jnp.broadcast_to(
            jnp.array(self.start), self.shape
        )
        chosen = jax.nn.one_hot(choice, max(self.sizes), dtype=bool)
        return jnp.max(jnp.where(chosen, logarithms, -jnp.inf), axis=-1).sum(-1)

    def entropy(self, observation: Float[AnyArray, " obs"]) -> Float[Array, "*chunk"]:
        """Return that of the choices [nat], of each step."""
        logarithms = self._log_probabilities(observation)
        # Of −∞, which what is no value has, 0 · log 0 would be NaN.
        exists = jnp.where(jnp.isfinite(logarithms), logarithms, 0.0)
        return -jnp.sum(jnp.exp(logarithms) * exists, axis=(-1, -2))


def _axes(name: str, given: Any, derived: np.ndarray) -> np.ndarray:
    """Return one number an axis: what is given, or else what the samples say."""
    numbers = np.asarray(derived if given is None else given)
    valid = np.issubdtype(numbers.dtype, np.integer)
    if not valid or numbers.shape not in ((), derived.shape):
        raise RobooptError(
            f"`{name}` must be one integer or {derived.size}, got {given}."
        )
    if name == "sizes" and given is not None and np.any(numbers < 1):
        raise RobooptError(f"`sizes` must be at least 1, got {given}.")
    return np.broadcast_to(numbers, derived.shape)
