"""The model that a URDF file is read into: links, joints, and how they are connected.

Joints are ordered depth first, siblings as in the file: the order of PyBullet's joint
indices. A joint's frame coincides with the frame of its child link.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

FIXED, PRISMATIC = "fixed", "prismatic"


class Pose(NamedTuple):
    """The pose of a frame in a moving joint's frame, or in the world."""

    joint: int
    """Number of the moving joint, −1 for the world."""
    rotation: np.ndarray
    offset: np.ndarray
    """[m]"""


class Inertial(NamedTuple):
    """Mass, center of mass and inertia of a link, expressed in one frame."""

    mass: float
    """[kg]"""
    center: np.ndarray
    """(3,) [m]"""
    inertia: np.ndarray
    """(3, 3) [kg·m²] about the center of mass."""

    def to_parent(self, rotation: np.ndarray, offset: np.ndarray) -> "Inertial":
        """Return the inertial in the frame in which its frame has the given pose."""
        return Inertial(
            self.mass,
            offset + rotation @ self.center,
            rotation @ self.inertia @ rotation.T,
        )

    def from_parent(self, rotation: np.ndarray, offset: np.ndarray) -> "Inertial":
        """Return the inertial in the frame that has the given pose in its frame."""
        return Inertial(
            self.mass,
            rotation.T @ (self.center - offset),
            rotation.T @ self.inertia @ rotation,
        )


class Joint(NamedTuple):
    """A joint, and the pose of its child link at q = 0 in its parent link."""

    name: str
    kind: str
    """"revolute", "continuous", "prismatic" or "fixed"."""
    parent: str
    child: str
    rotation: np.ndarray
    offset: np.ndarray
    """[m]"""
    axis: np.ndarray
    """Unit vector in the child's frame."""
    damping: float
    """[N·m·s/rad or N·s/m]"""
    lower: float | None
    upper: float | None
    """[rad or m]; both None if the joint has no limits."""
    effort_limit: float
    """[N·m or N]; infinite if the file states none."""
    mimics: str | None
    """The joint that a `<mimic>` names."""


@dataclass(frozen=True)
class UrdfModel:
    """A tree of links on a fixed base.

    Links that no moving joint carries have no entry in `inertials`: their inertia has
    no effect.
    """

    root: str
    joints: tuple[Joint, ...]
    inertials: dict[str, Inertial]
    """By link, in the link's frame."""
    without_inertial: tuple[str, ...]
    """Carried links without `<inertial>`, which have PyBullet's 1 kg and 1 kg·m²."""

    @property
    def link_names(self) -> tuple[str, ...]:
        """Return the root and every joint's child, in the order of the joints."""
        return (self.root, *(joint.child for joint in self.joints))

    @cached_property
    def moving(self) -> tuple[Joint, ...]:
        """Return the joints that are not fixed."""
        return tuple(joint for joint in self.joints if joint.kind != FIXED)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Return the names of the moving joints."""
        return tuple(joint.name for joint in self.moving)

    @property
    def revolute(self) -> np.ndarray:
        """Return which moving joints rotate, (n,)."""
        return np.array([joint.kind != PRISMATIC for joint in self.moving])

    @property
    def damping(self) -> np.ndarray:
        """Return the damping of the moving joints, (n,) [N·m·s/rad or N·s/m]."""
        return np.array([joint.damping for joint in self.moving])

    @property
    def effort_limits(self) -> np.ndarray:
        """Return the effort limits of the moving joints, (n,) [N·m or N]."""
        return np.array([joint.effort_limit for joint in self.moving])

    @property
    def position_limits(self) -> np.ndarray:
        """Return lower and upper limits of the moving joints, (2, n) [rad or m]."""
        return np.array(
            [
                [-np.inf if j.lower is None else j.lower for j in self.moving],
                [np.inf if j.upper is None else j.upper for j in self.moving],
            ]
        )

    @cached_property
    def _poses(self) -> tuple[dict[str, Pose], tuple[Pose, ...]]:
        links = {self.root: Pose(-1, np.eye(3), np.zeros(3))}
        moving: list[Pose] = []
        for joint in self.joints:
            carrier, rotation, offset = links[joint.parent]
            pose = Pose(
                carrier, rotation @ joint.rotation, offset + rotation @ joint.offset
            )
            if joint.kind != FIXED:
                moving.append(pose)
                pose = Pose(len(moving) - 1, np.eye(3), np.zeros(3))
            links[joint.child] = pose
        return links, tuple(moving)

    @property
    def link_poses(self) -> dict[str, Pose]:
        """Return each link's pose in the frame of the moving joint that carries it."""
        return self._poses[0]

    @property
    def joint_poses(self) -> tuple[Pose, ...]:
        """Return each moving joint's pose at q = 0 in the moving joint before it."""
        return self._poses[1]

    def chain(self, link: str) -> tuple[int, ...]:
        """Return the moving joints between the root and `link`, root first."""
        found, joint = [], self.link_poses[link].joint
        while joint >= 0:
            found.append(joint)
            joint = self.joint_poses[joint].joint
        return tuple(reversed(found))
