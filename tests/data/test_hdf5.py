"""Episodes as robomimic lays them out."""

import json
import sys

import numpy as np
import pytest

from roboopt.data import Trajectory, load_episodes, load_recordings, save_episodes

h5py = pytest.importorskip("h5py")


def robomimic(path, lengths=(3, 2), last=True, image=False, rate=20, actions=0):
    """Write what robomimic's collection does; observation k of demo d is 100 d + k."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        if rate:
            arguments = {"env_name": "Lift", "env_kwargs": {"control_freq": rate}}
            data.attrs["env_args"] = json.dumps(arguments)
        for d, steps in enumerate(lengths):
            demo = data.create_group(f"demo_{d}")
            demo.attrs["num_samples"] = steps
            seen = 100.0 * d + np.arange(steps + 1.0)
            for group, part in (("obs", seen[:-1]), ("next_obs", seen[1:])):
                if group == "next_obs" and not last:
                    continue
                demo[f"{group}/object"] = -part[:, None]
                demo[f"{group}/eef_pos"] = np.stack([part, part + 0.5], axis=1)
                if image:
                    demo[f"{group}/agentview"] = np.zeros((steps, 8, 8, 3), np.uint8)
            demo["actions"] = np.arange(1.0 * steps + actions)[:, None]
            demo["rewards"] = np.arange(steps)
            demo["dones"] = np.zeros(steps)
        file["mask/train"] = np.array([b"demo_0"])
    return path


def test_observations_are_laid_side_by_side(tmp_path):
    path = robomimic(tmp_path / "x.hdf5")
    first, second = load_recordings(path)
    # In the order of their names, eef_pos before object.
    np.testing.assert_array_equal(second.observations[1], [101, 101.5, -101])
    assert first.observations.shape == (4, 3) and second.steps == 2
    np.testing.assert_array_equal(first.actions, [[0], [1], [2]])
    np.testing.assert_array_equal(first.rewards, [0.0, 1.0, 2.0])
    assert first.time_step == 1 / 20 and first.terminated is None
    first, _ = load_recordings(path, observation_keys=["object"], time_step=0.1)
    np.testing.assert_array_equal(first.observations[:, 0], [0, -1, -2, -3])
    assert first.time_step == 0.1
    keys = ["object", "eef_pos"]
    first, _ = load_recordings(path, observation_keys=keys)
    np.testing.assert_array_equal(first.observations[1], [-1, 1, 1.5])


def test_episodes_come_by_number_and_not_by_digits(tmp_path):
    path = robomimic(tmp_path / "x.h5", lengths=range(1, 13))
    assert [run.steps for run in load_recordings(path)] == list(range(1, 13))


def test_without_next_observations_the_last_action_is_dropped(tmp_path):
    path = robomimic(tmp_path / "x.hdf5", last=False)
    with pytest.warns(UserWarning, match="2 of the 2 episodes of x.hdf5 lack `next_ob"):
        first, second = load_recordings(path)
    assert (first.steps, second.steps) == (2, 1)
    np.testing.assert_array_equal(first.observations[:, 0], [0, 1, 2])
    # Rewards 0, 1, 2: that of the dropped action counts with the one before.
    np.testing.assert_array_equal(first.rewards, [0, 3])


def test_next_observations_of_another_episode_are_told(tmp_path):
    path = robomimic(tmp_path / "x.hdf5", lengths=(3,))
    with h5py.File(path, "a") as file:
        file["data/demo_0/next_obs/object"][0] = 7.0
    with pytest.warns(UserWarning, match="`next_obs` of data/demo_0 of .* are not its"):
        load_recordings(path)


def test_images_are_left_out_with_a_word_and_refused_by_name(tmp_path):
    path = robomimic(tmp_path / "x.hdf5", image=True)
    with pytest.warns(UserWarning, match="agentview left out: images"):
        every = load_recordings(path)
    chosen = load_recordings(path, observation_keys=["eef_pos", "object"])
    np.testing.assert_array_equal(every[0].observations, chosen[0].observations)
    with pytest.raises(
        ValueError,
        match=r"agentview is an image or nested; .* are \['eef_pos', 'object'\]",
    ):
        load_recordings(path, observation_keys=["agentview"])
    assert load_recordings(path, observation_keys=["object"])[0].steps == 3


def test_a_single_array_of_observations_is_read(tmp_path):
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["data/demo_0/obs"] = np.zeros((3, 2), np.float32)
        file["data/demo_0/next_obs"] = np.zeros((3, 2), np.float32)
        file["data/demo_0/actions"] = np.array([1, 0, 2])
    (run,) = load_recordings(tmp_path / "x.hdf5", time_step=0.5)
    assert run.observations.dtype == np.float32 and run.observations.shape == (4, 2)
    np.testing.assert_array_equal(run.actions, [[1], [0], [2]])


def test_episodes_whose_next_observations_differ_are_told_once(tmp_path):
    episode = Trajectory(np.arange(8.0).reshape(4, 2), np.ones((3, 1)), 0.05)
    save_episodes(tmp_path / "x.hdf5", [episode, episode, episode])
    with h5py.File(tmp_path / "x.hdf5", "a") as file:
        for demo in file["data"].values():
            demo["next_obs/observation"][0] = 9.0
    with pytest.warns(
        UserWarning, match="one step later.* So it is in 2 others"
    ) as told:
        runs = load_recordings(tmp_path / "x.hdf5")
    assert len(told) == 1 and len(runs) == 3


def test_what_is_written_has_robomimics_layout(tmp_path):
    episode = Trajectory(np.arange(8.0).reshape(4, 2), np.ones((3, 1)), 0.05)
    save_episodes(tmp_path / "x.hdf5", [episode, episode])
    with h5py.File(tmp_path / "x.hdf5") as file:
        assert sorted(file["data"]) == ["demo_0", "demo_1"]
        demo = file["data/demo_1"]
        assert demo.attrs["num_samples"] == 3 and file["data"].attrs["total"] == 6
        np.testing.assert_array_equal(demo["next_obs/observation"][0], [2, 3])
        np.testing.assert_array_equal(demo["dones"][()], [0, 0, 1])
        described = json.loads(file["data"].attrs["env_args"])
    assert described["env_kwargs"]["control_freq"] == pytest.approx(20)


@pytest.mark.parametrize(
    "arguments, keys, match",
    [
        ({"rate": None}, None, "`time_step` must be given: .*x.hdf5 does not tell it"),
        (
            {},
            ["eye"],
            r"`observation_keys` must be among \['eef_pos', 'object'\] .*eye",
        ),
        ({"actions": 1}, None, "as many `actions` as `obs` in each .* holds 4 and 3"),
        (
            {},
            [],
            "`observation_keys` must name at least one observation of data/demo_0",
        ),
        ({"lengths": ()}, None, "lacks observations, actions and holds"),
    ],
)
def test_other_layouts_are_refused(tmp_path, arguments, keys, match):
    path = robomimic(tmp_path / "x.hdf5", **arguments)
    with pytest.raises(ValueError, match=match):
        load_recordings(path, observation_keys=keys)


def test_broken_files_are_refused(tmp_path):
    path = tmp_path / "x.hdf5"
    for content in (b"", b"time,q\n", robomimic(path).read_bytes()[:3000]):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match="`path` must be an HDF5 file, but .*x.hdf"
        ):
            load_recordings(path)
    with h5py.File(path, "w") as file:
        file["episode_0/actions"] = np.zeros(3)
    with pytest.raises(ValueError, match="must hold"):
        load_recordings(path)


@pytest.mark.filterwarnings("ignore:traj_.* left out")
@pytest.mark.parametrize("sizes", [(4, 6, 5), (7,)])
def test_trajectories_of_maniskill_are_read(tmp_path, sizes):
    path, rng = tmp_path / "trajectory.h5", np.random.default_rng(0)
    seen = [rng.normal(size=(size + 1, 5)) for size in sizes]
    acted = [rng.normal(size=(size, 3)) for size in sizes]
    with h5py.File(path, "w") as file:
        for k, size in enumerate(sizes):
            group = file.create_group(f"traj_{k}")
            group["obs/agent/qpos"] = seen[k][:, :3]
            group["obs/extra/tcp_pose"] = seen[k][:, 3:]
            group["obs/sensor_data/hand/rgb"] = np.zeros((size + 1, 4, 4, 3))
            group["actions"], group["success"] = acted[k], np.arange(size) == size - 1
            group["terminated"] = np.arange(size) == size - 1
            group["truncated"] = np.zeros(size, bool)
            group["env_states/actors/cube"] = np.zeros((size + 1, 13))
            if k:  # Groups need not hold the same.
                group["env_states/actors/goal"] = np.zeros((size + 1, 13))
    with pytest.warns(UserWarning, match="obs.sensor_data.hand.rgb left out: images"):
        runs = load_episodes(path, time_step=0.05)
    for run, own, acts in zip(runs, seen, acted, strict=True):
        np.testing.assert_array_equal(run.observations, own)
        np.testing.assert_array_equal(run.actions, acts)
        assert run.terminated and run.success
    with pytest.warns(UserWarning, match="rgb left out"):
        one = load_episodes(path, time_step=0.05, observation_keys=["agent/qpos"])
    np.testing.assert_array_equal(one[0].observations, seen[0][:, :3])


def test_other_files_have_no_named_observations(tmp_path):
    save_episodes(
        tmp_path / "x.npz", Trajectory(np.zeros((3, 2)), np.ones((2, 1)), 0.1)
    )
    with pytest.raises(ValueError, match="`observation_keys` must be None except for"):
        load_recordings(tmp_path / "x.npz", observation_keys=["object"])


def test_without_h5py_it_says_how_to_install_it(tmp_path, monkeypatch):
    path = robomimic(tmp_path / "x.hdf5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="pip install h5py"):
        load_recordings(path)


@pytest.mark.parametrize("name", ["env_args", "env_info"])
def test_raw_recordings_of_robosuite_tell_their_control_rate(tmp_path, name):
    """They have no `obs`, and say the rate beside the demonstrations."""
    rng, told = np.random.default_rng(0), {"control_freq": 20, "robots": "Panda"}
    if name == "env_args":
        told = {"env_name": "Lift", "type": 1, "env_kwargs": told}
    with h5py.File(tmp_path / "demo.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs[name] = json.dumps(told)
        for k in range(3):
            data[f"demo_{k}/states"] = rng.normal(size=(30, 5))
            data[f"demo_{k}/actions"] = rng.normal(size=(30, 2))
    with pytest.warns(UserWarning, match="as many observations as actions"):
        episodes = load_episodes(tmp_path / "demo.hdf5")
    assert [x.time_step for x in episodes] == [0.05] * 3


@pytest.mark.filterwarnings("ignore:.* as many observations", "ignore:.*left out")
def test_groups_of_observations_and_actions_are_read_or_named(tmp_path):
    path, rng = tmp_path / "trajectory.h5", np.random.default_rng(0)
    seen, acted = rng.normal(size=(9, 4)), rng.normal(size=(9, 3))
    with h5py.File(path, "w") as file:  # as DROID has it
        file["observation/robot_state/joints"] = seen[:, :3]
        file["observation/robot_state/gripper"] = seen[:, 3]
        file["observation/camera"] = np.zeros((9, 2, 2, 3))
        file["action/joints"] = acted
    (run,) = load_episodes(path, time_step=0.1)
    np.testing.assert_array_equal(run.observations, seen[:, [3, 0, 1, 2]])
    np.testing.assert_array_equal(run.actions, acted[:-1])
    with h5py.File(path, "a") as file:
        file["action/gripper"] = acted
    with pytest.raises(ValueError, match="action of .* holds gripper, joints: write"):
        load_episodes(path, time_step=0.1)


def test_a_count_of_samples_that_contradicts_the_rows_is_refused(tmp_path):
    path = robomimic(tmp_path / "x.hdf5", lengths=(6, 6))
    with h5py.File(path, "a") as file:
        file["data/demo_1"].attrs["num_samples"] = 4
    with pytest.raises(ValueError, match="demo_1 .*holds 6, .*`num_samples` is 4"):
        load_episodes(path)
    # Rows beyond it that hold the last one, or nothing, are padding.
    with h5py.File(path, "a") as file:
        demo = file["data/demo_1"]
        for name in ("obs/object", "obs/eef_pos", "actions"):
            demo[name][4:] = demo[name][3]
    assert [one.steps for one in load_episodes(path)] == [6, 4]


RUN = {"observations": np.random.default_rng(0).normal(size=(9, 2))}
RUN["actions"] = RUN["observations"][:8, :1]


def with_attributes(path, arrays, told):
    """Write arrays by name, and attributes by the name of their group and theirs."""
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file[name] = value
        for place, value in told.items():
            group, _, name = place.rpartition("/")
            file.require_group(group or "/").attrs[name] = value
    return path


@pytest.mark.parametrize(
    "told",
    [
        {"dt": 0.05},
        {"time_step": np.array([0.05])},
        {"control_dt": 0.05, "fps": 20},
        {"control_freq": np.int64(20), "dt": "fast"},
        {"metadata/hz": 20.0},
    ],
)
@pytest.mark.filterwarnings("ignore:.*left out")
def test_attributes_tell_the_time_step(tmp_path, told):
    path = with_attributes(tmp_path / "x.h5", RUN, told)
    assert load_episodes(path)[0].time_step == 0.05
    every = {f"run_{k}/{name}": value for k in (0, 1) for name, value in RUN.items()}
    path = with_attributes(tmp_path / "y.h5", every, told)
    assert [one.time_step for one in load_episodes(path)] == [0.05] * 2
    motion = np.random.default_rng(0).normal(size=(3, 9, 2))
    joints = dict(zip(("q", "dq", "tau"), motion, strict=True))
    path = with_attributes(tmp_path / "z.h5", joints, told)
    assert load_recordings(path, joints=["a", "b"])[0].time_step == 0.05


def test_each_group_may_tell_its_time_step_and_contradictions_are_refused(tmp_path):
    every = {f"run_{k}/{name}": value for k in (0, 1) for name, value in RUN.items()}
    told = {"run_0/dt": 0.05, "run_1/dt": 0.1}
    path = with_attributes(tmp_path / "x.h5", every, told)
    assert [one.time_step for one in load_episodes(path)] == [0.05, 0.1]
    path = with_attributes(tmp_path / "x.h5", RUN, {"dt": 0.05, "fps": 30})
    with pytest.raises(ValueError, match="`dt` says 0.05 s and `fps` 0.03333 s"):
        load_episodes(path)
    path = robomimic(tmp_path / "r.hdf5", rate=0)
    with h5py.File(path, "a") as file:
        file.attrs["control_freq"] = 20
    assert [one.time_step for one in load_episodes(path)] == [0.05] * 2
    with h5py.File(path, "a") as file:
        file["data/demo_1"].attrs["dt"] = 0.04
    assert load_episodes(path)[1].time_step == 0.04
