"""What is drawn stands where PyBullet has it, link by link and shape by shape."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pybullet
import pybullet_data
import pytest
import roboopt_envs
from gymnasium import Env, make
from gymnasium.spaces import Box
from gymnasium.wrappers import FlattenObservation, TransformObservation
from roboopt_envs.arm import ArmReach
from roboopt_envs.arm_track import ArmTrack
from shown_robots import scara

import roboopt as ro
from roboopt.report import replay_section
from roboopt.sysid._robot import KnownRobot, known_scene
from roboopt.urdf import Shape, find_meshes, read_urdf, shown_shapes
from roboopt.view import (
    RobotMotions,
    Scene,
    Viewer,
    env_scene,
    scene_or_none,
    triangles,
)

PORT = 18_090
DATA = pybullet_data.getDataPath()
KINDS = {
    pybullet.GEOM_SPHERE: "sphere",
    pybullet.GEOM_BOX: "box",
    pybullet.GEOM_CYLINDER: "cylinder",
    pybullet.GEOM_MESH: "mesh",
    pybullet.GEOM_CAPSULE: "capsule",
}


@pytest.fixture
def client():
    client = pybullet.connect(pybullet.DIRECT)
    yield client
    pybullet.disconnect(client)


def at(points, position, quaternion):
    matrix = np.reshape(pybullet.getMatrixFromQuaternion(quaternion), (3, 3))
    return points @ matrix.T + position


def link_pose(body, link, client):
    """Return the pose of a link's frame in PyBullet's world."""
    if link < 0:
        return (0, 0, 0), (0, 0, 0, 1)  # The base is placed by its own frame.
    state = pybullet.getLinkState(
        body, link, computeForwardKinematics=True, physicsClientId=client
    )
    return state[4], state[5]


def drawn(scene, q):
    """Return the corners of all triangles in the world, sorted."""
    (poses,) = scene.poses(q[None])
    found = []
    for joint, part in zip(scene.joints, scene.parts, strict=True):
        corners = part.vertices[part.faces].reshape(-1, 3)
        if joint >= 0:
            corners = at(corners, poses[joint, :3], poses[joint, 3:])
        found.append(corners)
    return ordered(np.concatenate(found))


def ordered(points):
    points = np.unique(points.round(5), axis=0)
    return points[np.lexsort(points.T)]


def loaded(path, client):
    flags = pybullet.URDF_USE_INERTIA_FROM_FILE
    body = pybullet.loadURDF(
        str(path), useFixedBase=True, flags=flags, physicsClientId=client
    )
    joints = range(pybullet.getNumJoints(body, physicsClientId=client))
    infos = [pybullet.getJointInfo(body, i, physicsClientId=client) for i in joints]
    return body, {info[12].decode(): info[0] for info in infos}, infos


def check_against_bullet(path, client, seed):
    """Compare shapes and poses with the robot that PyBullet reads from the file."""
    scene, model = Scene.of_urdf(path), read_urdf(path)
    body, links, infos = loaded(path, client)
    q = np.random.default_rng(seed).uniform(-1, 1, len(model.joint_names))
    coupling, offset = model.coupling
    moving = dict(
        zip([j.name for j in model.moving], coupling @ q + offset, strict=True)
    )
    for info in infos:
        if info[1].decode() in moving:
            position = moving[info[1].decode()]
            pybullet.resetJointState(body, info[0], position, physicsClientId=client)
    rotations = scene.robot.link_rotations
    (poses,) = scene.poses(q[None])
    for name, index in links.items():
        there = link_pose(body, index, client)
        number = scene.robot.link_names.index(name)
        joint, shift = (
            scene.robot.link_joints[number],
            scene.robot.link_offsets[number],
        )
        points = np.vstack([np.zeros(3), np.eye(3)])
        own = points @ np.asarray(rotations[number]).T + np.asarray(shift)
        own = at(own, poses[joint, :3], poses[joint, 3:]) if joint >= 0 else own
        np.testing.assert_allclose(own, at(points, *there), atol=1e-6)
    shapes = shown_shapes(model, find_meshes(model, path.parent))
    shown = pybullet.getVisualShapeData(body, physicsClientId=client)
    index = {**links, model.root: -1}
    assert [index[s.link] for s in shapes] == [data[1] for data in shown]
    for shape, data in zip(shapes, shown, strict=True):
        assert shape.kind == KINDS[data[2]]
        sizes = (
            shape.sizes[::-1]
            if shape.kind in ("cylinder", "capsule")
            else (shape.sizes)
        )
        np.testing.assert_allclose(data[3][: len(sizes)], sizes, atol=1e-7)
        matrix = pybullet.getMatrixFromQuaternion(data[6])
        np.testing.assert_allclose(np.ravel(shape.rotation), matrix, atol=1e-6)
        np.testing.assert_allclose(shape.offset, data[5], atol=1e-6)
        if shape.color is not None:
            np.testing.assert_allclose(shape.color, data[7], atol=1e-6)
    whole = [
        at(x.vertices[x.faces].reshape(-1, 3), *link_pose(body, index[s.link], client))
        for s in shapes
        for x in triangles(s)
    ]
    return scene, q, ordered(np.concatenate(whole))


def test_a_robot_with_shapes_of_every_kind(tmp_path, client):
    path = scara(tmp_path)
    scene, q, whole = check_against_bullet(path, client, 0)
    np.testing.assert_allclose(drawn(scene, q), whole, atol=2e-5)
    assert len(scene.robot.joint_names) == 4 and len(scene.poses(q[None])[0]) == 5


@pytest.mark.parametrize("name", ["iiwa", "panda", "two-link"])
def test_robots_of_the_environments(name):
    env = ArmReach(name)
    scene = env_scene(env)
    assert scene is not None
    start, _ = env.reset(seed=1)
    n = len(env.joint_names)
    (poses,) = scene.poses(start[None, :n])
    for number in range(1, len(scene.robot.link_names)):
        state = env.physics_client.getLinkState(
            env.body, number - 1, computeForwardKinematics=True
        )
        points = np.vstack([np.zeros(3), np.eye(3)])
        own = points @ np.asarray(scene.robot.link_rotations[number]).T
        own = own + np.asarray(scene.robot.link_offsets[number])
        joint = scene.robot.link_joints[number]
        own = at(own, poses[joint, :3], poses[joint, 3:]) if joint >= 0 else own
        np.testing.assert_allclose(own, at(points, *state[4:6]), atol=1e-6)
    assert 100 < sum(len(part.faces) for part in scene.parts) < 6500
    tool = env.task.chain.position(start[2 * n :])
    np.testing.assert_array_equal(scene.goal(start), [tool])
    runs, goals = {"after": [start[None, :n]]}, [scene.goal(start)]
    section = replay_section(RobotMotions(scene, runs, 0.1, goals), "The robot.")
    assert section is not None
    assert f"Green is where the origin of link {env.tool} " in section.html()
    env.close()


def test_a_scene_needs_no_files_once_it_is_saved(tmp_path):
    scene = Scene.of_urdf(scara(tmp_path))
    ro.save(tmp_path / "scene.npz", scene)
    for file in (*tmp_path.glob("*.urdf"), *tmp_path.glob("*.obj")):
        file.unlink()
    again = ro.load(tmp_path / "scene.npz")
    np.testing.assert_array_equal(drawn(again, np.ones(4)), drawn(scene, np.ones(4)))


def test_a_path_of_the_tool_is_the_goal():
    env = ArmTrack()
    scene = env_scene(env)
    assert scene is not None
    start, _ = env.reset(seed=0)
    path = scene.goal(start)
    assert env.reference is not None
    assert path.shape == (len(env.reference), 3)
    first = env.task.chain.position(env.reference[0, :2])
    np.testing.assert_array_equal(path[0], first)
    env.close()


def test_environments_that_observe_something_else_have_no_scene():
    arm = ArmReach()
    assert env_scene(make("CartPole-v1")) is None
    assert env_scene(FlattenObservation(arm)) is None
    scaled = TransformObservation(arm, lambda x: 2 * x, arm.observation_space)
    assert env_scene(scaled) is None


class Polygons(Env):
    """An environment whose shapes are something else."""

    shapes = ("square", "disc")
    observation_space = action_space = Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, True, False, {}


class Own(Env):
    """A PyBullet environment of a user's own."""

    action_space = observation_space = Box(-1.0, 1.0, (8,))
    has_twin = False

    def __init__(self, urdf, client):
        self.urdf, self.physics_client = urdf, client
        self.body = pybullet.loadURDF(
            str(urdf), useFixedBase=True, physicsClientId=client
        )


def test_an_environment_of_ones_own_is_shown_by_its_file(client):
    urdf = Path(roboopt_envs.__file__).parent / "assets" / "two_link.urdf"
    env = Own(urdf, client)
    assert env_scene(env) is None  # Who knows what it observes?
    env.has_twin = True
    found, known = env_scene(env), Scene.of_urdf(urdf)
    assert found is not None
    q = np.full((1, len(known.robot.joint_names)), 0.1)
    own, file = (np.sort(s.corners(s.poses(q)), axis=0) for s in (found, known))
    np.testing.assert_allclose(own, file, atol=1e-6)


def test_other_shapes_of_an_environment_are_no_robot():
    assert env_scene(Polygons()) is None


def test_what_is_learned_is_not_lost_for_a_picture(monkeypatch):
    class Broken(Polygons):
        physics_client, body = 0, 0

    small: Any = {"envs": 1, "episodes": 0, "width": 2, "depth": 1}
    with pytest.warns(UserWarning, match="the robot is not shown in 3D"):
        found = ro.reinforce(Broken, timesteps=256, **small)
    assert found.timesteps == 256 and found.scene is None
    with pytest.warns(UserWarning, match="the robot is not shown in 3D: .*nowhere"):
        assert scene_or_none(Scene.of_urdf, "nowhere.urdf") is None


def test_gravity_and_damping_change_no_shape(tmp_path):
    scene = Scene.of_urdf(scara(tmp_path), gravity=(0.0, 0.0, 0.0), linear_damping=0.0)
    assert len(scene.parts) == len(Scene.of_urdf(scara(tmp_path)).parts)


def test_meshes_are_left_out_with_a_word_where_nothing_reads_them(
    tmp_path, monkeypatch
):
    path, read = scara(tmp_path), Scene.of_urdf
    whole = sum(len(part.faces) for part in read(path).parts)
    monkeypatch.setattr("roboopt.view._triangles.find_spec", lambda name: None)
    with pytest.warns(UserWarning, match=r"2 mesh.*trimesh is not.*roboopt\[view\]"):
        scene = read(path)
    assert 100 < sum(len(part.faces) for part in scene.parts) < whole


def test_a_mesh_that_is_not_found_is_named_with_where_it_was_looked_for(tmp_path):
    path = scara(tmp_path)
    (tmp_path / "cover.obj").unlink()
    where = re.escape(str(tmp_path))
    with pytest.warns(UserWarning, match=rf"{where} or above it: .*cover\.obj"):
        scene = Scene.of_urdf(path)
    # The page says it, too: those who look at it may not see the terminal.
    with Viewer(scene, port=PORT) as viewer:
        words = viewer.server.gui._container_handle_from_uuid["root"]._children
        shown: Any = next(iter(words.values()))
        assert "cover.obj" in shown.content
    runs = {"after": [np.zeros((2, len(scene.robot.joint_names)))]}
    section = replay_section(RobotMotions(scene, runs, 0.1), "The robot.")
    assert section is not None and "cover.obj" in section.html()
    known = KnownRobot.of(path, ())
    with pytest.warns(UserWarning, match="cover") as caught:
        known_scene(path, known, None)
    assert len(caught) == 1


def test_large_meshes_are_made_coarser(tmp_path):
    path = scara(tmp_path)
    x, y = np.meshgrid(np.linspace(-1, 1, 90), np.linspace(-1, 1, 90))
    z = x**2 - y**2
    corners = zip(x.ravel(), y.ravel(), z.ravel(), strict=True)
    lines = [f"v {a} {b} {c}" for a, b, c in corners]
    for i in range(1, 8011):
        if i % 90:
            lines += [f"f {i} {i + 1} {i + 91}", f"f {i} {i + 91} {i + 90}"]
    (tmp_path / "cover.obj").write_text("\n".join(lines))
    scene = Scene.of_urdf(path)
    large = max(scene.parts, key=lambda part: len(part.faces))
    assert 2000 < len(large.faces) and sum(len(p.faces) for p in scene.parts) < 6200
    shape = next(s for s in _shapes(path) if s.kind == "mesh" and "cover" in str(s))
    points = (large.vertices - shape.offset) @ shape.rotation / shape.sizes
    error = points[:, 2] - points[:, 0] ** 2 + points[:, 1] ** 2
    assert np.abs(error).max() < 0.02  # of a saddle of size 1


def _shapes(path) -> list[Shape]:
    with warnings.catch_warnings(action="ignore"):
        model = read_urdf(path)
    return shown_shapes(model, find_meshes(model, path.parent))


def test_a_dae_has_the_size_that_its_unit_says(tmp_path):
    path = scara(tmp_path)
    source = (
        "<source id='s'><float_array id='f' count='9'>0 0 0 1 0 0 0 2 3</float_array>"
        "<technique_common><accessor source='#f' count='3' stride='3'>"
        "<param name='X' type='float'/><param name='Y' type='float'/>"
        "<param name='Z' type='float'/></accessor></technique_common></source>"
        "<vertices id='w'><input semantic='POSITION' source='#s'/></vertices>"
    )
    (tmp_path / "cover.dae").write_text(
        f"""<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema"
        version="1.4.1"><asset><unit meter='0.5'/><up_axis>Z_UP</up_axis></asset>
        <library_geometries><geometry id='a'><mesh>{source}<triangles count='1'>
        <input semantic='VERTEX' source='#w' offset='0'/><p>0 1 2</p></triangles></mesh>
        </geometry></library_geometries><library_visual_scenes><visual_scene id='v'>
        <node><instance_geometry url='#a'/></node></visual_scene>
        </library_visual_scenes><scene><instance_visual_scene url='#v'/></scene>
        </COLLADA>"""
    )
    path.write_text(path.read_text().replace("cover.obj", "cover.dae"))
    shape = next(s for s in _shapes(path) if "cover" in str(s.mesh))
    (piece,) = triangles(shape._replace(rotation=np.eye(3), offset=np.zeros(3)))
    # As PyBullet has it: half of 1, 2 and 3, times the scale of the URDF.
    expected = np.array([[0, 0, 0], [0.5, 0, 0], [0, 1, 1.5]]) * shape.sizes
    np.testing.assert_allclose(piece.vertices, expected, atol=1e-12)


def test_a_mesh_of_loose_triangles_stays_small_too(tmp_path):
    path = scara(tmp_path)
    corners = np.random.default_rng(0).normal(size=(30_000, 3, 3))
    lines = [f"v {x} {y} {z}" for x, y, z in corners.reshape(-1, 3)]
    lines += [f"f {3 * k + 1} {3 * k + 2} {3 * k + 3}" for k in range(len(corners))]
    (tmp_path / "cover.obj").write_text("\n".join(lines))
    scene = Scene.of_urdf(path)
    assert sum(len(part.faces) for part in scene.parts) < 13_000
    assert all(len(p.vertices) > p.faces.max() for p in scene.parts)
