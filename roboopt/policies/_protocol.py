"""What acts: on the observation, on the time, on both, or on what it remembers."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from roboopt._core import AnyArray


class OpenLoop(eqx.Module):
    """Actions decided beforehand: `plan(time) -> action`, the time in [s]."""

    @abstractmethod
    def __call__(self, time: Float[Array, ""]) -> Float[Array, " act"]:
        """Return the action at `time`."""


class TimeVaryingPolicy(eqx.Module):
    """Feedback about a motion in time: `tracker(observation, time) -> action`."""

    @abstractmethod
    def __call__(
        self, observation: Float[AnyArray, " obs"], time: Float[Array, ""]
    ) -> Float[Array, " act"]:
        """Return the action on `observation` at `time` [s]."""


class StatefulPolicy(eqx.Module):
    """Acts with a memory, which an episode begins and every step hands on.

    The memory is a pytree of arrays, of the same shapes and dtypes throughout.
    """

    @abstractmethod
    def begin(
        self, observation: Shaped[AnyArray, "..."], key: PRNGKeyArray | None
    ) -> Any:
        """Return the memory before the first action.

        Args:
            observation: the first.
            key: what all chance in the episode comes from.

        Raises:
            ValueError: if there is no key, and it takes one.
        """

    @abstractmethod
    def step(
        self,
        memory: Any,
        observation: Shaped[AnyArray, "..."],
        time: Float[Array, ""],
    ) -> tuple[Shaped[Array, "..."], Any]:
        """Return the action on `observation` at `time` [s], and the memory after."""


def begin(
    model: Any, observation: Shaped[AnyArray, "..."], key: PRNGKeyArray | None = None
) -> Any:
    """Return the memory that `model` begins an episode with; None if it has none."""
    return model.begin(observation, key) if isinstance(model, StatefulPolicy) else None


def act(
    model: Any,
    memory: Any,
    observation: Shaped[Array, "..."],
    time: Float[Array, ""],
) -> tuple[Shaped[Array, "..."], Any]:
    """Return what `model` does, and its memory after.

    A policy sees the observation, an `OpenLoop` the time, a `TimeVaryingPolicy` both,
    and a `StatefulPolicy`
    what it remembers besides.
    """
    if isinstance(model, StatefulPolicy):
        return model.step(memory, observation, time)
    if isinstance(model, TimeVaryingPolicy):
        return model(observation, time), None
    return (model(time) if isinstance(model, OpenLoop) else model(observation)), None


def acts_by_chance(model: Any) -> bool:
    """Return whether `model` draws what it does: an agent with a policy to sample."""
    return hasattr(model, "draw") and hasattr(getattr(model, "policy", model), "sample")


def draw(
    model: Any, observation: Shaped[Array, "..."], key: PRNGKeyArray
) -> tuple[Shaped[Array, "..."], Shaped[Array, "..."]]:
    """Return what `model` draws with `key`, and the action that this is.

    Both are the action where it does not act by chance.
    """
    if not acts_by_chance(model):
        action = model(observation)
        return action, action
    drawn = model.draw(observation, key)
    return drawn, model.execute(drawn)
