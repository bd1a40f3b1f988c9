"""A policy that sees its own last actions beside the observation.

Recorded actions change little from sample to sample, so that a policy which sees the
last one predicts the next well by copying it: the held-out error is small, and yet the
policy may never begin to move or never stop (de Haan et al., 2019, Causal confusion in
imitation learning). How such a policy acts says more about it than its error.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import Frozen
from roboopt._errors import require_at_least
from roboopt.data import Trajectory
from roboopt.policies._protocol import (
    Action,
    Observation,
    StatefulPolicy,
    Time,
    act,
    initial_carry,
)


class PastActions(StatefulPolicy):
    """Passes [observation, the last `length` actions, oldest first] to `model`."""

    model: Any
    first: Frozen[Float[Array, " act"]]
    """What counts as the actions before an episode."""
    length: int = eqx.field(static=True)

    def __init__(self, model: Any, first: Any, *, length: int = 1):
        """Show `model` its last actions.

        Args:
            model: a policy from an observation with actions appended.
            first: what counts as the actions before an episode.
            length: actions that `model` sees.
        """
        require_at_least(1, length=length)
        self.model, self.length = model, length
        self.first = Frozen(jnp.asarray(first, float))

    def init(self, key: PRNGKeyArray | None) -> Any:
        """Return the actions before an episode, and the carry of `model`."""
        past = jnp.tile(self.first()[None], (self.length, 1))
        return past, initial_carry(self.model, key)

    def __call__(
        self, carry: Any, observation: Observation, time: Time
    ) -> tuple[Any, Action]:
        """Return the action of `model` on the observation and the last actions."""
        past, inner = carry
        seen = jnp.concatenate([jnp.asarray(observation, past.dtype), past.ravel()])
        inner, action = act(self.model, inner, seen, time)
        past = jnp.concatenate([past[1:], action.astype(past.dtype)[None]])
        return (past, inner), action


def with_past_actions(
    episodes: Sequence[Trajectory], first: Any, *, length: int = 1
) -> list[Trajectory]:
    """Return episodes whose observations have the last actions appended.

    Args:
        episodes: of any lengths.
        first: what counts as the actions before an episode.
        length: actions in each observation, as `PastActions` shows them.
    """
    found = []
    for episode in episodes:
        actions = np.asarray(episode.actions, float)
        before = np.tile(np.asarray(first, float), (length, 1))
        line = np.concatenate([before, actions])
        count = len(actions) + 1
        past = [line[k : k + count] for k in range(length)]
        seen = np.concatenate([np.asarray(episode.observations, float), *past], 1)
        found.append(eqx.tree_at(lambda e: e.observations, episode, seen))
    return found
