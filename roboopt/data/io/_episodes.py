"""Episodes of any lengths, in the format that the suffix of their path names."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from roboopt._errors import RobooptError
from roboopt.data._trajectory import Trajectory
from roboopt.data.io._flat import checked_episodes
from roboopt.data.io._folder import load_folder, save_folder
from roboopt.data.io._hdf5 import load_hdf5, save_hdf5
from roboopt.data.io._npz import load_npz, save_npz

HDF5 = (".hdf5", ".h5")


def save_episodes(
    path: str | PathLike, episodes: Sequence[Trajectory] | Trajectory
) -> None:
    """Write `episodes` to `path`, which is complete afterwards or unchanged.

    The suffix names the format: .npz; .hdf5 or .h5, as robomimic lays it out; none, for
    a folder of .npy files that `MemmapDemonstrations` reads. Rewards, efforts and how
    an episode ended are written if all episodes have them, and left out with a warning
    if only some do.

    Args:
        path: where to write. An existing folder is replaced only if it holds nothing
            but episodes.
        episodes: of any lengths; batches are taken apart.

    Raises:
        RobooptError: if there are no episodes, the sizes or data types of their
            observations or actions differ, `path` has another suffix, or its folder
            holds other files.
        ImportError: if `path` names HDF5 and h5py is not installed.
    """
    path = Path(path)
    runs, kept = checked_episodes(episodes)
    if path.suffix in HDF5:
        save_hdf5(path, runs, kept)
    elif path.suffix == ".npz":
        save_npz(path, runs, kept)
    elif not path.suffix:
        save_folder(path, runs, kept)
    else:
        raise RobooptError(
            f"`path` must end in .npz, {', '.join(HDF5)} or, for a folder, have no "
            f"suffix, got {path}."
        )


def load_episodes(
    path: str | PathLike,
    *,
    time_step: float | None = None,
    observation_keys: Sequence[str] | None = None,
) -> list[Trajectory]:
    """Read what `save_episodes` or `Trajectory.save` wrote, or a file of robomimic.

    The arrays of a folder are memory-mapped: only the rows that are used are read.

    Args:
        path: a file .npz, .hdf5 or .h5, or a folder.
        time_step: [s], in place of the file's.
        observation_keys: which observations of an HDF5 file to join to one vector, in
            that order; all of them, sorted by name, where None.

    Raises:
        RobooptError: if `path` is missing, broken or of another kind, or nothing tells
            the time step.
        ImportError: if `path` names HDF5 and h5py is not installed.
    """
    path = Path(path)
    if path.suffix in HDF5:
        return load_hdf5(path, observation_keys, time_step)
    if observation_keys is not None:
        raise RobooptError(
            "`observation_keys` must be None except for HDF5 and Minari, got "
            f"{list(observation_keys)} for {path}."
        )
    return load_folder(path, time_step) if path.is_dir() else load_npz(path, time_step)
