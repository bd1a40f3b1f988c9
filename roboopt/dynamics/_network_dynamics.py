"""Learned dynamics: a network that predicts the change of the state in one step.

    s' = s + μ_Δ + σ_Δ ∘ f((φ(s, a) − μ) / σ)

A step changes the state by little; the network predicts this change in units of the
changes in recorded steps (after Nagabandi et al., 2018).
"""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Frozen, Jittable, check_shape, compiled
from roboopt._errors import RobooptError
from roboopt.data import Normalizer, Trajectory
from roboopt.dynamics._actuation import (
    checked_actuated,
    checked_effort_limits,
    checked_time_step,
    clipped,
    joint_effort,
)
from roboopt.dynamics._transitions import Transitions
from roboopt.networks import NormalizedMLP


class NetworkDynamics(Jittable):
    """A dynamics `dynamics(state, action) -> next_state`, learned from recordings.

    The state is [q, q̇], the action the effort [N·m or N] on the actuated joints,
    clipped to `effort_limits`.
    """

    increment: NormalizedMLP
    time_step: float = eqx.field(static=True)
    actuated: tuple[int, ...] = eqx.field(static=True)
    effort_limits: Frozen[Float[Array, " act"]]

    def __init__(
        self,
        increment: NormalizedMLP,
        time_step: float,
        *,
        actuated: tuple[int, ...] | None = None,
        effort_limits: Any = math.inf,
    ):
        """Step by `increment`.

        Args:
            increment: predicts the change of the state in one step.
            time_step: length of a step [s].
            actuated: numbers of the joints that an action drives; by default all.
            effort_limits: limit of each actuated joint, or one for all [N·m or N].

        Raises:
            RobooptError: if the sizes do not fit, or an argument is out of range.
        """
        size, count = increment.size, increment.extra_size
        if increment.output_size != size or size % 2:
            raise RobooptError(
                "`increment` must give the change of a state [q, q̇], got "
                f"{increment.output_size} outputs for a state of {size}."
            )
        self.increment = increment
        self.time_step = checked_time_step(time_step)
        self.actuated = checked_actuated(actuated, size // 2, count)
        self.effort_limits = Frozen(checked_effort_limits(effort_limits, count))

    @classmethod
    def of(
        cls,
        trajectories: Trajectory | Sequence[Trajectory],
        *,
        key: PRNGKeyArray,
        joints: int | None = None,
        actuated: tuple[int, ...] | None = None,
        effort_limits: Any = math.inf,
        **network: Any,
    ) -> "NetworkDynamics":
        """Return a dynamics of small random weights, normalized by `trajectories`.

        Args:
            trajectories: observations [q, q̇, ...], evenly spaced in time; their time
                step is the dynamics'.
            key: key of the weights.
            joints: number of joints; by default half the size of an observation.
            actuated: numbers of the joints that an action drives; by default all.
            effort_limits: [N·m or N]
            **network: `angles` (the joints of whose position the network sees sine and
                cosine), `width` and `depth` of the `NormalizedMLP`.

        Raises:
            RobooptError: if an angle jumps by half a turn, or as `Transitions.of` does.
        """
        steps = Transitions.of(trajectories, joints)
        changes = steps.next_states - steps.states
        units = Normalizer.of(changes)
        increment = NormalizedMLP.of(
            steps.states, units, extra=steps.actions, key=key, **network
        )
        jumps = np.abs(changes[:, np.array(increment.angles, int)])
        if jumps.size and jumps.max() >= np.pi:
            raise RobooptError(
                "`angles` must not be wrapped in `trajectories` (`numpy.unwrap`), got "
                f"a jump of {jumps.max():.3g} rad in one step."
            )
        return cls(
            increment, steps.time_step, actuated=actuated, effort_limits=effort_limits
        )

    @property
    def joints(self) -> int:
        """Return the number of moving joints."""
        return self.increment.size // 2

    @property
    def action_size(self) -> int:
        """Return the number of actuated joints."""
        return len(self.actuated)

    def clip(self, action: Float[Array, " act"]) -> Float[Array, " act"]:
        """Return the action that the actuators can follow."""
        return clipped(action, self.effort_limits())

    def effort(self, action: Float[Array, " act"]) -> Float[Array, " joint"]:
        """Return the effort [N·m or N] on every joint, 0 on joints not actuated."""
        return joint_effort(self.clip(action), self.actuated, self.joints)

    @compiled
    def __call__(
        self, state: Float[AnyArray, " state"], action: Float[AnyArray, " act"]
    ) -> Float[Array, " state"]:
        """Return the state one `time_step` later.

        Raises:
            RobooptError: if `state` or `action` has another size.
        """
        check_shape("state", state.shape, (self.increment.size,))
        check_shape("action", action.shape, (self.action_size,))
        action = self.clip(jnp.asarray(action))
        return jnp.asarray(state) + self.increment(state, action)
