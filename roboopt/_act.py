"""What acts: a policy of the observation, or a plan of the time."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, Shaped


class Plan(eqx.Module):
    """Actions decided beforehand: `plan(time) -> action`, the time in [s]."""

    @abstractmethod
    def __call__(self, time: Float[Array, ""]) -> Float[Array, " act"]:
        """Return the action at `time`."""


def act(
    model: Any, observation: Shaped[Array, "..."], time: Float[Array, ""]
) -> Shaped[Array, "..."]:
    """Return what `model` does: a `Plan` sees the time, a policy the observation."""
    return model(time) if isinstance(model, Plan) else model(observation)
