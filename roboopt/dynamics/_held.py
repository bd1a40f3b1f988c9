"""Actions held over several steps: a controller that is slower than the simulation.

A path is the motion under one action: a state and the joints' efforts at each step of
the simulation, and the memory of the actuators, such as commands on their way.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Float

from roboopt._errors import whole_steps
from roboopt.dynamics._wrapped import WrappedDynamics


class Path(NamedTuple):
    """The motion under one action."""

    states: Float[Array, "step state"]
    efforts: Float[Array, "step joint"] | None
    """[N·m or N]; None if the dynamics do not say."""
    memory: Any
    """Of the actuators, after the last step."""


def first_memory(dynamics: Any) -> Any:
    """Return the memory of actuators that have received no action yet."""
    begin = getattr(dynamics, "first_memory", None)
    return () if begin is None else begin()


def path(
    dynamics: Any,
    state: Float[Array, " state"],
    action: Float[Array, " act"],
    memory: Any = (),
) -> Path:
    """Return the motion of any dynamics under one action."""
    along = getattr(dynamics, "path", None)
    if along is not None:
        return along(state, action, memory)
    effort = dynamics.effort(action)
    after = dynamics(state, action)
    return Path(after[None], None if effort is None else effort[None], memory)


class Held(WrappedDynamics):
    """A dynamics whose actions are held for a control period of several time steps."""

    origin: Any
    period: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)

    def __init__(self, origin: Any, control_period: float):
        """Hold the actions of the dynamics `origin` for `control_period` [s].

        Raises:
            RobooptError: if the period is not a whole number of time steps.
        """
        self.origin = origin
        self.steps = whole_steps(control_period, origin.time_step)
        self.period = self.steps * origin.time_step

    @property
    def inner(self) -> Any:
        """Return the dynamics of single time steps."""
        return self.origin

    @property
    def time_step(self) -> float:
        """Return the control period [s]."""
        return self.period

    def __getattr__(self, name: str) -> Any:
        """Return the `robot`, the `effort_limits` and the like of the dynamics."""
        if name.startswith("_") or name == "origin":
            raise AttributeError(name)
        return getattr(self.origin, name)

    def first_memory(self) -> Any:
        """Return the memory of actuators that have received no action yet."""
        return first_memory(self.origin)

    def path(
        self, state: Float[Array, " state"], action: Float[Array, " act"], memory: Any
    ) -> Path:
        """Return the motion over the control period."""

        def step(now: Any, _: None) -> tuple[Any, Any]:
            made = path(self.origin, now[0], action, now[1])
            efforts = None if made.efforts is None else made.efforts[-1]
            return (made.states[-1], made.memory), (made.states[-1], efforts)

        (_, memory), (states, efforts) = jax.lax.scan(
            step, (state, memory), length=self.steps
        )
        return Path(states, efforts, memory)

    def __call__(
        self, state: Float[Array, " state"], action: Float[Array, " act"]
    ) -> Float[Array, " state"]:
        """Return the state one control period later."""
        return self.path(state, action, self.first_memory()).states[-1]
