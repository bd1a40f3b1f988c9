"""A `VectorEnv` of Gymnasium environments, acted in by one compiled call a step."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from roboopt._errors import RobooptError
from roboopt.rollouts._episodes import run_policy
from roboopt.rollouts._vector_env import Episode, EpisodeCounter, Steps
from roboopt.rollouts._vectors import vector_of


class GymVectorEnv:
    """Gymnasium environments side by side.

    On a CPU a small network is computed faster than it is handed to another thread:
    with `jax.config.update("jax_cpu_enable_async_dispatch", False)` before anything
    else, as in `roboopt reinforce`, acting takes about half the time.
    """

    observation_space: Any
    """The observation space of one environment."""
    action_space: Any
    """The action space of one environment."""

    def __init__(self, env: Any, envs: int = 8, *, processes: int = 0):
        """Make the environments.

        Args:
            env: a Gymnasium id, an `EnvSpec`, a function that makes an environment, or
                a `gymnasium.vector.VectorEnv`. An id with a vector of its own, as
                CartPole-v1 has, is made as that vector unless `processes` are given.
            envs: the number of environments, unless `env` is a vector.
            processes: the number of worker processes; 0 for this process.

        Raises:
            RobooptError: if a number is out of its range, `env` is none of these, or
                its spaces are not such as `collect` takes.
            EnvError: if an environment cannot be made; later if one raises, hangs, dies
                or returns a non-finite number.
        """
        self._vector = vector_of(env, envs, processes)
        self.observation_space = self._vector.observation_space
        self.action_space = self._vector.action_space
        self._float = np.dtype(jax.dtypes.canonicalize_dtype(float))
        self._acting: tuple[Any, Callable] | None = None
        self._now: np.ndarray | None = None
        self._over = np.zeros(self.envs, bool)

    @property
    def envs(self) -> int:
        """Return the number of environments."""
        return self._vector.envs

    @property
    def observation_size(self) -> int:
        """Return the size of one observation."""
        return self.observation_space.shape[0]

    def close(self) -> None:
        """Close the environments."""
        self._vector.close()

    def begin(self, seed: int) -> None:
        """Begin an episode in each, all randomness from `seed`."""
        self._now = np.array(self._vector.begin(seed), self._float)
        self._over[:] = False
        self._counter = EpisodeCounter(np.zeros(self.envs, int))

    def collect(
        self, agent: Any, key: PRNGKeyArray, steps: int
    ) -> tuple[Steps, list[Episode]]:
        """Let `agent` act for `steps` in each; return them, and the ended episodes.

        Raises:
            RobooptError: if no episode has begun, `agent` draws a non-finite action, or
                the environments return a non-finite number.
        """
        if self._now is None:
            raise RobooptError("`begin` must be called before `collect`.")
        block = _Block(self._vector, self._compiled(agent, key), steps, self._float)
        block.begin(_randomness(key, steps, self.envs), self._over)
        active = np.ones(self.envs, bool)
        step, now = self._vector.step, self._now
        run_policy(step, block.act, now, active, block.on_step, steps)
        found = block.steps()
        self._now, self._over = np.array(block.now, self._float), block.ended[-1].copy()
        if not all(
            np.isfinite(x).all() for x in (found.next_observations, found.rewards)
        ):
            raise RobooptError(
                "`env` must return finite observations and rewards, got others within "
                f"the last {steps} steps."
            )
        return found, self._counter.add(found, block.success)

    def _compiled(self, agent: Any, key: PRNGKeyArray) -> Callable:
        """Return `act(randomness, observations)`, compiled once for a structure."""
        arrays, static = eqx.partition(agent, eqx.is_array)
        leaves, structure = jax.tree.flatten(static)
        kind = jax.random.key_impl(key)
        known = structure, leaves, kind
        if self._acting is None or self._acting[0] != known:
            self._acting = known, _acting(jax.tree.structure(arrays), static, kind)
        act, given = self._acting[1], jax.tree.leaves(arrays)
        return lambda randomness, observations: act(given, randomness, observations)


class _Block:
    """Records a block of steps."""

    def __init__(self, vector: Any, agent: Callable, steps: int, dtype: Any):
        self._vector, self._agent = vector, agent
        envs = vector.envs
        self._seen = np.empty((steps, envs, *vector.observation_space.shape), dtype)
        self._after = np.empty_like(self._seen)
        self._rewards = np.empty((steps, envs))
        self._terminated, self.ended = np.empty((2, steps, envs), bool)
        self._valid = np.ones((steps, envs), bool)
        self._drawn: list[np.ndarray] = []
        self.success: dict[tuple[int, int], bool | None] = {}
        self._active = np.ones(envs, bool)

    def begin(self, randomness: np.ndarray, over: np.ndarray) -> None:
        """Take the keys, and which environments' episodes are over."""
        self._randomness, self._over = randomness, over

    def act(self, observations: np.ndarray, active: np.ndarray) -> np.ndarray:
        t = len(self._drawn)
        self._seen[t] = observations
        drawn, actions = self._agent(self._randomness[t], self._seen[t])
        self._drawn.append(np.asarray(drawn))
        return self._drawn[-1] if actions is None else np.asarray(actions)

    def on_step(self, step: Any) -> tuple[np.ndarray, np.ndarray]:
        t = len(self._drawn) - 1
        self.now, self._rewards[t], self._terminated[t], truncated, success = step
        self._after[t] = self.now
        if self._vector.idles:
            np.logical_not(self._over, out=self._valid[t])
        over = np.logical_or(self._terminated[t], truncated, out=self.ended[t])
        self._over = over
        if over.any():
            self.now = self._vector.renewed(step, over)
            if success is not None:
                for row in np.flatnonzero(over).tolist():
                    said = success[row]
                    self.success[t, row] = None if said is None else bool(said)
        return self.now, self._active

    def steps(self) -> Steps:
        """Return the steps."""
        rewards = np.where(self._valid, self._rewards, 0.0)
        return Steps(
            observations=self._seen,
            drawn=np.stack(self._drawn),
            rewards=rewards.astype(self._seen.dtype),
            next_observations=self._after,
            terminated=self._terminated,
            ended=self.ended,
            valid=self._valid,
        )


def _randomness(key: PRNGKeyArray, steps: int, envs: int) -> np.ndarray:
    """Return the data of a key for each step of each environment, all from `key`.

    NumPy draws them: JAX's draws would have to be compiled.
    """
    data = np.asarray(jax.random.key_data(key))
    generator = np.random.default_rng(data.ravel())
    return generator.integers(0, 2**32, (steps, envs, *data.shape), np.uint32)


def _acting(structure: Any, static: Any, kind: Any) -> Callable:
    """Return a compiled function of the drawn and the executed actions.

    The executed actions are None where they are those drawn.
    """

    @jax.jit
    def act(leaves: list, randomness: Any, seen: Any) -> tuple[Any, Any]:
        agent = eqx.combine(jax.tree.unflatten(structure, leaves), static)
        keys = jax.random.wrap_key_data(randomness, impl=kind)
        drawn = jax.vmap(agent.draw)(seen, keys)
        actions = jax.vmap(agent.execute)(drawn)
        return drawn, None if actions is drawn else actions

    return act
