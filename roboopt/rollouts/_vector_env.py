"""What an agent learns in: many environments of one kind, stepped block by block."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray, Shaped

from roboopt._core import AnyArray


class Steps(eqx.Module):
    """Some steps of many environments."""

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
    """False for a step that only began an episode."""


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
        """Return the number of environments."""
        ...

    @property
    def observation_size(self) -> int:
        """Return the size of one observation."""
        ...

    def begin(self, seed: int) -> None:
        """Begin an episode in each, all randomness from `seed`."""
        ...

    def collect(
        self, agent: Any, key: PRNGKeyArray, steps: int
    ) -> tuple[Steps, list[Episode]]:
        """Let `agent` act for `steps` in each; return them, and the ended episodes."""
        ...


class EpisodeCounter:
    """Adds up the returns and lengths of episodes that go on from block to block.

    Args:
        elapsed: steps that each environment's episode has had already; an episode whose
            beginning was not seen is not returned.
    """

    def __init__(self, elapsed: np.ndarray):
        self._elapsed, self._whole = elapsed.copy(), elapsed == 0
        self._returns = np.zeros(len(elapsed))

    def add(self, steps: Steps, success: dict[tuple[int, int], Any]) -> list[Episode]:
        """Return the episodes that ended in the next block, in their order."""
        totals = self._returns + np.cumsum(np.asarray(steps.rewards, float), 0)
        counts = self._elapsed + np.cumsum(np.asarray(steps.valid), 0)
        episodes = []
        for t, row in np.argwhere(np.asarray(steps.ended)).tolist():
            if self._whole[row]:
                said = success.get((t, row))
                said = None if said is None else bool(said)
                episodes.append(
                    Episode(float(totals[t, row]), int(counts[t, row]), said)
                )
            self._whole[row] = True
            totals[:, row] -= totals[t, row]
            counts[:, row] -= counts[t, row]
        self._returns, self._elapsed = totals[-1], counts[-1]
        return episodes
