"""Minari datasets, read and written."""

import resource
import sys
import warnings

import equinox as eqx
import gymnasium
import numpy as np
import pytest
from roboopt_envs.cart_pole import CartPoleBalance

import roboopt as ro
from roboopt.data import Trajectory, load_episodes, load_recordings, save_minari


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """A Minari dataset of two episodes, of two and three steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari = pytest.importorskip("minari")
        from gymnasium import spaces
        from minari.data_collector import EpisodeBuffer

        monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
        episodes = [
            EpisodeBuffer(
                id=k,
                observations=[
                    100.0 * k + 4 * n + np.arange(4) for n in range(steps + 1)
                ],
                actions=[2.0 * n + np.arange(2) for n in range(steps)],
                rewards=[1.0] * steps,
                terminations=[False] * steps,
                truncations=[False] * (steps - 1) + [True],
            )
            for k, steps in enumerate((2, 3))
        ]
        minari.create_dataset_from_buffers(
            "arm/test-v0",
            buffer=episodes,
            observation_space=spaces.Box(-np.inf, np.inf, (4,), np.float64),
            action_space=spaces.Box(-np.inf, np.inf, (2,), np.float64),
        )
        yield tmp_path / "arm" / "test-v0"


def test_minari_datasets_are_read_by_id_and_by_folder(dataset):
    for name in ("arm/test-v0", dataset, dataset / "data"):
        runs = load_recordings(f"minari:{name}", joints=["a", "b"], time_step=0.1)
        assert [run.steps for run in runs] == [2, 3]
        np.testing.assert_array_equal(
            runs[1].observations, np.arange(16.0).reshape(4, 4) + 100
        )
        np.testing.assert_array_equal(runs[0].actions, [[0, 1], [2, 3]])
        np.testing.assert_array_equal(runs[0].rewards, [1, 1])
        assert runs[0].time_step == 0.1


def test_the_file_of_a_minari_dataset_is_read_as_the_dataset(dataset):
    told = load_recordings(f"minari:{dataset}", time_step=0.1)
    runs = load_recordings(dataset / "data" / "main_data.hdf5", time_step=0.1)
    assert [run.steps for run in runs] == [2, 3]
    for run, other in zip(runs, told, strict=True):
        assert eqx.tree_equal(run, other)


def test_the_file_of_a_written_dataset_tells_what_the_dataset_tells(dataset):
    rng = np.random.default_rng(0)
    episodes = [
        Trajectory(
            *(rng.normal(size=(n + 1, 2)), rng.normal(size=(n, 1)), 0.025),
            **{"rewards": np.ones(n), "terminated": np.asarray(ended)},
            success=np.asarray(ended),
        )
        for n, ended in ((4, True), (3, False))
    ]
    save_minari("arm/written-v0", episodes)
    path = dataset.parent / "written-v0" / "data" / "main_data.hdf5"
    runs = load_episodes(path)  # A warning would be an error.
    for run, own in zip(runs, episodes, strict=True):
        assert eqx.tree_equal(run, own)


def test_minari_datasets_need_a_time_step_and_to_be_there(dataset):
    with pytest.raises(
        ValueError, match="`time_step` must be given: the Minari dataset"
    ):
        load_recordings("minari:arm/test-v0")
    with pytest.raises(ValueError, match="`path` must name a Minari dataset on this"):
        load_recordings("minari:arm/none-v0", time_step=0.1)


def test_minari_datasets_of_an_environment_know_their_time_step(dataset):
    minari = pytest.importorskip("minari")
    from minari.data_collector import EpisodeBuffer

    episode = EpisodeBuffer(
        observations=list(np.zeros((3, 3), np.float32)),
        actions=list(np.zeros((2, 1), np.float32)),
        rewards=[0.0] * 2,
        terminations=[False] * 2,
        truncations=[False, True],
    )
    minari.create_dataset_from_buffers(
        "pendulum/test-v0", buffer=[episode], env="Pendulum-v1"
    )
    (run,) = load_recordings("minari:pendulum/test-v0")
    rate = gymnasium.make("Pendulum-v1").metadata["render_fps"]
    assert run.time_step == 1 / rate and run.observations.dtype == float


def boxes(shape, observation):
    """Write a dataset of one episode with observations and actions of `shape`."""
    minari = pytest.importorskip("minari")
    from gymnasium import spaces
    from minari.data_collector import EpisodeBuffer

    box = spaces.Box(-1.0, 1.0, shape, np.float64)
    nested: dict[str, spaces.Space] = {"q": box, "goal": box}
    minari.create_dataset_from_buffers(
        "boxes/test-v0",
        buffer=[
            EpisodeBuffer(
                observations=observation,
                actions=[np.zeros(shape)],
                rewards=[0.0],
                terminations=[False],
                truncations=[True],
            )
        ],
        observation_space=spaces.Dict(nested) if isinstance(observation, dict) else box,
        action_space=box,
    )


def test_observations_that_are_dictionaries_become_one_vector(dataset):
    boxes((1,), {"q": list(np.zeros((2, 1))), "goal": list(np.ones((2, 1)))})
    (run,) = load_recordings("minari:boxes/test-v0", time_step=0.1)
    np.testing.assert_array_equal(run.observations, [[1, 0], [1, 0]])
    (run,) = load_recordings(
        "minari:boxes/test-v0", time_step=0.1, observation_keys=["q"]
    )
    np.testing.assert_array_equal(run.observations, [[0], [0]])


def test_observations_that_are_no_vectors_are_refused(dataset):
    boxes((2, 3), list(np.zeros((2, 2, 3))))
    with pytest.raises(ValueError, match=r"observations that are vectors.*\(2, 3\)"):
        load_recordings("minari:boxes/test-v0", time_step=0.1)


@pytest.mark.parametrize("infos", [True, False])
def test_what_minari_collects_is_read(dataset, infos):
    # CartPole acts by 0 and 1, and ends episodes of different lengths by falling.
    minari = pytest.importorskip("minari")

    class Telling(gymnasium.Wrapper):
        def reset(self, **options):
            observation, info = self.env.reset(**options)
            return observation, {**info, "is_success": False}

        def step(self, action):
            observation, reward, ended, late, info = self.env.step(action)
            return observation, reward, ended, late, {**info, "is_success": ended}

    env = minari.DataCollector(
        Telling(gymnasium.make("CartPole-v1")), record_infos=infos
    )
    steps = []
    for seed in range(3):
        env.reset(seed=seed)
        ended, taken = False, 0
        while not ended:
            _, _, terminated, truncated, _ = env.step(np.int64(taken % 3 == 0))
            ended, taken = terminated or truncated, taken + 1
        steps.append(taken)
    env.create_dataset("cart-pole/collected-v0")
    env.close()
    runs = load_recordings("minari:cart-pole/collected-v0")
    assert [run.steps for run in runs] == steps and len(set(steps)) > 1
    first = runs[0]
    assert first.actions.dtype.kind == "i" and first.observations.shape[1] == 4
    np.testing.assert_array_equal(first.actions[:4], [[1], [0], [0], [1]])
    assert first.time_step == 1 / 50 and all(run.terminated for run in runs)
    if infos:
        assert all(run.success is not None and run.success for run in runs)
    else:
        assert first.success is None


def ragged(choices=False):
    rng = np.random.default_rng(0)
    return [
        Trajectory(
            rng.normal(size=(steps + 1, 4)).astype(np.float32).astype(float),
            rng.integers(2, size=(steps, 1))
            if choices
            else rng.normal(size=(steps, 2)),
            0.02,
            rewards=rng.normal(size=steps),
            terminated=np.array(steps == 3),
            success=np.array(steps == 2),
        )
        for steps in (3, 1, 2)
    ]


@pytest.mark.parametrize("choices", [True, False])
def test_what_is_written_minari_loads_and_comes_back_equal(dataset, choices):
    minari = pytest.importorskip("minari")
    episodes = ragged(choices)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_minari("arm/written-v0", episodes, author="us", description="a test")
    loaded = minari.load_dataset("arm/written-v0")
    assert loaded.total_episodes == 3 and loaded.total_steps == 6
    assert loaded.storage.metadata["author"] == {"us"}
    first = loaded[0]
    np.testing.assert_array_equal(first.observations, episodes[0].observations)
    np.testing.assert_array_equal(
        first.actions, episodes[0].actions[:, 0] if choices else episodes[0].actions
    )
    np.testing.assert_array_equal(first.terminations, [False, False, True])
    np.testing.assert_array_equal(loaded[1].truncations, [True])
    for name in ("minari:arm/written-v0", f"minari:{dataset.parent / 'written-v0'}"):
        for run, episode in zip(load_recordings(name), episodes, strict=True):
            assert eqx.tree_equal(run, episode)


def test_a_written_dataset_recovers_its_environment(dataset):
    minari = pytest.importorskip("minari")
    save_minari("cart-pole/a-v0", ragged(choices=True), env="CartPole-v1")
    env = gymnasium.make("CartPole-v1")
    save_minari("cart-pole/b-v0", ragged(choices=True), env=env)
    for name in ("cart-pole/a-v0", "cart-pole/b-v0"):
        loaded = minari.load_dataset(name)
        recovered = loaded.recover_environment()
        assert recovered.spec is not None and recovered.spec.id == "CartPole-v1"
        assert loaded.observation_space == env.observation_space
        assert loaded[0].observations.dtype == np.float32
        assert loaded.action_space.contains(loaded[0].actions[0])
    run = load_recordings("minari:cart-pole/b-v0")[0]
    np.testing.assert_array_equal(run.observations, ragged(True)[0].observations)


def test_the_environments_of_the_library_are_recovered(dataset):
    import roboopt_envs  # noqa: F401

    minari = pytest.importorskip("minari")
    env = gymnasium.make("roboopt/CartPoleBalance-v0", duration=0.1)
    episode = Trajectory(np.zeros((4, 4)), np.zeros((3, 1)), 0.01)
    save_minari("cart-pole/ours-v0", episode, env=env)
    recovered = minari.load_dataset("cart-pole/ours-v0").recover_environment()
    assert recovered.observation_space == env.observation_space
    recovered.close()
    env.close()


def test_rewards_that_were_not_recorded_are_not_made_up(dataset):
    minari = pytest.importorskip("minari")
    episode = Trajectory(np.zeros((3, 1)), np.zeros((2, 1)), 0.1)
    save_minari("arm/bare-v0", episode)
    assert np.isnan(minari.load_dataset("arm/bare-v0")[0].rewards).all()
    (run,) = load_recordings("minari:arm/bare-v0")
    assert run.rewards is None and run.success is None


def test_what_has_no_place_is_left_out_with_a_warning(dataset):
    times = np.array([0.0, 0.1, 0.2])
    episode = Trajectory(np.zeros((3, 1)), np.zeros((2, 1)), 0.1, times=times)
    with pytest.warns(UserWarning, match="no place for times: left out"):
        save_minari("arm/times-v0", episode)


def test_efforts_and_steps_of_the_simulation_are_kept(dataset):
    rng = np.random.default_rng(0)
    within = rng.normal(size=(5, 3, 4))
    observations = np.concatenate([rng.normal(size=(1, 4)), within[:, -1]])
    acted = rng.normal(size=(5, 3, 2))
    episode = Trajectory(
        observations,
        rng.normal(size=(5, 1)),
        0.1,
        efforts=acted.mean(1),
        substep_observations=within,
        substep_efforts=acted,
    )
    save_minari("arm/held-v0", [episode, episode])
    for back in ro.data.load_episodes("minari:arm/held-v0"):
        for name in ("efforts", "substep_observations", "substep_efforts"):
            np.testing.assert_array_equal(getattr(back, name), getattr(episode, name))


@pytest.mark.parametrize(
    "name, change, match",
    [
        ("a-v0", {"episodes": []}, "`episodes` must hold at least one, got none"),
        (
            "a-v0",
            {
                "episodes": [
                    *ragged(),
                    Trajectory(np.zeros((2, 4)), np.ones((1, 2)), 1.0),
                ]
            },
            r"`episodes` must have one time step, got \[0.02, 1.0\]",
        ),
        ("a-v0", {"env": "Pendulum-v1"}, "observations of the size of their space.*4"),
        ("a-v0", {"env": "CartPole-v1"}, "actions of the size of their space.*got 2"),
        ("a-v0", {"env": CartPoleBalance}, "`env` must be made by `gymnasium.make`"),
        ("arm/test-v0", {}, "`dataset_id` must be new, but 'arm/test-v0' exists"),
        ("arm/?-v0", {}, "`dataset_id` must be an id: .*arm/"),
    ],
)
def test_what_cannot_be_written_is_refused(dataset, name, change, match):
    change = {"episodes": ragged(), **change}
    if isinstance(change.get("env"), type):
        change["env"] = change["env"]()
    with pytest.raises(ValueError, match=match):
        save_minari(name, **change)
    assert not (dataset.parent.parent / "a-v0").exists()


def test_a_disk_without_room_does_not_end_the_process(dataset):
    # HDF5 would, when it closes the file.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    run = Trajectory(np.zeros((1001, 3)), np.zeros((1000, 2)), 0.1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_minari("arm/large-v0", run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (dataset.parent / "large-v0").exists()
    save_minari("arm/large-v0", run)


def test_numbers_are_no_choices(dataset):
    numbers = Trajectory(np.zeros((3, 4)), np.full((2, 1), 0.5), 0.02)
    with pytest.raises(ValueError, match="actions of whole numbers for Discrete"):
        save_minari("cart-pole/x-v0", numbers, env="CartPole-v1")


def test_without_minari_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ImportError, match="pip install minari"):
        load_recordings("minari:arm/test-v0", time_step=0.1)
