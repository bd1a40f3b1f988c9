"""Many twins at once to act in, compiled: dynamics, agent and restarts in one scan.

A block of steps is one call into XLA. All its chance is drawn beforehand, keys for the
agent and starts for the episodes that will begin, and the twins go through it in groups
that fit what XLA runs as one loop on one core: beyond about 64 of them it would share
every small operation among threads, at a third of the speed.
"""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.policies import draw
from roboopt.rollouts._rollout import Rollout
from roboopt.rollouts._vector_env import Episode, Steps

GROUP = 64


class _Twins(NamedTuple):
    """Where they are."""

    observations: Float[Array, "*env obs"]
    elapsed: Int[Array, "*env"]
    """Steps of the episode."""


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
    ):
        """Keep the starts; nothing is computed yet.

        Args:
            rollout: its dynamics, horizon and reward are the world's.
            starts: observations (starts, obs) that episodes begin at.
            envs: how many twins; multiples of 64 are fastest.
            stagger: whether the first episodes are cut short, so that later ones end
                evenly spread over a horizon instead of all at once. Those first are not
                among the episodes returned.

        Raises:
            RobooptError: if `rollout` has no reward, `starts` hold no start or none
            with
                a state, or `envs` is less than 1.
        """
        if rollout.reward is None:
            raise RobooptError("`rollout` must have a `reward`, got None.")
        bank = np.asarray(starts)
        size = 2 * rollout.dynamics.joints
        if bank.ndim != 2 or bank.shape[0] == 0 or bank.shape[1] < size:
            raise RobooptError(
                "`starts` must have shape (starts, observation) with the state's "
                f"{size} numbers first, got {bank.shape}."
            )
        if not np.isfinite(bank).all():
            raise RobooptError("`starts` must be finite, got a value that is not.")
        if envs < 1:
            raise RobooptError(f"`envs` must be at least 1, got {envs}.")
        self.rollout, self.stagger, self.steps_made = rollout, bool(stagger), 0
        self._bank = jnp.asarray(bank, float)
        self._envs = int(envs)
        self._group = max(d for d in range(1, GROUP + 1) if envs % d == 0)
        # Its own for every world: the twin's numbers are constants of what is compiled,
        # which is half as fast again as with numbers that could change.
        self._run = eqx.filter_jit(self._block)
        self._twins: _Twins | None = None

    @property
    def envs(self) -> int:
        """How many twins."""
        return self._envs

    @property
    def observation_size(self) -> int:
        """Of one observation."""
        return self._bank.shape[1]

    @property
    def twins(self) -> tuple[Float[Array, "env obs"], Int[Array, " env"]]:
        """Return what each twin observes now, and how many steps its episode has left.

        Raises:
            RobooptError: before `begin`.
        """
        now = self._now()
        return now.observations, self.rollout.horizon - now.elapsed

    def begin(self, seed: int) -> None:
        """Begin an episode in each, all chance from `seed`."""
        envs, horizon = self._envs, self.rollout.horizon
        rows = np.random.default_rng(seed).integers(len(self._bank), size=envs)
        elapsed = np.zeros(envs, int)
        if self.stagger:
            elapsed = np.arange(envs) * horizon // envs
        self._twins = _Twins(self._bank[rows], jnp.asarray(elapsed, jnp.int32))
        self._record = _Record(self.rollout, np.asarray(self._bank[rows]), elapsed)

    def collect(
        self, agent: Any, key: PRNGKeyArray, steps: int
    ) -> tuple[Steps, list[Episode]]:
        """Let `agent` act for `steps` in each; return them, and what episodes ended.

        Args:
            agent: with `draw` and `execute`, such as an `ActorCritic`; whatever else is
                called on an observation acts without chance.
            key: of all chance.
            steps: how many, at least 1.

        Raises:
            RobooptError: before `begin`, if `steps` is less than 1, or the agent's
                actions are not of the dynamics' size.
        """
        now = self._now()
        if steps < 1:
            raise RobooptError(f"`steps` must be at least 1, got {steps}.")
        self._twins, made = self._run(agent, now, key, steps)
        self.steps_made += steps * self._envs
        return made, self._record.add(made)

    def _now(self) -> _Twins:
        if self._twins is None:
            raise RobooptError("a `TwinVectorEnv` must `begin` before it is asked.")
        return self._twins

    def _block(
        self, agent: Any, twins: _Twins, key: PRNGKeyArray, steps: int
    ) -> tuple[_Twins, Steps]:
        shape = (self._envs // self._group, steps, self._group)
        of_agent, of_starts = jax.random.split(key)
        keys = jax.random.split(of_agent, shape)
        begun = self._bank[jax.random.randint(of_starts, shape, 0, len(self._bank))]

        def step(twins, chance):
            return jax.vmap(functools.partial(self._step, agent))(twins, *chance)

        def run(group):
            twins, *chance = group
            return jax.lax.scan(step, twins, chance)

        def apart(x):
            return x.reshape(-1, self._group, *x.shape[1:])

        def together(x):
            return x.reshape(self._envs, *x.shape[2:])

        def in_time(x):
            return jnp.moveaxis(x, 0, 1).reshape(steps, self._envs, *x.shape[3:])

        twins, made = jax.lax.map(run, (jax.tree.map(apart, twins), keys, begun))
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

    def _step(
        self, agent: Any, twin: _Twins, key: PRNGKeyArray, begun: Float[Array, " obs"]
    ) -> tuple[_Twins, tuple[Array, ...]]:
        rollout, observation = self.rollout, twin.observations
        drawn, action = draw(agent, observation, key)
        action, after = rollout.step(observation, action)
        reward = rollout.rewards(observation, action, after)
        elapsed = twin.elapsed + 1
        ended = elapsed >= rollout.horizon
        onward = jnp.where(ended, begun, after)
        twin = _Twins(onward, jnp.where(ended, 0, elapsed))
        return twin, (observation, drawn, reward, after, ended)


class _Record:
    """What has happened in the episodes that are going on."""

    def __init__(self, rollout: Rollout, first: np.ndarray, elapsed: np.ndarray):
        self._horizon, self._time_step = rollout.horizon, rollout.dynamics.time_step
        self._success = getattr(rollout.reward, "success", None)
        self._elapsed, self._whole = elapsed.copy(), elapsed == 0
        self._returns = np.zeros(len(first))
        # Success is a matter of a whole episode.
        length = rollout.horizon + 1 if self._success is not None else 1
        self._seen = np.empty((len(first), length, first.shape[1]), first.dtype)
        self._seen[:, 0] = first

    def add(self, made: Steps) -> list[Episode]:
        """Return what episodes end with these steps."""
        seen = np.asarray(made.observations), np.asarray(made.next_observations)
        rewards, ended = np.asarray(made.rewards, float), np.asarray(made.ended)
        episodes, begin = [], 0
        ends = np.flatnonzero(ended.any(1)) + 1
        for end in (*ends, len(ended)):
            if end == begin:
                continue
            self._keep(*(x[begin:end] for x in seen))
            self._returns += rewards[begin:end].sum(0)
            over = np.flatnonzero(ended[end - 1])
            episodes += self._over(over)
            begin = end
        return episodes

    def _keep(self, observations: np.ndarray, after: np.ndarray) -> None:
        count = len(after)
        if self._success is not None:
            envs = np.arange(len(self._elapsed))
            places = self._elapsed[:, None] + np.arange(count)
            self._seen[envs[:, None], places] = observations.swapaxes(0, 1)
            self._seen[envs, places[:, -1] + 1] = after[-1]
        self._elapsed += count

    def _over(self, envs: np.ndarray) -> list[Episode]:
        whole = envs[self._whole[envs]]
        achieved = [None] * len(whole)
        if self._success is not None and len(whole):
            said = self._success(self._seen[whole], self._time_step)
            achieved = [bool(x) for x in np.asarray(said)]
        returns = self._returns[whole].tolist()
        self._elapsed[envs], self._returns[envs], self._whole[envs] = 0, 0.0, True
        return [
            Episode(sum_, self._horizon, success)
            for sum_, success in zip(returns, achieved, strict=True)
        ]
