"""What one step of a policy led to."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float, Shaped


class PolicyStep(NamedTuple):
    """One step of a policy: the drawn action, the executed one, what it led to."""

    drawn: Shaped[Array, "..."]
    """What an agent drew, before any limits; the policy's action for all others."""
    action: Float[Array, " act"]
    """What the actuators followed."""
    observations: Float[Array, "substep obs"]
    """After each step of the simulation."""
    efforts: Float[Array, "substep joint"] | None
    """[N·m or N]"""
    memory: Any
    """Of the actuators, as commands on their way."""

    @property
    def next_observation(self) -> Float[Array, " obs"]:
        """The last of the observations."""
        return self.observations[-1]
