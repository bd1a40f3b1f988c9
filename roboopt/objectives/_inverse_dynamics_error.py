"""Effort error: how far the efforts that a model asks for are from recorded ones.

    L = 1/(2N) · Σ_k Σ_j ρ((ID(q_k, q̇_k, q̈_k)_j − u_kj) / σ_j)

with the inverse dynamics ID: linear in masses and frictions, and no simulation, but the
accelerations must be found from the recording (Gautier and Khalil, 1992). They are
(q̇_{k+1} − q̇_k)/Δt, for which the twin's own motions give exactly 0; `central` takes
them at the samples instead, as a smoothed recording of a real robot wants it.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.data import Trajectory
from roboopt.losses import L2, Loss
from roboopt.objectives._residuals import ResidualObjective


class InverseDynamicsError(ResidualObjective):
    """The error of the efforts at recorded motions [q, q̇], through inverse dynamics.

    `objective(model, trajectory)` takes a model with `inverse_dynamics(q, velocity,
    acceleration)`: a `ParametricTwin` or a `Multibody`.
    """

    scale: Float[AnyArray, " joint"] | None = None
    """One a joint [N·m or N], infinite where it is not to count; if None, the root mean
    square of each joint's recorded efforts."""
    central: bool = eqx.field(static=True, default=False)
    """Whether accelerations are central differences at the samples."""
    every: int = eqx.field(static=True, default=1)
    """Takes only each n-th instant: neighbors in a smoothed recording say the same."""
    loss: Loss = L2()

    def __check_init__(self):
        if self.every < 1:
            raise RobooptError(f"`every` must be at least 1 instant, got {self.every}.")
        scale = self.scale
        if isinstance(scale, np.ndarray | jax.Array) and not isinstance(
            scale,
            jax.core.Tracer,  # pyright: ignore
        ):
            if not np.all(np.asarray(scale) > 0):
                raise RobooptError(f"`scale` must be positive, got {scale}.")

    def errors(
        self, model: Any, batch: Trajectory
    ) -> Float[Array, "*batch time joint"]:
        """Return the model's efforts less the recorded ones [N·m or N].

        Args:
            model: with `inverse_dynamics`.
            batch: one trajectory, or several of equal length.

        Raises:
            RobooptError: if the observations do not hold [q, q̇].
        """
        return self._errors(model, batch)[0]

    def residuals(self, model: Any, batch: Trajectory) -> Float[Array, "..."]:
        """Return the residuals, (…, time, joint)."""
        error, recorded = self._errors(model, batch)
        if self.scale is None:
            scale = jnp.sqrt(jnp.mean(recorded**2, tuple(range(recorded.ndim - 1))))
            scale = jnp.where(scale > 0, scale, 1.0)
        else:
            scale = jnp.asarray(self.scale, error.dtype)
        if scale.shape != error.shape[-1:]:
            raise RobooptError(
                f"`scale` must hold one for each of the {error.shape[-1]} joints, got "
                f"shape {scale.shape}."
            )
        counts = jnp.isfinite(scale)
        finite = jnp.broadcast_to(jnp.where(counts, scale, 1.0), error.shape)
        counts = jnp.broadcast_to(counts, error.shape)
        scaled = jnp.where(counts, error / finite, 0.0)
        return self.loss.residual(scaled)

    def _errors(self, model: Any, batch: Trajectory) -> tuple[Array, Array]:
        observations = jnp.asarray(batch.observations)
        joints = _joints(model)
        if observations.shape[-1] < 2 * joints:
            raise RobooptError(
                f"`batch` must hold [q, q̇] of {joints} joints, got observations of "
                f"{observations.shape[-1]} numbers."
            )
        steps = batch.steps
        q = observations[..., :steps, :joints]
        velocity = observations[..., joints : 2 * joints]
        acceleration = self._acceleration(velocity, batch)
        recorded = _recorded(model, batch, joints)
        inverse = model.inverse_dynamics
        for _ in range(q.ndim - 1):
            inverse = jax.vmap(inverse)
        q, velocity, acceleration, recorded = (
            x[..., : steps : self.every, :]
            for x in (q, velocity, acceleration, recorded)
        )
        return inverse(q, velocity, acceleration) - recorded, recorded

    def _acceleration(self, velocity: Array, batch: Trajectory) -> Array:
        if batch.times is None:
            gap = jnp.asarray(batch.time_step)
        else:
            gap = jnp.diff(jnp.asarray(batch.times))[..., None]
        slope = jnp.diff(velocity, axis=-2) / gap
        if not self.central:
            return slope
        # At a sample the parabola through its neighbors; at the first the slope.
        if batch.times is None:
            inner = 0.5 * (slope[..., 1:, :] + slope[..., :-1, :])
        else:
            before, after = gap[..., :-1, :], gap[..., 1:, :]
            inner = (before * slope[..., 1:, :] + after * slope[..., :-1, :]) / (
                before + after
            )
        return jnp.concatenate([slope[..., :1, :], inner], -2)


def _joints(model: Any) -> int:
    joints = getattr(model, "joints", None)
    return len(model.joint_names) if joints is None else joints


def _recorded(model: Any, batch: Trajectory, joints: int) -> Array:
    """Return the efforts on all joints, those of the actuators as they pass them on."""
    actions = jnp.asarray(batch.actions)
    if hasattr(model, "commanded"):
        passed = lambda a: model.commanded(a, batch.time_step)  # noqa: E731
        for _ in range(actions.ndim - 2):
            passed = jax.vmap(passed)
        actions = passed(actions)
    driven = getattr(model, "actuated", tuple(range(joints)))
    if actions.shape[-1] != len(driven):
        raise RobooptError(
            f"`batch` must hold one action for each of the {len(driven)} actuated "
            f"joints, got {actions.shape[-1]}."
        )
    if driven == tuple(range(joints)):
        return actions
    zero = jnp.zeros((*actions.shape[:-1], joints), actions.dtype)
    return zero.at[..., np.array(driven)].set(actions)
