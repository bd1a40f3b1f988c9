"""Where an agent acts to learn: many environments of one kind, step by step."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray, Shaped

from roboopt._core import AnyArray


class Steps(eqx.Module):
    """What happened in some steps of many environments."""

    observations: Float[AnyArray, "time env obs"]
    drawn: Shaped[AnyArray, "time env ..."]
    """What the agent drew, before any limits."""
    rewards: Float[AnyArray, "time env"]
    next_observations: Float[AnyArray, "time env obs"]
    """What each step led to, also at the end of an episode."""
    terminated: Bool[AnyArray, "time env"]
    """Whether the environment ended the episode with this step."""
    ended: Bool[AnyArray, "time env"]
    """Whether the episode ended with this step, for whatever reason."""
    valid: Bool[AnyArray, "time env"]
    """False where nothing was done, as in a step that only begins an episode."""


class Episode(NamedTuple):
    """An episode that is over."""

    undiscounted_return: float
    length: int
    """Steps."""
    success: bool | None
    """None where the environment does not say."""


@runtime_checkable
class VectorEnv(Protocol):
    """Many environments of one kind that an agent acts in."""

    @property
    def envs(self) -> int:
        """How many."""
        ...

    @property
    def observation_size(self) -> int:
        """Of one observation."""
        ...

    def begin(self, seed: int) -> None:
        """Begin an episode in each, all chance from `seed`."""
        ...

    def collect(
        self, agent: Any, key: PRNGKeyArray, steps: int
    ) -> tuple[Steps, list[Episode]]:
        """Let `agent` act for `steps` in each; return them, and what episodes ended."""
        ...


def as_episodes(trajectory: Any, success: Any = None) -> list[Episode]:
    """Return the episodes of simulated motions.

    Args:
        trajectory: with rewards, (start, …).
        success: `success(observations, time_step)` of each, where something says it and
            the trajectory itself does not.
    """
    rewards = np.asarray(trajectory.rewards, float)
    achieved: list[bool | None] = [None] * len(rewards)
    if trajectory.success is not None:
        achieved = [bool(x) for x in np.asarray(trajectory.success)]
    elif success is not None:
        seen = np.asarray(trajectory.observations)
        achieved = [bool(x) for x in np.asarray(success(seen, trajectory.time_step))]
    return [
        Episode(float(run.sum()), len(run), done)
        for run, done in zip(rewards, achieved, strict=True)
    ]
