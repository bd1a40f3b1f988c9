"""Simulated trajectories: a dynamics and a policy, run from many starts at once.

A step's inputs are kept and its inside is computed again on the way back
(`jax.checkpoint`): the gradient of 1000 steps then holds 1000 states, not 1000 times
everything that a step computes, and is no slower.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from roboopt._act import act, begin
from roboopt._jittable import Jittable
from roboopt._typing import AnyArray
from roboopt.data import Trajectory


class Rollout(Jittable):
    """Runs what acts, with its memory, through `dynamics` for `horizon` steps.

    `rollout(model, starts)` is differentiable in the model and in the dynamics. A start
    is an observation [q, q̇, goal]: what follows the state stays as it is throughout.
    """

    dynamics: Any
    """`dynamics(state, action) -> next_state`, with `time_step`, `joints`, `clip` and
    `effort` as a `Twin` has them."""
    horizon: int = eqx.field(static=True)
    """Steps."""

    def __check_init__(self):
        if self.horizon < 1:
            raise ValueError(f"`horizon` must be at least 1 step, got {self.horizon}.")

    def __call__(
        self,
        model: Any,
        starts: Float[AnyArray, "..."],
        keys: Shaped[Array, "starts ..."] | None = None,
    ) -> Trajectory:
        """Return the trajectories, one a start.

        Args:
            model: `policy(observation) -> action`, a `Plan`, a `Tracker` or an `Actor`.
            starts: observations at time 0.
            keys: what an `Actor` draws from, one a start.

        Raises:
            ValueError: if `starts` do not hold a state, there are not as many `keys`,
                `model` needs them, or the actions' size is wrong.
        """
        starts = jnp.asarray(starts)
        size = 2 * self.dynamics.joints
        if starts.ndim != 2 or starts.shape[-1] < size or starts.shape[0] == 0:
            raise ValueError(
                "`starts` must have shape (starts, observation) with the state's "
                f"{size} numbers first, got {starts.shape}."
            )
        if keys is None:
            return jax.vmap(self._one, in_axes=(None, 0, None))(model, starts, None)
        if len(keys) != len(starts):
            raise ValueError(
                f"`keys` must hold one for each of {len(starts)} starts, got shape "
                f"{keys.shape}."
            )
        return jax.vmap(self._one, in_axes=(None, 0, 0))(model, starts, keys)

    def _one(
        self, model: Any, start: Float[Array, " obs"], key: PRNGKeyArray | None
    ) -> Trajectory:
        dynamics = self.dynamics
        size = 2 * dynamics.joints
        state, goal = start[:size], start[size:]

        @jax.checkpoint
        def step(state, memory, index):
            observation = jnp.concatenate([state, goal])
            time = index * dynamics.time_step
            action, memory = act(model, memory, observation, time)
            if action.shape != (dynamics.action_size,):
                raise ValueError(
                    f"`model` must return actions of shape ({dynamics.action_size},), "
                    f"got {action.shape}."
                )
            action = dynamics.clip(action).astype(state.dtype)
            return dynamics(state, action), memory, action

        def scanned(carry, index):
            state, memory, action = step(*carry, index)
            return (state, memory), (state, action)

        first = state, begin(model, start, key)
        _, (states, actions) = jax.lax.scan(scanned, first, jnp.arange(self.horizon))
        states = jnp.concatenate([state[None], states])
        goals = jnp.broadcast_to(goal, (self.horizon + 1, goal.size))
        return Trajectory(
            observations=jnp.concatenate([states, goals], -1),
            actions=actions,
            time_step=dynamics.time_step,
            efforts=jax.vmap(dynamics.effort)(actions),
        )
