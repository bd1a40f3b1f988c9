"""A vector environment of Gymnasium with the methods of a `Pool`.

Gymnasium's vectors (`gymnasium.vector.AutoresetMode`) begin the next episode in the
step after the last, which does nothing else, or in the last step itself, or leave it to
the caller, as a `Pool` does. Here `step` always returns what the step led to, and
`reset` the observations after new episodes have begun.
"""

from typing import Any

import numpy as np

from roboopt.policies import check_action_space, check_observation_space
from roboopt.rollouts._env_group import Start


class GymnasiumVector:
    """A `gymnasium.vector.VectorEnv`.

    Attributes:
        idles: whether nothing is done in the step after the last of an episode.
    """

    def __init__(self, vector: Any):
        self.vector, self.envs, self.close = vector, vector.num_envs, vector.close
        self.observation_space = vector.single_observation_space
        self.action_space = vector.single_action_space
        check_observation_space(self.observation_space)
        check_action_space(self.action_space)
        from gymnasium.spaces import Discrete

        mode = (vector.metadata or {}).get("autoreset_mode")
        self._mode = getattr(mode, "name", "NEXT_STEP")
        self.idles = self._mode == "NEXT_STEP"
        self._discrete = isinstance(self.action_space, Discrete)
        self._now: Any = None

    def reset(self, starts: dict[int, Start]) -> Any:
        """Begin an episode in each, with a seed, or where the last ended, without."""
        seed = next(iter(starts.values())).seed
        if seed is not None:
            self._now, _ = self.vector.reset(seed=seed)
        elif self._mode == "DISABLED":
            mask = np.zeros(self.envs, bool)
            mask[list(starts)] = True
            self._now, _ = self.vector.reset(options={"reset_mask": mask})
        return self._now

    def step(self, actions: np.ndarray, rows: list[int]) -> tuple[Any, ...]:
        """Take a step in all environments; return as `Pool.step` does."""
        if self._discrete:
            actions = actions[:, 0].astype(self.action_space.dtype)
        found = self.vector.step(actions)
        self._now, rewards, terminated, truncated, info = found
        after = self._now
        if "final_obs" in info:
            after = np.array(after)
            for row in np.flatnonzero(terminated | truncated):
                after[row] = info["final_obs"][row]
        said = info.get("final_info", info)
        name = "is_success" if "is_success" in said else "success"
        success: list[bool | None] = [None] * self.envs
        if name in said:
            says = said.get(f"_{name}", [True] * self.envs)
            pairs = zip(said[name], says, strict=True)
            success = [bool(value) if there else None for value, there in pairs]
        return after, rewards, terminated, truncated, success, [None] * self.envs
