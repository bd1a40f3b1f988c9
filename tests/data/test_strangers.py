"""Files that want to run code, or to read others, when somebody reads them."""

import json
import os
import pickle
import struct
import sys
import zipfile
import zlib

import gymnasium
import numpy as np
import pytest

import roboopt as ro
from roboopt.data import Trajectory, load_recordings, save_episodes
from roboopt.rollouts import EnvSpec

h5py = pytest.importorskip("h5py")


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """Return a function that says whether the module `canary` was imported."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "canary.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "gymnasium.register('Song-v0', CartPoleEnv)\n"
        "class Task: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "modules")
    yield lambda: sys.modules.pop("canary", None) is not None
    gymnasium.registry.pop("Song-v0", None)


def loaded(path, spec, **options):
    ro.save(path, {"env": spec})
    return ro.load(path, **options)["env"]


SPECS = {
    "a module": EnvSpec("canary:Song-v0"),
    "a task": EnvSpec(
        "roboopt_envs:roboopt/ArmReach-v0", {"robot": "two-link", "task": "canary:Task"}
    ),
    "a file": EnvSpec(
        "roboopt_envs:roboopt/ArmReach-v0", {"robot": "/some/robot.urdf"}
    ),
    "a file here": EnvSpec("roboopt_envs:roboopt/ArmReach-v0", {"robot": "robot"}),
    "another id": EnvSpec("GymV21Environment-v0", {"env_id": "canary:Song-v0"}),
    "none that is known": EnvSpec("Song-v7"),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_file_makes_no_environment_of_its_choice(name, tmp_path, monkeypatch, canary):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "robot").write_text("<robot/>")
    spec = loaded("x.npz", SPECS[name])
    assert spec == SPECS[name]
    more = EnvSpec.of(spec, max_episode_steps=3)
    assert more is not None
    for env in (spec, more):
        with pytest.raises(ro.RobooptError, match=r"allow it by `load\(path, allow="):
            env.make()
        with pytest.raises(ro.RobooptError, match="allow it by"):
            ro.evaluate(env, lambda o: 0, episodes=1)
        with pytest.raises(ro.RobooptError, match="allow it by"):
            env.require_keywords(["robot"])
    assert not canary()
    if name.startswith("a file"):  # The option is the reason, not the id.
        with pytest.raises(ro.RobooptError, match="name files .* robot="):
            spec.make()


def test_a_file_makes_environments_that_are_known_or_allowed(tmp_path, canary):
    known = EnvSpec("CartPole-v1", {"max_episode_steps": 7})
    assert loaded(tmp_path / "x.npz", known).make().spec.max_episode_steps == 7
    arm = EnvSpec("roboopt_envs:roboopt/ArmReach-v0", {"robot": "two-link"})
    loaded(tmp_path / "x.npz", arm).make().close()
    spec = loaded(tmp_path / "x.npz", SPECS["a module"], allow=[EnvSpec])
    spec.make().close()
    assert canary()


def test_an_array_is_made_once_however_often_a_file_names_it(tmp_path):
    # Named a million times, a short file would fill the memory.
    array = np.ones(1000)
    path = tmp_path / "x.npz"
    ro.save(path, [array, array, ro.Frozen(array)])
    first, second, frozen = ro.load(path)
    assert first is second is frozen.value


def hdf5(path, actions=None, **members):
    with h5py.File(path, "w") as file:
        group = file.create_group("data/demo_0")
        given = {"obs": np.zeros((3, 2)), "next_obs": np.zeros((3, 2))} | members
        given["actions"] = np.zeros((3, 1)) if actions is None else actions
        for name, value in given.items():
            if callable(value):
                value(group, name)
            else:
                group[name] = value
    return path


def elsewhere(folder):
    with h5py.File(folder / "other.hdf5", "w") as file:
        file["secret"] = np.ones((3, 1))
    return folder / "other.hdf5"


def external_link(folder):
    return h5py.ExternalLink(elsewhere(folder), "secret")


def soft_link(folder):
    return h5py.SoftLink("/data/demo_0/obs")


def external_storage(folder):
    (folder / "raw").write_bytes(bytes(24))
    external = [(folder / "raw", 0, 24)]
    return lambda group, name: group.create_dataset(
        name, (3, 1), float, external=external
    )


def virtual(folder):
    layout = h5py.VirtualLayout((3, 1), float)
    layout[:] = h5py.VirtualSource(elsewhere(folder), "secret", (3, 1))
    return lambda group, name: group.create_virtual_dataset(name, layout)


def terabytes(folder):
    return lambda group, name: group.create_dataset(
        name, (1 << 40, 1), float, chunks=(1024, 1)
    )


def one_large_chunk(folder):
    return lambda group, name: group.create_dataset(
        name, (3, 1), float, chunks=(1 << 28, 1), maxshape=(None, 1)
    )


def texts(folder):
    return np.array(["a", "b", "c"], h5py.string_dtype())


@pytest.mark.parametrize(
    "make, said",
    [
        (external_link, "has a link at"),
        (soft_link, "has a link at"),
        (external_storage, "takes .* from another file"),
        (virtual, "takes .* from another file"),
        (terabytes, "claims to expand without end"),
        (one_large_chunk, "claims to expand without end"),
        (texts, "holds no numbers"),
    ],
)
@pytest.mark.parametrize("name", ["actions", "rewards", "obs"])
def test_hdf5_files_hold_their_own_data(make, said, name, tmp_path):
    path = hdf5(tmp_path / "x.hdf5", **{name: make(tmp_path)})
    said = f"{said}|must hold vectors of observations"
    with pytest.raises(ro.RobooptError, match=said):
        load_recordings(path, time_step=0.1)


def test_written_hdf5_files_notice_a_changed_bit(tmp_path):
    observations = np.random.default_rng(0).normal(size=(101, 3))
    episode = Trajectory(observations, np.ones((100, 1)), 0.1)
    path = tmp_path / "x.hdf5"
    save_episodes(path, episode)
    whole = path.read_bytes()
    at = whole.index(observations[10].tobytes())
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(ro.RobooptError, match="`path` must be an HDF5 file"):
        load_recordings(path)


@pytest.fixture
def minari_folder(tmp_path, monkeypatch):
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    episode = Trajectory(np.zeros((3, 4)), np.zeros((2, 1)), 0.1)
    ro.data.save_minari("song/x-v0", episode)
    return tmp_path / "song" / "x-v0" / "data"


SPEC = {
    **{"id": "Song-v0", "entry_point": "canary:Task", "reward_threshold": None},
    **{"nondeterministic": False, "max_episode_steps": 3, "kwargs": {}},
    **{"disable_env_checker": True, "additional_wrappers": []},
    **{"vector_entry_point": None},
}


@pytest.mark.filterwarnings("ignore")
def test_a_minari_dataset_makes_no_environment(minari_folder, canary):
    file = minari_folder / "metadata.json"
    told = json.loads(file.read_text()) | {"env_spec": json.dumps(SPEC)}
    del told["time_step"]
    file.write_text(json.dumps(told))
    with pytest.raises(ro.RobooptError, match="`time_step` must be given"):
        load_recordings(f"minari:{minari_folder}")
    del told["action_space"]
    file.write_text(json.dumps(told))
    with pytest.raises(ro.RobooptError, match="with its observation_space and"):
        load_recordings(f"minari:{minari_folder}", time_step=0.1)
    assert not canary()


@pytest.mark.filterwarnings("ignore")
def test_a_minari_dataset_holds_its_own_data(minari_folder, tmp_path):
    with h5py.File(minari_folder / "main_data.hdf5", "a") as file:
        del file["episode_0/actions"]
        file["episode_0/actions"] = external_link(tmp_path)
    with pytest.raises(ro.RobooptError, match="has a link at"):
        load_recordings(f"minari:{minari_folder}")


def claim(path, name, shape, dtype="<f8"):
    with open(path / f"{name}.npy", "wb") as file:
        header = {"descr": dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(64))


@pytest.mark.parametrize("name", ["observations", "lengths", "time_step"])
@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 40, 0, 7), (-1,), (3,)])
def test_folders_claim_no_more_than_they_hold(name, shape, tmp_path):
    path = tmp_path / "demos"
    save_episodes(path, Trajectory(np.zeros((3, 2)), np.zeros((2, 1)), 0.1))
    (path / "manifest.json").unlink()
    claim(path, name, shape)
    with pytest.raises(ro.RobooptError, match=f"`path` must hold whole.*{name}"):
        load_recordings(path)
    np.save(path / f"{name}.npy", np.array([print], object), allow_pickle=True)
    with pytest.raises(ro.RobooptError, match=f"`path` must hold whole.*{name}"):
        load_recordings(path)


def test_a_changed_bit_in_a_folder_is_noticed(tmp_path):
    path = tmp_path / "demos"
    save_episodes(path, Trajectory(np.zeros((3, 2)), np.zeros((2, 1)), 0.1))
    file = path / "observations.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"\x01")
    for read in (load_recordings, ro.data.StreamedDemonstrations):
        with pytest.raises(ro.RobooptError, match="manifest.json"):
            read(path)


def test_archives_are_compressed_as_numpy_does(tmp_path):
    # The dictionary of LZMA may claim gigabytes.
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("observations.npy", b"")
    for read in (ro.load, load_recordings):
        with pytest.raises(ro.RobooptError, match="`path` must be an .npz archive"):
            read(path)


def test_a_pipe_is_no_file(tmp_path):
    path = tmp_path / "x.npz"
    os.mkfifo(path)
    with pytest.raises(ro.RobooptError, match="`path` must be a file"):
        ro.load(path)


def test_nothing_is_written_through_a_link_that_somebody_put_there(tmp_path):
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / f".x.npz.{os.getpid()}").symlink_to(target)
    ro.save(tmp_path / "x.npz", 1.0)
    assert target.read_text() == "mine" and ro.load(tmp_path / "x.npz") == 1.0


class Shout:
    """What a pickle runs when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.filterwarnings("ignore:.*as many observations")
def test_a_zarr_store_unpickles_nothing(tmp_path):
    zarr = pytest.importorskip("zarr")
    root = zarr.open_group(str(tmp_path / "x.zarr"), mode="w", zarr_format=2)
    for name in ("state", "action"):
        made = root.create_array(
            f"data/{name}", shape=(4, 2), dtype="f8", chunks=(4, 2)
        )
        made[:] = 1.0
    assert len(load_recordings(tmp_path / "x.zarr", time_step=0.1)) == 1
    file = tmp_path / "x.zarr" / "data" / "state" / ".zarray"
    told = json.loads(file.read_text())
    told |= {"filters": None, "compressor": {"id": "pickle", "protocol": 5}}
    file.write_text(json.dumps(told))
    mark = tmp_path / "mark"
    (file.parent / "0.0").write_bytes(pickle.dumps(Shout(mark)))
    with pytest.raises(ro.RobooptError, match="needs pickle|No Zarr data type"):
        load_recordings(tmp_path / "x.zarr", time_step=0.1)
    assert not mark.exists()


def test_a_zarr_store_claims_no_more_than_memory_holds(tmp_path):
    zarr = pytest.importorskip("zarr")
    root = zarr.open_group(str(tmp_path / "x.zarr"), mode="w")
    for name in ("state", "action"):
        shape = (1 << 36, 2)
        root.create_array(f"data/{name}", shape=shape, dtype="f8", chunks=(64, 2))
    with pytest.raises(ro.RobooptError, match="expands too far"):
        load_recordings(tmp_path / "x.zarr", time_step=0.1)


def test_a_matlab_file_expands_no_further_than_others(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    path = tmp_path / "x.mat"
    few = np.zeros(10)
    scipy_io.savemat(path, {"t": few}, do_compression=True)
    data = path.read_bytes()
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(1 << 24)) for _ in range(20))
    packed += packer.flush()
    path.write_bytes(data[:128] + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(ro.RobooptError, match="expands too far"):
        load_recordings(path)


def test_a_parquet_file_claims_no_more_than_memory_holds(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    one = pa.array(np.zeros(1_000_000))
    table = pa.table({f"c{k}": one for k in range(60)})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(ro.RobooptError, match="claims to expand"):
        load_recordings(tmp_path / "x.parquet")


def joint_states(path, storage="mcap", copies=1):
    """Write a bag of joint states; chunks of MCAP are compressed."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_HUMBLE)
    stamp, header, state = (
        types.types[name]
        for name in (
            *("builtin_interfaces/msg/Time", "std_msgs/msg/Header"),
            "sensor_msgs/msg/JointState",
        )
    )
    kind = state.__msgtype__
    plugin = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}[storage]
    writer = Writer(path, version=9, storage_plugin=plugin)
    mode = CompressionMode.STORAGE if storage == "mcap" else CompressionMode.MESSAGE
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        topic = writer.add_connection("/joint_states", kind, typestore=types)
        for k in range(3):
            empty = np.zeros(0)
            numbers = np.arange(3.0) + k
            head = header(stamp(sec=1, nanosec=1000 * k), "x" * copies)
            message = state(head, ["a", "b", "c"], numbers, empty, numbers)
            data = types.serialize_cdr(message, kind)
            writer.write(topic, 10**9 + 1000 * k, data)
    return path


@pytest.mark.filterwarnings("ignore:no velocities")
def test_a_bag_is_read_without_code_of_its_definitions(tmp_path, monkeypatch):
    pytest.importorskip("rosbags")
    from rosbags.typesys import store

    def refuse(*definitions):
        raise AssertionError("code is made of the definitions in a file")

    path = joint_states(tmp_path / "bag")
    monkeypatch.setattr(store, "generate_python_code", refuse)
    found = load_recordings(path, joints=["a", "b", "c"], time_step=0.1)
    np.testing.assert_allclose(found[0].observations[:, 0], [0.0, 1.0, 2.0])


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.filterwarnings("ignore:no velocities")
def test_a_bag_expands_no_further_than_others(storage, tmp_path):
    pytest.importorskip("rosbags")
    read = {"joints": ["a", "b", "c"], "time_step": 0.1}
    assert load_recordings(joint_states(tmp_path / "small", storage), **read)
    large = joint_states(tmp_path / "large", storage, copies=1 << 27)
    assert sum(f.stat().st_size for f in large.iterdir()) < 1 << 20
    with pytest.raises(ro.RobooptError, match="expands too far"):
        load_recordings(large, **read)
