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

from roboopt._errors import RobooptError
from roboopt.data import Trajectory
from roboopt.dynamics import Gaussian

TIME_STEP_TOLERANCE = 1e-6  # relative


class PredictionWindows(eqx.Module):
    """Trajectories cut into windows, ready to be predicted."""

    states: Float[Array, "window node state"]
    actions: Float[Array, "window step act"]
    """As the actuators pass them on."""
    recorded_actions: Float[Array, "window step act"]
    durations: Float[Array, "window step"]
    """[s]"""
    substeps: int = eqx.field(static=True)
    """Simulation steps a recorded step."""
    native: bool = eqx.field(static=True)
    """Whether the recorded step is the dynamics' own."""

    @classmethod
    def of(
        cls, model: Any, batch: Trajectory, horizon: int | None, lead: int = 0
    ) -> "PredictionWindows":
        """Cut consecutive windows; the last one is shifted to end at the end.

        Args:
            model: dynamics.
            batch: one trajectory, or several of equal length.
            horizon: steps a window; None for all after `lead`.
            lead: steps at the beginning that only feed an actuator's memory.

        Raises:
            RobooptError: if the trajectories are shorter than `lead` and `horizon`, or
                their steps are not the dynamics' and it has no `advance`.
        """
        observations = jnp.asarray(batch.observations)
        actions = jnp.asarray(batch.actions)
        if observations.ndim == 2:
            observations, actions = observations[None], actions[None]
        if observations.ndim != 3:
            raise RobooptError(
                "`batch` must be one trajectory or a batch of them, got observations "
                f"of shape {observations.shape}."
            )
        steps = actions.shape[1]
        horizon = steps - lead if horizon is None else horizon
        if steps < lead + horizon or horizon < 1:
            raise RobooptError(
                "`batch` must hold at least `lead` + `horizon` = "
                f"{lead + max(horizon, 1)} steps, got {steps}."
            )
        states = observations[..., : state_size(model, observations.shape[-1])]
        durations, substeps, native = _durations(model, batch, actions.shape[:2])
        passed = actions
        if hasattr(model, "commanded"):
            passed = jax.vmap(lambda a: model.commanded(a, batch.time_step))(actions)
        first = np.arange(lead, steps - horizon + 1, horizon)
        if first[-1] < steps - horizon:
            first = np.append(first, steps - horizon)
        nodes = first[:, None] + np.arange(horizon + 1)

        def gather(array: Array, index: np.ndarray) -> Array:
            taken = array[:, index]
            return taken.reshape(-1, *taken.shape[2:])

        return cls(
            states=gather(states, nodes),
            actions=gather(passed, nodes[:, :-1]),
            recorded_actions=gather(actions, nodes[:, :-1]),
            durations=gather(durations, nodes[:, :-1]),
            substeps=substeps,
            native=native,
        )

    def predict(self, model: Any, starts: Float[Array, "window state"]) -> Any:
        """Return the states after each action, (window, step, state).

        A stochastic dynamics returns a `Gaussian` of arrays of this shape; its means
        are followed.
        """
        return jax.vmap(lambda *window: self._predict_one(model, *window))(
            starts, self.actions, self.durations
        )

    def _predict_one(
        self, model: Any, start: Array, actions: Array, durations: Array
    ) -> Any:
        def step(state: Array, at: tuple[Array, Array]) -> tuple[Array, Any]:
            action, duration = at
            if self.native:
                after = model(state, action)
                return (after.mean if isinstance(after, Gaussian) else after), after
            part = duration / self.substeps
            for _ in range(self.substeps):
                state = model.advance(state, action, part)
            return state, state

        if actions.shape[0] == 1:
            after = step(start, (actions[0], durations[0]))[1]
            return jax.tree.map(lambda x: x[None], after)
        return jax.lax.scan(jax.checkpoint(step), start, (actions, durations))[1]


def state_size(model: Any, observation: int) -> int:
    """Return the size of the state at the beginning of an observation.

    A model without `joints` has whole observations as states.
    """
    joints = getattr(model, "joints", None)
    return observation if joints is None else 2 * joints


def _durations(
    model: Any, batch: Trajectory, shape: tuple[int, ...]
) -> tuple[Array, int, bool]:
    """Return the steps' lengths [s], their substeps, and whether they are native."""
    own = getattr(model, "time_step", None)
    step = batch.time_step
    if batch.times is None:
        durations = jnp.full(shape, step)
    else:
        durations = jnp.diff(jnp.asarray(batch.times)).reshape(shape)
    equal = own is None or abs(own - step) <= TIME_STEP_TOLERANCE * step
    if batch.times is None and equal:
        return durations, 1, True
    if not hasattr(model, "advance"):
        uneven = "" if batch.times is None else " and uneven"
        raise RobooptError(
            "`model` must have `advance(state, action, duration)` for recordings "
            f"whose steps ({step:.6g} s{uneven}) are not its own ({own} s): resample "
            "the recording, or use a twin."
        )
    count = max(1, math.ceil(step / own - TIME_STEP_TOLERANCE)) if own else 1
    return durations, count, False


def wrapped(error: Array, wraps: tuple[bool, ...] | None) -> Array:
    """Return the error with the angles among its coordinates in [−π, π].

    Raises:
        RobooptError: if `wraps` does not hold one for each coordinate.
    """
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
