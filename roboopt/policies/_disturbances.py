"""Wrappers that let a policy act as through real sensors and drives: noise, delay, lag.

The wrappers are policies, so that a disturbance is the same in the twin, in PyBullet
and in any other environment. They compose, and take a `StatefulPolicy` as well.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import Frozen, per_axis
from roboopt._errors import delay_range, require, require_at_least, require_positive
from roboopt.policies._memory import required_key
from roboopt.policies._protocol import (
    Action,
    Observation,
    StatefulPolicy,
    Time,
    act,
    initial_carry,
)


class ObservationNoise(StatefulPolicy):
    """Adds Gaussian noise to the observations that `model` sees."""

    model: Any
    scale: Frozen[Float[Array, "..."]]
    """Standard deviations, one or one an axis, in the observations' units."""

    def __init__(self, model: Any, scale: Any):
        """Add noise to what `model` sees.

        Args:
            model: any policy.
            scale: standard deviations, one for all axes, or one for each of the first
                axes; axes beyond, such as a goal's, are seen as they are.
        """
        valid = lambda x: (x >= 0) & np.isfinite(x)  # noqa: E731
        values = per_axis("scale", scale, "at least 0 and finite", valid)
        self.model, self.scale = model, Frozen(jnp.asarray(values))

    def init(self, key: PRNGKeyArray | None) -> Any:
        """Return the key of the noise, and the carry of `model`."""
        own, inner = jax.random.split(required_key(key, self))
        return own, initial_carry(self.model, inner)

    def __call__(
        self, carry: Any, observation: Observation, time: Time
    ) -> tuple[Any, Action]:
        """Return the action of `model` on the observation with noise."""
        (own, inner), seen = carry, jnp.asarray(observation)
        scale = self.scale()
        if scale.ndim:
            rule = f"hold at most {len(seen)} numbers, one an axis of an observation"
            require(scale.size <= len(seen), "scale", rule, scale.size)
            scale = jnp.zeros(seen.shape[0]).at[: scale.size].set(scale)
        own, key = jax.random.split(own)
        noise = scale.astype(seen.dtype) * jax.random.normal(
            key, seen.shape, seen.dtype
        )
        inner, action = act(self.model, inner, seen + noise, time)
        return (own, inner), action


class Delayed(StatefulPolicy):
    """Executes the actions of `model` after a delay, the first one until then.

    Between its steps the actions are interpolated, so that the delay need be no whole
    number of steps.
    """

    model: Any
    delay: tuple[float, float] = eqx.field(static=True)
    """Least and largest delay [s]; each episode draws its own in between."""
    time_step: float = eqx.field(static=True)
    action_size: int = eqx.field(static=True)

    def __init__(self, model: Any, delay: Any, *, time_step: float, action_size: int):
        """Delay the actions of `model`.

        Args:
            model: any policy.
            delay: [s]; or the least and the largest, between which each episode draws
                its own with the key of `init`.
            time_step: between actions [s].
            action_size: numbers in an action.

        Raises:
            RobooptError: if a number is out of its range.
        """
        low, high = delay_range(delay)
        require_positive(time_step=time_step)
        require_at_least(1, action_size=action_size)
        self.model, self.delay = model, (low, high)
        self.time_step, self.action_size = float(time_step), action_size

    def init(self, key: PRNGKeyArray | None) -> Any:
        """Return the delay in steps, no actions yet, and the carry of `model`."""
        low, high = (seconds / self.time_step for seconds in self.delay)
        steps = jnp.asarray(low)
        if high > low:
            own, key = jax.random.split(required_key(key, self))
            steps = jax.random.uniform(own, (), steps.dtype, low, high)
        past = jnp.zeros((int(np.ceil(high)) + 1, self.action_size))
        return steps, jnp.asarray(True), past, initial_carry(self.model, key)

    def __call__(
        self, carry: Any, observation: Observation, time: Time
    ) -> tuple[Any, Action]:
        """Return the action of `model` some steps ago."""
        steps, first, past, inner = carry
        inner, action = act(self.model, inner, observation, time)
        now = jnp.asarray(action, past.dtype)[None]
        past = jnp.concatenate([jnp.where(first, now, past)[1:], now])
        at = len(past) - 1 - steps
        below = jnp.clip(jnp.floor(at).astype(int), 0, max(len(past) - 2, 0))
        share = at - below
        two = jax.lax.dynamic_slice_in_dim(past, below, min(2, len(past)))
        late = two[0] + share * (two[-1] - two[0])
        return (steps, jnp.zeros_like(first), past, inner), late.astype(action.dtype)


class LowPass(StatefulPolicy):
    """Passes the actions of `model` through a first-order lag, y' = (a − y)/T.

    The lag begins at rest on the first action. Its time is a parameter, kept as a
    logarithm.
    """

    model: Any
    log_time_constant: Float[Array, ""]
    action_size: int = eqx.field(static=True)

    def __init__(self, model: Any, time_constant: float, *, action_size: int):
        """Filter the actions of `model`, of `action_size`, with `time_constant` [s]."""
        require_positive(time_constant=time_constant)
        require_at_least(1, action_size=action_size)
        self.model, self.action_size = model, action_size
        self.log_time_constant = jnp.log(jnp.asarray(time_constant, float))

    def init(self, key: PRNGKeyArray | None) -> Any:
        """Return no output yet, at a time of -1, and the carry of `model`."""
        return jnp.full(1 + self.action_size, -1.0), initial_carry(self.model, key)

    def __call__(
        self, carry: Any, observation: Observation, time: Time
    ) -> tuple[Any, Action]:
        """Return the filtered action."""
        past, inner = carry
        inner, action = act(self.model, inner, observation, time)
        now, time = jnp.asarray(action, past.dtype), jnp.asarray(time, past.dtype)
        passed = time - past[0]
        kept = jnp.exp(-passed / jnp.exp(self.log_time_constant))
        out = now + jnp.where(past[0] < 0, 0.0, kept) * (past[1:] - now)
        past = jnp.concatenate([jnp.atleast_1d(time), out]).astype(past.dtype)
        return (past, inner), out.astype(action.dtype)
