"""The robot as PyBullet holds it: read back from a loaded body.

Bullet keeps for each link its center of mass and principal axes. Read from there, a
`Multibody` is what Bullet integrates, to the last bit of its inertias, whatever the
flags the file was loaded with. Frames: a joint's frame has its origin at the joint and
the principal axes of the link behind it.
"""

from typing import Any

import numpy as np

from roboopt._errors import RobooptError
from roboopt.dynamics._assembly import WORLD, Assembly
from roboopt.dynamics._multibody import Multibody

FIXED, REVOLUTE, PRISMATIC = 4, 0, 1  # pybullet.JOINT_FIXED and so on
BULLET_DAMPING = float(np.float32(0.04))


def load_bullet(
    client: Any,
    body: int,
    *,
    linear_damping: float = BULLET_DAMPING,
    angular_damping: float = BULLET_DAMPING,
    damping: Any = None,
    lower: Any = None,
    upper: Any = None,
) -> Multibody:
    """Read a fixed-base robot out of a PyBullet simulation.

    Args:
        client: the `pybullet` module, or a `BulletClient`; connected.
        body: the body's id, as `loadURDF` returned it.
        linear_damping: what `changeDynamics` set on every link [1/s]. PyBullet does
            not tell; what is given here is what it does when nobody asks.
        angular_damping: likewise.
        damping: of the joints, where it was changed since the file was loaded:
            PyBullet reports the file's.
        lower: limits of the joints, where they were changed, likewise [rad or m].
        upper: likewise.

    Raises:
        RobooptError: if a joint is neither revolute, prismatic nor fixed, the body does
            not stand on a fixed base, or nothing of it moves.
    """
    count = client.getNumJoints(body)
    infos = [client.getJointInfo(body, i) for i in range(count)]
    dynamics = {i: client.getDynamicsInfo(body, i) for i in range(-1, count)}
    if dynamics[-1][0] != 0:
        raise RobooptError(
            "`body` must stand on a fixed base (`useFixedBase=True`), got one whose "
            f"base has a mass of {dynamics[-1][0]} kg."
        )
    reader = _Reader(client, body, dynamics)
    for info in infos:
        reader.add(info)
    changed = {"damping": damping, "lower": lower, "upper": upper}
    physics = client.getPhysicsEngineParameters()
    return reader.robot.multibody(
        gravity=[physics[f"gravityAcceleration{axis}"] for axis in "XYZ"],
        linear_damping=linear_damping,
        angular_damping=angular_damping,
        **{name: value for name, value in changed.items() if value is not None},
    )


class _Reader:
    """Walks the links in Bullet's order, carrying each one's pose in its joint."""

    def __init__(self, client: Any, body: int, dynamics: dict[int, Any]):
        self.dynamics = dynamics
        self.robot = Assembly()
        position, orientation = client.getBasePositionAndOrientation(body)
        pose = rotation_matrix(orientation), np.array(position)
        # For each link its joint, and the pose of its pivot frame in the joint's.
        self.carried = {-1: (WORLD, *pose)}
        name = client.getBodyInfo(body)[0].decode()
        center = np.array(dynamics[-1][3])
        axes = rotation_matrix(dynamics[-1][4])
        rotation = pose[0] @ axes.T
        self.robot.add_link(name, WORLD, rotation, pose[1] - rotation @ center)

    def add(self, info: tuple) -> None:
        index, name, kind = info[0], info[1].decode(), info[2]
        if kind not in (FIXED, REVOLUTE, PRISMATIC):
            raise RobooptError(
                f"joint {name!r} must be revolute, prismatic or fixed, got PyBullet's "
                f"type {kind}."
            )
        axis, pivot, turned, parent = info[13], info[14], info[15], info[16]
        joint, rotation, offset = self.carried[parent]
        # The pivot is given from the parent's center of mass, in its principal axes.
        before = np.zeros(3) if parent < 0 else self._center(parent)
        offset = offset + rotation @ (np.array(pivot) + before)
        rotation = rotation @ rotation_matrix(turned).T
        if kind != FIXED:
            joint = self.robot.add_joint(
                name=name,
                parent=joint,
                revolute=kind == REVOLUTE,
                rotation=rotation,
                offset=offset,
                axis=np.array(axis) / np.linalg.norm(axis),
                damping=info[6],
                lower=info[8],
                upper=info[9],
            )
            rotation, offset = np.eye(3), np.zeros(3)
        self.carried[index] = joint, rotation, offset
        mass, _, moments, _, orientation = self.dynamics[index][:5]
        axes, link = rotation_matrix(orientation), info[12].decode()
        self.robot.add_link(link, joint, rotation @ axes.T, offset)
        center = offset + rotation @ self._center(index)
        inertia = rotation @ np.diag(moments) @ rotation.T
        self.robot.add_body(link, joint, mass, center, inertia)

    def _center(self, index: int) -> np.ndarray:
        """Return a link's center of mass from its joint, in its principal axes."""
        _, _, _, position, orientation = self.dynamics[index][:5]
        return rotation_matrix(orientation).T @ np.array(position)


def rotation_matrix(quaternion: Any) -> np.ndarray:
    """Return the rotation of a quaternion (x, y, z, w) of any length but zero."""
    x, y, z, w = quaternion
    s = 2.0 / (x * x + y * y + z * z + w * w)
    return np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
            [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
            [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
        ]
    )
