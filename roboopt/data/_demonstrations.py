"""Demonstrations: what was seen and what was done on it, sample by sample.

Trajectories of any length are laid end to end. A sample may hold the last `history`
observations, in one vector with the oldest first, and the next `chunk` actions (Zhao et
al., 2023, Learning fine-grained bimanual manipulation). Before an episode's beginning
its first observation is repeated; actions after its end weigh nothing.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float, Shaped

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.data._trajectory import Trajectory
from roboopt.data._windows import single_recordings


class Demonstrations(eqx.Module):
    """Observations and the actions on them, (sample, …): what `ActionMismatch` takes.

    An action at `low` or `high` is what is left of one beyond, if the demonstrator's
    actuators cut it off there.
    """

    observations: Float[AnyArray, "..."]
    """(sample, history · obs)"""
    actions: Shaped[AnyArray, "..."]
    """(sample, act) or (sample, chunk, act); of integers, where they are choices."""
    weights: Float[AnyArray, "..."] | None = None
    """(sample,) or (sample, chunk): what each counts, 1 where there are none."""
    low: Float[AnyArray, "..."] | None = None
    """As `actions`: where the actuators clip, in the actions' units."""
    high: Float[AnyArray, "..."] | None = None

    def __check_init__(self):
        count, size = len(self.observations), self.actions.shape
        if self.observations.ndim != 2 or self.actions.ndim not in (2, 3):
            raise RobooptError(
                "`observations` must have shape (sample, obs) and `actions` (sample, "
                "act) or (sample, chunk, act), got "
                f"{self.observations.shape} and {size}."
            )
        if count != size[0]:
            raise RobooptError(
                "`observations` and `actions` must be as many, got "
                f"{count} and {size[0]}."
            )
        if self.weights is not None and self.weights.shape not in (size[:1], size[:-1]):
            raise RobooptError(
                f"`weights` must have shape {size[:1]} or {size[:-1]}, got "
                f"{self.weights.shape}."
            )
        for name in ("low", "high"):
            limit = getattr(self, name)
            if limit is not None and limit.shape != size:
                raise RobooptError(
                    f"`{name}` must have the shape of `actions`, {size}, got "
                    f"{limit.shape}."
                )

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.observations)


def demonstrations(
    trajectories: Sequence[Trajectory] | Trajectory,
    *,
    history: int = 1,
    chunk: int | None = None,
    low: Any = None,
    high: Any = None,
) -> Demonstrations:
    """Lay the samples of `trajectories` end to end.

    Args:
        trajectories: of any lengths; batches are taken apart.
        history: observations a sample, the last of them the one acted on.
        chunk: actions a sample, from that observation on; one, without an axis of its
            own, where None.
        low: where the demonstrator's actuators clip, one number for all axes of an
            action or one each, infinite for never; nothing is clipped where None.
        high: likewise.

    Raises:
        RobooptError: if there are no trajectories or their sizes differ, `history` or
            `chunk` is less than 1, or a limit does not fit the actions, is NaN, or
            `low` is not below `high`.
    """
    runs = single_recordings(trajectories)
    if not runs:
        raise RobooptError("`trajectories` must hold at least one, got none.")
    for name, value in (("history", history), ("chunk", chunk)):
        if value is not None and value < 1:
            raise RobooptError(f"`{name}` must be at least 1, got {value}.")
    for name in ("observations", "actions"):
        sizes = {getattr(run, name).shape[-1] for run in runs}
        if len(sizes) > 1:
            raise RobooptError(
                f"`trajectories` must have {name} of one size, got {sorted(sizes)}."
            )
    ahead = 1 if chunk is None else chunk
    observations, actions, weights = [], [], []
    for run in runs:
        steps = np.arange(run.steps)
        past = np.maximum(steps[:, None] + np.arange(1 - history, 1), 0)
        observations.append(np.asarray(run.observations)[past].reshape(run.steps, -1))
        future = steps[:, None] + np.arange(ahead)
        weights.append((future < run.steps).astype(float))
        actions.append(np.asarray(run.actions)[np.minimum(future, run.steps - 1)])
    chosen = np.concatenate(actions)
    weight = np.concatenate(weights) if ahead > 1 else None
    if chunk is None:
        chosen = chosen[:, 0]
    lowest, highest = _limit("low", low, chosen), _limit("high", high, chosen)
    if lowest is not None and highest is not None and np.any(lowest >= highest):
        raise RobooptError(f"`low` must be below `high`, got {low} and {high}.")
    return Demonstrations(
        observations=np.concatenate(observations),
        actions=chosen,
        weights=weight,
        low=lowest,
        high=highest,
    )


def _limit(name: str, value: Any, actions: np.ndarray) -> np.ndarray | None:
    if value is None:
        return None
    limit = np.asarray(value, float)
    if limit.shape not in ((), actions.shape[-1:]):
        raise RobooptError(
            f"`{name}` must be one number or {actions.shape[-1]}, got shape "
            f"{limit.shape}."
        )
    if np.isnan(limit).any():
        raise RobooptError(f"`{name}` must be numbers, got {limit}.")
    return np.broadcast_to(limit, actions.shape)
