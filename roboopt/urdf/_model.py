"""The model that a URDF file is read into: links, joints, and how they are connected.

Joints are ordered depth first, siblings as in the file: the order of PyBullet's joint
indices. A joint's frame coincides with the frame of its child link.

A joint with `<mimic>` moves as q_m = k q + c with the joint that it follows. The
generalized coordinates of the robot are the joints that move independently; everything
that says "coordinate" counts these, and everything that says "moving" all joints that
move. By virtual work a coordinate has the damping Σ k² d and the friction Σ |k| c of
the joints that move with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from roboopt.urdf.friction import FrictionLaw, joined

FIXED, PRISMATIC = "fixed", "prismatic"
FRICTION_VELOCITY = 1e-2
"""Below which the Coulomb friction of a joint is smooth, where nothing else is known
[rad/s or m/s]."""


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


def composite(bodies: Sequence[Inertial]) -> Inertial:
    """Return the inertial of several bodies taken as one (parallel axes)."""
    mass = sum(body.mass for body in bodies)
    moment = sum((body.mass * body.center for body in bodies), np.zeros(3))
    center = moment / (mass or 1.0)
    inertia = np.zeros((3, 3))
    for body in bodies:
        r = body.center - center
        inertia += body.inertia + body.mass * (r @ r * np.eye(3) - np.outer(r, r))
    return Inertial(mass, center, inertia)


class Mimic(NamedTuple):
    """The coordinate that a joint follows: q_m = multiplier · q + offset."""

    joint: str
    """A joint that moves independently."""
    multiplier: float
    offset: float
    """[rad or m]"""


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
    friction: float
    """Coulomb friction [N·m or N]."""
    lower: float | None
    upper: float | None
    """[rad or m]; both None if the joint has no limits."""
    effort_limit: float
    """[N·m or N]; infinite if the file states none, or 0."""
    mimic: Mimic | None
    driven: bool
    """Whether a motor drives the joint; False for a joint with `mimic`."""
    armature: float = 0.0
    """[kg·m² or kg], from the file beside the URDF."""
    friction_velocity: float = FRICTION_VELOCITY
    """Below which Coulomb friction is smooth [rad/s or m/s], likewise."""
    friction_law: FrictionLaw | None = None
    """The other parts of its friction, likewise."""


@dataclass(frozen=True)
class UrdfModel:
    """A tree of links on a fixed base.

    Links that no moving joint carries have no entry in `inertials`: their inertia has
    no effect.
    """

    root: str
    joints: tuple[Joint, ...]
    inertials: dict[str, Inertial]
    """By link, in the link's frame; zero for a massless frame."""
    element: Element
    """The `<robot>` of the file, without namespaces."""
    gravity: np.ndarray | None = None
    """(3,) [m/s²] in the root link's axes, if the file beside the URDF states it."""
    xacro_args: Mapping[str, str] = field(default_factory=dict)
    """The arguments of the .xacro file, by name."""

    @property
    def link_names(self) -> tuple[str, ...]:
        """Return the root and every joint's child, in the order of the joints."""
        return (self.root, *(joint.child for joint in self.joints))

    @cached_property
    def moving(self) -> tuple[Joint, ...]:
        """Return the joints that are not fixed, joints that follow others included."""
        return tuple(joint for joint in self.joints if joint.kind != FIXED)

    @property
    def held(self) -> tuple[str, ...]:
        """Return the joints that stand still and are not fixed joints of the file."""
        kinds = {e.get("name"): e.get("type") for e in self.element.findall("joint")}
        still = (joint.name for joint in self.joints if joint.kind == FIXED)
        return tuple(name for name in still if kinds.get(name) != FIXED)

    @cached_property
    def coordinates(self) -> tuple[int, ...]:
        """Return the numbers, in `moving`, of the joints that move independently."""
        return tuple(i for i, joint in enumerate(self.moving) if joint.mimic is None)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Return the names of the coordinates."""
        return tuple(self.moving[i].name for i in self.coordinates)

    @cached_property
    def coupling(self) -> tuple[np.ndarray, np.ndarray]:
        """Return K, (moving, coordinate), and c, (moving,), of q_moving = K q + c.

        The velocities of the moving joints are K q̇, and the coordinates' efforts Kᵀτ.
        """
        matrix = np.zeros((len(self.moving), len(self.coordinates)))
        offset = np.zeros(len(self.moving))
        for i, joint in enumerate(self.moving):
            leader, factor, offset[i] = joint.mimic or Mimic(joint.name, 1.0, 0.0)
            matrix[i, self.joint_names.index(leader)] = factor
        return matrix, offset

    @property
    def revolute(self) -> np.ndarray:
        """Return which coordinates rotate, (n,)."""
        kinds = [self.moving[i].kind for i in self.coordinates]
        return np.array([kind != PRISMATIC for kind in kinds])

    @property
    def damping(self) -> np.ndarray:
        """Return the damping of the coordinates, (n,) [N·m·s/rad or N·s/m]."""
        return np.array([j.damping for j in self.moving]) @ self.coupling[0] ** 2

    @property
    def friction(self) -> np.ndarray:
        """Return the Coulomb friction of the coordinates, (n,) [N·m or N]."""
        return np.array([j.friction for j in self.moving]) @ np.abs(self.coupling[0])

    @property
    def friction_velocity(self) -> np.ndarray:
        """Return below which the coordinates' friction is smooth [rad/s or m/s]."""
        return np.array([self.moving[i].friction_velocity for i in self.coordinates])

    @property
    def friction_law(self) -> FrictionLaw | None:
        """Return the other parts of the coordinates' friction, None without any."""
        return joined([self.moving[i].friction_law for i in self.coordinates])

    @property
    def armature(self) -> np.ndarray:
        """Return the armature of the coordinates, (n,) [kg·m² or kg]."""
        return np.array([j.armature for j in self.moving]) @ self.coupling[0] ** 2

    @property
    def effort_limits(self) -> np.ndarray:
        """Return the effort limits of the coordinates, (n,) [N·m or N]."""
        return np.array([self.moving[i].effort_limit for i in self.coordinates])

    @property
    def driven(self) -> np.ndarray:
        """Return which coordinates a motor drives, (n,)."""
        return np.array([self.moving[i].driven for i in self.coordinates])

    @property
    def position_limits(self) -> np.ndarray:
        """Return lower and upper limits of the coordinates, (2, n) [rad or m].

        A coordinate stops where any of the joints that move with it stops.
        """
        names = self.joint_names
        limits = np.full((2, len(names)), [[-np.inf], [np.inf]])
        for joint in self.moving:
            if joint.lower is None or joint.upper is None:
                continue
            leader, factor, offset = joint.mimic or Mimic(joint.name, 1.0, 0.0)
            ends = sorted(
                [(joint.lower - offset) / factor, (joint.upper - offset) / factor]
            )
            at = names.index(leader)
            limits[0, at] = max(limits[0, at], ends[0])
            limits[1, at] = min(limits[1, at], ends[1])
        return limits

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
