"""Vectors of environments, and how an episode follows another in each kind of them.

Of Gymnasium's (`gymnasium.vector.AutoresetMode`), the next step begins the next episode
and does nothing else, or the same step has begun it already and says in `info` what it
led to, or somebody has to begin it, as in a `Pool`. Here a step is always what it led
to, and whether anything was done in it; and `renewed` is what is seen next.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from roboopt._errors import RobooptError
from roboopt.rollouts._pool import Pool


class Step(NamedTuple):
    """A step of all environments."""

    observations: Any
    """What it led to."""
    rewards: Any
    terminated: Any
    truncated: Any
    success: Any
    """True or False where an episode has ended and says so, else None."""


class Vector(ABC):
    """Environments side by side."""

    envs: int
    observation_space: Any
    """Of one environment, and so is the next."""
    action_space: Any
    idles: bool = False
    """Whether nothing is done in the step after the last of an episode."""

    @abstractmethod
    def begin(self, seed: int) -> Any:
        """Begin an episode in each; return the observations."""

    @abstractmethod
    def step(self, rows: np.ndarray) -> Step:
        """Do what the `rows` of what was drawn say."""

    @abstractmethod
    def renewed(self, step: Step, ended: np.ndarray) -> Any:
        """Begin anew where episodes `ended` with `step`; return what is seen next."""

    @abstractmethod
    def close(self) -> None:
        """End the environments."""


class PoolVector(Vector):
    """A `Pool`."""

    def __init__(self, pool: Pool):
        """Step in `pool`."""
        self._pool, self.envs = pool, pool.envs
        self.observation_space = pool.observation_space
        self.action_space = pool.action_space

    def begin(self, seed: int) -> Any:
        """Begin an episode in each; return the observations."""
        return self._pool.reset(seeds=range(seed, seed + self.envs))

    def step(self, rows: np.ndarray) -> Step:
        """Do what the `rows` say."""
        after, rewards, terminated, truncated, infos = self._pool.step(rows)
        return Step(after, rewards, terminated, truncated, infos.success)

    def renewed(self, step: Step, ended: np.ndarray) -> Any:
        """Begin anew where episodes `ended`."""
        return self._pool.reset(np.flatnonzero(ended))

    def close(self) -> None:
        """End the environments."""
        self._pool.close()


class GymnasiumVector(Vector):
    """A `gymnasium.vector.VectorEnv`."""

    def __init__(self, vector: Any):
        """Step in `vector`."""
        self._vector, self.envs = vector, vector.num_envs
        self.observation_space = vector.single_observation_space
        self.action_space = vector.single_action_space
        mode = (vector.metadata or {}).get("autoreset_mode")
        self._mode = getattr(mode, "name", "NEXT_STEP")
        self.idles = self._mode == "NEXT_STEP"
        self._give = _giving(self.action_space)
        self._now = None

    def begin(self, seed: int) -> Any:
        """Begin an episode in each; return the observations."""
        return self._vector.reset(seed=seed)[0]

    def step(self, rows: np.ndarray) -> Step:
        """Do what the `rows` say."""
        found = self._vector.step(self._give(rows))
        self._now, rewards, terminated, truncated, info = found
        after = self._now
        if "final_obs" in info:
            after = np.array(after)
            for row in np.flatnonzero(terminated | truncated):
                after[row] = info["final_obs"][row]
        success = _success(info, self.envs) if info else None
        return Step(after, rewards, terminated, truncated, success)

    def renewed(self, step: Step, ended: np.ndarray) -> Any:
        """Begin anew where episodes `ended`, if nobody has or will."""
        if self._mode == "DISABLED":
            return self._vector.reset(options={"reset_mask": ended.copy()})[0]
        return self._now

    def close(self) -> None:
        """End the environments."""
        self._vector.close()


def vector_of(env: Any, envs: int, processes: int) -> Vector:
    """Return the vector that `env` stands for.

    Raises:
        RobooptError: as `Pool`.
    """
    import gymnasium

    if isinstance(env, gymnasium.vector.VectorEnv):
        return GymnasiumVector(env)
    if isinstance(env, str) and not processes:
        spec = gymnasium.registry.get(env)
        if spec is not None and spec.vector_entry_point is not None:
            mode = gymnasium.VectorizeMode.VECTOR_ENTRY_POINT
            return GymnasiumVector(
                gymnasium.make_vec(env, envs, vectorization_mode=mode)
            )
    return PoolVector(Pool(env, envs, processes=processes))


def _giving(space: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes actions that a vector takes, of rows of numbers."""
    from gymnasium.spaces import Discrete, MultiDiscrete

    if isinstance(space, Discrete):
        return lambda rows: rows[:, 0].astype(space.dtype)
    if isinstance(space, MultiDiscrete):
        return lambda rows: rows.astype(space.dtype)
    low, high, dtype = space.low, space.high, space.dtype

    def give(rows: np.ndarray) -> np.ndarray:
        clipped = np.minimum(np.maximum(rows, low), high)
        if not np.isfinite(clipped).all():
            raise RobooptError(f"`agent` must draw finite actions, got {rows}.")
        # Last, for what is beyond the limits may be beyond the type.
        return clipped.astype(dtype, copy=False)

    return give


def _success(info: dict, envs: int) -> list[bool | None] | None:
    """Return what a vector's `info` says of success, of those that say something."""
    said = info.get("final_info", info)
    for name in ("is_success", "success"):
        if name in said:
            says = np.asarray(said.get(f"_{name}", np.ones(envs)), bool).tolist()
            values = np.asarray(said[name], bool).tolist()
            return [x if y else None for x, y in zip(values, says, strict=True)]
    return None
