"""Vectors of environments with one rule for the end of an episode.

Gymnasium's vectors (`gymnasium.vector.AutoresetMode`) begin the next episode in the
step after the last, which does nothing else, or in the last step itself, or leave it to
the caller, as a `Pool` does. Here `step` always returns what the step led to, and
`renewed` the observations after new episodes have begun.
"""

from typing import Any, NamedTuple

import numpy as np

from roboopt._errors import RobooptError
from roboopt.policies import check_action_space, check_observation_space
from roboopt.rollouts._action_reader import RefusedAction, action_reader
from roboopt.rollouts._pool import Pool


class Step(NamedTuple):
    """A step of all environments."""

    observations: Any
    """What the step led to."""
    rewards: Any
    terminated: Any
    truncated: Any
    success: Any
    """True or False where an episode has ended and says so, else None."""


class PoolVector:
    """A `Pool` as a vector."""

    idles = False
    """Whether nothing is done in the step after the last of an episode."""

    def __init__(self, pool: Pool):
        """Step in `pool`."""
        self.pool, self.envs, self.close = pool, pool.envs, pool.close
        self.observation_space = pool.observation_space
        self.action_space = pool.action_space

    def begin(self, seed: int) -> Any:
        """Begin an episode in each; return the observations."""
        return self.pool.reset(seeds=range(seed, seed + self.envs))

    def step(self, actions: Any, active: Any = None) -> Step:
        """Take a step in all environments."""
        after, rewards, terminated, truncated, infos = self.pool.step(actions)
        return Step(after, rewards, terminated, truncated, infos.success)

    def renewed(self, step: Step, ended: np.ndarray) -> Any:
        """Begin anew where episodes `ended`."""
        return self.pool.reset(np.flatnonzero(ended))


class GymnasiumVector:
    """A `gymnasium.vector.VectorEnv` as a vector."""

    def __init__(self, vector: Any):
        """Step in `vector`.

        Raises:
            RobooptError: if its spaces are not such as `collect` takes.
        """
        self.vector, self.envs, self.close = vector, vector.num_envs, vector.close
        self.observation_space = vector.single_observation_space
        self.action_space = vector.single_action_space
        check_observation_space(self.observation_space)
        check_action_space(self.action_space)
        from gymnasium.spaces import Discrete

        mode = (vector.metadata or {}).get("autoreset_mode")
        self._mode = getattr(mode, "name", "NEXT_STEP")
        self.idles = self._mode == "NEXT_STEP"
        self._read = action_reader(self.action_space, self.envs)
        self._discrete = isinstance(self.action_space, Discrete)
        self._all = np.ones(self.envs, bool)
        self._now: Any = None

    def begin(self, seed: int) -> Any:
        """Begin an episode in each; return the observations."""
        return self.vector.reset(seed=seed)[0]

    def step(self, actions: Any, active: Any = None) -> Step:
        """Take a step in all environments."""
        try:
            given = self._read(actions, self._all)
        except RefusedAction as refused:
            raise RobooptError(f"`agent` {refused.why}.") from None
        if self._discrete:
            given = given[:, 0].astype(self.action_space.dtype)
        found = self.vector.step(given)
        self._now, rewards, terminated, truncated, info = found
        after = self._now
        if "final_obs" in info:
            after = np.array(after)
            for row in np.flatnonzero(terminated | truncated):
                after[row] = info["final_obs"][row]
        success = _success(info, self.envs) if info else None
        return Step(after, rewards, terminated, truncated, success)

    def renewed(self, step: Step, ended: np.ndarray) -> Any:
        """Begin anew where episodes `ended`, unless the vector does so by itself."""
        if self._mode == "DISABLED":
            return self.vector.reset(options={"reset_mask": ended.copy()})[0]
        return self._now


def vector_of(env: Any, envs: int, processes: int) -> PoolVector | GymnasiumVector:
    """Return the vector that `env` stands for.

    Raises:
        RobooptError: as `Pool`.
    """
    import gymnasium

    if isinstance(env, gymnasium.vector.VectorEnv):
        return GymnasiumVector(env)
    if isinstance(env, str) and not processes and envs > 0:
        spec = gymnasium.registry.get(env)
        if spec is not None and spec.vector_entry_point is not None:
            mode = gymnasium.VectorizeMode.VECTOR_ENTRY_POINT
            made = gymnasium.make_vec(env, envs, vectorization_mode=mode)
            return GymnasiumVector(made)
    return PoolVector(Pool(env, envs, processes=processes))


def _success(info: dict, envs: int) -> list[bool | None] | None:
    """Return what a vector's `info` says of success, None where it says nothing."""
    said = info.get("final_info", info)
    for name in ("is_success", "success"):
        if name in said:
            says = np.asarray(said.get(f"_{name}", np.ones(envs)), bool).tolist()
            values = np.asarray(said[name], bool).tolist()
            return [x if y else None for x, y in zip(values, says, strict=True)]
    return None
