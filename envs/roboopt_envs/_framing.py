"""What a camera has in view: boxes around a robot's shapes, and whole motions."""

import itertools
import tempfile
from functools import lru_cache

import numpy as np

from roboopt.urdf import Mesh, Shape, written_meshes

from ._camera import Camera
from ._client import Client
from ._silence import captured_messages, import_pybullet_silently
from ._world import PybulletWorld

import_pybullet_silently()

import pybullet  # noqa: E402

MARGIN = 0.001  # m, by which Bullet draws capsules larger than they are
BETWEEN = 5  # configurations, of start and goal


def corners(world: PybulletWorld, configurations: np.ndarray) -> np.ndarray:
    """Return corners of boxes around a robot's shapes at configurations, (k, 3) [m]."""
    client, body, model = world.client, world.body, world.model
    links = {joint.child: link for link, joint in enumerate(model.joints)}
    links[model.root] = -1
    solid = [k for k in links.values() if client.getCollisionShapeData(body, k)]
    boxes = [
        (links[shape.link], shape.offset + _box(shape) @ shape.rotation.T)
        for shape in world.shapes()
        if shape.kind != "mesh" or links[shape.link] not in solid
    ]
    found = []
    with world.elsewhere():
        for q in configurations:
            world.move(q)
            for link in solid:
                low, high = client.getAABB(body, link)
                found.append(np.array([low, high]))
            for link, box in boxes:
                if link >= 0:
                    state = client.getLinkState(
                        body, link, computeForwardKinematics=True
                    )
                    turn = client.getMatrixFromQuaternion(state[5])
                    box = box @ np.reshape(turn, (3, 3)).T + state[4]
                found.append(np.array([box.min(0), box.max(0)]))
    return np.concatenate([box + [[-MARGIN], [MARGIN]] for box in found])


def _box(shape: Shape) -> np.ndarray:
    """Return the corners of the box around a shape, in its frame, (8, 3) [m]."""
    sizes = np.array(shape.sizes)
    if shape.mesh is not None:
        ends = sizes * _bounds(shape.mesh)
    elif shape.kind == "box":
        ends = np.outer([-0.5, 0.5], sizes)
    else:
        radius, *length = sizes
        half = sum(length) / 2
        high = {"sphere": radius, "cylinder": half, "capsule": half + radius}
        ends = np.outer([-1.0, 1.0], [radius, radius, high[shape.kind]])
    return np.array(list(itertools.product(*ends.T)))


@lru_cache(maxsize=256)
def _bounds(mesh: Mesh) -> np.ndarray:
    """Return the smallest and largest coordinates of a mesh, two of (3,)."""
    client = Client(pybullet.DIRECT)
    with tempfile.TemporaryDirectory() as folder, captured_messages():
        path = written_meshes({"mesh": mesh}, folder)["mesh"].path
        hull = client.createCollisionShape(pybullet.GEOM_MESH, fileName=str(path))
        body = client.createMultiBody(baseCollisionShapeIndex=hull)
        found = np.array(client.getAABB(body))
    client.disconnect()
    return found


def planned(world: PybulletWorld, start: np.ndarray) -> np.ndarray:
    """Return configurations that an episode is likely to come to, (k, n) [rad or m]."""
    n = len(world.joint_indices)
    if len(start) == 3 * n:  # The goal is a configuration.
        return np.linspace(start[:n], start[2 * n :], BETWEEN)
    lower, upper = world.sampling_range(0.8)
    random = np.random.default_rng(0).uniform(lower, upper, (64, n))
    return np.array([start[:n], lower, upper, *random])


def pictures(
    world: PybulletWorld, camera: Camera, configurations: np.ndarray, room: np.ndarray
) -> list[np.ndarray]:
    """Return pictures of configurations, from where all of them and `room` are seen.

    A joint without limits is seen to ±π rad or ±1 m, or as far as there is room: a
    picture does not follow a motion that leaves everything.
    """
    low, high = world.sampling_range(1.0)
    low, high = np.minimum(low, room.min(0)), np.maximum(high, room.max(0))
    near = np.clip(configurations, low, high)
    camera.frame(corners(world, np.concatenate([room, near])))
    taken = []
    with world.elsewhere():
        for q in configurations:
            world.move(q)
            taken.append(camera.picture())
    return taken
