"""Simulated trajectories: a dynamics and a policy, run from many starts at once.

A step's inputs are kept and its inside is computed again on the way back
(`jax.checkpoint`): the gradient of 1000 steps then holds 1000 states, not 1000 times
everything that a step computes, and is no slower.

With a finite gradient_decay_time τ a cost's gradient fades on its way back, by
exp(−Δt/τ) a step:

    ∂/∂a_k counts a reward t seconds after a_k by exp(−t/τ)

which is the gradient of the discounted return from each state that the rollout visits
(Silver et al., 2014, Deterministic policy gradient algorithms), here without a value
function. Through a motion that is unstable, as a pole that the policy has not learned
to balance, the exact gradient grows exponentially with time and is of no use.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from roboopt._core import AnyArray, Jittable
from roboopt._errors import RobooptError
from roboopt.data import Trajectory
from roboopt.policies import act, begin


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
    reward: Any = None
    """A task with a `cost_rate` [1/s], whose negative is earned as time passes; or a
    function `reward(observation, action, next_observation)` of single steps; or None.
    """
    gradient_decay_time: float = eqx.field(
        static=True, default=math.inf, converter=float
    )
    """τ [s]; infinite for the exact gradient. It changes no value. Where it is finite,
    actions beyond their limits have a gradient too, as in `step`."""

    def __check_init__(self):
        if self.horizon < 1:
            raise RobooptError(
                f"`horizon` must be at least 1 step, got {self.horizon}."
            )
        if not self.gradient_decay_time > 0:
            raise RobooptError(
                f"`gradient_decay_time` must be positive, got "
                f"{self.gradient_decay_time}."
            )
        known = self.reward is None or callable(self.reward)
        if not known and not hasattr(self.reward, "cost_rate"):
            raise RobooptError(
                "`reward` must have a `cost_rate`, as a task has, or be a function "
                "`reward(observation, action, next_observation)`, got "
                f"{self.reward!r}."
            )

    def step(
        self,
        observation: Float[Array, " obs"],
        action: Shaped[Array, "..."],
        *,
        restoring: bool = False,
    ) -> tuple[Float[Array, " act"], Float[Array, " obs"]]:
        """Return the action that the actuators can follow, and what it leads to.

        Args:
            observation: before.
            action: wanted.
            restoring: whether an action beyond its limits has a gradient where a
                descent along it leads back. The exact one is 0 there: a policy that
                asks for too much everywhere would never learn to ask for less.

        Raises:
            RobooptError: if `action` is not of the dynamics' size.
        """
        dynamics = self.dynamics
        if action.shape != (dynamics.action_size,):
            raise RobooptError(
                f"`model` must return actions of shape ({dynamics.action_size},), got "
                f"{action.shape}."
            )
        state, goal = jnp.split(observation, [2 * dynamics.joints])
        held = dynamics.clip(action)
        if restoring:
            held = _restored(action, jax.lax.stop_gradient(held))
        action = held.astype(state.dtype)
        return action, jnp.concatenate([dynamics(state, action), goal])

    def rewards(
        self,
        observations: Float[Array, "*batch obs"],
        actions: Float[Array, "*batch act"],
        next_observations: Float[Array, "*batch obs"],
    ) -> Float[Array, "*batch"]:
        """Return the reward of each step, in its own unit; for a task, in [s].

        Raises:
            RobooptError: if there is no `reward`, or it returns anything but a number.
        """
        if self.reward is None:
            raise RobooptError("`reward` must be given for rewards, got None.")
        if hasattr(self.reward, "cost_rate"):
            rate = self.reward.cost_rate(next_observations, actions)
            return -(rate * self.dynamics.time_step)
        reward = self.reward
        for _ in observations.shape[:-1]:
            reward = jax.vmap(reward)
        values = jnp.asarray(reward(observations, actions, next_observations))
        if values.shape != observations.shape[:-1]:
            raise RobooptError(
                "`reward` must return one number a step, got shape "
                f"{values.shape[observations.ndim - 1 :]}."
            )
        return values.astype(observations.dtype)

    def __call__(
        self,
        model: Any,
        starts: Float[AnyArray, "..."],
        keys: Shaped[Array, "starts ..."] | None = None,
    ) -> Trajectory:
        """Return the trajectories, one a start.

        Args:
            model: `policy(observation) -> action`, an `OpenLoop`, a `TimeVaryingPolicy`
            or a `StatefulPolicy`.
            starts: observations at time 0.
            keys: what a `StatefulPolicy` draws from, one a start.

        Raises:
            RobooptError: if `starts` do not hold a state, there are not as many `keys`,
                `model` needs them, or the actions' size is wrong.
        """
        starts = jnp.asarray(starts)
        size = 2 * self.dynamics.joints
        if starts.ndim != 2 or starts.shape[-1] < size or starts.shape[0] == 0:
            raise RobooptError(
                "`starts` must have shape (starts, observation) with the state's "
                f"{size} numbers first, got {starts.shape}."
            )
        if keys is None:
            return jax.vmap(self._one, in_axes=(None, 0, None))(model, starts, None)
        if len(keys) != len(starts):
            raise RobooptError(
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
            action, after = self.step(observation, action, restoring=fading)
            return after[:size], memory, action

        fading = not math.isinf(self.gradient_decay_time)
        kept = math.exp(-dynamics.time_step / self.gradient_decay_time)

        def scanned(carry, index):
            carry = faded(carry, kept) if fading else carry
            state, memory, action = step(*carry, index)
            return (state, memory), (state, action)

        first = state, begin(model, start, key)
        _, (states, actions) = jax.lax.scan(scanned, first, jnp.arange(self.horizon))
        states = jnp.concatenate([state[None], states])
        goals = jnp.broadcast_to(goal, (self.horizon + 1, goal.size))
        observations = jnp.concatenate([states, goals], -1)
        rewards = None
        if self.reward is not None:
            rewards = self.rewards(observations[:-1], actions, observations[1:])
        return Trajectory(
            observations=observations,
            actions=actions,
            time_step=dynamics.time_step,
            rewards=rewards,
            efforts=jax.vmap(dynamics.effort)(actions),
        )


def faded(carry: Any, kept: float) -> Any:
    """Return `carry`, of whose gradient a share of `kept` goes back."""

    def fade(x):
        held = jax.lax.stop_gradient(x)
        return held + kept * (x - held)

    moving, rest = eqx.partition(carry, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(fade, moving), rest)


@jax.custom_vjp
def _restored(action: Array, held: Array) -> Array:
    """Return the action as it is held, with the gradient of what leads back to it."""
    return held


def _restored_forward(action: Array, held: Array) -> tuple[Array, Array]:
    return held, action - held


def _restored_backward(beyond: Array, slope: Array) -> tuple[Array, Array]:
    # Less of what is beyond the upper limit is wanted where the slope is positive.
    back = (beyond == 0) | (beyond * slope > 0)
    return jnp.where(back, slope, jnp.zeros_like(slope)), jnp.zeros_like(slope)


_restored.defvjp(_restored_forward, _restored_backward)
