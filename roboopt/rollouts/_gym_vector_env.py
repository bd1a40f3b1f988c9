"""A world of Gymnasium: many environments, acted in by one compiled call a step."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from roboopt._errors import RobooptError
from roboopt.rollouts._spaces import actions_of, check_observations
from roboopt.rollouts._vector_env import Episode, Steps
from roboopt.rollouts._vectors import vector_of


class GymVectorEnv:
    """Environments of Gymnasium, side by side.

    A small network on a CPU is sooner computed than handed to another thread: with
    `jax.config.update("jax_cpu_enable_async_dispatch", False)` first of all, as in
    `roboopt reinforce`, acting takes about half the time.
    """

    observation_space: Any
    """Of one environment."""
    action_space: Any
    """Of one environment."""

    def __init__(self, env: Any, envs: int = 8, *, processes: int = 0):
        """Make the environments.

        Args:
            env: the id of an environment registered with Gymnasium, a function that
                makes one, or a `gymnasium.vector.VectorEnv`. Where there is a vector
                of its own for an id, as for CartPole-v1, it is taken unless
                `processes` are asked for.
            envs: how many, unless `env` is a vector.
            processes: that they run in; 0 for this one. Nothing to a vector.

        Raises:
            RobooptError: if `envs` is less than 1, `processes` is negative, or `env` is
                none of these, its observations are not in a Box of one axis, or its
                actions not in a Box of one axis, a Discrete or a MultiDiscrete.
            EnvError: if one cannot be made; so does what follows if one
                raises, hangs, dies or returns what is not finite.
        """
        if envs < 1:
            raise RobooptError(f"`envs` must be at least 1, got {envs}.")
        if processes < 0:
            raise RobooptError(f"`processes` must be at least 0, got {processes}.")
        self._vector = vector_of(env, envs, processes)
        self.observation_space = space = self._vector.observation_space
        self.action_space = self._vector.action_space
        try:
            check_observations(SimpleNamespace(observation_space=space))
            actions_of(self.action_space)
        except RobooptError:
            self.close()
            raise
        self._float = np.dtype(jax.dtypes.canonicalize_dtype(float))
        self._acting: tuple[Any, Callable] | None = None
        self._now: np.ndarray | None = None
        self._over = np.zeros(self.envs, bool)
        self._earned = np.zeros(self.envs)
        self._lasted = np.zeros(self.envs, int)

    @property
    def envs(self) -> int:
        """Return how many there are."""
        return self._vector.envs

    @property
    def observation_size(self) -> int:
        """Return the size of one observation."""
        return self.observation_space.shape[0]

    def close(self) -> None:
        """End the environments."""
        self._vector.close()

    def begin(self, seed: int) -> None:
        """Begin an episode in each, all chance from `seed`."""
        self._now = np.array(self._vector.begin(seed), self._float)
        for carried in (self._over, self._earned, self._lasted):
            carried[:] = 0

    def collect(
        self, agent: Any, key: PRNGKeyArray, steps: int
    ) -> tuple[Steps, list[Episode]]:
        """Let `agent` act for `steps` in each; return them, and what episodes ended.

        Raises:
            RobooptError: if no episode has begun, `agent` draws what is not finite, or
                the environments return what is not.
        """
        if self._now is None:
            raise RobooptError("`begin` must be called before `collect`.")
        act, arrays = self._compiled(agent, key)
        chance = _chance(key, steps, self.envs)
        vector, idles = self._vector, self._vector.idles
        seen = np.empty((steps, *self._now.shape), self._float)
        following = np.empty_like(seen)
        rewards = np.empty((steps, self.envs))
        terminated, ended = np.empty((2, steps, self.envs), bool)
        valid = np.ones((steps, self.envs), bool)
        drawn: list[np.ndarray] = []
        successes: dict[tuple[int, int], bool | None] = {}
        now, over = self._now, self._over
        for t in range(steps):
            seen[t] = now
            recorded, actions = act(arrays, chance[t], seen[t])
            drawn.append(np.asarray(recorded))
            given = drawn[-1] if actions is None else np.asarray(actions)
            step = vector.step(given)
            now, rewards[t], terminated[t], truncated, success = step
            following[t] = now
            if idles:
                np.logical_not(over, out=valid[t])
            over = np.logical_or(terminated[t], truncated, out=ended[t])
            if over.any():
                now = vector.renewed(step, over)
                if success is not None:
                    for row in np.flatnonzero(over).tolist():
                        said = success[row]
                        successes[t, row] = None if said is None else bool(said)
        self._now, self._over = np.array(now, self._float), over.copy()
        rewards[~valid] = 0.0
        if not (np.isfinite(following).all() and np.isfinite(rewards).all()):
            raise RobooptError(
                "`env` must return finite observations and rewards, got others within "
                f"the last {steps} steps."
            )
        found = Steps(
            observations=seen,
            drawn=np.stack(drawn),
            rewards=rewards.astype(self._float),
            next_observations=following,
            terminated=terminated,
            ended=ended,
            valid=valid,
        )
        return found, self._episodes(rewards, valid, ended, successes)

    def _compiled(self, agent: Any, key: PRNGKeyArray) -> tuple[Callable, list]:
        """Return what acts, and the arrays of `agent` that it takes."""
        arrays, static = eqx.partition(agent, eqx.is_array)
        leaves, structure = jax.tree.flatten(static)
        kind = jax.random.key_impl(key)
        known = structure, leaves, kind
        if self._acting is None or self._acting[0] != known:
            self._acting = known, _acting(jax.tree.structure(arrays), static, kind)
        return self._acting[1], jax.tree.leaves(arrays)

    def _episodes(
        self,
        rewards: np.ndarray,
        valid: np.ndarray,
        ended: np.ndarray,
        successes: dict[tuple[int, int], bool | None],
    ) -> list[Episode]:
        """Return the episodes that ended, in that order."""
        earned, lasted = np.cumsum(rewards, 0), np.cumsum(valid, 0)
        # What there was at the last end, counted from the beginning of this block.
        earned_before, lasted_before = -self._earned, -self._lasted
        episodes = []
        for t, row in np.argwhere(ended).tolist():
            total = float(earned[t, row] - earned_before[row])
            length = int(lasted[t, row] - lasted_before[row])
            episodes.append(Episode(total, length, successes.get((t, row))))
            earned_before[row], lasted_before[row] = earned[t, row], lasted[t, row]
        self._earned = earned[-1] - earned_before
        self._lasted = lasted[-1] - lasted_before
        return episodes


def _chance(key: PRNGKeyArray, steps: int, envs: int) -> np.ndarray:
    """Return the data of a key for each step of each environment, all from `key`.

    Drawn by NumPy: what JAX draws takes a while to be compiled.
    """
    data = np.asarray(jax.random.key_data(key))
    generator = np.random.default_rng(data.ravel())
    return generator.integers(0, 2**32, (steps, envs, *data.shape), np.uint32)


def _acting(structure: Any, static: Any, kind: Any) -> Callable:
    """Return what acts in one compiled call: what is drawn, and the actions.

    The actions are None where they are what was drawn.
    """

    @jax.jit
    def act(leaves: list, chance: Any, seen: Any) -> tuple[Any, Any]:
        agent = eqx.combine(jax.tree.unflatten(structure, leaves), static)
        keys = jax.random.wrap_key_data(chance, impl=kind)
        drawn = jax.vmap(agent.draw)(seen, keys)
        actions = jax.vmap(agent.execute)(drawn)
        return drawn, None if actions is drawn else actions

    return act
