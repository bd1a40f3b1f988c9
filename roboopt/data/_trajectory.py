"""A recorded or simulated motion: N actions and the N+1 observations around them."""

from os import PathLike

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Shaped

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.data._files import atomic_write


class Trajectory(eqx.Module):
    """What was observed and done, one trajectory or a batch of equal length.

    Observation k is what action k answered; the last has no action. In trajectories of
    robots an observation is [q, q̇, goal], in SI units.
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
    """(...,): whether the environment ended it, and not a limit of time."""
    success: Bool[AnyArray, "..."] | None = None
    """(...,): whether the task was achieved, where the environment says."""

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
        for name in ("terminated", "success"):
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
        """Return the number of actions T."""
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
        with np.load(path, allow_pickle=False) as file:
            missing = {"observations", "actions", "time_step"} - set(file.files)
            if missing:
                raise RobooptError(
                    f"`path` must hold observations, actions and time_step; {path} "
                    f"lacks {sorted(missing)}."
                )
            arrays = {k: file[k] for k in cls.__dataclass_fields__ if k in file.files}
        return cls(**{**arrays, "time_step": float(arrays["time_step"])})
