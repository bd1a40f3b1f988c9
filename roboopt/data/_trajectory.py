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
from roboopt._errors import RobooptError, require, require_positive
from roboopt._readable import Readable
from roboopt.data._files import atomic_write, read_archive

PER_STEP = (
    *("actions", "rewards", "efforts"),
    *("substep_observations", "substep_efforts"),
    *("low", "high"),
)
LIMITS = ("low", "high")
PER_OBSERVATION = ("observations", "times")
NEEDED = ("observations", "actions")
PER_EPISODE = ("terminated", "success")


class Trajectory(Readable, eqx.Module):
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
    substep_observations: Float[AnyArray, "..."] | None = None
    """(..., T, n, obs): after each of the n time steps of the simulation for which an
    action was held; None where n is 1."""
    substep_efforts: Float[AnyArray, "..."] | None = None
    """(..., T, n, joint): likewise, [N·m] or [N]; `efforts` are their means."""
    low: Float[AnyArray, "..."] | None = None
    """(..., T, act): the least actions that the actuators could take in each step, −inf
    for no limit; None if they are not known or always the same."""
    high: Float[AnyArray, "..."] | None = None
    """(..., T, act): the greatest actions, likewise."""

    def __check_init__(self):
        require_positive(time_step=self.time_step)
        for name, value in vars(self).items():
            left_out = name == "time_step" or (value is None and name not in NEEDED)
            known = left_out or hasattr(value, "shape")
            require(known, name, "be an array of NumPy or JAX", type(value))
        shape = self.actions.shape
        require(len(shape) > 1, "actions", "have the shape (..., steps, act)", shape)
        shape = self.observations.shape
        require(shape[-1:] != (0,), "observations", "hold a number each", shape)
        batch, steps = self.actions.shape[:-2], self.actions.shape[-2]
        if self.observations.shape[:-1] != (*batch, steps + 1):
            raise RobooptError(
                "`observations` must hold one more step than `actions`, got shapes "
                f"{self.observations.shape} and {self.actions.shape}."
            )
        rules = {
            "times": ("one for each observation", (*batch, steps + 1)),
            "rewards": ("one step an action", (*batch, steps)),
            **dict.fromkeys(PER_STEP[2:], ("one step an action", (*batch, steps))),
            **dict.fromkeys((*PER_EPISODE, "lengths"), ("one a trajectory", batch)),
        }
        for name, (rule, shape) in rules.items():
            if (value := getattr(self, name)) is None:
                continue
            exact = name not in PER_STEP
            if (value.shape if exact else value.shape[: len(shape)]) != shape:
                raise RobooptError(
                    f"`{name}` must hold {rule}, {shape}, got shape {value.shape}."
                )

    def _shown(self) -> dict[str, str]:
        sizes = {
            name: " × ".join(map(str, np.shape(value))) or str(value)
            for name, value in vars(self).items()
            if value is not None
        }
        return sizes | {"time_step": f"{self.time_step:.4g} s"}

    @property
    def steps(self) -> int:
        """Return the number of actions T, of the longest episode in a batch."""
        return self.actions.shape[-2]

    @property
    def simulated(self) -> "Trajectory":
        """Return the motion at the time step of the simulation, each action repeated.

        It is the trajectory itself where no action was held.
        """
        within, acted = self.substep_observations, self.substep_efforts
        if within is None:
            return self
        xp, batch = within.__array_namespace__(), within.shape[:-3]
        held = within.shape[-2]

        def flat(x: Any) -> Any:
            return None if x is None else x.reshape(*batch, -1, x.shape[-1])

        first = self.observations[..., :1, :]
        return Trajectory(
            observations=xp.concatenate([first, flat(within)], axis=-2),
            actions=xp.repeat(self.actions, held, axis=-2),
            time_step=self.time_step / held,
            efforts=flat(acted),
            lengths=None if self.lengths is None else self.lengths * held,
            success=self.success,
        )

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
        arrays = {k: np.asarray(v) for k, v in vars(self).items() if v is not None}
        del arrays["time_step"]
        lengths = arrays.pop("lengths", np.full(self.actions.shape[:-2], self.steps))
        found = []
        for index in np.ndindex(*lengths.shape):
            ends = dict.fromkeys(PER_STEP, lengths[index])
            ends |= dict.fromkeys(PER_OBSERVATION, lengths[index] + 1)
            one = {
                name: value[index][: ends[name]] if name in ends else value[index]
                for name, value in arrays.items()
            }
            one = {name: np.asarray(value) for name, value in one.items()}
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

        longest = int(lengths.max())
        arrays: dict[str, Any] = {}
        for name in (*PER_OBSERVATION, *PER_STEP, *PER_EPISODE):
            values = [getattr(run, name) for run in episodes]
            if all(value is not None for value in values):
                arrays[name] = np.stack(
                    [_padded(name, np.asarray(v), longest) for v in values]
                )
        if "times" in arrays:
            late = np.arange(longest + 1) - lengths[:, None]
            arrays["times"] += episodes[0].time_step * np.maximum(late, 0)
        if len(set(lengths.tolist())) > 1:
            arrays["lengths"] = lengths
        return cls(time_step=episodes[0].time_step, **arrays)

    def save(self, path: str | PathLike, *, note: str = "") -> None:
        """Write the arrays to `path`, a NumPy .npz file.

        Args:
            path: of the file.
            note: where the motions come from, kept in the file as the array `note`.
        """
        arrays = {k: v for k, v in vars(self).items() if v is not None}
        arrays |= {"note": note} if note else {}
        with atomic_write(path) as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | PathLike) -> "Trajectory":
        """Read what `save` wrote.

        Raises:
            RobooptError: if `path` lacks observations, actions or the time step.
        """
        arrays = read_archive(path)
        if missing := {"observations", "actions", "time_step"} - set(arrays):
            raise RobooptError(
                f"`path` must hold observations, actions and time_step; {path} lacks "
                f"{sorted(missing)}."
            )
        fields = {k: arrays[k] for k in cls.__dataclass_fields__ if k in arrays}
        return cls(**{**fields, "time_step": float(arrays["time_step"])})


def check_episodes(
    episodes: Sequence[Trajectory], argument: str, *, one_time_step: bool = False
) -> None:
    """Raise a `RobooptError` unless there are episodes, and they fit together."""
    if not episodes:
        raise RobooptError(f"`{argument}` must hold at least one, got none.")
    for name in ("observations", "actions"):
        sizes = {getattr(run, name).shape[-1] for run in episodes}
        require(len(sizes) <= 1, argument, f"have {name} of one size", sorted(sizes))
    steps = {run.time_step for run in episodes}
    if one_time_step and len(steps) > 1:
        raise RobooptError(
            f"`{argument}` must have one time step, got {sorted(steps)} [s]."
        )


def _padded(name: str, values: np.ndarray, steps: int) -> np.ndarray:
    """Return one episode's `values` up to the end of an episode of `steps` actions."""
    if name in PER_EPISODE:
        return values
    missing = steps + (name in PER_OBSERVATION) - len(values)
    last = values[-1:] if name in PER_OBSERVATION else np.zeros_like(values[:1])
    return np.concatenate([values, np.repeat(last, missing, 0)])
