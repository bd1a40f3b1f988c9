"""Read files of every kind after random damage, and print what came of it.

    python fuzzing.py FOLDER COUNT SEED KIND...

For each kind one line of JSON: how many files were refused, read as before, read as
something else, and what must not happen: another error than `RobooptError`, and more
than a second of processor time. The number of the file that is being read is kept in
FOLDER/now, for the caller to know it if the process dies.
"""

import hashlib
import json
import os
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from roboopt_envs.arm import ArmReach
from roboopt_envs.cart_pole import URDF

import roboopt as ro
from roboopt.cli._config import defaults_from
from roboopt.cli.tune import Tune
from roboopt.urdf import read_urdf

MAX_TIME_S = 1.0  # of the processor
BLOCK_BITS = 7  # of the longest block, in bytes

TRIANGLE = np.array([0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0], "<f4").tobytes() + bytes(2)
STL = bytes(80) + (40).to_bytes(4, "little") + 40 * TRIANGLE
OBJ = b"o thing\n" + b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 0 1\nvt 0 0\n" * 10
OBJ += b"".join(b"f %d/1/1 %d/1/1 -1/1/1\n" % (k, k + 1) for k in range(1, 29))
SOURCE = """<source id='s'><float_array id='f' count='9'>0 0 0 1 0 0 0 1 0</float_array>
<technique_common><accessor source='#f' count='3' stride='3'>
<param name='X' type='float'/><param name='Y' type='float'/>
<param name='Z' type='float'/></accessor></technique_common></source>
<vertices id='w'><input semantic='POSITION' source='#s'/></vertices>"""
DAE = f"""<COLLADA><asset><unit meter='1'/><up_axis>Z_UP</up_axis></asset>
<library_geometries><geometry id='a'><mesh>{SOURCE}<triangles count='2'>
<input semantic='VERTEX' source='#w' offset='0'/><p>0 1 2 0 1 2</p></triangles></mesh>
</geometry></library_geometries><library_visual_scenes><visual_scene id='v'><node>
<matrix>1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1</matrix><instance_geometry url='#a'/></node>
</visual_scene></library_visual_scenes><scene><instance_visual_scene url='#v'/></scene>
</COLLADA>"""
ROBOT = """<robot name="r"><link name="base"/><link name="arm"><inertial>
<origin xyz="0 0 0.5"/><mass value="1"/>
<inertia ixx="0.1" iyy="0.1" izz="0.1" ixy="0" ixz="0" iyz="0"/></inertial>
<visual><geometry><mesh filename="SHAPE"/></geometry></visual>
<collision><geometry><mesh filename="SHAPE"/></geometry></collision></link>
<joint name="j" type="revolute"><parent link="base"/><child link="arm"/>
<axis xyz="0 1 0"/><limit lower="-2" upper="2" effort="10" velocity="5"/></joint>
</robot>"""
XACRO = """<robot name="r" xmlns:xacro="http://www.ros.org/wiki/xacro">
<xacro:property name="m" value="${2*1.5 + 1}"/><xacro:arg name="side" default="left"/>
<xacro:macro name="arm" params="name"><link name="${name}"><inertial>
<mass value="${m}"/><inertia ixx="0.1" iyy="0.1" izz="0.1" ixy="0" ixz="0" iyz="0"/>
</inertial></link></xacro:macro><link name="base"/><xacro:arm name="$(arg side)"/>
<joint name="j" type="revolute"><parent link="base"/><child link="$(arg side)"/>
<axis xyz="0 1 0"/><limit lower="-2" upper="2" effort="10" velocity="5"/></joint>
</robot>"""
MJCF = """<mujoco model="r"><compiler angle="radian"/><option timestep="0.01"/>
<default><joint damping="0.1" armature="0.01"/></default><worldbody>
<body name="arm" pos="0 0 1"><joint name="j" type="hinge" axis="0 1 0" range="-2 2"/>
<geom type="capsule" fromto="0 0 0 0 0 0.5" size="0.05"/>
<body name="hand" pos="0 0 0.5"><joint name="k" type="slide" axis="0 0 1"/>
<geom type="box" size="0.1 0.1 0.1" mass="0.5"/></body></body></worldbody>
<actuator><motor joint="j" gear="2" ctrlrange="-1 1"/></actuator></mujoco>"""
FILES_OF_BULLET = {"a.stl": STL, "a.obj": OBJ, "a.dae": DAE.encode()}


def episodes() -> list[ro.Trajectory]:
    random = np.random.default_rng(0)
    return [
        ro.Trajectory(
            random.normal(size=(n + 1, 4)),
            random.normal(size=(n, 2)),
            0.05,
            rewards=random.normal(size=n),
            success=np.array(True),
        )
        for n in (9, 12)
    ]


def digest(tree: object) -> str:
    """Return a hash of the arrays and the structure of a tree."""
    leaves, structure = jax.tree.flatten(tree)
    found = hashlib.sha256(str(structure).encode())
    for leaf in leaves:
        array = np.asarray(leaf)
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(array.tobytes() if array.dtype != object else str(leaf).encode())
    return found.hexdigest()


def recordings(path: Path, **options: object) -> str:
    found = ro.data.load_recordings(path, **options)  # type: ignore
    return digest([vars(run) for run in found])


def episodes_in(path: Path) -> str:
    found = ro.data.load_episodes(path, time_step=0.1)
    return digest([vars(run) for run in found])


def policy(folder: Path) -> Path:
    key = jax.random.key(0)
    kind = ro.policies.MLPPolicy.bounded(np.ones(4), np.ones(2), key=key, width=8)
    ro.save(folder / "policy.npz", kind)
    return folder / "policy.npz"


def result(folder: Path) -> Path:
    ro.save(folder / "result.npz", {"runs": episodes(), "history": np.arange(50.0)})
    return folder / "result.npz"


def descent(path: Path, steps: int) -> str:
    data = np.linspace(0.0, 1.0, 8)
    found = ro.minimize(
        lambda m, b: jnp.mean((m - b) ** 2),
        jnp.zeros(()),
        data,
        steps=steps,
        checkpoint=path,
    )
    return digest(found.model)


def checkpoint(folder: Path) -> Path:
    descent(folder / "run.npz", 3)
    for other in folder.glob("run.?.npz"):
        other.unlink()
    return folder / "run.npz"


def restored(path: Path) -> str:
    """Return the digest of what a checkpoint holds."""
    from roboopt.data import read_archive

    return digest(read_archive(path, "checkpoint"))


def settings(folder: Path) -> Path:
    flags = {"steps": 7, "seconds": "inf", "urdf": "a/b", "seed": 3, "env": "arm"}
    text = json.dumps({"command": "tune", "flags": flags}, indent=2)
    (folder / "settings.json").write_text(text)
    return folder / "settings.json"


def written(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        ro.data.save_episodes(folder / name, episodes())
        return folder / name

    return write


def minari(folder: Path) -> Path:
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    ro.data.save_minari("arm/b-v0", episodes())
    return folder / "arm" / "b-v0" / "data"


def table(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        import gzip

        rows = np.random.default_rng(0).normal(size=(30, 6))
        rows[:, 0] = 0.01 * np.arange(30)
        lines = [",".join(f"{x:.5f}" for x in row) for row in rows]
        text = "\n".join(["time,q1,q2,tau1,tau2,other", *lines]).encode()
        data = gzip.compress(text) if name.endswith("gz") else text
        (folder / name).write_bytes(data)
        return folder / name

    return write


def bag(name: str) -> Callable[[Path], Path]:
    """Return what writes joint states as a bag of ROS 1, or a folder of ROS 2."""

    def write(folder: Path) -> Path:
        from rosbags.rosbag1 import Writer as Writer1
        from rosbags.rosbag2 import StoragePlugin
        from rosbags.rosbag2 import Writer as Writer2
        from rosbags.typesys import Stores, get_typestore

        old = name.endswith(".bag")
        store = get_typestore(Stores.ROS1_NOETIC if old else Stores.ROS2_HUMBLE)
        stamp_type, header_type, state_type = (
            store.types[f"{package}/msg/{kind}"]
            for package, kind in (
                ("builtin_interfaces", "Time"),
                ("std_msgs", "Header"),
                ("sensor_msgs", "JointState"),
            )
        )
        if old:
            writer: Any = Writer1(folder / name)
        else:
            mcap = "mcap" in name
            plugin = StoragePlugin.MCAP if mcap else StoragePlugin.SQLITE3
            writer = Writer2(folder / name, version=9, storage_plugin=plugin)
        extra = {"seq": 0} if old else {}
        random = np.random.default_rng(0)
        encode = store.serialize_ros1 if old else store.serialize_cdr
        with writer:
            kind = state_type.__msgtype__
            topic = writer.add_connection("/joint_states", kind, typestore=store)
            for k in range(20):
                stamp = stamp_type(sec=1_700_000_000, nanosec=4_000_000 * k)
                header = header_type(stamp=stamp, frame_id="", **extra)
                numbers = random.normal(size=(3, 2))
                message = state_type(header, ["a", "b"], *numbers)
                arrival = 1_700_000_000_000_000_000 + 4_000_000 * k
                writer.write(topic, arrival, encode(message, kind))
        return folder / name

    return write


def parquet(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet

    rows = np.random.default_rng(0).normal(size=(40, 4))
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows[:, :3].ravel()), 3)
    columns = {"observation.state": vectors, "action": pa.array(rows[:, 3])}
    columns["episode_index"] = pa.array(np.repeat([0, 1], 20))
    path = folder / "x.parquet"
    pyarrow.parquet.write_table(
        pa.table(columns), path, write_page_checksum=True, compression="gzip"
    )
    return path


def zarr(folder: Path) -> Path:
    import zarr

    root = zarr.open_group(str(folder / "x.zarr"), mode="w", zarr_format=2)
    random = np.random.default_rng(0)
    arrays = {"data/state": random.normal(size=(30, 3))}
    arrays |= {"data/action": random.normal(size=(30, 1))}
    for name, values in {**arrays, "meta/episode_ends": np.array([12, 30])}.items():
        root.create_array(name, data=values)
    return folder / "x.zarr"


def mat(folder: Path) -> Path:
    from scipy.io import savemat

    random = np.random.default_rng(0)
    arrays = {"observations": random.normal(size=(21, 4)), "dt": 0.1}
    arrays["actions"] = random.normal(size=(20, 2))
    savemat(folder / "x.mat", arrays, do_compression=True)
    return folder / "x.mat"


def texture(folder: Path) -> Path:
    """Write a robot whose mesh has a material with an image."""
    from PIL import Image

    mesh("a.obj")(folder)
    whole = b"mtllib a.mtl\nusemtl m\n" + OBJ
    (folder / "a.obj").write_bytes(whole)
    (folder / "a.mtl").write_text("newmtl m\nKd 1 1 1\nmap_Kd a.png\n")
    Image.new("RGB", (16, 16), (200, 30, 30)).save(folder / "a.png")
    return folder / "a.png"


def material(folder: Path) -> Path:
    texture(folder)
    return folder / "a.mtl"


def text(name: str, content: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return write


def mesh(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "r.urdf").write_text(ROBOT.replace("SHAPE", name))
        (folder / name).write_bytes(FILES_OF_BULLET[name])
        return folder / name

    return write


def robot(path: Path) -> str:
    model = read_urdf(path)
    return repr((model.joints, model.inertials, model.gravity))


def beside(path: Path) -> str:
    return robot(path.with_suffix(""))


def side(folder: Path) -> Path:
    shutil.copy(URDF, folder / "r.urdf")
    joint = read_urdf(URDF).joint_names[0]
    told = {"armature": {joint: 0.5}, "gravity": [0.0, 0.0, -9.0]}
    (folder / "r.urdf.json").write_text(json.dumps(told))
    return folder / "r.urdf.json"


def shaped(path: Path) -> str:
    """Load a robot with the mesh into PyBullet, and look at its shapes."""
    env: Any = ArmReach(str(path.with_name("r.urdf")))
    try:
        client, body = env.unwrapped.physics_client, env.unwrapped.body
        shapes = client.getVisualShapeData(body)
        client.getCollisionShapeData(body, 0)
        env.reset(seed=0)
        env.step(np.zeros(1))
        return str(len(shapes))
    finally:
        env.close()


def mjcf(path: Path) -> str:
    return digest(ro.dynamics.load_mjcf(path))


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], str], bool]] = {
    # How a file is made, how it is read, and whether a checksum covers what it says.
    "policy": (policy, lambda p: digest(ro.load(p)), True),
    "result": (result, lambda p: digest(ro.load(p.parent)), True),
    "checkpoint": (checkpoint, restored, True),
    "settings": (settings, lambda p: repr(defaults_from(p, Tune)), False),
    "demonstrations.npz": (written("x.npz"), recordings, True),
    "demonstrations.hdf5": (written("x.hdf5"), recordings, True),
    "demonstrations folder": (written("x"), recordings, True),
    "minari": (minari, lambda p: recordings(Path(f"minari:{p}")), False),
    "bag of ROS 1": (bag("x.bag"), recordings, False),
    "bag of ROS 2": (bag("x"), recordings, False),
    "mcap": (bag("x.mcap"), recordings, False),
    "parquet": (parquet, episodes_in, False),
    "zarr": (zarr, episodes_in, False),
    "mat": (mat, episodes_in, False),
    "recordings.csv": (table("x.csv"), recordings, False),
    "recordings.csv.gz": (table("x.csv.gz"), recordings, True),
    "urdf": (text("r.urdf", Path(URDF).read_text()), robot, False),
    "side file": (side, beside, False),
    "xacro": (text("r.urdf.xacro", XACRO), robot, False),
    "mjcf": (text("r.xml", MJCF), mjcf, False),
    "stl": (mesh("a.stl"), shaped, False),
    "obj": (mesh("a.obj"), shaped, False),
    "dae": (mesh("a.dae"), shaped, False),
    "mtl": (material, shaped, False),
    "texture": (texture, shaped, False),
}


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """Return data with one damage, or up to three: bits, blocks, and the end."""
    content = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        size = len(content) or 1
        at, other = (int(x) for x in random.integers(size, size=2))
        length = 1 << int(random.integers(BLOCK_BITS + 1))
        here, there = slice(at, at + length), slice(other, other + length)
        match random.integers(8):
            case 0 | 1 | 2 if content:
                content[at] ^= 1 << int(random.integers(8))
            case 3:
                del content[at:]
            case 4:
                content[here] = bytes(len(content[here]))
            case 5:
                content[here] = b"\xff" * len(content[here])
            case 6:
                content[at:at] = content[here]
            case 7:
                content[here], content[there] = content[there], content[here]
    return bytes(content)


def fuzz(kind: str, count: int, seed: int, folder: Path, first: int = 0) -> dict:
    """Return the counts of what came of `count` damaged files of a kind."""
    make, read, checked = KINDS[kind]
    shutil.rmtree(folder / "work", ignore_errors=True)
    (folder / "work").mkdir(parents=True)
    path = make(folder / "work")
    files = (
        sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
    )
    whole = {file: file.read_bytes() for file in files}
    before = read(path)
    assert read(path) == before, f"{kind} is not read alike twice"
    found = {"kind": kind, "refused": 0, "same": 0, "other": 0}
    bad: list[str] = []
    slowest = 0.0
    for number in range(first, count):
        (folder / "now").write_text(str(number))
        random = np.random.default_rng([seed, number])
        file = files[int(random.integers(len(files)))]
        content = damaged(whole[file], random)
        file.write_bytes(content)
        begin = time.process_time()
        try:
            after = read(path)
        except ro.RobooptError:
            found["refused"] += 1
        except Exception:
            bad.append(f"{number}: {traceback.format_exc(limit=-3)}")
        else:
            found["same" if after == before else "other"] += 1
            if after != before and checked:
                bad.append(f"{number}: {file.name} is read as something else")
        took = time.process_time() - begin
        slowest = max(slowest, took)
        if took > MAX_TIME_S:
            bad.append(f"{number}: took {took:.1f} s")
        file.write_bytes(whole[file])
    return {**found, "slowest": round(slowest, 3), "bad": bad}


def main() -> None:
    folder, count, seed, *kinds = sys.argv[1:]
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")
    for name in kinds:
        kind, _, first = name.partition("@")
        line = fuzz(kind, int(count), int(seed), Path(folder), int(first or 0))
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
