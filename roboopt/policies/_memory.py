"""What policies remember, and the chance they take, around a policy that has neither.

Each of these takes a policy or another `StatefulPolicy`, so they compose:
`ObservationHistory(ActionChunking(network), 2)`.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PRNGKeyArray, Shaped

from roboopt._core import AnyArray, Frozen
from roboopt._errors import RobooptError
from roboopt.policies._protocol import StatefulPolicy, act, begin


class ObservationHistory(StatefulPolicy):
    """Shows `model` the last `length` observations, in one vector, oldest first.

    Before there are as many, the first one is repeated; as `demonstrations` does.
    """

    model: Any
    length: int = eqx.field(static=True)

    def __check_init__(self):
        if self.length < 1:
            raise RobooptError(f"`length` must be at least 1, got {self.length}.")

    def begin(self, observation: Shaped[AnyArray, " obs"], key: PRNGKeyArray | None):
        """Return the observations before the first, and what `model` remembers."""
        seen = jnp.tile(jnp.asarray(observation), (self.length, 1))
        return seen[1:], begin(self.model, seen.ravel(), key)

    def step(
        self,
        memory: Any,
        observation: Shaped[AnyArray, " obs"],
        time: Float[Array, ""],
    ) -> tuple[Shaped[Array, "..."], Any]:
        """Return the action of `model` on the last observations."""
        before, inner = memory
        seen = jnp.concatenate([before, observation[None]])
        action, inner = act(self.model, inner, seen.ravel(), time)
        return action, (seen[1:], inner)


class ActionChunking(StatefulPolicy):
    """Executes the chunks of actions, (chunk, act), that `model` returns.

    With `ensemble` = m, every step asks for a chunk, and does the mean of what the last
    chunks hold for it, weighted by exp(−m i), where i = 0 is the oldest of them (Zhao
    et al., 2023, Learning fine-grained bimanual manipulation with low-cost hardware).
    With None, a chunk is done to its end before the next is asked for.
    """

    model: Any
    ensemble: float | None = eqx.field(static=True, default=0.01)

    def __check_init__(self):
        if self.ensemble is not None and not np.isfinite(self.ensemble):
            raise RobooptError(
                f"`ensemble` must be finite or None, got {self.ensemble}."
            )

    def begin(self, observation: Shaped[AnyArray, "..."], key: PRNGKeyArray | None):
        """Return an empty chunk, and what `model` remembers.

        Raises:
            RobooptError: if `model` returns other than chunks of actions, or chunks of
                choices, of which there is no mean, with an `ensemble`.
        """
        inner = begin(self.model, observation, key)
        chunk = jax.eval_shape(
            lambda seen, time: act(self.model, inner, seen, time)[0],
            jnp.asarray(observation),
            jnp.zeros(()),
        )
        if len(chunk.shape) != 2:
            raise RobooptError(
                f"`model` must return chunks of shape (chunk, act), got {chunk.shape}."
            )
        empty = jnp.zeros(chunk.shape, chunk.dtype)
        if self.ensemble is None:
            return inner, empty, jnp.asarray(len(empty))
        if not jnp.issubdtype(chunk.dtype, jnp.inexact):
            raise RobooptError(
                "`ensemble` must be None where actions are choices, got "
                f"{self.ensemble} and actions of {chunk.dtype}."
            )
        return inner, empty, jnp.zeros(len(empty), chunk.dtype), jnp.asarray(0)

    def step(
        self,
        memory: Any,
        observation: Shaped[AnyArray, "..."],
        time: Float[Array, ""],
    ) -> tuple[Shaped[Array, " act"], Any]:
        """Return what the chunks hold for `time`."""
        if self.ensemble is None:
            return self._executed(memory, observation, time)
        return self._ensembled(self.ensemble, memory, observation, time)

    def _executed(self, memory: Any, observation: Any, time: Any):
        inner, chunk, done = memory
        finished = done == len(chunk)
        if isinstance(self.model, StatefulPolicy):
            # Asked all the same: its memory must not miss an observation.
            fresh, inner = act(self.model, inner, observation, time)
            chunk = jnp.where(finished, fresh, chunk)
        else:
            chunk = jax.lax.cond(
                finished,
                lambda: act(self.model, None, observation, time)[0],
                lambda: chunk,
            )
        done = jnp.where(finished, 0, done)
        return chunk[done], (inner, chunk, done + 1)

    def _ensembled(self, rate: float, memory: Any, observation: Any, time: Any):
        inner, total, weight, made = memory
        fresh, inner = act(self.model, inner, observation, time)
        length = len(weight)
        # The action j steps ahead is in min(made, length − 1 − j) older chunks.
        rank = jnp.minimum(made, jnp.arange(length)[::-1])
        new = jnp.exp(-rate * rank.astype(weight.dtype))
        total, weight = total + new[:, None] * fresh, weight + new
        ahead = [
            jnp.concatenate([x[1:], jnp.zeros_like(x[:1])]) for x in (total, weight)
        ]
        return total[0] / weight[0], (inner, *ahead, jnp.minimum(made + 1, length))


class SampleActions(StatefulPolicy):
    """Draws its actions from `model.sample(observation, key)`."""

    model: Any

    def __check_init__(self):
        if not callable(getattr(self.model, "sample", None)):
            raise RobooptError(
                "`model` must have `sample(observation, key)`, got "
                f"{type(self.model).__name__}; another StatefulPolicy goes around "
                f"`SampleActions`, "
                "not inside it."
            )

    def begin(
        self, observation: Shaped[AnyArray, "..."], key: PRNGKeyArray | None
    ) -> PRNGKeyArray:
        """Return the key that the episode's actions are drawn with.

        Raises:
            RobooptError: if there is none.
        """
        return _required(key, self)

    def step(
        self,
        memory: PRNGKeyArray,
        observation: Shaped[AnyArray, "..."],
        time: Float[Array, ""],
    ) -> tuple[Shaped[Array, "..."], PRNGKeyArray]:
        """Return an action drawn on `observation`."""
        memory, key = jax.random.split(memory)
        return self.model.sample(observation, key), memory


class ActionNoise(StatefulPolicy):
    """Does as `model` does, and errs: adds Gaussian noise to its actions.

    A demonstrator that errs a little shows how to recover, if what is recorded is what
    it meant to do (Laskey et al., 2017, DART: noise injection for robust imitation
    learning).
    """

    model: Any
    scale: Frozen[Float[Array, "..."]]
    """Its standard deviation, one or one an axis, in the actions' units."""

    def __init__(self, model: Any, scale: Any):
        """Add noise of standard deviation `scale` to the actions of `model`.

        Raises:
            RobooptError: if `scale` is other than one number or one an axis, negative
            or
                not finite.
        """
        values = np.asarray(scale, float)
        if values.ndim > 1 or not np.all((values >= 0) & np.isfinite(values)):
            raise RobooptError(
                "`scale` must hold one number, or one an axis of actions, at least 0 "
                f"and finite, got {values}."
            )
        self.model = model
        self.scale = Frozen(jnp.asarray(values))

    def begin(self, observation: Shaped[AnyArray, "..."], key: PRNGKeyArray | None):
        """Return what the noise comes from, and what `model` remembers.

        Raises:
            RobooptError: if there is no key.
        """
        own, inner = jax.random.split(_required(key, self))
        return own, begin(self.model, observation, inner)

    def step(
        self,
        memory: Any,
        observation: Shaped[AnyArray, "..."],
        time: Float[Array, ""],
    ) -> tuple[Num[Array, "..."], Any]:
        """Return the action of `model` and noise.

        Raises:
            RobooptError: if actions are choices, or `scale` does not fit them.
        """
        own, inner = memory
        action, inner = act(self.model, inner, jnp.asarray(observation), time)
        action, scale = jnp.asarray(action), self.scale()
        if not jnp.issubdtype(action.dtype, jnp.floating):
            raise RobooptError(
                f"`model` must return real numbers to add noise to, got {action.dtype}."
            )
        if scale.ndim and scale.shape != action.shape[-1:]:
            raise RobooptError(
                f"`scale` must hold one number or {action.shape[-1:]}, one an axis of "
                f"actions, got shape {scale.shape}."
            )
        own, key = jax.random.split(own)
        noise = jax.random.normal(key, action.shape, action.dtype)
        scale = jnp.broadcast_to(scale.astype(action.dtype), action.shape)
        return action + scale * noise, (own, inner)


def _required(key: PRNGKeyArray | None, actor: StatefulPolicy) -> PRNGKeyArray:
    if key is None:
        raise RobooptError(
            f"`key` must be given: {type(actor).__name__} acts by chance."
        )
    return key
