"""Windows of recorded trajectories, and their prediction by a dynamics.

A window begins at a measured state and is predicted open loop. Recordings whose step
is not the dynamics' own are simulated in substeps.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import common_float
from roboopt._errors import RobooptError, require
from roboopt.data import Trajectory
from roboopt.dynamics import Gaussian

TIME_STEP_TOLERANCE = 1e-6  # relative


def trajectories(batch: Trajectory) -> tuple[Array, Array]:
    """Return observations and actions of one trajectory, or of several, as several."""
    observations = jnp.asarray(batch.observations)
    actions = jnp.asarray(batch.actions)
    if observations.ndim == 2:
        observations, actions = observations[None], actions[None]
    if observations.ndim != 3 or observations.shape[0] == 0:
        raise RobooptError(
            "`batch` must be one trajectory or a batch of them, got observations "
            f"of shape {observations.shape}."
        )
    return observations, actions


def commanded(model: Any, actions: Array, time_step: float) -> Array:
    """Return actions (..., time, act) as the actuators of `model` pass them on."""
    if not hasattr(model, "commanded"):
        return actions
    passed = lambda a: model.commanded(a, time_step)  # noqa: E731
    for _ in range(actions.ndim - 2):
        passed = jax.vmap(passed)
    return passed(actions)


class PredictionWindows(eqx.Module):
    """Trajectories cut into windows, ready to be predicted."""

    states: Float[Array, "window node state"]
    actions: Float[Array, "window step act"]
    """As the actuators pass them on."""
    durations: Float[Array, "window step"]
    """[s]"""
    substeps: int = eqx.field(static=True)
    """Simulation steps a recorded step; 0 for one of the dynamics' own steps."""
    extrapolate: bool = eqx.field(static=True, default=False)
    """Whether states are extrapolated to simulation steps of no length."""

    @classmethod
    def of(
        cls,
        model: Any,
        batch: Trajectory,
        horizon: int | None,
        lead: int = 0,
        *,
        extrapolate: bool = False,
    ) -> "PredictionWindows":
        """Cut consecutive windows of `horizon` steps, None for all after `lead`.

        The last window is shifted to end at the end. The `lead` steps at the beginning
        only feed an actuator's memory.
        """
        observations, actions = trajectories(batch)
        real = common_float(model, observations, actions)
        observations, actions = observations.astype(real), actions.astype(real)
        steps = actions.shape[1]
        horizon = steps - lead if horizon is None else horizon
        least = lead + max(horizon, 1)
        rule = f"hold at least `lead` + `horizon` = {least} steps"
        require(steps >= least and horizon >= 1, "batch", rule, steps)
        durations, substeps = _durations(model, batch, actions.shape[:2])
        first = np.arange(lead, steps - horizon + 1, horizon)
        if first[-1] < steps - horizon:
            first = np.append(first, steps - horizon)
        nodes = first[:, None] + np.arange(horizon + 1)

        def gather(array: Array, index: np.ndarray) -> Array:
            taken = jnp.take(array, index, axis=1, mode="clip")
            return taken.reshape(-1, *taken.shape[2:])

        size = state_size(model, observations.shape[-1])
        return cls(
            states=gather(observations[..., :size], nodes),
            actions=gather(commanded(model, actions, batch.time_step), nodes[:, :-1]),
            durations=gather(durations.astype(real), nodes[:, :-1]),
            substeps=max(substeps, 1) if extrapolate else substeps,
            extrapolate=extrapolate,
        )

    def predict(self, model: Any, starts: Float[Array, "window state"]) -> Any:
        """Return the states after each action, (window, step, state).

        A stochastic dynamics returns a `Gaussian` of arrays of this shape; its means
        are followed.
        """
        return jax.vmap(lambda *window: self.predict_one(model, *window))(
            starts, self.actions, self.durations
        )

    def predict_one(
        self, model: Any, start: Array, actions: Array, durations: Array
    ) -> Any:
        """Return the states of one window, after each of its `actions`."""

        def step(state: Array, at: tuple[Array, Array]) -> tuple[Array, Any]:
            action, duration = at
            if not self.substeps:
                after = model(state, action)
                mean = after.mean if isinstance(after, Gaussian) else after
                return mean.astype(start.dtype), after

            def advanced(state: Array, steps: int) -> Array:
                part = duration / steps

                def once(state: Array, _: None) -> tuple[Array, None]:
                    return model.advance(state, action, part).astype(start.dtype), None

                return jax.lax.scan(once, state, length=steps)[0]

            after = advanced(state, self.substeps)
            if self.extrapolate:  # The error is of first order in the step.
                after = 2 * advanced(state, 2 * self.substeps) - after
            return after, after

        if actions.shape[0] == 1:
            after = step(start, (actions[0], durations[0]))[1]
            return jax.tree.map(lambda x: x[None], after)
        return jax.lax.scan(jax.checkpoint(step), start, (actions, durations))[1]


def state_size(model: Any, observation: int) -> int:
    """Return the size of the state at the beginning of an observation."""
    joints = getattr(model, "joints", None)
    return observation if joints is None else 2 * joints


def _durations(
    model: Any, batch: Trajectory, shape: tuple[int, ...]
) -> tuple[Array, int]:
    """Return the steps' lengths [s], and their substeps, 0 for the model's own step."""
    own, step = getattr(model, "time_step", None), batch.time_step
    if batch.times is None:
        durations = jnp.full(shape, step)
        if own is None or abs(own - step) <= TIME_STEP_TOLERANCE * step:
            return durations, 0
    else:
        durations = jnp.diff(jnp.asarray(batch.times)).reshape(shape)
    if not hasattr(model, "advance"):
        uneven = "" if batch.times is None else " and uneven"
        raise RobooptError(
            "`model` must have `advance(state, action, duration)` for recordings "
            f"whose steps ({step:.6g} s{uneven}) are not its own ({own} s): resample "
            "the recording, or use a twin."
        )
    count = max(1, math.ceil(step / own - TIME_STEP_TOLERANCE)) if own else 1
    return durations, count
