"""Physics and a learned correction: a twin whose velocities a network corrects.

    q̇' = q̇'_twin + σ ∘ f(s, a),   q' = q'_twin + Δt (q̇' − q̇'_twin)

Positions follow from velocities as in the twin's own semi-implicit Euler step, so that
the learned part is an acceleration. At first the correction is zero.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Frozen, check_shape, compiled
from roboopt._errors import RobooptError, require
from roboopt.data import Normalizer, Trajectory
from roboopt.dynamics._transitions import Transitions
from roboopt.dynamics._wrapped import WrappedDynamics
from roboopt.networks import NormalizedMLP


class ResidualDynamics(WrappedDynamics):
    """A dynamics `dynamics(state, action) -> next_state`: a twin, corrected."""

    twin: Any
    """A dynamics such as a `Twin`, in a `Frozen` unless it is trained, too."""
    correction: NormalizedMLP
    """The correction of the velocities after a step [rad/s or m/s]."""

    def __init__(
        self, twin: Any, correction: NormalizedMLP, *, train_twin: bool = False
    ):
        """Add `correction` to `twin`.

        Args:
            twin: a `Twin`, or any dynamics with its attributes.
            correction: gives one number for each joint's velocity.
            train_twin: whether the twin's own numbers are trained as well.

        Raises:
            RobooptError: if the sizes of `correction` are not the twin's.
        """
        sizes = correction.size, correction.extra_size, correction.output_size
        expected = 2 * twin.joints, twin.action_size, twin.joints
        rule = f"fit `twin` in state, action and velocities, {expected}"
        require(sizes == expected, "correction", rule, sizes)
        self.twin = twin if train_twin else Frozen(twin)
        self.correction = correction

    @classmethod
    def of(
        cls,
        twin: Any,
        trajectories: Trajectory | Sequence[Trajectory],
        *,
        key: PRNGKeyArray,
        train_twin: bool = False,
        **network: Any,
    ) -> "ResidualDynamics":
        """Return exactly `twin`, ready to learn corrections of the size of its errors.

        Args:
            twin: a `Twin`, or any dynamics with its attributes.
            trajectories: observations [q, q̇, ...], at the twin's time step.
            key: key of the weights.
            train_twin: whether the twin's own numbers are trained as well.
            **network: `angles`, `width` and `depth` of the `NormalizedMLP`.

        Raises:
            RobooptError: if `trajectories` do not fit `twin`, or as `Transitions.of`.
        """
        steps = Transitions.of(trajectories, twin.joints)
        if abs(steps.time_step - twin.time_step) > 1e-6 * twin.time_step:
            raise RobooptError(
                f"`trajectories` must have the time step of `twin`, {twin.time_step} s,"
                f" got {steps.time_step} s."
            )
        size = steps.actions.shape[-1]
        rule = f"have actions of `twin`'s size {twin.action_size}"
        require(size == twin.action_size, "trajectories", rule, size)
        states, actions = jnp.asarray(steps.states), jnp.asarray(steps.actions)
        predicted = jax.vmap(twin)(states, actions)
        errors = np.asarray(steps.next_states - predicted)[:, twin.joints :]
        # The scale is about zero, not about the mean: at first nothing is corrected.
        size = np.sqrt((errors**2).mean(0))
        correction = NormalizedMLP.of(
            steps.states,
            Normalizer(np.zeros_like(size), np.where(size > 0, size, 1.0)),
            extra=steps.actions,
            key=key,
            last_gain=0.0,
            **network,
        )
        return cls(twin, correction, train_twin=train_twin)

    @property
    def inner(self) -> Any:
        """Return the twin without the correction."""
        return self.twin() if isinstance(self.twin, Frozen) else self.twin

    @compiled
    def __call__(
        self, state: Float[AnyArray, " state"], action: Float[AnyArray, " act"]
    ) -> Float[Array, " state"]:
        """Return the state one `time_step` later.

        Raises:
            RobooptError: if `state` or `action` has another size.
        """
        twin, state, action = self.inner, jnp.asarray(state), jnp.asarray(action)
        check_shape("state", state.shape, (self.correction.size,))
        check_shape("action", action.shape, (twin.action_size,))
        action = twin.clip(action)
        change = self.correction(state, action)
        return twin(state, action) + jnp.concatenate([twin.time_step * change, change])
