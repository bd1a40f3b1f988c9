"""Rollouts in JAX: a policy run through a dynamics, from many starts at once.

Each step's inputs are kept, and its inside is computed again on the way back
(`jax.checkpoint`): the gradient of 1000 steps then holds 1000 states, not 1000 times
everything that a step computes, and is no slower.

With a finite gradient_decay_time τ a gradient decays on its way back, by exp(−Δt/τ) a
step:

    ∂/∂a_k counts a reward t seconds after a_k by exp(−t/τ)

which is the gradient of the discounted return from each state that the rollout visits
(Silver et al., 2014, Deterministic policy gradient algorithms), here without a value
function. Through an unstable motion, as of a pole that the policy has not learned to
balance, the exact gradient grows exponentially with time and is of no use.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from roboopt._core import AnyArray, Jittable, common_float, compiled
from roboopt._errors import RobooptError, require, require_at_least
from roboopt.data import Trajectory
from roboopt.policies import act, acts_by_chance, draw, initial_carry
from roboopt.rollouts._episodes import episode_keys

PROTOCOL = ("time_step", "joints", "action_size", "clip", "effort")


class PolicyStep(NamedTuple):
    """One step of a policy: the drawn action, the executed one, what it led to."""

    drawn: Shaped[Array, "..."]
    """What an agent drew, before any limits; the policy's action for all others."""
    action: Float[Array, " act"]
    """What the actuators followed."""
    next_observation: Float[Array, " obs"]


class Rollout(Jittable):
    """Runs policies through `dynamics` for `horizon` steps.

    `rollout(policy, starts)` is differentiable in the policy and in the dynamics. A
    start is an observation [q, q̇, goal]; what follows the state stays constant.
    """

    differentiable: ClassVar[bool] = True

    dynamics: Any
    """`dynamics(state, action) -> next_state`, with `time_step`, `joints`,
    `action_size`, `clip` and `effort` as a `Twin` has them."""
    horizon: int = eqx.field(static=True)
    """Steps."""
    reward: Any = None
    """A task with a `cost_rate` [1/s], whose negative is the reward per second; or a
    function `reward(observation, action, next_observation)` of single steps; or None.
    """
    gradient_decay_time: float = eqx.field(
        static=True, default=math.inf, converter=float
    )
    """τ [s]; infinite for the exact gradient. No value depends on τ. With a finite τ,
    actions beyond their limits have a gradient too, as in `step`."""
    reference: Float[AnyArray, "time shown"] | None = None
    """What an observation holds after [q, q̇] at each of the horizon + 1 times, such as
    the `reference` of an environment; None where that stays as in the start."""

    def __check_init__(self):
        known = callable(self.dynamics) and all(
            hasattr(self.dynamics, name) for name in PROTOCOL
        )
        kind = type(self.dynamics)
        require(known, "dynamics", "be a dynamics, such as a `Twin`", kind)
        require_at_least(1, horizon=self.horizon)
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
        index: Any = 0,
        *,
        restoring: bool = False,
    ) -> tuple[Float[Array, " act"], Float[Array, " obs"]]:
        """Return the action that the actuators can follow, and what it leads to.

        Args:
            observation: before the step.
            action: the wanted action.
            index: the number of the step in its episode, for the `reference`.
            restoring: whether an action beyond its limits has a gradient where a
                descent along it leads back. The exact gradient is 0 there: a policy
                that asks for too much everywhere would never learn to ask for less.

        Raises:
            RobooptError: if `action` is not of the dynamics' size.
        """
        dynamics = self.dynamics
        if action.shape != (dynamics.action_size,):
            raise RobooptError(
                f"`policy` must return actions of shape ({dynamics.action_size},), got "
                f"{action.shape}."
            )
        state, goal = jnp.split(observation, [2 * dynamics.joints])
        held = dynamics.clip(action)
        if restoring:
            held = _restored(action, jax.lax.stop_gradient(held))
        action = held.astype(state.dtype)
        after = dynamics(state, action).astype(state.dtype)
        if self.reference is not None:
            goal = jnp.asarray(self.reference, state.dtype)[index + 1]
        return action, jnp.concatenate([after, goal])

    def policy_step(
        self,
        policy: Any,
        carry: Any,
        observation: Float[Array, " obs"],
        index: Any = 0,
        *,
        key: PRNGKeyArray | None = None,
        restoring: bool = False,
    ) -> tuple[Any, PolicyStep]:
        """Let any policy act once; return its next carry, and the step.

        Args:
            policy: any kind of policy; with a `key`, an agent that draws its actions.
            carry: from `policies.initial_carry`, or the last step.
            observation: as in `step`.
            index: the number of the step in its episode.
            key: the source of the agent's randomness; None for its best action.
            restoring: as in `step`.
        """
        if key is not None and acts_by_chance(policy):
            drawn, wanted = draw(policy, observation, key)
        else:
            time = jnp.asarray(index * self.dynamics.time_step)
            carry, wanted = act(policy, carry, observation, time)
            drawn = wanted
        action, after = self.step(observation, wanted, index, restoring=restoring)
        return carry, PolicyStep(drawn, action, after)

    def rewards(
        self,
        observations: Float[Array, "*batch obs"],
        actions: Float[Array, "*batch act"],
        next_observations: Float[Array, "*batch obs"],
        indices: Any = 0,
    ) -> Float[Array, "*batch"]:
        """Return the reward of each step, in its own unit; for a task, in [s].

        Args:
            observations: before the steps.
            actions: that were executed.
            next_observations: after the steps.
            indices: the numbers of the steps in their episodes, of which a task may
                want the times; one for all, or in the shape of the last batch axes.

        Raises:
            RobooptError: if there is no `reward`, or it returns anything but a number.
        """
        reward = self.reward
        if reward is None:
            raise RobooptError("`reward` must be given for rewards, got None.")
        if hasattr(reward, "cost_rate"):
            times = jnp.asarray(indices + 1) * self.dynamics.time_step
            times = jnp.broadcast_to(times, next_observations.shape[:-1])
            rate = timed(reward.cost_rate)(next_observations, actions, times)
            return -(rate * self.dynamics.time_step)
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
        policy: Any,
        starts: Float[AnyArray, "..."],
        key: PRNGKeyArray | None = None,
    ) -> Trajectory:
        """Return the trajectories, one a start.

        Args:
            policy: `policy(observation) -> action`, an `OpenLoop`, a
                `TimeVaryingPolicy` or a `StatefulPolicy`.
            starts: observations at time 0.
            key: the source of the randomness of a `StatefulPolicy`.

        Raises:
            RobooptError: if `starts` do not hold a state, `policy` needs a key, or its
                actions have the wrong size.
        """
        return self._run(policy, starts, key, None)

    def many(
        self,
        policies: Any,
        starts: Float[AnyArray, "..."],
        key: PRNGKeyArray | None = None,
        *,
        paired: bool = False,
    ) -> Trajectory:
        """Return the trajectories (policies, starts, ...) of each from each start.

        Args:
            policies: as `policy`, but that every array has a first axis more, which
                counts the policies.
            starts: as above.
            key: as above; the same for all policies.
            paired: whether each policy has one start of its own; the trajectories are
                then (policies, ...).
        """
        if paired:
            return self._run(policies, starts, key, eqx.if_array(0))
        return eqx.filter_vmap(lambda policy: self(policy, starts, key))(policies)

    @compiled
    def _run(
        self,
        policy: Any,
        starts: Float[AnyArray, "..."],
        key: PRNGKeyArray | None,
        axis: Any,
    ) -> Trajectory:
        starts = jnp.asarray(starts, common_float(starts, self.dynamics))
        check_starts(starts, self.dynamics)
        keys = None if key is None else episode_keys(key, len(starts))
        axes = axis, 0, None if key is None else 0
        return eqx.filter_vmap(self._one, in_axes=axes)(policy, starts, keys)

    def _one(
        self, policy: Any, start: Float[Array, " obs"], key: PRNGKeyArray | None
    ) -> Trajectory:
        dynamics = self.dynamics
        size = 2 * dynamics.joints
        state, goal = start[:size], start[size:]
        shown = None if self.reference is None else self.reference.shape
        if shown is not None and shown != (self.horizon + 1, goal.size):
            raise RobooptError(
                "`reference` must hold what observations show after [q, q̇] at each "
                f"time, {(self.horizon + 1, goal.size)}, got {shown}."
            )
        fading = not math.isinf(self.gradient_decay_time)
        kept = math.exp(-dynamics.time_step / self.gradient_decay_time)

        @jax.checkpoint
        def step(state, carry, index, goal):
            observation = jnp.concatenate([state, goal])
            carry, done = self.policy_step(
                policy, carry, observation, index, restoring=fading
            )
            return done.next_observation[:size], carry, done.action

        def scanned(both, inputs):
            both = faded(both, kept) if fading else both
            state, carry, action = step(*both, *inputs)
            return (state, carry), (state, action)

        goals = jnp.broadcast_to(goal, (self.horizon + 1, goal.size))
        if self.reference is not None:
            goals = jnp.asarray(self.reference, start.dtype)
        first, steps = (state, initial_carry(policy, key)), jnp.arange(self.horizon)
        _, (states, actions) = jax.lax.scan(scanned, first, (steps, goals[:-1]))
        states = jnp.concatenate([state[None], states])
        observations = jnp.concatenate([states, goals], -1)
        rewards = None
        if self.reward is not None:
            seen = observations[:-1], actions, observations[1:]
            rewards = self.rewards(*seen, steps)
        return Trajectory(
            observations=observations,
            actions=actions,
            time_step=dynamics.time_step,
            rewards=rewards,
            efforts=jax.vmap(dynamics.effort)(actions),
        )


def timed(cost_rate: Callable[..., Any]) -> Callable[..., Any]:
    """Return `cost_rate(observation, action, time)`, whether it takes the time or not.

    A `cost_rate` of three parameters gets the time of the observation [s].
    """
    if len(inspect.signature(cost_rate).parameters) > 2:
        return cost_rate
    return lambda observation, action, time: cost_rate(observation, action)


def check_starts(starts: Float[AnyArray, "..."], dynamics: Any) -> None:
    """Raise a RobooptError unless `starts` are observations that hold a state."""
    size = 2 * dynamics.joints
    if starts.ndim != 2 or starts.shape[-1] < size or starts.shape[0] == 0:
        raise RobooptError(
            "`starts` must have shape (starts, observation) with the state's "
            f"{size} numbers first, got {starts.shape}."
        )


def faded(carry: Any, kept: float) -> Any:
    """Return `carry`, with its gradient multiplied by `kept`."""

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
