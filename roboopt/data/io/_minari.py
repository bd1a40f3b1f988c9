"""Episodes in Minari datasets: https://minari.farama.org."""

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data._trajectory import Trajectory, check_episodes
from roboopt.data._windows import single_recordings
from roboopt.data.io._hdf5 import join_observations, optional_package

SUCCESS_KEYS = ("is_success", "success")


def load_minari(
    name: str,
    time_step: float | None,
    observation_keys: Sequence[str] | None = None,
) -> list[Trajectory]:
    """Return the episodes of a dataset, by its id or the folder it lies in.

    A choice among `Discrete` actions is a whole number in an action of size 1. Whether
    an episode succeeded is what `is_success` or `success` of its last `info` says.

    Args:
        name: the id, or a folder that holds the dataset or its `data`.
        time_step: [s]; from the dataset, or the frame rate of its environment, where
            None.
        observation_keys: which entries of a dictionary to join to one vector; all of
            them, sorted by name, where None.

    Raises:
        ImportError: if Minari is not installed.
        RobooptError: if the dataset is missing, its observations or actions are not
            vectors, or nothing tells the time step.
    """
    minari = optional_package("minari", "Minari datasets", "minari[hdf5]")
    folder = Path(name)
    if folder.is_dir():
        inner = folder / "data"
        dataset = minari.MinariDataset(inner if inner.is_dir() else folder)
    else:
        try:
            dataset = minari.load_dataset(name)
        except FileNotFoundError as error:
            raise RobooptError(
                f"`path` must name a Minari dataset on this machine, got {name!r}: "
                f"{error}"
            ) from error
    if time_step is None:
        time_step = _time_step(dataset, name)
    return [_trajectory(one, name, time_step, observation_keys) for one in dataset]


def save_minari(
    dataset_id: str,
    episodes: Sequence[Trajectory] | Trajectory,
    *,
    env: Any = None,
    observation_space: Any = None,
    action_space: Any = None,
    **metadata: Any,
) -> Any:
    """Write `episodes` as a Minari dataset, for `minari.load_dataset(dataset_id)`.

    Rewards that were not recorded are written as NaN. Whether an episode succeeded is
    written to its last `info`, as `success`. Efforts and times have no place and are
    left out with a warning.

    Args:
        dataset_id: `namespace/name-v0`, of a dataset that does not exist yet.
        episodes: with one time step; batches are taken apart.
        env: the environment of the recordings, which the dataset then recovers: made by
            `gymnasium.make`, or its id.
        observation_space: in place of the environment's; unbounded without either.
        action_space: likewise; `Discrete` for whole numbers.
        metadata: `author`, `description`, `algorithm_name` and other arguments of
            `minari.create_dataset_from_buffers`.

    Returns:
        The `minari.MinariDataset`.

    Raises:
        ImportError: if Minari is not installed.
        RobooptError: if there are no episodes, they differ in time step, their sizes
            are not those of the spaces, `env` was made without an id, or `dataset_id`
            is taken or not an id.
    """
    minari = optional_package("minari", "Minari datasets", "minari[hdf5]")
    from minari.storage.datasets_root_dir import get_dataset_path

    runs = single_recordings(episodes)
    check_episodes(runs, "episodes", one_time_step=True)
    env, observation_space, action_space = _spaces(
        runs, env, observation_space, action_space
    )
    names = [
        n for n in ("efforts", "times") if any(getattr(r, n) is not None for r in runs)
    ]
    if names:
        warnings.warn(
            f"a Minari dataset has no place for {', '.join(names)}: left out.",
            stacklevel=2,
        )
    buffers = [_buffer(run, observation_space, action_space) for run in runs]
    folder = get_dataset_path(dataset_id)
    if folder.exists():
        raise RobooptError(f"`dataset_id` must be new, but {dataset_id!r} exists.")
    try:
        with warnings.catch_warnings():
            # Minari warns about metadata that are optional.
            for message in (".*is set to None", "env_spec is None"):
                warnings.filterwarnings("ignore", message, UserWarning)
            dataset = minari.create_dataset_from_buffers(
                dataset_id,
                buffer=buffers,
                env=env,
                observation_space=observation_space,
                action_space=action_space,
                **metadata,
            )
        dataset.storage.update_metadata({"time_step": runs[0].time_step})
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, ValueError) and "dataset ID" in str(error):
            raise RobooptError(f"`dataset_id` must be an id: {error}") from error
        raise
    return dataset


def _time_step(dataset: Any, name: str) -> float:
    """Return the time step that the dataset or its environment tells [s]."""
    if told := dataset.storage.metadata.get("time_step"):
        return float(told)
    entry = getattr(getattr(dataset, "env_spec", None), "entry_point", None)
    if isinstance(entry, str):
        from gymnasium.envs.registration import load_env_creator

        try:
            entry = load_env_creator(entry)
        except (ImportError, AttributeError):
            entry = None  # The environment is not installed on this machine.
    rate = (getattr(entry, "metadata", None) or {}).get("render_fps")
    if not rate:
        raise RobooptError(
            f"`time_step` must be given: the Minari dataset {name!r} does not tell it."
        )
    return 1.0 / rate


def _trajectory(
    episode: Any, name: str, time_step: float, keys: Sequence[str] | None
) -> Trajectory:
    observations, actions = episode.observations, episode.actions
    if isinstance(observations, dict):
        observations = join_observations(observations, keys, repr(name))
    arrays = {"observations": observations, "actions": actions}
    for key, value in arrays.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            raise RobooptError(
                f"`path` must hold {key} that are arrays of numbers, but those of "
                f"{name!r} are {type(value).__name__}."
            )
        if value.ndim > 2:
            raise RobooptError(
                f"`path` must hold {key} that are vectors, but those of {name!r} have "
                f"shape {value.shape[1:]}."
            )
        arrays[key] = value.reshape(len(value), -1)
    rewards = np.asarray(episode.rewards, float)
    infos = episode.infos or {}
    told = [infos[key] for key in SUCCESS_KEYS if key in infos]
    return Trajectory(
        observations=arrays["observations"].astype(float),
        actions=arrays["actions"],
        time_step=time_step,
        # `save_minari` writes rewards that were not recorded as NaN.
        rewards=None if np.isnan(rewards).all() else rewards,
        terminated=np.array(bool(np.any(episode.terminations))),
        success=np.array(bool(np.ravel(told[0])[-1])) if told else None,
    )


def _spaces(
    runs: list[Trajectory], env: Any, observation_space: Any, action_space: Any
) -> tuple[Any, Any, Any]:
    """Return the environment and its spaces, or spaces that hold the episodes."""
    import gymnasium

    if isinstance(env, str):
        env = gymnasium.make(env)
    if env is not None:
        if env.spec is None:
            raise RobooptError(
                "`env` must be made by `gymnasium.make`, got one without an id."
            )
        observation_space = observation_space or env.observation_space
        action_space = action_space or env.action_space
    observation_space = observation_space or _space(runs, "observations")
    return env, observation_space, action_space or _space(runs, "actions")


def _space(runs: list[Trajectory], name: str) -> Any:
    """Return an unbounded space for numbers, and one of choices for whole numbers."""
    from gymnasium import spaces

    values = np.concatenate([getattr(run, name) for run in runs])
    if values.dtype.kind not in "iu":
        return spaces.Box(-np.inf, np.inf, values.shape[1:], values.dtype.type)
    least = np.minimum(values.min(axis=0), 0)
    counts = values.max(axis=0) + 1 - least
    if len(counts) == 1:
        return spaces.Discrete(int(counts[0]), start=int(least[0]))
    return spaces.MultiDiscrete(counts, start=least)


def _buffer(run: Trajectory, observation_space: Any, action_space: Any) -> Any:
    from minari.data_collector import EpisodeBuffer

    steps = run.steps
    ended = bool(run.terminated) if run.terminated is not None else False
    last = np.arange(1, steps + 1) == steps
    infos = None
    if run.success is not None:
        infos = {"success": [False] * steps + [bool(run.success)]}
    rewards = np.full(steps, np.nan) if run.rewards is None else run.rewards
    return EpisodeBuffer(
        observations=list(_shaped("observations", run, observation_space)),
        actions=list(_shaped("actions", run, action_space)),
        rewards=np.asarray(rewards, float).tolist(),
        terminations=(last & ended).tolist(),
        truncations=(last & (not ended)).tolist(),
        infos=infos,
    )


def _shaped(name: str, run: Trajectory, space: Any) -> np.ndarray:
    values = np.asarray(getattr(run, name))
    shape = getattr(space, "shape", None)
    if shape is None or int(np.prod(shape)) != values.shape[-1]:
        raise RobooptError(
            f"`episodes` must have {name} of the size of their space, {space}, got "
            f"{values.shape[-1]}."
        )
    if np.dtype(space.dtype).kind in "iu" and values.dtype.kind not in "iu":
        raise RobooptError(
            f"`episodes` must have {name} of whole numbers for {space}, got "
            f"{values.dtype}."
        )
    return values.astype(space.dtype).reshape(len(values), *shape)
