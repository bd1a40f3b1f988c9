"""Physics, and what it misses: a twin and a learned correction of its velocities.

    q̇' = q̇'_twin + σ ∘ f(s, a),   q' = q'_twin + Δt (q̇' − q̇'_twin)

Positions follow from velocities as in the twin's own semi-implicit Euler step, so that
the sum still moves as a mechanical system does: what is learned is an acceleration. It
starts exactly as the twin.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Frozen, Jittable, check_shape
from roboopt._errors import RobooptError
from roboopt.data import Normalizer, Trajectory
from roboopt.dynamics._transitions import Transitions
from roboopt.networks import NormalizedMLP


class ResidualDynamics(Jittable):
    """A dynamics `dynamics(state, action) -> next_state`: a twin, corrected."""

    twin: Any
    """A `Twin` or the like; in a `Frozen` unless it is tuned too."""
    correction: NormalizedMLP
    """Of the velocities after a step [rad/s or m/s]."""

    def __init__(
        self, twin: Any, correction: NormalizedMLP, *, train_twin: bool = False
    ):
        """Add `correction` to `twin`.

        Args:
            twin: a `Twin`, or any dynamics with its attributes.
            correction: gives one number for each joint's velocity.
            train_twin: whether the twin's own numbers are tuned as well.

        Raises:
            RobooptError: if `correction` does not fit the twin.
        """
        sizes = correction.size, correction.extra_size, correction.output_size
        expected = 2 * twin.joints, twin.action_size, twin.joints
        if sizes != expected:
            raise RobooptError(
                "`correction` must fit `twin` in state, action and velocities, "
                f"{expected}, got {sizes}."
            )
        self.twin = twin if train_twin else Frozen(twin)
        self.correction = correction

    @classmethod
    def of(
        cls,
        twin: Any,
        trajectories: Trajectory | Sequence[Trajectory],
        *,
        key: PRNGKeyArray,
        angles: tuple[int, ...] = (),
        width: int = 64,
        depth: int = 2,
        train_twin: bool = False,
    ) -> "ResidualDynamics":
        """Return exactly `twin`, ready to learn corrections of the size of its errors.

        Args:
            twin: as above.
            trajectories: observations [q, q̇, ...], at the twin's time step.
            key: of the weights.
            angles: the joints that go round.
            width: neurons a hidden layer.
            depth: hidden layers.
            train_twin: as above.

        Raises:
            RobooptError: if `trajectories` have another time step than `twin`; and as
                `Transitions.of`, `NormalizedMLP.of` and `ResidualDynamics` do.
        """
        steps = Transitions.of(trajectories, twin.joints)
        if abs(steps.time_step - twin.time_step) > 1e-6 * twin.time_step:
            raise RobooptError(
                f"`trajectories` must have the time step of `twin`, {twin.time_step} s,"
                f" got {steps.time_step} s."
            )
        if steps.actions.shape[-1] != twin.action_size:
            raise RobooptError(
                f"`trajectories` must have actions of `twin`'s size {twin.action_size},"
                f" got {steps.actions.shape[-1]}."
            )
        predicted = jax.vmap(twin)(
            jnp.asarray(steps.states), jnp.asarray(steps.actions)
        )
        errors = np.asarray(steps.next_states - predicted)[:, twin.joints :]
        # About zero, not about their mean: at first nothing is corrected.
        size = np.sqrt((errors**2).mean(0))
        correction = NormalizedMLP.of(
            steps.states,
            Normalizer(np.zeros_like(size), np.where(size > 0, size, 1.0)),
            extra=steps.actions,
            key=key,
            angles=angles,
            width=width,
            depth=depth,
            last_gain=0.0,
        )
        return cls(twin, correction, train_twin=train_twin)

    @property
    def physics(self) -> Any:
        """Return the twin as it is without the correction."""
        return self.twin() if isinstance(self.twin, Frozen) else self.twin

    @property
    def time_step(self) -> float:
        """Return the length of a step [s]."""
        return self.physics.time_step

    @property
    def joints(self) -> int:
        """Return how many joints move."""
        return self.physics.joints

    @property
    def action_size(self) -> int:
        """Return how many joints an action drives."""
        return self.physics.action_size

    def clip(self, action: Float[Array, " act"]) -> Float[Array, " act"]:
        """Return the action that the actuators can follow."""
        return self.physics.clip(action)

    def effort(self, action: Float[Array, " act"]) -> Float[Array, " joint"] | None:
        """Return the effort [N·m or N] on every joint, if an action says it."""
        return self.physics.effort(action)

    def __call__(
        self, state: Float[AnyArray, " state"], action: Float[AnyArray, " act"]
    ) -> Float[Array, " state"]:
        """Return the state one `time_step` later.

        Raises:
            RobooptError: if `state` or `action` is of another size.
        """
        twin, state, action = self.physics, jnp.asarray(state), jnp.asarray(action)
        check_shape("state", state.shape, (self.correction.size,))
        check_shape("action", action.shape, (twin.action_size,))
        action = twin.clip(action)
        change = self.correction(state, action)
        return twin(state, action) + jnp.concatenate([twin.time_step * change, change])
