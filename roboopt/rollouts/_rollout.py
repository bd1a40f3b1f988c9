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

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from roboopt._core import AnyArray, Jittable, common_float, compiled
from roboopt._errors import RobooptError, require, require_at_least
from roboopt._timed import timed
from roboopt.data import Trajectory
from roboopt.dynamics import Held, first_memory, path
from roboopt.policies import act, acts_by_chance, draw, initial_carry
from roboopt.rollouts._drawn import disturbed, drawn, randomized
from roboopt.rollouts._episodes import episode_keys
from roboopt.rollouts._gradient_rules import faded, restored
from roboopt.rollouts._policy_step import PolicyStep

PROTOCOL = ("time_step", "joints", "action_size", "clip", "effort")


class Rollout(Jittable):
    """Runs policies through `dynamics` for `horizon` steps of the policy.

    `rollout(policy, starts)` is differentiable in the policy and in the dynamics. A
    start is an observation [q, q̇, goal]; what follows the state stays constant.
    """

    differentiable: ClassVar[bool] = True

    dynamics: Any
    """`dynamics(state, action) -> next_state`, with `time_step`, `joints`,
    `action_size`, `clip` and `effort` as a `Twin` has them."""
    horizon: int = eqx.field(static=True)
    """Steps of the policy."""
    reward: Any = None
    """A task with a `cost_rate` [1/s], whose negative is the reward per second; or a
    function `reward(observation, action, next_observation)` of single steps; or None.
    """
    gradient_decay_time: float = eqx.field(
        static=True, default=math.inf, converter=float
    )
    """τ [s]; infinite for the exact gradient. No value depends on τ. With a finite τ,
    actions beyond their limits have a gradient too, as in `step`."""
    control_period: float | None = eqx.field(static=True, default=None)
    """Time between the policy's actions [s], which are held in between: a whole number
    of the dynamics' time steps; one by default. `dynamics` then becomes a
    `dynamics.Held`, and rewards, costs and energies are summed over all time steps."""
    reference: Float[AnyArray, "time shown"] | None = None
    """What an observation holds after [q, q̇] at the start and after each step of the
    simulation, such as the `reference` of an environment; None where that stays as in
    the start."""
    key: PRNGKeyArray | None = None
    """The source of randomness where a call is given none: of stochastic policies, and
    of a `dynamics.Randomized`, which is drawn for each start. The draws of start k are
    the same in each call, so that an objective has one value."""

    def __post_init__(self):
        period, dynamics = self.control_period, self.dynamics
        if period is None or not hasattr(dynamics, "time_step"):
            return
        if getattr(dynamics, "period", None) != period:
            self.dynamics = Held(dynamics, period)

    def __check_init__(self):
        known = callable(self.dynamics) and all(
            hasattr(self.dynamics, name) for name in PROTOCOL
        )
        kind = type(self.dynamics)
        require(known, "dynamics", "be a dynamics, such as a `Twin`", kind)
        require_at_least(1, horizon=self.horizon)
        decay = self.gradient_decay_time
        require(decay > 0, "gradient_decay_time", "be positive", decay)
        reward = self.reward
        known = reward is None or callable(reward) or hasattr(reward, "cost_rate")
        rule = (
            "have a `cost_rate`, as a task has, or be a function "
            "`reward(observation, action, next_observation)`"
        )
        require(known, "reward", rule, reward)

    def step(
        self,
        observation: Float[Array, " obs"],
        action: Shaped[Array, "..."],
        index: Any = 0,
        *,
        restoring: bool = False,
        memory: Any = None,
    ) -> PolicyStep:
        """Return the action that the actuators can follow, and what it leads to.

        Args:
            observation: before the step.
            action: the wanted action.
            index: the number of the step in its episode, for the `reference`.
            memory: of the actuators, from the last step.
            restoring: whether an action beyond its limits has a gradient where a
                descent along it leads back. The exact gradient is 0 there: a policy
                that asks for too much everywhere would never learn to ask for less.

        Raises:
            RobooptError: if `action` is not of the dynamics' size, or the actuators
                have a memory and none is given.
        """
        dynamics, wanted = self.dynamics, action
        if memory is None:
            memory = first_memory(dynamics)
            if jax.tree.leaves(memory):
                raise RobooptError(
                    "`dynamics` must have actuators without lag and delay where "
                    "episodes are cut into single steps, as by PPO and SHAC on the "
                    "twin: a lag remembers earlier actions."
                )
        rule = f"return actions of shape ({dynamics.action_size},)"
        require(action.shape == (dynamics.action_size,), "policy", rule, action.shape)
        state, goal = jnp.split(observation, [2 * dynamics.joints])
        held = dynamics.clip(action)
        if restoring:
            held = restored(action, jax.lax.stop_gradient(held))
        action = held.astype(state.dtype)
        made = path(dynamics, state, action, memory)
        states = made.states.astype(state.dtype)
        goals = jnp.broadcast_to(goal, (len(states), goal.size))
        if self.reference is not None:
            shown = jnp.asarray(self.reference, state.dtype)
            first = index * len(states) + 1
            goals = jax.lax.dynamic_slice_in_dim(shown, first, len(states))
        observations = jnp.concatenate([states, goals], -1)
        return PolicyStep(wanted, action, observations, made.efforts, made.memory)

    def policy_step(
        self,
        policy: Any,
        carry: Any,
        observation: Float[Array, " obs"],
        index: Any = 0,
        *,
        key: PRNGKeyArray | None = None,
        restoring: bool = False,
        memory: Any = None,
    ) -> tuple[Any, PolicyStep]:
        """Let any policy act once; return its next carry, and the step.

        Args:
            policy: any kind of policy; with a `key`, an agent that draws its actions.
            carry: from `policies.initial_carry`, or the last step.
            observation: as in `step`.
            index: the number of the step in its episode.
            key: the source of the agent's randomness; None for its best action.
            restoring: as in `step`.
            memory: as in `step`.
        """
        if key is not None and acts_by_chance(policy):
            drawn, wanted = draw(policy, observation, key)
        else:
            time = jnp.asarray(index * self.dynamics.time_step)
            carry, wanted = act(policy, carry, observation, time)
            drawn = wanted
        options = {"restoring": restoring, "memory": memory}
        made = self.step(observation, wanted, index, **options)
        return carry, made._replace(drawn=drawn)

    @property
    def effort_axes(self) -> tuple[int, ...] | None:
        """Return the joints whose efforts a task's cost is of, None for the actions."""
        return getattr(self.dynamics, "effort_axes", None)

    def rewards(
        self,
        observations: Float[Array, "*batch obs"],
        actions: Float[Array, "*batch act"],
        next_observations: Float[Array, "*batch substep obs"],
        efforts: Float[Array, "*batch substep joint"] | None = None,
        indices: Any = 0,
    ) -> Float[Array, "*batch"]:
        """Return the reward of each step, in its own unit; for a task, in [s].

        Args:
            observations: before each step of the policy.
            actions: of the policy.
            next_observations: after each step of the simulation. A task's cost is
                summed over them, and a function's reward is of the last.
            efforts: on the joints during each step of the simulation [N·m or N]; needed
                where actions are no efforts.
            indices: the numbers of the steps in their episodes, (*batch), from which a
                task's times are; or one for all.

        Raises:
            RobooptError: if there is no `reward`, or it returns anything but a number.
        """
        reward = self.reward
        if reward is None:
            raise RobooptError("`reward` must be given for rewards, got None.")
        if hasattr(reward, "cost_rate"):
            if self.effort_axes is None or efforts is None:
                shape = *next_observations.shape[:-1], actions.shape[-1]
                driven = jnp.broadcast_to(actions[..., None, :], shape)
            else:
                driven = efforts[..., np.array(self.effort_axes)]
            held = next_observations.shape[-2]
            first = jnp.asarray(indices) * held
            steps = jnp.add.outer(first, jnp.arange(1, held + 1))
            times = steps * (self.dynamics.time_step / held)
            times = jnp.broadcast_to(times, next_observations.shape[:-1])
            rate = timed(reward.cost_rate)(next_observations, driven, times)
            return -(rate.mean(-1) * self.dynamics.time_step)
        for _ in observations.shape[:-1]:
            reward = jax.vmap(reward)
        after = next_observations[..., -1, :]
        values = jnp.asarray(reward(observations, actions, after))
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
            key: the source of the randomness of a `StatefulPolicy` and of the dynamics;
                by default the rollout's own.

        Raises:
            RobooptError: if `starts` do not hold a state, `policy` or the dynamics need
                a key, or the policy's actions have the wrong size.
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
    def each(
        self,
        policy: Any,
        starts: Float[AnyArray, "..."],
        dynamics: Any,
        key: PRNGKeyArray | None = None,
    ) -> Trajectory:
        """Return the trajectories, each with its own dynamics.

        Args:
            policy: as above.
            starts: as above.
            dynamics: in whose arrays a first axis counts the starts.
            key: as above.
        """
        starts = jnp.asarray(starts, common_float(starts, self.dynamics))
        check_starts(starts, self.dynamics)
        keys = None if key is None else episode_keys(key, len(starts))

        def run(own: Any, start: Array, key: Any) -> Trajectory:
            rollout = eqx.tree_at(lambda r: r.dynamics, self, own)
            return rollout._one(policy, start, key)

        axes = eqx.if_array(0), 0, None if key is None else 0
        return eqx.filter_vmap(run, in_axes=axes)(dynamics, starts, keys)

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
        key = self.key if key is None else key
        keys = None if key is None else episode_keys(key, len(starts))
        axes = axis, 0, None if key is None else 0
        return eqx.filter_vmap(self._one, in_axes=axes)(policy, starts, keys)

    def _one(
        self, policy: Any, start: Float[Array, " obs"], key: PRNGKeyArray | None
    ) -> Trajectory:
        found = randomized(self.dynamics)
        if found is not None:
            if key is None:
                raise RobooptError(
                    "`key` must be given to the rollout: its dynamics are `Randomized`."
                )
            own, key = jax.random.split(key)
            self = eqx.tree_at(lambda r: r.dynamics, self, drawn(self.dynamics, own))
            policy = disturbed(policy, found, self.dynamics.time_step)
        dynamics = self.dynamics
        size = 2 * dynamics.joints
        state, goal = start[:size], start[size:]
        if self.reference is not None:
            count, shown = self.reference.shape
            if (count - 1) % self.horizon or shown != goal.size:
                raise RobooptError(
                    f"`reference` must hold the {goal.size} numbers that observations "
                    "show after [q, q̇], at the start and after each step of the "
                    f"simulation, got shape {(count, shown)}."
                )
        fading = not math.isinf(self.gradient_decay_time)
        kept = math.exp(-dynamics.time_step / self.gradient_decay_time)

        @jax.checkpoint
        def step(observation, memory, carry, index):
            carry, done = self.policy_step(
                policy, carry, observation, index, restoring=fading, memory=memory
            )
            now = done.next_observation, done.memory, carry
            return now, (done.observations, done.action, done.efforts)

        def scanned(now, index):
            return step(*(faded(now, kept) if fading else now), index)

        if self.reference is not None:
            goal = jnp.asarray(self.reference, start.dtype)[0]
        start, steps = jnp.concatenate([state, goal]), jnp.arange(self.horizon)
        first = start, first_memory(dynamics), initial_carry(policy, key)
        _, (within, actions, efforts) = jax.lax.scan(scanned, first, steps)
        observations = jnp.concatenate([start[None], within[:, -1]])
        rewards = None
        if self.reward is not None:
            seen = observations[:-1], actions, within, efforts
            rewards = self.rewards(*seen, steps)
        held = within.shape[1] > 1
        return Trajectory(
            observations=observations,
            actions=actions,
            time_step=dynamics.time_step,
            rewards=rewards,
            efforts=None if efforts is None else efforts.mean(1),
            substep_observations=within if held else None,
            substep_efforts=efforts if held else None,
        )


def check_starts(starts: Float[AnyArray, "..."], dynamics: Any) -> None:
    """Raise a RobooptError unless `starts` are observations that hold a state."""
    size = 2 * dynamics.joints
    valid = starts.ndim == 2 and starts.shape[-1] >= size and len(starts) > 0
    rule = f"have shape (starts, observation) with the state's {size} numbers first"
    require(valid, "starts", rule, starts.shape)
