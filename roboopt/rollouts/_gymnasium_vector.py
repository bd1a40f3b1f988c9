"""A vector environment of Gymnasium with the methods of a `Pool`.

Gymnasium's vectors (`gymnasium.vector.AutoresetMode`) begin the next episode in the
step after the last, which does nothing else, or in the last step itself, or leave it to
the caller, as a `Pool` does. Here `step` always returns what the step led to, and
`reset` the observations after new episodes have begun.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.policies import check_action_space, check_observation_space
from roboopt.rollouts._action_reader import RefusedAction, action_reader
from roboopt.rollouts._pool import Infos


class GymnasiumVector:
    """A `gymnasium.vector.VectorEnv`.

    Attributes:
        idles: whether nothing is done in the step after the last of an episode.
    """

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

    def reset(self, indices: Any = None, seeds: Sequence[int] | None = None) -> Any:
        """Begin an episode in each, or where the last ended; return the observations.

        Args:
            indices: where an episode ended, by default all.
            seeds: consecutive numbers, for all environments.
        """
        if indices is None:
            self._now, _ = self.vector.reset(seed=None if seeds is None else seeds[0])
        elif self._mode == "DISABLED":
            mask = np.zeros(self.envs, bool)
            mask[indices] = True
            self._now, _ = self.vector.reset(options={"reset_mask": mask})
        return self._now

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, Infos]:
        """Take a step in all environments; return as `Pool.step` does."""
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
        said = info.get("final_info", info)
        name = "is_success" if "is_success" in said else "success"
        success = None
        if name in said:
            says = said.get(f"_{name}", self._all)
            pairs = zip(said[name], says, strict=True)
            success = [bool(value) if there else None for value, there in pairs]
        return after, rewards, terminated, truncated, Infos(given, success, None)
