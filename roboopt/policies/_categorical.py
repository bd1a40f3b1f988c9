"""A categorical policy, for the `Discrete` and `MultiDiscrete` actions of Gymnasium.

    p(a | o) = Π_j softmax(f(o))_j,a_j

The axes are independent given the observation. Actions are integers, numbered as the
environment numbers them.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._errors import RobooptError, require, require_at_least
from roboopt.data import Demonstrations
from roboopt.networks import NormalizedMLP
from roboopt.policies._distributions import Categorical, EntropyPolicy, Observation
from roboopt.policies._policy_network import policy_network


class CategoricalPolicy(EntropyPolicy):
    """A probability for every choice; called, it takes the likeliest."""

    network: NormalizedMLP
    shape: tuple[int, ...] = eqx.field(static=True)
    """(act,), or (chunk, act)"""
    start: tuple[int, ...] = eqx.field(static=True)
    """The least value of each axis."""
    sizes: tuple[int, ...] = eqx.field(static=True)
    """The number of values of each axis."""

    @classmethod
    def of(
        cls,
        samples: Any,
        *,
        key: PRNGKeyArray,
        start: Any = None,
        sizes: Any = None,
        **settings: Any,
    ) -> "CategoricalPolicy":
        """Build a policy for demonstrations, with nearly equal probabilities.

        Args:
            samples: demonstrations with integer actions, or chunks of them.
            key: random key of the weights.
            start: the least value, one integer or one an axis, such as
                `action_space.start`; the least of the samples by default.
            sizes: the number of values, likewise, such as `action_space.n` or `.nvec`;
                up to the samples' greatest by default.
            **settings: as `MLPPolicy.of`.
        """
        samples = Demonstrations.of(samples)
        actions = np.asarray(samples.actions)
        valid = np.issubdtype(actions.dtype, np.integer)
        require(valid, "samples", "have integer actions", actions.dtype)
        rows = actions.reshape(-1, actions.shape[-1])
        least = _integers("start", start, rows.min(0))
        count = _integers("sizes", sizes, rows.max(0) - least + 1)
        if sizes is not None:
            require_at_least(1, sizes=count.min())
        if np.any((rows < least) | (rows >= least + count)):
            raise RobooptError(
                f"`samples` must have actions from `start`, {least}, to below `start` +"
                f" `sizes`, {least + count}, got {rows.min(0)} to {rows.max(0)}."
            )
        shape = actions.shape[1:]
        outputs = int(np.prod(shape) * count.max())
        network = policy_network(samples.observations, outputs, key=key, **settings)
        return cls(network, shape, tuple(least.tolist()), tuple(count.tolist()))

    def distribution(self, observation: Observation) -> Categorical:
        choices = max(self.sizes)
        scores = self.network(observation).reshape(*self.shape, choices)
        exists = np.arange(choices) < np.array(self.sizes)[:, None]
        exists = np.broadcast_to(exists, scores.shape)
        logs = jax.nn.log_softmax(jnp.where(exists, scores, -jnp.inf), axis=-1)
        start = jnp.broadcast_to(jnp.array(self.start), self.shape)
        return Categorical(logs, start)

    def probabilities(self, observation: Observation) -> Float[Array, "*shape choice"]:
        """Return the probabilities of each axis' values, 0 for the padding."""
        return jnp.exp(self.distribution(observation).log_probabilities)


def _integers(name: str, given: Any, default: np.ndarray) -> np.ndarray:
    """Return one integer an axis."""
    numbers = np.asarray(default if given is None else given)
    valid = np.issubdtype(numbers.dtype, np.integer)
    rule = f"be one integer or {default.size}"
    require(valid and numbers.shape in ((), default.shape), name, rule, given)
    return np.broadcast_to(numbers, default.shape)
