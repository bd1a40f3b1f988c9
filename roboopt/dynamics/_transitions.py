"""Recorded motions as single steps: the data of one-step learning."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from roboopt._errors import RobooptError, require
from roboopt.data import Trajectory


class Transitions(NamedTuple):
    """States, the actions taken in them, and the states one `time_step` later."""

    states: Float[np.ndarray, "step state"]
    actions: Float[np.ndarray, "step act"]
    next_states: Float[np.ndarray, "step state"]
    time_step: float
    """[s]"""

    @classmethod
    def of(
        cls, trajectories: Trajectory | Sequence[Trajectory], joints: int | None = None
    ) -> "Transitions":
        """Return all steps of `trajectories`, single ones or batches.

        Args:
            trajectories: observations [q, q̇, ...].
            joints: number of joints; by default half the size of an observation.

        Raises:
            RobooptError: if there are none, or they are uneven, unlike or not finite.
        """
        single = isinstance(trajectories, Trajectory)
        runs = [trajectories] if single else list(trajectories)
        if not runs:
            raise RobooptError("`trajectories` must hold at least one, got 0.")
        sizes = {(r.observations.shape[-1], r.actions.shape[-1]) for r in runs}
        steps = {run.time_step for run in runs}
        if len(sizes) > 1 or max(steps) - min(steps) > 1e-9 * max(steps):
            raise RobooptError(
                "`trajectories` must be of one robot at one time step, got (observation"
                f", action) sizes {sorted(sizes)} and time steps {sorted(steps)} s."
            )
        if any(run.times is not None for run in runs):
            raise RobooptError(
                "`trajectories` must be evenly spaced in time, got one with `times`."
            )
        ((size, _),) = sizes
        if joints is None and size % 2:
            raise RobooptError(
                "`joints` must be given where observations are more than [q, q̇], got "
                f"observations of {size} numbers."
            )
        count = size // 2 if joints is None else joints
        require(
            1 <= count <= size // 2, "joints", f"be between 1 and {size // 2}", count
        )
        observed = [np.asarray(run.observations)[..., : 2 * count] for run in runs]
        return cls(
            _rows([x[..., :-1, :] for x in observed], "observations"),
            _rows([np.asarray(run.actions) for run in runs], "actions"),
            _rows([x[..., 1:, :] for x in observed], "observations"),
            runs[0].time_step,
        )


def _rows(parts: list[np.ndarray], name: str) -> np.ndarray:
    rows = np.concatenate([x.reshape(-1, x.shape[-1]) for x in parts])
    if not np.all(np.isfinite(rows)):
        raise RobooptError(f"`trajectories` must be finite, got {name} that are not.")
    return rows
