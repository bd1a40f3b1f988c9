"""Episodes in an .npz file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._files import atomic_write, read_archive
from roboopt.data._trajectory import Trajectory
from roboopt.data._windows import single_recordings
from roboopt.data.io._flat import (
    check_lengths,
    cut_episodes,
    equal_counts,
    pieces,
    trajectory_of,
)

OTHER_NAMES = {
    "observations": ("obs", "observation", "states", "state"),
    "actions": ("acts", "action", "act", "controls"),
    "rewards": ("reward", "rews"),
    "time_step": ("dt", "timestep"),
}
"""Common other names, which are not read since their lengths may follow other rules."""


def save_npz(path: Path, runs: Sequence[Trajectory], kept: Sequence[str]) -> None:
    """Write the arrays named in `kept`, laid end to end."""
    arrays = {name: np.concatenate(pieces(name, runs)) for name in kept}
    with atomic_write(path) as file:
        np.savez(file, **arrays)  # type: ignore


def load_npz(path: Path, time_step: float | None) -> list[Trajectory]:
    """Return the episodes of `save_episodes` or `Trajectory.save`, or a plain one.

    A plain file is one episode, `observations` (T + 1, obs) and `actions` (T, act).

    Raises:
        RobooptError: if the file is broken or lacks an array, or its arrays do not fit.
    """
    arrays = read_archive(path)
    missing = [name for name in ("observations", "actions") if name not in arrays]
    if missing:
        raise RobooptError(_missing(path, missing, list(arrays)))
    if time_step is None and "time_step" not in arrays:
        raise RobooptError(
            f"`time_step` must be given: {path} holds no `time_step` [s]."
        )
    if "lengths" in arrays:
        check_lengths(arrays, str(path))
        return cut_episodes(arrays, str(path), time_step)
    if time_step is not None:
        arrays.pop("times", None)
    time_step = float(arrays["time_step"]) if time_step is None else time_step
    for name in ("observations", "actions"):
        if arrays[name].ndim == 1:
            arrays[name] = arrays[name][:, None]
    observations, actions = arrays["observations"], arrays["actions"]
    if observations.ndim > 1 and actions.shape[:-1] == observations.shape[:-1]:
        raise equal_counts(path, actions.shape[-2])
    names = set(Trajectory.__dataclass_fields__) - {"time_step"}
    one = {name: arrays[name] for name in arrays if name in names}
    return single_recordings(trajectory_of(one, time_step, path))


def _missing(path: Path, missing: list[str], found: list[str]) -> str:
    known = {other: name for name, others in OTHER_NAMES.items() for other in others}
    hints = [f"`{name}` to `{known[name]}`" for name in found if name in known]
    return (
        "`path` must hold arrays named `observations` (one more than actions in each "
        "episode), `actions`, `time_step` [s] and, for several episodes, `lengths`, "
        f"the number of actions of each; {path} lacks {', '.join(missing)} and holds "
        f"{', '.join(sorted(found)) or 'nothing'}."
        + (f" Rename {', '.join(hints)}." if hints else "")
    )
