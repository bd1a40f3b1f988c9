"""What acts: a policy of the observation, a plan of the time, a tracker of both."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, Shaped

from roboopt._typing import AnyArray


class Plan(eqx.Module):
    """Actions decided beforehand: `plan(time) -> action`, the time in [s]."""

    @abstractmethod
    def __call__(self, time: Float[Array, ""]) -> Float[Array, " act"]:
        """Return the action at `time`."""


class Tracker(eqx.Module):
    """Feedback about a motion in time: `tracker(observation, time) -> action`."""

    @abstractmethod
    def __call__(
        self, observation: Float[AnyArray, " obs"], time: Float[Array, ""]
    ) -> Float[Array, " act"]:
        """Return the action on `observation` at `time` [s]."""


def act(
    model: Any, observation: Shaped[Array, "..."], time: Float[Array, ""]
) -> Shaped[Array, "..."]:
    """Return what `model` does: a policy sees the observation, a `Plan` the time.

    A `Tracker` sees both.
    """
    if isinstance(model, Tracker):
        return model(observation, time)
    return model(time) if isinstance(model, Plan) else model(observation)
