"""Random actions in one environment, before anything is learned there."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.rollouts._env_group import Start
from roboopt.rollouts._pool import Pool

MAX_EPISODE_STEPS = 10_000
"""The end of an episode of an evaluation, where nothing else limits episodes."""
MAX_PROBE_STEPS = 20_000


def random_steps(
    env: Any, *, seed: int, processes: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Yield the observation, a random action, and whether it ended the episode.

    Args:
        env: as in `collect`.
        seed: the source of all randomness.
        processes: 0 for this process; otherwise one worker process.

    Raises:
        EnvError: if the environment fails.
    """
    with Pool(env, 1, processes=min(processes, 1)) as pool:
        pool.action_space.seed(seed)
        observation = pool.reset({0: Start(seed)})[0]
        while True:
            action = np.asarray(pool.action_space.sample())
            found = pool.step(action.reshape(1, -1), [0])
            over = found[2][0] or found[3][0]
            yield observation, action, over
            observation = pool.reset({0: Start()})[0] if over else found[0][0]


def require_an_end(env: Any, *, seed: int, processes: int = 0) -> None:
    """Raise a RobooptError unless random actions in `env` end an episode.

    The arguments are those of `random_steps`.
    """
    steps = random_steps(env, seed=seed, processes=processes)
    if not any(over for *_, over in islice(steps, MAX_PROBE_STEPS)):
        raise RobooptError(
            f"`env` ended no episode within {MAX_PROBE_STEPS} steps of random actions, "
            "and has no time limit: give `max_steps`."
        )
