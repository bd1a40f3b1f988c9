"""Recorded or simulated motions: N actions and the N+1 observations around them.

Episodes of different lengths are stacked in one `Trajectory` with `lengths`: an episode
that ends early stays at its last observation, with zero actions, rewards and efforts.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.data._files import atomic_write, read_archive

PER_STEP = ("actions", "rewards", "efforts")
PER_OBSERVATION = ("observations", "times")
PER_EPISODE = ("terminated", "success")


class Trajectory(eqx.Module):
    """One recorded motion, or a batch of motions stacked along the first axes.

    Action k answers observation k; the last observation has no action. For a robot, an
    observation is [q, q̇, goal] in SI units.
    """

    observations: Float[AnyArray, "..."]
    """(..., T + 1, obs)"""
    actions: Shaped[AnyArray, "..."]
    """(..., T, act)"""
    time_step: float = eqx.field(static=True)
    """[s]"""
    rewards: Float[AnyArray, "..."] | None = None
    """(..., T)"""
    efforts: Float[AnyArray, "..."] | None = None
    """(..., T, joint): what acted on the joints during each step, [N·m] or [N]."""
    times: Float[AnyArray, "..."] | None = None
    """(..., T + 1) [s], where observations are not evenly spaced; `time_step` is then
    their mean distance."""
    terminated: Bool[AnyArray, "..."] | None = None
    """(...,): whether the environment ended the episode, and not a limit of time."""
    success: Bool[AnyArray, "..."] | None = None
    """(...,): whether the task was achieved, where the environment says."""
    lengths: Int[AnyArray, "..."] | None = None
    """(...,): steps of each episode; None where all have T."""

    def __check_init__(self):
        if not 0 < self.time_step < float("inf"):
            raise RobooptError(
                f"`time_step` must be positive and finite, got {self.time_step}."
            )
        batch, steps = self.actions.shape[:-2], self.actions.shape[-2]
        if self.observations.shape[:-1] != (*batch, steps + 1):
            raise RobooptError(
                "`observations` must hold one more step than `actions`, got shapes "
                f"{self.observations.shape} and {self.actions.shape}."
            )
        if self.times is not None and self.times.shape != (*batch, steps + 1):
            raise RobooptError(
                f"`times` must hold one for each observation, {(*batch, steps + 1)}, "
                f"got shape {self.times.shape}."
            )
        for name in (*PER_EPISODE, "lengths"):
            value = getattr(self, name)
            if value is not None and value.shape != batch:
                raise RobooptError(
                    f"`{name}` must hold one a trajectory, {batch}, got shape "
                    f"{value.shape}."
                )
        for name in ("rewards", "efforts"):
            value = getattr(self, name)
            if value is not None and value.shape[: len(batch) + 1] != (*batch, steps):
                raise RobooptError(
                    f"`{name}` must hold one step an action, {(*batch, steps)}, got "
                    f"shape {value.shape}."
                )

    @property
    def steps(self) -> int:
        """Return the number of actions T, of the longest episode in a batch."""
        return self.actions.shape[-2]

    @property
    def returns(self) -> Float[np.ndarray, "..."]:
        """Return the sum of the rewards, (...,).

        Raises:
            RobooptError: if there are none.
        """
        if self.rewards is None:
            raise RobooptError("`rewards` must be there for a return, got None.")
        return np.asarray(np.sum(np.asarray(self.rewards, float), -1))

    def episodes(self) -> list["Trajectory"]:
        """Return each episode by itself, at its own length, in NumPy."""
        arrays = {
            name: np.asarray(value)
            for name, value in vars(self).items()
            if name != "time_step" and value is not None
        }
        lengths = arrays.pop("lengths", None)
        found = []
        for index in np.ndindex(*self.actions.shape[:-2]):
            steps = self.steps if lengths is None else int(lengths[index])
            ends = {name: steps for name in PER_STEP}
            ends |= {name: steps + 1 for name in PER_OBSERVATION}
            one = {
                name: np.asarray(value[index])[: ends[name]]
                if name in ends
                else np.asarray(value[index])
                for name, value in arrays.items()
            }
            found.append(Trajectory(time_step=self.time_step, **one))
        return found

    @classmethod
    def from_episodes(cls, episodes: Sequence["Trajectory"]) -> "Trajectory":
        """Stack single episodes along a new first axis.

        An array that some episodes lack is left out. `times` go on at `time_step`.

        Raises:
            RobooptError: if there is no episode, or the time steps or the sizes of
                observations or actions differ.
        """
        check_episodes(episodes, "episodes", one_time_step=True)
        lengths = np.array([run.steps for run in episodes])

        def stacked(name: str) -> Any:
            values = [getattr(run, name) for run in episodes]
            if any(value is None for value in values):
                return None
            if name in PER_EPISODE:
                return np.stack([np.asarray(value) for value in values])
            return np.stack([_padded(name, np.asarray(v), lengths) for v in values])

        names = (*PER_OBSERVATION, *PER_STEP, *PER_EPISODE)
        arrays = {name: stacked(name) for name in names}
        if arrays["times"] is not None:
            late = np.arange(lengths.max() + 1) - lengths[:, None]
            arrays["times"] += episodes[0].time_step * np.maximum(late, 0)
        same = len(set(lengths.tolist())) == 1
        return cls(
            time_step=episodes[0].time_step,
            lengths=None if same else lengths,
            **arrays,
        )

    def save(self, path: str | PathLike) -> None:
        """Write the arrays to `path`, a NumPy .npz file."""
        arrays = {k: v for k, v in vars(self).items() if v is not None}
        with atomic_write(path) as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | PathLike) -> "Trajectory":
        """Read what `save` wrote.

        Raises:
            RobooptError: if `path` lacks observations, actions or the time step.
        """
        arrays = read_archive(path)
        missing = {"observations", "actions", "time_step"} - set(arrays)
        if missing:
            raise RobooptError(
                f"`path` must hold observations, actions and time_step; {path} lacks "
                f"{sorted(missing)}."
            )
        fields = {k: arrays[k] for k in cls.__dataclass_fields__ if k in arrays}
        return cls(**{**fields, "time_step": float(arrays["time_step"])})


def check_episodes(
    episodes: Sequence[Trajectory], argument: str, *, one_time_step: bool = False
) -> None:
    """Check that there are episodes, and that they fit together.

    Raises:
        RobooptError: if there are none, or the sizes of their observations or actions,
            or their time steps where `one_time_step`, differ.
    """
    if not episodes:
        raise RobooptError(f"`{argument}` must hold at least one, got none.")
    for name in ("observations", "actions"):
        sizes = {getattr(run, name).shape[-1] for run in episodes}
        if len(sizes) > 1:
            raise RobooptError(
                f"`{argument}` must have {name} of one size, got {sorted(sizes)}."
            )
    steps = {run.time_step for run in episodes}
    if one_time_step and len(steps) > 1:
        raise RobooptError(
            f"`{argument}` must have one time step, got {sorted(steps)} [s]."
        )


def _padded(name: str, values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return one episode's `values` up to the longest episode's end."""
    missing = lengths.max() + (name in PER_OBSERVATION) - len(values)
    last = values[-1:] if name in PER_OBSERVATION else np.zeros_like(values[:1])
    return np.concatenate([values, np.repeat(last, missing, 0)])
