"""Wrappers that add memory or noise to a policy.

Each wrapper takes any policy, a `StatefulPolicy` included, so that wrappers compose:
`ObservationHistory(ActionChunking(network, 8), length=2, observation_size=4)`.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import Frozen, per_axis
from roboopt._errors import RobooptError, require, require_at_least
from roboopt.policies._protocol import (
    Action,
    Observation,
    StatefulPolicy,
    Time,
    act,
    initial_carry,
    over_action,
)


class ObservationHistory(StatefulPolicy):
    """Passes the last `length` observations to `model`, in one vector, oldest first.

    The first observation of an episode is repeated where there are fewer, as
    `Demonstrations.from_trajectories` does.
    """

    model: Any
    length: int = eqx.field(static=True)
    observation_size: int = eqx.field(static=True)
    """The size of one observation."""

    def __check_init__(self):
        require_at_least(1, length=self.length)
        require_at_least(1, observation_size=self.observation_size)

    def init(self, key: PRNGKeyArray | None) -> Any:
        """Return an empty history, and the carry of `model`."""
        history = jnp.zeros((self.length - 1, self.observation_size))
        return jnp.asarray(True), history, initial_carry(self.model, key)

    def __call__(
        self, carry: Any, observation: Observation, time: Time
    ) -> tuple[Any, Action]:
        """Return the action of `model` on the last observations."""
        first, history, inner = carry
        seen = jnp.asarray(observation)[None]
        rule = f"be the size of an observation, {seen.shape[1:]}"
        valid = seen.shape[1:] == history.shape[1:]
        require(valid, "observation_size", rule, self.observation_size)
        before = jnp.where(first, seen, history.astype(seen.dtype))
        recent = jnp.concatenate([before, seen])
        inner, action = act(self.model, inner, recent.ravel(), time)
        kept = recent[1:].astype(history.dtype)
        return (jnp.zeros_like(first), kept, inner), action


class ActionChunking(StatefulPolicy):
    """Executes the chunks of actions, (chunk, act), that `model` returns.

    With `ensemble` = m, every step asks for a chunk and executes the mean of all that
    the recent chunks hold for it, weighted by exp(−m i) with i = 0 for the oldest (Zhao
    et al., 2023, Learning fine-grained bimanual manipulation with low-cost hardware).
    With None, a chunk is executed to its end before the next is asked for; discrete
    actions, which have no mean, need this.
    """

    model: Any
    observation_size: int = eqx.field(static=True)
    """The size of the observations that `model` takes."""
    ensemble: float | None = eqx.field(static=True, default=0.01)

    def __check_init__(self):
        require_at_least(1, observation_size=self.observation_size)
        valid = self.ensemble is None or np.isfinite(self.ensemble)
        require(valid, "ensemble", "be finite or None", self.ensemble)

    def init(self, key: PRNGKeyArray | None) -> Any:
        """Return an empty chunk, and the carry of `model`.

        Raises:
            RobooptError: if `model` does not return chunks, or returns discrete actions
                for an `ensemble`.
        """
        inner = initial_carry(self.model, key)
        chunk = jax.eval_shape(
            lambda seen, time: act(self.model, inner, seen, time)[1],
            jnp.zeros(self.observation_size),
            jnp.zeros(()),
        )
        rule = "return chunks of shape (chunk, act)"
        require(len(chunk.shape) == 2, "model", rule, chunk.shape)
        empty = jnp.zeros(chunk.shape, chunk.dtype)
        if self.ensemble is None:
            return inner, empty, jnp.asarray(len(empty))
        if not jnp.issubdtype(chunk.dtype, jnp.inexact):
            raise RobooptError(
                "`ensemble` must be None for discrete actions, got "
                f"{self.ensemble} and actions of {chunk.dtype}."
            )
        return inner, empty, jnp.zeros(len(empty), chunk.dtype), jnp.asarray(0)

    def __call__(
        self, carry: Any, observation: Observation, time: Time
    ) -> tuple[Any, Action]:
        """Return the action that the chunks hold for `time`."""
        if self.ensemble is None:
            return self._executed(carry, observation, time)
        return self._ensembled(self.ensemble, carry, observation, time)

    def _executed(self, carry: Any, observation: Any, time: Any):
        inner, chunk, done = carry
        finished = done == len(chunk)
        # A stateful model is asked at every step: its memory must not miss one.
        if isinstance(self.model, StatefulPolicy):
            inner, fresh = act(self.model, inner, observation, time)
            chunk = jnp.where(finished, fresh.astype(chunk.dtype), chunk)
        else:
            chunk = jax.lax.cond(
                finished,
                lambda: act(self.model, None, observation, time)[1].astype(chunk.dtype),
                lambda: chunk,
            )
        done = jnp.where(finished, 0, done)
        return (inner, chunk, done + 1), chunk[done]

    def _ensembled(self, rate: float, carry: Any, observation: Any, time: Any):
        inner, total, weight, made = carry
        inner, fresh = act(self.model, inner, observation, time)
        length = len(weight)
        # The action j steps ahead is in min(made, length − 1 − j) older chunks.
        rank = jnp.minimum(made, jnp.arange(length)[::-1])
        new = jnp.exp(-rate * rank.astype(weight.dtype))
        total = total + new[:, None] * fresh.astype(total.dtype)
        weight = weight + new
        ahead = [
            jnp.concatenate([x[1:], jnp.zeros_like(x[:1])]) for x in (total, weight)
        ]
        action = (total[0] / weight[0]).astype(fresh.dtype)
        return (inner, *ahead, jnp.minimum(made + 1, length)), action


class SampleActions(StatefulPolicy):
    """Draws its actions from `model.sample(observation, key)`."""

    model: Any

    def __check_init__(self):
        if not callable(getattr(self.model, "sample", None)):
            raise RobooptError(
                "`model` must have `sample(observation, key)`, got "
                f"{type(self.model).__name__}; another StatefulPolicy goes around "
                "`SampleActions`, not inside it."
            )

    def init(self, key: PRNGKeyArray | None) -> PRNGKeyArray:
        """Return the key that the actions are drawn with."""
        return required_key(key, self)

    def __call__(
        self, carry: PRNGKeyArray, observation: Observation, time: Time
    ) -> tuple[PRNGKeyArray, Action]:
        """Return an action drawn on `observation`."""
        carry, key = jax.random.split(carry)
        return carry, self.model.sample(observation, key)


class ActionNoise(StatefulPolicy):
    """Adds Gaussian noise to the actions of `model`.

    Demonstrations with noisy actions show how to recover from errors, if the intended
    actions are what is recorded (Laskey et al., 2017, DART: noise injection for robust
    imitation learning).
    """

    model: Any
    scale: Frozen[Float[Array, "..."]]
    """The standard deviation, one or one an axis, in the actions' units."""

    def __init__(self, model: Any, scale: Any):
        """Add noise of standard deviation `scale` to the actions of `model`."""
        valid = lambda x: (x >= 0) & np.isfinite(x)  # noqa: E731
        values = per_axis("scale", scale, "at least 0 and finite", valid)
        self.model = model
        self.scale = Frozen(jnp.asarray(values))

    def init(self, key: PRNGKeyArray | None) -> Any:
        """Return the key of the noise, and the carry of `model`."""
        own, inner = jax.random.split(required_key(key, self))
        return own, initial_carry(self.model, inner)

    def __call__(
        self, carry: Any, observation: Observation, time: Time
    ) -> tuple[Any, Action]:
        """Return the action of `model`, real numbers that `scale` fits, plus noise."""
        own, inner = carry
        inner, action = act(self.model, inner, jnp.asarray(observation), time)
        action = jnp.asarray(action)
        scale = over_action("scale", self.scale(), action, "model")
        own, key = jax.random.split(own)
        noise = jax.random.normal(key, action.shape, action.dtype)
        return (own, inner), action + scale * noise


def required_key(key: PRNGKeyArray | None, policy: StatefulPolicy) -> PRNGKeyArray:
    """Return the key, refused if it is None: the policy is stochastic."""
    if key is None:
        raise RobooptError(
            f"`key` must be given: {type(policy).__name__} is stochastic."
        )
    return key
