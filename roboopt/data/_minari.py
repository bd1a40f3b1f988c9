"""Recordings from Minari datasets: https://minari.farama.org."""

from pathlib import Path

import numpy as np

from roboopt.data._trajectory import Trajectory


def read_minari(name: str, time_step: float | None) -> list[Trajectory]:
    """Return the episodes of a dataset, by its id or the folder it lies in.

    Args:
        name: the id, or a folder that holds the dataset or its `data`.
        time_step: [s]; where None, the environment's recorded frame rate tells it.

    Raises:
        ImportError: if Minari is not installed.
        ValueError: if the dataset is not there, its observations or actions are not
            arrays, or nothing tells the time step.
    """
    try:
        import minari
    except ImportError as error:
        raise ImportError(
            "reading a Minari dataset takes Minari: pip install minari[hdf5]"
        ) from error
    folder = Path(name)
    if folder.is_dir():
        inner = folder / "data"
        dataset = minari.MinariDataset(inner if inner.is_dir() else folder)
    else:
        try:
            dataset = minari.load_dataset(name)
        except FileNotFoundError as error:
            raise ValueError(
                f"`path` must name a Minari dataset on this machine, got {name!r}: "
                f"{error}"
            ) from error
    if time_step is None:
        time_step = _time_step(dataset, name)
    return [_trajectory(episode, name, time_step) for episode in dataset]


def _time_step(dataset: object, name: str) -> float:
    spec = getattr(dataset, "env_spec", None)
    entry = getattr(spec, "entry_point", None)
    if isinstance(entry, str):
        from gymnasium.envs.registration import load_env_creator

        try:
            entry = load_env_creator(entry)
        except (ImportError, AttributeError):
            entry = None  # Recorded by an environment that is not installed here.
    rate = (getattr(entry, "metadata", None) or {}).get("render_fps")
    if not rate:
        raise ValueError(
            f"`time_step` must be given: the Minari dataset {name!r} does not tell it."
        )
    return 1.0 / rate


def _trajectory(episode: object, name: str, time_step: float) -> Trajectory:
    arrays = {}
    for key in ("observations", "actions", "rewards"):
        value = getattr(episode, key)
        if not isinstance(value, np.ndarray):
            raise ValueError(
                f"`path` must hold {key} that are arrays, but those of {name!r} are "
                f"{type(value).__name__}."
            )
        arrays[key] = value
    arrays["observations"] = arrays["observations"].astype(float)
    arrays["rewards"] = arrays["rewards"].astype(float)
    return Trajectory(time_step=time_step, **arrays)
