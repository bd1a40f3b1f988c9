"""Trajectory mismatch: the difference of closed-loop motions from demonstrated ones.

    L(π) = 1/(B Σ_k d_k) · Σ_b Σ_k d_k Σ_j ρ((ŝ_bkj − s_bkj) / σ_j),    ŝ_b0 = s_b0

over trajectories b, steps k = 1 … H and coordinates j, with ŝ the closed loop of the
policy and a dynamics from the demonstrated start, and d_k = γ^(kΔt). An action mismatch
measures each error alone, in states that the demonstrator visited; this objective
measures their accumulated effect (Ross and Bagnell, 2010, Efficient reductions for
imitation learning). Its gradient goes through the dynamics, and the demonstrated
actions do not matter.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._core import AnyArray
from roboopt._errors import RobooptError, require
from roboopt.data import Trajectory
from roboopt.losses import L2, Loss, as_loss
from roboopt.objectives._objective import ResidualObjective, Term
from roboopt.objectives._prediction_windows import (
    TIME_STEP_TOLERANCE,
    state_size,
    trajectories,
)
from roboopt.objectives._rollout_objective import RolloutObjective, check_discount
from roboopt.objectives._scale import check_scale, scaled, wrapped


class TrajectoryMismatch(RolloutObjective, ResidualObjective):
    """The error of closed-loop motions from the starts of demonstrated ones.

    `objective(model, trajectory)` takes one trajectory or a batch of equal length, and
    any model that the rollout takes.
    """

    rollout: Any
    """`rollout(model, starts) -> Trajectory`, such as a `Rollout`; it may be shorter
    than the demonstrations."""
    scale: Float[AnyArray, " state"]
    """One a coordinate of [q, q̇], or of an observation if the rollout's dynamics has no
    `joints`; in its unit, infinite where a coordinate does not count."""
    wraps: tuple[bool, ...] | None = eqx.field(static=True, default=None)
    """Which coordinates are angles that count modulo 2π; None for none."""
    loss: Loss = eqx.field(converter=as_loss, default=L2())
    """A loss, "l1", "l2", "huber", or an elementwise function of the scaled error."""
    discount: float | Float[Array, ""] = 1.0
    """γ, the weight of an error one second later."""

    def __check_init__(self):
        check_scale("scale", self.scale)
        check_discount(self.discount)

    def starts(self, batch: Trajectory) -> Float[Array, "trajectory obs"]:
        """Return the first observation of each demonstration."""
        if batch.times is not None:
            raise RobooptError(
                "`batch` must have even time steps, got `times`: resample it first."
            )
        return trajectories(batch)[0][:, 0]

    def errors(
        self, model: Any, batch: Trajectory
    ) -> Float[Array, "trajectory step state"]:
        """Return the motions of `model` less the demonstrated ones, in their units.

        Raises:
            RobooptError: if `batch` is no trajectory or batch of them, its times are
                uneven, its time step is not the rollout's, or it is shorter.
        """
        return self._errors(self.rollout(model, self.starts(batch)), batch)

    def _errors(self, made: Trajectory, batch: Trajectory) -> Array:
        observations, _ = trajectories(batch)
        difference = abs(made.time_step - batch.time_step)
        if difference > TIME_STEP_TOLERANCE * batch.time_step:
            raise RobooptError(
                f"`batch` must have the time step of the rollout, {made.time_step} s, "
                f"got {batch.time_step} s: resample it first."
            )
        rule = f"be at most as long as `batch`, {batch.steps} steps"
        require(made.steps <= batch.steps, "rollout", rule, made.steps)
        dynamics = getattr(self.rollout, "dynamics", None)
        size = state_size(dynamics, observations.shape[-1])
        demonstrated = observations[:, 1 : made.steps + 1, :size]
        error = jnp.asarray(made.observations)[:, 1:, :size] - demonstrated
        return wrapped(error, self.wraps)

    def residuals(self, model: Any, batch: Trajectory) -> Float[Array, "..."]:
        """Return the residuals, (trajectory, step, state), including the discount."""
        error = scaled(self.errors(model, batch), self.scale)
        share = self._share(error, batch.time_step)
        return jnp.sqrt(share * error.size) * self.loss.residual(error)

    def trajectory_terms(
        self, trajectory: Trajectory, batch: Trajectory
    ) -> dict[str, Term]:
        """Return the mismatch of the motions made from the starts in `batch`."""
        error = scaled(self._errors(trajectory, batch), self.scale)
        share = self._share(error, batch.time_step)
        cost = jnp.sum(share * self.loss(error))
        return {"trajectory_mismatch": Term(cost, 1.0, "1")}

    def _share(self, error: Array, time_step: float) -> Array:
        """Return the weight of each step divided by their sum, in the error's shape."""
        count, steps = error.shape[:2]
        elapsed = (time_step * jnp.arange(1, steps + 1)).astype(error.dtype)
        weight = jnp.asarray(self.discount, error.dtype) ** elapsed
        share = weight / (count * jnp.sum(weight))
        return jnp.broadcast_to(share[None, :, None], error.shape)
