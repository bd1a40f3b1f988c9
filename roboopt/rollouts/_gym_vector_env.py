"""A `VectorEnv` of Gymnasium environments, acted in by one compiled call a step."""

import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from roboopt._errors import RobooptError
from roboopt.rollouts._action_reader import RefusedAction, action_reader
from roboopt.rollouts._env_group import Start
from roboopt.rollouts._gymnasium_vector import GymnasiumVector
from roboopt.rollouts._policy_runner import PolicyStructure, split_policy
from roboopt.rollouts._pool import Pool
from roboopt.rollouts._vector_env import Episode, EpisodeCounter, Steps


class GymVectorEnv:
    """Gymnasium environments side by side.

    On a CPU a small network is computed faster than it is handed to another thread:
    with `jax.config.update("jax_cpu_enable_async_dispatch", False)` before anything
    else, as in `roboopt reinforce`, acting takes about half the time.

    Attributes:
        envs: the number of environments.
        observation_space, action_space: of one environment.
    """

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
        self._made_from, self._vector = env, _vector(env, envs, processes)
        self._idles = isinstance(self._vector, GymnasiumVector) and self._vector.idles
        self.envs: int = self._vector.envs
        self.observation_space = self._vector.observation_space
        self.action_space = self._vector.action_space
        self._float = np.dtype(jax.dtypes.canonicalize_dtype(float))
        self._read = action_reader(self.action_space, self.envs)
        self._now: np.ndarray | None = None
        self._over = np.zeros(self.envs, bool)

    @property
    def observation_size(self) -> int:
        """Return the size of one observation."""
        return self.observation_space.shape[0]

    def fingerprint(self) -> Any:
        """Return what tells the environments from others."""
        return self._made_from

    def close(self) -> None:
        """Close the environments."""
        self._now = None
        self._vector.close()

    def begin(self, seed: int) -> None:
        """Begin an episode in each, all randomness from `seed`."""
        starts = {k: Start(seed + k) for k in range(self.envs)}
        self._now = np.array(self._vector.reset(starts), self._float)
        self._over = np.zeros(self.envs, bool)
        self._counter = EpisodeCounter(np.zeros(self.envs, int))

    def collect(
        self, agent: Any, key: PRNGKeyArray, steps: int
    ) -> tuple[Steps, list[Episode]]:
        """Let `agent` act for `steps` in each; return them, and the ended episodes.

        Raises:
            RobooptError: if no episode has begun, `agent` draws a non-finite action, or
                the environments return a non-finite number.
            EnvError: if an environment fails. `begin` must follow.
        """
        now, over, self._now = self._now, self._over, None
        if now is None:
            raise RobooptError("`begin` must be called before `collect`.")
        structure, arrays = split_policy(agent)
        kind = jax.random.key_impl(key)
        randomness = _randomness(key, steps, self.envs)
        seen = np.empty((steps, *now.shape), self._float)
        after, rewards = np.empty_like(seen), np.empty(seen.shape[:2], self._float)
        terminated, ended = np.empty((2, steps, self.envs), bool)
        valid, drawn = np.ones((steps, self.envs), bool), []
        success: dict[tuple[int, int], Any] = {}
        rows, active = list(range(self.envs)), np.ones(self.envs, bool)
        for t in range(steps):
            seen[t] = now
            chosen, actions = _act(structure, kind, arrays, randomness[t], seen[t])
            drawn.append(np.asarray(chosen))
            try:
                given = self._read(drawn[t] if actions is None else actions, active)
            except RefusedAction as refused:
                raise RobooptError(
                    f"`agent` {refused.why}, in environment {refused.row}."
                ) from None
            now, rewards[t], terminated[t], cut, said, *_ = self._vector.step(
                given, rows
            )
            after[t] = now
            if self._idles:
                valid[t] = ~over
            over = np.logical_or(terminated[t], cut, out=ended[t])
            if over.any():
                fresh = np.flatnonzero(over).tolist()
                success |= {(t, k): said[k] for k in fresh}
                now = self._vector.reset(dict.fromkeys(fresh, Start()))
        self._now, self._over = np.array(now, self._float), over.copy()
        rewards[~valid] = 0
        if not (np.isfinite(after).all() and np.isfinite(rewards).all()):
            raise RobooptError(
                "`env` must return finite observations and rewards, got others within "
                f"the last {steps} steps."
            )
        made = Steps(
            observations=seen,
            drawn=np.stack(drawn),
            rewards=rewards,
            next_observations=after,
            terminated=terminated,
            ended=ended,
            valid=valid,
        )
        return made, self._counter.add(made, success)


def _vector(env: Any, envs: int, processes: int) -> Pool | GymnasiumVector:
    import gymnasium

    if isinstance(env, gymnasium.vector.VectorEnv):
        return GymnasiumVector(env)
    spec = gymnasium.registry.get(env) if isinstance(env, str) else None
    if spec is not None and spec.vector_entry_point and not processes and envs > 0:
        mode = gymnasium.VectorizeMode.VECTOR_ENTRY_POINT
        return GymnasiumVector(gymnasium.make_vec(env, envs, vectorization_mode=mode))
    return Pool(env, envs, processes=processes)


def _randomness(key: PRNGKeyArray, steps: int, envs: int) -> np.ndarray:
    """Return the data of a key for each step of each environment, all from `key`."""
    # NumPy draws them: JAX's draws would have to be compiled.
    data = np.asarray(jax.random.key_data(key))
    generator = np.random.default_rng(data.ravel())
    return generator.integers(0, 2**32, (steps, envs, *data.shape), np.uint32)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _act(
    structure: PolicyStructure, kind: Any, arrays: list, randomness: Any, seen: Any
) -> tuple[Any, Any]:
    """Return the drawn actions, and those to execute, None where these are the same."""
    agent = structure.policy(arrays)
    keys = jax.random.wrap_key_data(randomness, impl=kind)
    drawn = jax.vmap(agent.draw)(seen, keys)
    actions = jax.vmap(agent.execute)(drawn)
    return drawn, None if actions is drawn else actions
