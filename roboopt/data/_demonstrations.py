"""Demonstrations: observations and the actions taken on them, sample by sample.

The samples of trajectories of any length are concatenated. A sample may hold the last
`history` observations, flattened with the oldest first, and the next `chunk` actions
(Zhao et al., 2023, Learning fine-grained bimanual manipulation). Before the beginning
of an episode its first observation is repeated; actions after its end have weight 0.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from roboopt._core import AnyArray
from roboopt._errors import RobooptError, require, require_at_least
from roboopt.data._trajectory import LIMITS, Trajectory, check_episodes
from roboopt.data._windows import single_recordings

OBSERVATION_KEYS = ("observations", "observation", "obs", "observation.state")
ACTION_KEYS = ("actions", "action", "acts")


class Demonstrations(eqx.Module):
    """Samples of a demonstrator's behavior: the batch that `ActionMismatch` takes.

    An action at `low` or `high` is censored: the demonstrator's actuators clipped what
    it asked for.
    """

    observations: Float[AnyArray, "..."]
    """(sample, history · obs)"""
    actions: Shaped[AnyArray, "..."]
    """(sample, act) or (sample, chunk, act); integers for discrete actions."""
    weights: Float[AnyArray, "..."] | None = None
    """(sample,) or (sample, chunk); None for equal weights."""
    low: Float[AnyArray, "..."] | None = None
    """The actuators' lower limits, shaped as `actions` and in their units."""
    high: Float[AnyArray, "..."] | None = None
    """The actuators' upper limits."""

    def __check_init__(self):
        size = self.actions.shape
        if self.observations.ndim != 2 or self.actions.ndim not in (2, 3):
            raise RobooptError(
                "`observations` must have shape (sample, obs) and `actions` (sample, "
                "act) or (sample, chunk, act), got "
                f"{self.observations.shape} and {size}."
            )
        if (count := len(self.observations)) != size[0]:
            raise RobooptError(
                "`observations` and `actions` must have equal lengths, got "
                f"{count} and {size[0]}."
            )
        if self.weights is not None and self.weights.shape not in (size[:1], size[:-1]):
            raise RobooptError(
                f"`weights` must have shape {size[:1]} or {size[:-1]}, got "
                f"{self.weights.shape}."
            )
        for name, limit in (("low", self.low), ("high", self.high)):
            if limit is not None and limit.shape != size:
                raise RobooptError(
                    f"`{name}` must have the shape of `actions`, {size}, got "
                    f"{limit.shape}."
                )

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.observations)

    @classmethod
    def from_trajectories(
        cls,
        trajectories: Sequence[Trajectory] | Trajectory,
        *,
        history: int = 1,
        chunk: int | None = None,
        low: Any = None,
        high: Any = None,
    ) -> "Demonstrations":
        """Concatenate the samples of `trajectories`.

        Args:
            trajectories: of any lengths; a batch counts as its members.
            history: observations a sample, the latest being the one acted on.
            chunk: actions a sample, beginning at that observation; None for a single
                action without a chunk axis.
            low: the demonstrator's lower actuator limit, one number or one an axis of
                an action, -inf for no limit; None for no censoring. The limits of
                steps, `Trajectory.low` and `high`, count besides, where all have them.
            high: the upper actuator limit, likewise.

        Raises:
            RobooptError: if there are no trajectories, their sizes differ, or another
                argument breaks its rule.
        """
        runs = single_recordings(trajectories)
        check_episodes(runs, "trajectories")
        require_at_least(1, history=history, chunk=chunk)
        arrays = {
            name: np.concatenate([np.asarray(getattr(run, name)) for run in runs])
            for name in ("observations", "actions", *LIMITS)
            if all(getattr(run, name) is not None for run in runs)
        }
        lengths = np.array([run.steps for run in runs])
        first = np.cumsum(lengths) - lengths
        return cut_samples(
            lambda name, rows: arrays[name][rows],
            np.arange(lengths.sum()),
            (lengths, first, first + np.arange(len(runs))),
            history=history,
            chunk=chunk,
            low=low,
            high=high,
            limited=tuple(name for name in LIMITS if name in arrays),
        )

    @classmethod
    def of(cls, batch: Any, *, argument: str = "batch") -> "Demonstrations":
        """Read the samples of a batch in any of the customary forms.

        Args:
            batch: `Demonstrations`; a `Trajectory`, single or batched, whose last
                observations have no action; a tuple `(observations, actions)`; or a
                dict with one of `OBSERVATION_KEYS` and one of `ACTION_KEYS`.
            argument: the caller's name for `batch`, used in messages.

        Raises:
            RobooptError: if `batch` has another form or is empty.
        """
        if isinstance(batch, Trajectory):
            observations = jnp.asarray(batch.observations)[..., :-1, :]
            actions = jnp.asarray(batch.actions)
            weights = None
            if batch.lengths is not None:
                lengths = jnp.asarray(batch.lengths).reshape(-1, 1)
                counted = jnp.arange(batch.steps)[None] < lengths
                weights = counted.astype(float).reshape(-1)
            limited = {name: getattr(batch, name) for name in LIMITS}
            batch = cls(
                observations.reshape(-1, observations.shape[-1]),
                actions.reshape(-1, actions.shape[-1]),
                weights,
                **{
                    name: None if x is None else jnp.reshape(x, (-1, x.shape[-1]))
                    for name, x in limited.items()
                },
            )
        elif isinstance(batch, dict):
            names = [_only(argument, batch, k) for k in (OBSERVATION_KEYS, ACTION_KEYS)]
            rest = {k: batch[k] for k in ("weights", "low", "high") if k in batch}
            known = {k: _array(v) for k, v in rest.items()}
            batch = cls(*(_array(batch[name]) for name in names), **known)
        elif isinstance(batch, tuple | list) and len(batch) == 2:
            batch = cls(*map(_array, batch))
        if not isinstance(batch, Demonstrations):
            got, hint = type(batch).__name__, ""
            if (shape := getattr(batch, "shape", None)) is not None:
                got = f"an array of shape {shape}"
                hint = " (a list of data is an iterable of batches)"
            elif isinstance(batch, tuple | list):
                got = f"a {got} of {len(batch)}"
                hint = " of arrays with equally many rows"
            raise RobooptError(
                f"`{argument}` must be a `Demonstrations`, a `Trajectory`, a tuple "
                f"`(observations, actions)`{hint} or a dict with these, got {got}."
            )
        if len(batch) == 0:
            raise RobooptError(
                f"`{argument}` must hold at least one demonstration, got 0."
            )
        return batch

    def shares(self, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Return the weights divided by their sum, 0 where all weights are 0.

        Args:
            shape: (sample,), or (sample, chunk) where every step of a chunk has a cost
                of its own. A chunk with one cost has the least weight of its steps.
        """
        weights = jnp.ones(()) if self.weights is None else jnp.asarray(self.weights)
        if weights.ndim > len(shape):
            weights = jnp.min(weights, -1)
        missing = tuple(range(weights.ndim, len(shape)))
        weights = jnp.broadcast_to(jnp.expand_dims(weights, missing), shape)
        whole = jnp.sum(weights)
        return weights / jnp.where(whole > 0, whole, 1.0)


def _array(value: Any) -> Any:
    return value if isinstance(value, jax.Array) else np.asarray(value)


def _only(argument: str, batch: dict, keys: tuple[str, ...]) -> str:
    present = [key for key in keys if key in batch]
    if len(present) > 1:
        raise RobooptError(
            f"`{argument}` must hold one of the keys {', '.join(map(repr, present))}, "
            f"got {'both' if len(present) == 2 else 'all'}: remove what is not to be "
            "learned from."
        )
    if not present:
        raise RobooptError(
            f"`{argument}` must hold one of the keys {', '.join(map(repr, keys))}, got "
            f"{sorted(map(str, batch))}."
        )
    return present[0]


def cut_samples(
    read: Callable[[str, np.ndarray], np.ndarray],
    samples: np.ndarray,
    episodes: tuple[np.ndarray, np.ndarray, np.ndarray],
    *,
    history: int,
    chunk: int | None,
    low: Any,
    high: Any,
    limited: Sequence[str] = (),
) -> Demonstrations:
    """Return the `samples`, counted through all `episodes`, which lie end to end.

    `read` returns the given rows of "observations", "actions" or, where these are
    `limited`, "low" and "high". `episodes` are, for each, the number of actions, and
    the rows of its first action and observation.
    """
    lengths, first_action, first_observation = episodes
    first_sample = np.cumsum(lengths) - lengths
    episode = np.searchsorted(first_sample, samples, side="right") - 1
    step, length = samples - first_sample[episode], lengths[episode][:, None]
    past = np.maximum(step[:, None] + np.arange(1 - history, 1), 0)
    future = step[:, None] + np.arange(1 if chunk is None else chunk)
    seen = read("observations", past + first_observation[episode][:, None])
    acted = np.minimum(future, length - 1) + first_action[episode][:, None]
    acted = acted if chunk is not None else acted[:, 0]
    actions = read("actions", acted)
    lower, upper = limits(low, high, actions)
    if "low" in limited:
        own = read("low", acted)
        lower = own if lower is None else np.maximum(lower, own)
    if "high" in limited:
        own = read("high", acted)
        upper = own if upper is None else np.minimum(upper, own)
    return Demonstrations(
        observations=seen.reshape(len(seen), -1),
        actions=actions,
        weights=(future < length).astype(float) if future.shape[1] > 1 else None,
        low=lower,
        high=upper,
    )


def limits(low: Any, high: Any, actions: np.ndarray) -> list[np.ndarray | None]:
    """Return the limits in the shape of `actions`, None for None, after checks."""
    found: list[np.ndarray | None] = [None, None]
    for k, (name, value) in enumerate((("low", low), ("high", high))):
        if value is None:
            continue
        limit = np.asarray(value, float)
        if limit.shape not in ((), actions.shape[-1:]):
            raise RobooptError(
                f"`{name}` must be one number or {actions.shape[-1]}, got shape "
                f"{limit.shape}."
            )
        require(not np.isnan(limit).any(), name, "be numbers", limit)
        found[k] = np.broadcast_to(limit, actions.shape)
    if low is not None and high is not None and np.any(np.asarray(low) >= high):
        raise RobooptError(f"`low` must be below `high`, got {low} and {high}.")
    return found
