"""Episodes in Minari datasets: https://minari.farama.org."""

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt._reading import read_json
from roboopt.data._files import optional_package, read_as, require_room
from roboopt.data._trajectory import Trajectory, check_episodes
from roboopt.data._windows import single_recordings
from roboopt.data.io._arrays import Arrays, ReadOptions
from roboopt.data.io._hdf5_guard import Guard
from roboopt.data.io._join_observations import join_observations

METADATA = "metadata.json"
SUCCESS_KEYS = ("is_success", "success")
STEP_INFOS = {
    "effort": "efforts",
    "substep_observations": "substep_observations",
    "substep_efforts": "substep_efforts",
}
"""The fields of a trajectory in the `info` of each step, by their keys there."""
EPISODE_SIZE = 2**15  # bytes of HDF5 beside the arrays of an episode


def read_minari(name: str, options: ReadOptions) -> list[tuple[str, Arrays]]:
    """Return the arrays of each episode of a dataset, by its id or its folder.

    A choice among `Discrete` actions is a whole number in an action of size 1. Whether
    an episode succeeded is what `is_success` or `success` of its last `info` says. The
    time step is the dataset's, or follows from the frame rate of its environment.
    """
    minari = optional_package("minari", "Minari datasets", "minari[hdf5]")
    from minari.storage.datasets_root_dir import get_dataset_path

    folder, where = Path(name), f"the Minari dataset {name!r}"
    with read_as("name a Minari dataset", where):
        folder = folder if folder.is_dir() else Path(get_dataset_path(name))
        folder = folder / "data" if (folder / "data").is_dir() else folder
        if not folder.is_dir():
            raise RobooptError(
                f"`path` must name a Minari dataset on this machine, got {name!r}: "
                f"there is no {folder}."
            )
        _require_harmless(folder)
        dataset = minari.MinariDataset(folder)
        timed = {} if options.time_step is not None else _time_step(dataset)
        return [(where, {**timed, **_arrays(one, where, options)}) for one in dataset]


def _require_harmless(folder: Path) -> None:
    """Raise unless Minari reads a dataset without making an environment.

    Where the spaces are missing, Minari makes the environment that the dataset names,
    of any module.
    """
    metadata = read_json(folder / METADATA)
    spaces = ("observation_space", "action_space")
    if not isinstance(metadata, dict) or not all(
        isinstance(metadata.get(name), str) for name in spaces
    ):
        raise RobooptError(
            f"`path` must name a Minari dataset with its {' and '.join(spaces)}, but "
            f"those are missing in {folder / METADATA}."
        )
    data = folder / "main_data.hdf5"
    if data.is_file():
        h5py = optional_package("h5py", "Minari datasets", "minari[hdf5]")
        with h5py.File(data, "r") as file:
            Guard(data).check_all(file)


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
    written to its last `info`, as `success`, and efforts and sub-steps of the
    simulation to the `info` of each step, as `effort`, `substep_observations` and
    `substep_efforts`. Times have no place and are left out with a warning.

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
        OSError: if the disk has no room for the dataset.
    """
    minari = optional_package("minari", "Minari datasets", "minari[hdf5]")
    from minari.storage.datasets_root_dir import get_dataset_path

    runs = single_recordings(episodes)
    check_episodes(runs, "episodes", one_time_step=True)
    if isinstance(env, str):
        import gymnasium

        env = gymnasium.make(env)
    if env is not None:
        if env.spec is None:
            raise RobooptError(
                "`env` must be made by `gymnasium.make`, got one without an id."
            )
        observation_space = observation_space or env.observation_space
        action_space = action_space or env.action_space
    observation_space = observation_space or _space(runs, "observations")
    action_space = action_space or _space(runs, "actions")
    if any(run.times is not None for run in runs):
        warnings.warn(
            "a Minari dataset has no place for times: left out.", stacklevel=2
        )
    buffers = [_buffer(run, observation_space, action_space) for run in runs]
    folder = get_dataset_path(dataset_id)
    if folder.exists():
        raise RobooptError(f"`dataset_id` must be new, but {dataset_id!r} exists.")
    # HDF5 ends the process where the disk is full.
    require_room(next(p for p in folder.parents if p.exists()), _size(runs))
    try:
        with warnings.catch_warnings():
            optional = (
                ".*is set to None|env_spec is None"  # Minari's advice on metadata.
            )
            warnings.filterwarnings("ignore", optional, UserWarning)
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


def _time_step(dataset: Any) -> dict[str, float]:
    """Return the time step that the dataset or its environment tells [s], if any."""
    if told := dataset.storage.metadata.get("time_step"):
        return {"time_step": float(told)}
    import gymnasium
    from gymnasium.envs.registration import load_env_creator

    # By its id alone: the entry point in the file could name any module.
    known = gymnasium.registry.get(getattr(dataset.env_spec, "id", ""))
    entry = getattr(known, "entry_point", None)
    if isinstance(entry, str):
        try:
            entry = load_env_creator(entry)
        except (ImportError, AttributeError):
            entry = None  # The environment is not installed on this machine.
    rate = (getattr(entry, "metadata", None) or {}).get("render_fps")
    return {"time_step": 1.0 / rate} if rate else {}


def _arrays(episode: Any, where: str, options: ReadOptions) -> dict[str, Any]:
    observations, actions = episode.observations, episode.actions
    if isinstance(observations, dict):
        observations = join_observations(
            observations, options.observation_keys, where, options
        )
    arrays = {"observations": observations, "actions": actions}
    for key, value in arrays.items():
        numbers = isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
        if not numbers or value.ndim > 2:
            raise RobooptError(
                f"`path` must hold {key} that are vectors of numbers, but those of "
                f"{where} are {type(value).__name__} of shape {np.shape(value)[1:]}."
            )
    arrays["observations"] = observations.astype(float)
    arrays["terminated"] = bool(np.any(episode.terminations))
    rewards = np.asarray(episode.rewards, float)
    if not np.isnan(rewards).all():  # which `save_minari` writes where there are none
        arrays["rewards"] = rewards
    infos = episode.infos or {}
    if told := [infos[key] for key in SUCCESS_KEYS if key in infos]:
        arrays["success"] = bool(np.ravel(told[0])[-1])
    for key, name in STEP_INFOS.items():
        value = np.asarray(infos.get(key, ()))
        # The first `info` is that of `reset`.
        axes = 2 if key == "effort" else 3
        if value.dtype.kind == "f" and value.shape[:1] == (len(actions) + 1,):
            arrays |= {name: value[1:]} if value.ndim == axes else {}
    return arrays


def _space(runs: list[Trajectory], name: str) -> Any:
    """Return an unbounded space for numbers, and one of choices for whole numbers."""
    from gymnasium import spaces

    values = np.concatenate([getattr(run, name) for run in runs])
    if values.dtype.kind not in "iu":
        return spaces.Box(-np.inf, np.inf, values.shape[1:], values.dtype.type)
    least = np.minimum(values.min(axis=0), 0)
    counts = values.max(axis=0) + 1 - least
    if len(counts) > 1:
        return spaces.MultiDiscrete(counts, start=least)
    return spaces.Discrete(int(counts[0]), start=int(least[0]))


def _size(runs: list[Trajectory]) -> int:
    """Return the bytes that a dataset takes, at most."""
    names = ("observations", "actions", *STEP_INFOS.values())
    arrays = [x for run in runs for n in names if (x := getattr(run, n)) is not None]
    flags = sum(run.steps for run in runs) * (8 + 3)  # the reward and three flags
    held = sum(np.asarray(x).size * 8 for x in arrays) + flags
    return held * 5 // 4 + EPISODE_SIZE * (len(runs) + 2)


def _buffer(run: Trajectory, observation_space: Any, action_space: Any) -> Any:
    from minari.data_collector import EpisodeBuffer

    steps = run.steps
    ended = run.terminated is not None and bool(run.terminated)
    last = np.arange(1, steps + 1) == steps
    infos = {}
    if run.success is not None:
        infos["success"] = [False] * steps + [bool(run.success)]
    for key, name in STEP_INFOS.items():
        if (values := getattr(run, name)) is not None:
            values = np.asarray(values, float)
            infos[key] = [np.zeros_like(values[0]), *values] if steps else []
    rewards = np.full(steps, np.nan) if run.rewards is None else run.rewards
    return EpisodeBuffer(
        observations=list(_shaped("observations", run, observation_space)),
        actions=list(_shaped("actions", run, action_space)),
        rewards=np.asarray(rewards, float).tolist(),
        terminations=(last & ended).tolist(),
        truncations=(last & (not ended)).tolist(),
        infos=infos or None,
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
