"""Inverse-dynamics error: the difference of a model's efforts from recorded ones.

    L = 1/(2N) · Σ_k Σ_j ρ((ID(q_k, q̇_k, q̈_k)_j − u_kj) / σ_j)

with the inverse dynamics ID: linear in masses and frictions, and without simulation,
but accelerations must be computed from the recording (Gautier and Khalil, 1992). They
are (q̇_{k+1} − q̇_k)/Δt, for which the twin's own motions give exactly 0; `central` takes
them at the samples instead, for smoothed recordings of a real robot.
"""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, compiled
from roboopt._errors import RobooptError, require, require_at_least
from roboopt.data import Trajectory
from roboopt.losses import L2, Loss, as_loss
from roboopt.objectives._objective import ResidualObjective
from roboopt.objectives._prediction_windows import commanded
from roboopt.objectives._scale import check_scale, root_mean_square, scaled


class InverseDynamicsError(ResidualObjective):
    """The error of the efforts at recorded motions [q, q̇], through inverse dynamics.

    `objective(model, trajectory)` takes a model with `inverse_dynamics(q, velocity,
    acceleration)`, a `ParametricTwin` or a `Multibody`, and one trajectory or several
    of equal length. `InverseDynamicsError.for_data(model, trajectory)` takes the scale
    from the data, once.
    """

    scale: Float[AnyArray, " joint"] | None = None
    """One a joint [N·m or N], infinite where a joint does not count. With None there
    are `errors`, but no value: joints may have different units."""
    central: bool = eqx.field(static=True, default=False)
    """Whether accelerations are central differences at the samples."""
    staggered: bool = eqx.field(static=True, default=False)
    """Whether velocities are those of the middles between samples, each before its own:
    the efforts at the samples are then those of the mean of two velocities."""
    every: int = eqx.field(static=True, default=1)
    """Uses only each n-th instant: neighbors in a smoothed recording are redundant."""
    filter: Float[AnyArray, " sample"] | None = None
    """Weights of the samples around each, an odd number of them, by a filter that
    smoothed the recorded efforts: the model's efforts are filtered too. Its dry
    friction, which jumps where a joint turns, is filtered at all samples; all else,
    as smooth as the motion, at the instants of `every`, of which the filter should span
    many. At either end of a batch half of the samples do not count. None for efforts as
    they were."""
    loss: Loss = eqx.field(converter=as_loss, default=L2())
    """A loss, "l1", "l2", "huber", or an elementwise function of the scaled error."""

    def __check_init__(self):
        require_at_least(1, every=self.every)
        if self.central and self.staggered:
            raise RobooptError(
                "`central` and `staggered` exclude each other, got both: velocities "
                "are either at the samples or between them."
            )
        if self.scale is not None:
            check_scale("scale", self.scale)

    @classmethod
    def for_data(
        cls, model: Any, batch: Trajectory, **settings: Any
    ) -> "InverseDynamicsError":
        """Build the objective with a scale from data: the efforts' root mean square.

        The scale of a joint without effort is 1. `model` maps actions to the efforts on
        all joints; the settings are the other fields.
        """
        error = cls(**settings)
        recorded = error._efforts(model, batch)[1]
        return replace(error, scale=root_mean_square(recorded))

    def errors(
        self, model: Any, batch: Trajectory
    ) -> Float[Array, "*batch time joint"]:
        """Return the model's efforts less the recorded ones [N·m or N].

        Raises:
            RobooptError: if the observations do not hold [q, q̇], or there is not one
                action for each actuated joint.
        """
        computed, recorded = self._efforts(model, batch)
        return computed - recorded

    def residuals(self, model: Any, batch: Trajectory) -> Float[Array, "..."]:
        """Return the residuals, (…, time, joint)."""
        error = scaled(
            self.errors(model, batch), self.scale, source="InverseDynamicsError"
        )
        return self.loss.residual(error)

    @compiled
    def _efforts(self, model: Any, batch: Trajectory) -> tuple[Any, Any]:
        """Return the model's and the recorded efforts."""
        *motion, duration, recorded = self.motions(model, batch)
        inverse = model.inverse_dynamics
        for _ in range(recorded.ndim - 1):
            inverse = jax.vmap(inverse)
        instant = self.central or self.staggered
        if getattr(model, "implicit_damping", False) and not instant:
            motion = [*motion, duration]
        computed = inverse(*motion)
        if self.filter is not None:
            dry = model.dry_friction(self.rubbing_velocity(model, batch))
            computed = self.filtered(computed) + self.filtering(dry)[1]
        return computed, recorded

    def rubbing_velocity(
        self, model: Any, batch: Trajectory
    ) -> Float[AnyArray, "*batch time joint"]:
        """Return the velocities of dry friction in each step [rad/s or m/s]."""
        velocity = batch.observations[..., model.joints : 2 * model.joints]
        if getattr(model, "implicit_damping", False) and not self.central:
            velocity = velocity if self.staggered else velocity[..., 1:, :]
        return self._at_samples(velocity)[..., : batch.steps, :]

    def filtered(
        self, values: Float[AnyArray, "*batch instant axis"]
    ) -> Float[AnyArray, "*batch time axis"]:
        """Return the sums of the instants around each, by `weights`."""
        return _convolved(values, self.weights(), 1)

    def filtering(
        self, values: Float[AnyArray, "*batch step axis"]
    ) -> tuple[
        Float[AnyArray, "*batch time axis"], Float[AnyArray, "*batch time axis"]
    ]:
        """Return values of all samples, filtered, and how much the instants miss."""
        instants = values[..., self._instants(values.shape[-2]), :]
        if self.filter is None:
            return instants, 0 * instants
        whole = _convolved(values, self.filter, self.every)
        return whole, whole - self.filtered(instants)

    def weights(self) -> Float[Array, " instant"]:
        """Return the weights of the instants around each, of the filter's sum."""
        whole = jnp.ones(1) if self.filter is None else jnp.asarray(self.filter)
        first = self._half() % self.every
        some = whole[first : whole.size - first : self.every]
        return some * (whole.sum() / some.sum())

    def _half(self) -> int:
        """Return how many samples at either end do not count."""
        return 0 if self.filter is None else np.shape(self.filter)[0] // 2

    def _counted(self, steps: int) -> slice:
        """Return the instants that count: all whose filter ends within the batch."""
        half = self._half()
        if steps <= 2 * half:
            raise RobooptError(
                f"`filter` must be no longer than the {steps} steps of `batch`, got "
                f"{2 * half + 1} weights."
            )
        return slice(half, steps - half, self.every)

    def _instants(self, steps: int) -> slice:
        """Return the instants that count, and those that the filter takes beside."""
        counted, ends = self._counted(steps), self._half() // self.every * self.every
        last = range(steps)[counted][-1]
        return slice(counted.start - ends, last + ends + 1, self.every)

    def motions(self, model: Any, batch: Trajectory) -> tuple[AnyArray, ...]:
        """Return what the inverse dynamics take of recordings, and the efforts there.

        Returns:
            Positions, velocities, accelerations, (…, time, joint); the time over which
            an acceleration is the mean, (…, time), 0 where it is that of an instant;
            and the recorded efforts on all joints, (…, time, joint). With a filter the
            efforts are fewer: the motion holds what leads to them, and what follows.
            NumPy's arrays, where those of the batch are: each length would be compiled.
        """
        observations = batch.observations
        joints = getattr(model, "joints", None)
        joints = len(model.joint_names) if joints is None else joints
        if observations.shape[-1] < 2 * joints:
            raise RobooptError(
                f"`batch` must hold [q, q̇] of {joints} joints, got observations of "
                f"{observations.shape[-1]} numbers."
            )
        q, velocity = observations[..., :joints], observations[..., joints : 2 * joints]
        if batch.times is None:
            shape = *velocity.shape[:-2], batch.steps, 1
            gap = batch.time_step * np.ones(shape, velocity.dtype)
        else:
            gap = (batch.times[..., 1:] - batch.times[..., :-1])[..., None]
        acceleration = self._acceleration(velocity, gap)
        velocity = self._at_samples(velocity)
        recorded = _recorded(model, batch, joints)[..., self._counted(batch.steps), :]
        q, velocity, acceleration, gap = (
            x[..., self._instants(batch.steps), :]
            for x in (q, velocity, acceleration, gap)
        )
        # Means over steps, at the end of which the twin damps, or of instants.
        duration = gap[..., 0] * (not self.central and not self.staggered)
        return q, velocity, acceleration, duration, recorded

    def _at_samples(self, velocity: Any) -> Any:
        if not self.staggered:
            return velocity
        return 0.5 * (velocity[..., :-1, :] + velocity[..., 1:, :])

    def _acceleration(self, velocity: Any, gap: Any) -> Any:
        slope = (velocity[..., 1:, :] - velocity[..., :-1, :]) / gap
        if not self.central:
            return slope
        # At a sample the parabola through its neighbors; at the first the slope.
        earlier, later = slope[..., :-1, :], slope[..., 1:, :]
        before, after = gap[..., :-1, :], gap[..., 1:, :]
        inner = (before * later + after * earlier) / (before + after)
        joined = np if isinstance(inner, np.ndarray) else jnp
        return joined.concatenate([slope[..., :1, :], inner], -2)


def _convolved(values: AnyArray, weights: AnyArray, every: int) -> Any:
    """Return the sums of (…, time, axis) weighted over time, at each n-th instant."""
    if isinstance(values, np.ndarray):  # No program to compile for each length.
        rows = np.ascontiguousarray(np.moveaxis(values, -2, -1))
        seen = np.lib.stride_tricks.sliding_window_view(rows, np.size(weights), -1)
        return np.moveaxis(seen[..., ::every, :] @ np.asarray(weights), -1, -2)
    rows = jnp.moveaxis(values, -2, -1)
    made = jax.lax.conv_general_dilated(
        rows.reshape(-1, 1, rows.shape[-1]),
        jnp.asarray(weights)[None, None],
        (every,),
        "VALID",
    )
    return jnp.moveaxis(made.reshape(*rows.shape[:-1], -1), -1, -2)


def _recorded(model: Any, batch: Trajectory, joints: int) -> Array:
    """Return the efforts on all joints, as the actuators pass actions on."""
    actions = commanded(model, jnp.asarray(batch.actions), batch.time_step)
    driven = getattr(model, "actuated", tuple(range(joints)))
    rule = f"hold one action for each of the {len(driven)} actuated joints"
    require(actions.shape[-1] == len(driven), "batch", rule, actions.shape[-1])
    if driven == tuple(range(joints)):
        return actions
    zero = jnp.zeros((*actions.shape[:-1], joints), actions.dtype)
    return zero.at[..., np.array(driven)].set(actions)
