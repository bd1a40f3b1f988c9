"""Trajectory mismatch: how far a policy's motions are from demonstrated ones.

    L(π) = 1/(B Σ_k d_k) · Σ_b Σ_k d_k Σ_j ρ((ŝ_bkj − s_bkj) / σ_j),    ŝ_b0 = s_b0

over trajectories b, steps k = 1 … H and coordinates j, with ŝ the closed loop of the
policy and a dynamics from the demonstrated start, and d_k = γ^(kΔt). Where an action
mismatch sees each error alone, on states that the demonstrator was in, this sees what
they add up to (Ross and Bagnell, 2010, Efficient reductions for imitation learning),
its gradient goes through the dynamics, and the demonstrated actions are of no matter.
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
from roboopt.objectives._objective import Term
from roboopt.objectives._prediction_error import SAME_STEP, state_size, wrapped
from roboopt.objectives._residuals import ResidualObjective
from roboopt.objectives._rollout_objective import RolloutObjective


class TrajectoryMismatch(RolloutObjective, ResidualObjective):
    """The error of closed-loop motions from the starts of demonstrated ones.

    `objective(model, trajectory)` takes one or a batch of equal length, and whatever
    model the rollout takes.
    """

    rollout: Any
    """`rollout(model, starts) -> Trajectory`, such as a `Rollout`; it may end before
    the demonstrations do."""
    scale: Float[AnyArray, " state"]
    """One a coordinate of [q, q̇], or of an observation where the rollout's dynamics
    does not say how many joints it has; in its unit, infinite where it is not to
    count."""
    wraps: tuple[bool, ...] | None = eqx.field(static=True, default=None)
    """Which coordinates are angles that count modulo 2π; none of them if None."""
    loss: Loss = L2()
    discount: float | Float[Array, ""] = 1.0
    """γ: what an error one second later counts beside one now."""

    def __check_init__(self):
        if not isinstance(self.scale, jax.core.Tracer):  # pyright: ignore
            values = np.asarray(self.scale)
            if values.ndim != 1 or not np.all(values > 0) or np.all(np.isinf(values)):
                raise RobooptError(
                    "`scale` must hold one positive number a coordinate, one of them "
                    f"finite, got {values}."
                )
        if isinstance(self.discount, float | int) and not 0 < self.discount <= 1:
            raise RobooptError(
                f"`discount` must be above 0 and at most 1, got {self.discount}."
            )

    def errors(
        self, model: Any, batch: Trajectory
    ) -> Float[Array, "trajectory step state"]:
        """Return the motions of `model` less the demonstrated ones, in their units.

        Raises:
            RobooptError: if `batch` is no trajectory or batch of them, its times are
                uneven, its time step is not the rollout's, or it is shorter.
        """
        return self._errors(self.rollout(model, self.starts(batch)), batch)

    def residuals(self, model: Any, batch: Trajectory) -> Float[Array, "..."]:
        """Return the residuals, (trajectory, step, state), the discount in them.

        Raises:
            RobooptError: as `terms`.
        """
        trajectory = self.rollout(model, self.starts(batch))
        residual, share = self._residuals(trajectory, batch)
        return jnp.sqrt(share * residual.size) * residual

    def trajectory_terms(
        self, trajectory: Trajectory, batch: Trajectory
    ) -> dict[str, Term]:
        """Return the mismatch of the motions made from the starts in `batch`.

        Raises:
            RobooptError: as `errors`; if `scale` or `wraps` do not fit the state.
        """
        residual, share = self._residuals(trajectory, batch)
        cost = 0.5 * jnp.sum(share * residual**2)
        return {"trajectory_mismatch": Term(cost, 1.0, "1")}

    def starts(self, batch: Trajectory) -> Float[Array, "trajectory obs"]:
        """Return the first observation of each demonstration.

        Raises:
            RobooptError: if `batch` is no trajectory or batch of them, or its times are
                uneven.
        """
        return _demonstrated(batch)[:, 0]

    def _residuals(self, made: Trajectory, batch: Trajectory) -> tuple[Array, Array]:
        """Return the residuals, and the share of each step, in their shape."""
        error, time_step = self._errors(made, batch), batch.time_step
        if self.scale.shape != error.shape[-1:]:
            raise RobooptError(
                f"`scale` must hold one for each of the {error.shape[-1]} coordinates, "
                f"got shape {self.scale.shape}."
            )
        scale = jnp.broadcast_to(jnp.asarray(self.scale, error.dtype), error.shape)
        counts = jnp.isfinite(scale)
        scaled = jnp.where(counts, error / jnp.where(counts, scale, 1.0), 0.0)
        trajectories, steps = error.shape[:2]
        elapsed = time_step * jnp.arange(1, steps + 1)
        weight = jnp.asarray(self.discount, error.dtype) ** elapsed.astype(error.dtype)
        share = weight / (trajectories * jnp.sum(weight))
        return self.loss.residual(scaled), jnp.broadcast_to(
            share[None, :, None], error.shape
        )

    def _errors(
        self, made: Trajectory, batch: Trajectory
    ) -> Float[Array, "trajectory step state"]:
        observations = _demonstrated(batch)
        if abs(made.time_step - batch.time_step) > SAME_STEP * batch.time_step:
            raise RobooptError(
                f"`batch` must have the time step of the rollout, {made.time_step} s, "
                f"got {batch.time_step} s: resample it first."
            )
        if made.steps > batch.steps:
            raise RobooptError(
                f"`rollout` must be at most as long as `batch`, {batch.steps} steps, "
                f"got {made.steps}."
            )
        size = state_size(
            getattr(self.rollout, "dynamics", None), observations.shape[-1]
        )
        demonstrated = observations[:, 1 : made.steps + 1, :size]
        error = jnp.asarray(made.observations)[:, 1:, :size] - demonstrated
        return wrapped(error, self.wraps)


def _demonstrated(batch: Trajectory) -> Float[Array, "trajectory time obs"]:
    """Return the observations of one trajectory or a batch of them, as a batch."""
    observations = jnp.asarray(batch.observations)
    if observations.ndim == 2:
        observations = observations[None]
    if observations.ndim != 3 or observations.shape[0] == 0:
        raise RobooptError(
            "`batch` must be one trajectory or a batch of them, got observations "
            f"of shape {observations.shape}."
        )
    if batch.times is not None:
        raise RobooptError(
            "`batch` must have even time steps, got `times`: resample it first."
        )
    return observations
