"""The attributes of a dynamics that is built around another dynamics."""

import abc
from typing import Any

from jaxtyping import Array, Float

from roboopt._core import Jittable


class WrappedDynamics(Jittable):
    """Takes step length, joints and actuators from the dynamics `inner`."""

    @property
    @abc.abstractmethod
    def inner(self) -> Any:
        """Return the wrapped dynamics."""

    @property
    def time_step(self) -> float:
        """Return the length of a step [s]."""
        return self.inner.time_step

    @property
    def joints(self) -> int:
        """Return the number of moving joints."""
        return self.inner.joints

    @property
    def action_size(self) -> int:
        """Return the number of actuated joints."""
        return self.inner.action_size

    @property
    def actuated(self) -> tuple[int, ...]:
        """Return the joints that an action drives."""
        return self.inner.actuated

    def clip(self, action: Float[Array, " act"]) -> Float[Array, " act"]:
        """Return the action that the actuators can follow."""
        return self.inner.clip(action)

    def effort(self, action: Float[Array, " act"]) -> Float[Array, " joint"] | None:
        """Return the effort [N·m or N] on every joint, if an action determines it."""
        return self.inner.effort(action)
