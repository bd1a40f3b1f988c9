"""Prediction error: how far a dynamics' motions are from recorded ones.

    L(f) = 1/(2N) · Σ ρ((ŝ_{k+i} − s_{k+i}) / σ),    ŝ_k = s_k,   ŝ_{k+i+1} = f(ŝ_{k+i}, a_{k+i})

over windows of `horizon` steps that begin at measured states s_k and run open loop
inside (i = 1 … horizon); one step is the equation error of system identification, the
whole recording its output error (Ljung, System IdentifyResult, 1999, §7). Every
coordinate has a scale σ of its own, in its unit.
"""  # noqa: E501

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.data import Trajectory
from roboopt.dynamics import Gaussian
from roboopt.losses import L2, Loss
from roboopt.objectives._objective import Term
from roboopt.objectives._residuals import ResidualObjective

SAME_STEP = 1e-6  # relative: a recording's step is the simulation's


class PredictionError(ResidualObjective):
    """The error of predicted states over windows of recorded trajectories.

    `objective(dynamics, trajectory)` takes one or a batch of equal length. A dynamics
    that returns `Gaussian(mean, variance)` is judged by its likelihood instead; over
    several steps its means are followed and their variances taken as they are said.
    """

    horizon: int | None = eqx.field(static=True, default=None)
    """Steps predicted from each measured state; the whole trajectory if None."""
    scale: Float[AnyArray, " state"] | None = None
    """One a state coordinate, in its unit; infinite where it was not measured. If None,
    the root mean square of the coordinate's change over a window of the batch."""
    wraps: tuple[bool, ...] | None = eqx.field(static=True, default=None)
    """Which coordinates are angles that count modulo 2π; none of them if None."""
    lead: int = eqx.field(static=True, default=0)
    """Steps at the beginning of a trajectory that only feed an actuator's memory."""
    loss: Loss = L2()
    weigh: Callable[[Array, Array], Array] | None = None
    """`weigh(state, action)` multiplies the scaled errors of the step from there: a
    number, one a coordinate, or a matrix (rows, state), such as a controller's gain."""

    def __check_init__(self):
        if self.horizon is not None and self.horizon < 1:
            raise RobooptError(
                f"`horizon` must be at least 1 step, got {self.horizon}."
            )
        if self.lead < 0:
            raise RobooptError(f"`lead` must be at least 0 steps, got {self.lead}.")
        scale = self.scale
        if isinstance(scale, np.ndarray | jax.Array) and not isinstance(
            scale,
            jax.core.Tracer,  # pyright: ignore
        ):
            values = np.asarray(scale)
            if values.ndim != 1 or not np.all(values > 0) or np.all(np.isinf(values)):
                raise RobooptError(
                    "`scale` must hold one positive number a state coordinate, one of "
                    f"them finite, got {values}."
                )

    def errors(
        self, model: Any, batch: Trajectory
    ) -> Float[Array, "window step state"]:
        """Return predicted less measured states, in their units.

        Args:
            model: `dynamics(state, action) -> next_state`.
            batch: one trajectory, or several of equal length.

        Raises:
            RobooptError: if the trajectories are shorter than `lead` and `horizon`, or
                their steps are not the dynamics' and it has no `advance`.
        """
        return self._errors(model, self._windows(model, batch))[0]

    def residuals(self, model: Any, batch: Trajectory) -> Float[Array, "..."]:
        """Return the residuals, (window, step, state).

        Raises:
            RobooptError: as `errors`; if the dynamics is stochastic, whose likelihood
            is
                no sum of squares.
        """
        windows = self._windows(model, batch)
        error, variance = self._errors(model, windows)
        if variance is not None:
            raise RobooptError(
                "`model` must predict states for a sum of squares, got a Gaussian: use "
                "`minimize`, which needs no residuals."
            )
        return self.loss.residual(self._scaled(windows, error))

    def terms(self, model: Any, batch: Trajectory) -> dict[str, Term]:
        """Return the prediction error, or a Gaussian's mean negative log-likelihood.

        The latter is of the states over their scales, less its constant ½ log 2π.
        """
        windows = self._windows(model, batch)
        error, variance = self._errors(model, windows)
        if variance is None:
            residual = self.loss.residual(self._scaled(windows, error))
            return {"prediction_error": Term(0.5 * jnp.mean(residual**2), 1.0, "1")}
        measured, scale = self._measured(windows)
        spread = jnp.where(
            measured, variance / jnp.broadcast_to(scale, variance.shape) ** 2, 1.0
        )
        cost = 0.5 * self._scaled(windows, error) ** 2 / spread + 0.5 * jnp.log(spread)
        return {"negative_log_likelihood": Term(jnp.mean(cost), 1.0, "1")}

    def _windows(self, model: Any, batch: Trajectory) -> "Windows":
        return cut(model, batch, self.horizon, self.lead)

    def _errors(self, model: Any, windows: "Windows") -> tuple[Array, Array | None]:
        predicted = jax.vmap(lambda *w: predict(model, windows, *w))(
            windows.states[:, 0], windows.actions, windows.durations
        )
        variance = None
        if isinstance(predicted, Gaussian):
            predicted, variance = predicted.mean, predicted.variance
        error = predicted - windows.states[:, 1:]
        return wrapped(error, self.wraps), variance

    def _measured(
        self, windows: "Windows"
    ) -> tuple[Bool[Array, "1 1 state"], Float[Array, "1 1 state"]]:
        """Return which coordinates were measured, and every one's finite scale."""
        states = windows.states
        if self.scale is None:
            change = wrapped(states[:, 1:] - states[:, :1], self.wraps)
            size = jnp.sqrt(jnp.mean(change**2, (0, 1), keepdims=True))
            size = jnp.where(size > 0, size, 1.0)
            return jnp.ones_like(size, bool), jax.lax.stop_gradient(size)
        if self.scale.shape != states.shape[-1:]:
            raise RobooptError(
                f"`scale` must hold one for each of the {states.shape[-1]} state "
                f"coordinates, got shape {self.scale.shape}."
            )
        scale = jnp.asarray(self.scale, states.dtype)[None, None]
        finite = jnp.isfinite(scale)
        return finite, jnp.where(finite, scale, 1.0)

    def _scaled(self, windows: "Windows", error: Array) -> Array:
        measured, scale = self._measured(windows)
        scaled = jnp.where(measured, error / jnp.broadcast_to(scale, error.shape), 0.0)
        if self.weigh is None:
            return scaled
        weight = jax.vmap(jax.vmap(self.weigh))(
            windows.states[:, :-1], windows.recorded_actions
        )
        if weight.ndim == scaled.ndim - 1:
            return weight[..., None] * scaled
        if weight.ndim == scaled.ndim:
            return weight * scaled
        return jnp.einsum("wkij,wkj->wki", weight, scaled)


class Windows(eqx.Module):
    """Trajectories cut into windows, ready to be predicted."""

    states: Float[Array, "window node state"]
    actions: Float[Array, "window step act"]
    """As the actuators pass them on."""
    recorded_actions: Float[Array, "window step act"]
    durations: Float[Array, "window step"]
    """[s]"""
    substeps: int = eqx.field(static=True)
    """GymRollout steps a recorded step."""
    native: bool = eqx.field(static=True)
    """Whether the recorded step is the dynamics' own."""


def cut(model: Any, batch: Trajectory, horizon: int | None, lead: int) -> Windows:
    """Return the windows of `batch`, consecutive, the last shifted to end at the end.

    Raises:
        RobooptError: as `PredictionError.errors`.
    """
    observations = jnp.asarray(batch.observations)
    actions = jnp.asarray(batch.actions)
    if observations.ndim == 2:
        observations, actions = observations[None], actions[None]
    if observations.ndim != 3:
        raise RobooptError(
            "`batch` must be one trajectory or a batch of them, got observations of "
            f"shape {observations.shape}."
        )
    steps = actions.shape[1]
    horizon = steps - lead if horizon is None else horizon
    if steps < lead + horizon or horizon < 1:
        raise RobooptError(
            f"`batch` must hold at least `lead` + `horizon` = {lead + max(horizon, 1)} "
            f"steps, got {steps}."
        )
    states = observations[..., : state_size(model, observations.shape[-1])]
    durations, substeps, native = _durations(model, batch, actions.shape[:2])
    passed = actions
    if hasattr(model, "commanded"):
        passed = jax.vmap(lambda a: model.commanded(a, batch.time_step))(actions)
    first = _firsts(steps, horizon, lead)
    nodes = first[:, None] + np.arange(horizon + 1)

    def gather(array: Array, index: np.ndarray) -> Array:
        taken = array[:, index]
        return taken.reshape(-1, *taken.shape[2:])

    return Windows(
        states=gather(states, nodes),
        actions=gather(passed, nodes[:, :-1]),
        recorded_actions=gather(actions, nodes[:, :-1]),
        durations=gather(durations, nodes[:, :-1]),
        substeps=substeps,
        native=native,
    )


def _firsts(steps: int, horizon: int, lead: int) -> np.ndarray:
    firsts = np.arange(lead, steps - horizon + 1, horizon)
    return (
        np.append(firsts, steps - horizon) if firsts[-1] < steps - horizon else firsts
    )


def state_size(model: Any, observation: int) -> int:
    """Return how much of an observation is the state; all of it if none says."""
    joints = getattr(model, "joints", None)
    return observation if joints is None else 2 * joints


def _durations(
    model: Any, batch: Trajectory, shape: tuple[int, ...]
) -> tuple[Array, int, bool]:
    """Return the steps' lengths [s], and in how many each of them is simulated."""
    own = getattr(model, "time_step", None)
    if batch.times is None:
        durations = jnp.full(shape, batch.time_step)
    else:
        durations = jnp.diff(jnp.asarray(batch.times)).reshape(shape)
    if batch.times is None and (
        own is None or abs(own - batch.time_step) <= SAME_STEP * batch.time_step
    ):
        return durations, 1, True
    if not hasattr(model, "advance"):
        uneven = "" if batch.times is None else " and uneven"
        raise RobooptError(
            "`model` must have `advance(state, action, duration)` for recordings "
            f"whose steps ({batch.time_step:.6g} s{uneven}) are not its own ({own} s): "
            "resample the recording, or use a twin."
        )
    longest = batch.time_step
    return durations, max(1, math.ceil(longest / own - SAME_STEP)) if own else 1, False


def predict(
    model: Any, windows: Windows, start: Array, actions: Array, durations: Array
) -> Any:
    """Return the states after each of `actions`, or a Gaussian of them."""

    def step(state: Array, at: tuple[Array, Array]) -> tuple[Array, Any]:
        action, duration = at
        if windows.native:
            after = model(state, action)
            return (after.mean if isinstance(after, Gaussian) else after), after
        part = duration / windows.substeps
        for _ in range(windows.substeps):
            state = model.advance(state, action, part)
        return state, state

    if actions.shape[0] == 1:
        after = step(start, (actions[0], durations[0]))[1]
        return jax.tree.map(lambda x: x[None], after)
    return jax.lax.scan(jax.checkpoint(step), start, (actions, durations))[1]


def wrapped(error: Array, wraps: tuple[bool, ...] | None) -> Array:
    """Return the error with the angles among its coordinates in [−π, π]."""
    if wraps is None or not any(wraps):
        return error
    if len(wraps) != error.shape[-1]:
        raise RobooptError(
            f"`wraps` must hold one for each of the {error.shape[-1]} state "
            f"coordinates, got {len(wraps)}."
        )
    turns = jax.lax.stop_gradient(jnp.round(error / (2 * jnp.pi)))
    return error - 2 * jnp.pi * jnp.where(
        jnp.broadcast_to(jnp.array(wraps), error.shape), turns, 0.0
    )
