"""A `VectorEnv` of twins: dynamics, agent and restarts in one compiled scan.

A block of steps is one call into XLA. All randomness is drawn beforehand: keys for the
agent, and starts for the episodes that will begin. The twins go through the scan in
groups small enough that XLA runs each as one loop on one core: beyond about 64 twins
XLA would share every small operation among threads, at a third of the speed. On an
accelerator all groups run at once.
"""

import functools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from roboopt._core import AnyArray, groups_at_once
from roboopt._devices import Devices
from roboopt._errors import RobooptError, require
from roboopt._programs import filter_jit
from roboopt.rollouts._rollout import Rollout, check_starts
from roboopt.rollouts._vector_env import Episode, EpisodeCounter, Steps

GROUP = 64


class TwinVectorEnv:
    """A `VectorEnv` of `envs` copies of a rollout's dynamics, each in its own episode.

    An episode ends at the rollout's horizon, and the next begins at one of `starts`,
    drawn anew. Nothing ends before: all steps are valid, and none is terminal.
    """

    def __init__(
        self,
        rollout: Rollout,
        starts: Float[AnyArray, "..."],
        envs: int = 64,
        *,
        stagger: bool = False,
        devices: Sequence[Any] | None = None,
    ):
        """Keep the starts; nothing is computed yet.

        Args:
            rollout: the dynamics, the horizon and the reward.
            starts: observations (starts, obs) that episodes begin at.
            envs: the number of twins; multiples of 64 are fastest.
            stagger: whether the first episodes are cut short, so that later ones end
                evenly spread over a horizon instead of all at once. Those first are not
                among the episodes returned.
            devices: such as jax.devices(), each of which steps an equal share of the
                twins, to the same numbers as one device. `PPO` and `SHAC` then compute
                their gradients on these devices too.

        Raises:
            RobooptError: if `rollout` has no reward, `starts` are not finite
                observations with a state, or `envs` is less than 1 or not a multiple
                of the number of `devices`.
        """
        if rollout.reward is None:
            raise RobooptError("`rollout` must have a `reward`, got None.")
        bank = np.asarray(starts)
        check_starts(bank, rollout.dynamics)
        if not np.isfinite(bank).all():
            raise RobooptError("`starts` must be finite, got a value that is not.")
        require(envs >= 1, "envs", "be at least 1", envs)
        self.rollout, self.stagger, self.steps_made = rollout, bool(stagger), 0
        self.envs, self.observation_size = int(envs), bank.shape[1]
        self.devices = devices
        self._devices = Devices.of(devices)
        share = self.envs
        if self._devices is not None:
            self._devices.require_equal_shares(self.envs, "envs", "twins")
            share //= self._devices.count
        self._bank = jnp.asarray(bank, float)
        self._group = _largest_group(share)
        # Compiled for this object alone: the twin's numbers are then constants, which
        # is half as fast again as numbers that could change.
        self._run = filter_jit(self._block)
        self._twins: tuple[Array, Array] | None = None

    @property
    def twins(self) -> tuple[Float[Array, "env obs"], Int[Array, " env"]]:
        """Return each twin's observation, and the steps left in its episode.

        Raises:
            RobooptError: before `begin`.
        """
        observations, elapsed = self._now()
        return observations, self.rollout.horizon - elapsed

    def fingerprint(self) -> Any:
        """Return what tells the environments from others."""
        return self.rollout, self._bank, self.stagger

    def begin(self, seed: int) -> None:
        """Begin an episode in each, all randomness from `seed`."""
        rows = np.random.default_rng(seed).integers(len(self._bank), size=self.envs)
        elapsed = np.zeros(self.envs, int)
        if self.stagger:
            elapsed = np.arange(self.envs) * self.rollout.horizon // self.envs
        self._twins = self._bank[rows], jnp.asarray(elapsed, jnp.int32)
        self._counter = EpisodeCounter(elapsed)
        self._past = np.zeros((0, self.envs, self.observation_size))

    def collect(
        self, agent: Any, key: PRNGKeyArray, steps: int
    ) -> tuple[Steps, list[Episode]]:
        """Let `agent` act for `steps` in each; return them, and the ended episodes.

        Args:
            agent: has `draw` and `execute`, as an `ActorCritic` has; any other callable
                acts on an observation without randomness.
            key: the source of all randomness.
            steps: at least 1.

        Raises:
            RobooptError: before `begin`, if `steps` is less than 1, or the agent's
                actions are not of the dynamics' size.
        """
        now = self._now()
        require(steps >= 1, "steps", "be at least 1", steps)
        found = self._run(agent, now, key, steps)
        if self._devices is not None:
            found = self._devices.local(found)
        self._twins, made = found
        self.steps_made += steps * self.envs
        return made, self._counter.add(made, self._success(made))

    def _now(self) -> tuple[Array, Array]:
        if self._twins is None:
            raise RobooptError("a `TwinVectorEnv` must `begin` before it is asked.")
        return self._twins

    def _block(
        self, agent: Any, twins: tuple[Array, Array], key: PRNGKeyArray, steps: int
    ) -> tuple[tuple[Array, Array], Steps]:
        # Drawn in the groups of one device: the same for each twin on several.
        drawn_at_once = _largest_group(self.envs)
        shape = (self.envs // drawn_at_once, steps, drawn_at_once)
        of_agent, of_starts = jax.random.split(key)
        keys = jax.random.split(of_agent, shape)
        begun = self._bank[jax.random.randint(of_starts, shape, 0, len(self._bank))]

        def regrouped(x):
            if self._group == drawn_at_once:
                return x
            x = jnp.moveaxis(x, 1, 2).reshape(-1, self._group, steps, *x.shape[3:])
            return jnp.moveaxis(x, 2, 1)

        def apart(x):
            return x.reshape(-1, self._group, *x.shape[1:])

        def together(x):
            return x.reshape(self.envs, *x.shape[2:])

        def in_time(x):
            return jnp.moveaxis(x, 0, 1).reshape(steps, self.envs, *x.shape[3:])

        groups = jax.tree.map(apart, twins), regrouped(keys), regrouped(begun)
        twins, made = self._run_groups(agent, groups)
        observations, drawn, rewards, after, ended = jax.tree.map(in_time, made)
        return jax.tree.map(together, twins), Steps(
            observations=observations,
            drawn=drawn,
            rewards=rewards,
            next_observations=after,
            terminated=jnp.zeros_like(ended),
            ended=ended,
            valid=jnp.ones_like(ended),
        )

    def _run_groups(self, agent: Any, groups: Any) -> Any:
        """Run all groups, on several devices each its own."""
        arrays, static = eqx.partition(agent, eqx.is_array)

        def run_all(arrays, groups):
            agent = eqx.combine(arrays, static)
            step = jax.vmap(functools.partial(self._step, agent))

            def run(group):
                twins, *chance = group
                return jax.lax.scan(lambda now, drawn: step(now, *drawn), twins, chance)

            width = groups_at_once(len(jax.tree.leaves(groups)[0]))
            return jax.lax.map(run, groups, batch_size=width)

        if self._devices is None:
            return run_all(arrays, groups)
        return self._devices.copy(self._devices.map(run_all)(arrays, groups))

    def _step(
        self,
        agent: Any,
        twin: tuple[Float[Array, " obs"], Int[Array, ""]],
        key: PRNGKeyArray,
        begun: Float[Array, " obs"],
    ) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        rollout, (observation, elapsed) = self.rollout, twin
        _, step = rollout.policy_step(agent, None, observation, elapsed, key=key)
        made = step.action, step.observations, step.efforts
        reward = rollout.rewards(observation, *made, elapsed)
        after, elapsed = step.next_observation, elapsed + 1
        ended = elapsed >= rollout.horizon
        twin = jnp.where(ended, begun, after), jnp.where(ended, 0, elapsed)
        return twin, (observation, step.drawn, reward, after, ended)

    def _success(self, made: Steps) -> dict[tuple[int, int], Any]:
        """Return the success of the whole episodes that end, by time and twin."""
        judge = getattr(self.rollout.reward, "success", None)
        if judge is None:
            return {}
        horizon, time_step = self.rollout.horizon, self.rollout.dynamics.time_step
        after, ended = np.asarray(made.next_observations), np.asarray(made.ended)
        seen = np.concatenate([self._past, np.asarray(made.observations)])
        found = {}
        for t in np.flatnonzero(ended.any(1)).tolist():
            end = len(self._past) + t + 1
            if end < horizon:  # Only episodes that were cut short.
                continue
            rows = np.flatnonzero(ended[t])
            episodes = [*seen[end - horizon : end, rows], after[t, rows]]
            said = judge(np.stack(episodes, 1), time_step)
            found |= {(t, k): x for k, x in zip(rows.tolist(), said, strict=True)}
        self._past = seen[-horizon:]
        return found


def _largest_group(envs: int) -> int:
    return max(d for d in range(1, GROUP + 1) if envs % d == 0)
