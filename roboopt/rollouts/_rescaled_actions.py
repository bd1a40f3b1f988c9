"""A dynamics and a reward behind a wrapper that rescales or clips actions.

inner action = gain · clip(action, low, high) + offset
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._core import Jittable
from roboopt._timed import timed
from roboopt.dynamics import Path, first_memory, path


class RescaledActions(Jittable):
    """A dynamics whose actions are clipped to a box and mapped to another's actions."""

    dynamics: Any
    gain: Float[Array, " act"]
    offset: Float[Array, " act"]
    low: Float[Array, " act"]
    high: Float[Array, " act"]

    def __getattr__(self, name: str) -> Any:
        """Return `time_step`, `joints`, `action_size` or `robot` of the dynamics."""
        if name in ("time_step", "joints", "action_size", "robot", "period"):
            return getattr(self.dynamics, name)
        raise AttributeError(name)

    def clip(self, action: Float[Array, " act"]) -> Float[Array, " act"]:
        """Return the action within its limits."""
        low, high = (x.astype(action.dtype) for x in (self.low, self.high))
        return jnp.clip(action, low, high)

    def effort(self, action: Float[Array, " act"]) -> Float[Array, " joint"] | None:
        """Return the effort [N·m or N] on every joint."""
        return self.dynamics.effort(_mapped(action, self.gain, self.offset))

    def first_memory(self) -> Any:
        """Return the memory of actuators that have received no action yet."""
        return first_memory(self.dynamics)

    def path(
        self, state: Float[Array, " state"], action: Float[Array, " act"], memory: Any
    ) -> Path:
        """Return the motion under one action."""
        action = _mapped(action, self.gain, self.offset)
        return path(self.dynamics, state, action, memory)

    def __call__(
        self, state: Float[Array, " state"], action: Float[Array, " act"]
    ) -> Float[Array, " state"]:
        """Return the state one `time_step` later."""
        return self.dynamics(state, _mapped(action, self.gain, self.offset))


class RescaledReward(Jittable):
    """A task, or a reward function, that is given actions before they are mapped."""

    reward: Any
    gain: Float[Array, " act"]
    offset: Float[Array, " act"]

    def __getattr__(self, name: str) -> Any:
        """Offer `cost_rate` and `success` where the wrapped task does."""
        if name == "cost_rate":
            rate = timed(self.reward.cost_rate)
            return lambda observation, action, time: rate(
                observation, _mapped(action, self.gain, self.offset), time
            )
        if name == "success":
            return self.reward.success
        raise AttributeError(name)

    def __call__(self, observation: Any, action: Any, next_observation: Any) -> Any:
        """Return the reward of one step."""
        action = _mapped(action, self.gain, self.offset)
        return self.reward(observation, action, next_observation)


def _mapped(action: Any, gain: Array, offset: Array) -> Any:
    xp = action.__array_namespace__()
    gain, offset = (xp.asarray(x, dtype=action.dtype) for x in (gain, offset))
    shape = (1,) * (action.ndim - 1) + gain.shape
    return xp.reshape(gain, shape) * action + xp.reshape(offset, shape)
