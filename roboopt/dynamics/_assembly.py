"""A `Multibody` assembled from rows: one for each joint, link frame and body."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.dynamics._multibody import Multibody
from roboopt.urdf import Inertial, Pose


class JointRow(NamedTuple):
    """A moving joint and the pose of its frame at q = 0 in the joint before it."""

    name: str
    revolute: bool
    pose: Pose
    axis: np.ndarray
    damping: float
    lower: float
    upper: float
    effort_limit: float


class LinkRow(NamedTuple):
    """A link, its pose in its joint's frame, and its inertial in that frame."""

    name: str
    pose: Pose
    inertial: Inertial | None


def assemble(
    joints: list[JointRow],
    links: list[LinkRow],
    *,
    gravity: Any,
    linear_damping: float,
    angular_damping: float,
) -> Multibody:
    """Return the robot of these joints and links; links without inertia are frames."""
    if not joints:
        raise RobooptError(
            "a robot must have a revolute, continuous or prismatic joint, got "
            f"{len(links)} link(s) that cannot move."
        )
    bodies = [
        (link.name, link.pose.joint, *link.inertial)
        for link in links
        if link.inertial is not None
        and link.pose.joint >= 0
        and (link.inertial.mass or np.any(link.inertial.inertia))
    ]
    if not bodies:
        raise RobooptError("a robot must have a moving link with mass, got none.")
    names, carriers, masses, centers, inertias = zip(*bodies, strict=True)
    return Multibody(
        joint_names=tuple(joint.name for joint in joints),
        parents=tuple(joint.pose.joint for joint in joints),
        revolute=tuple(joint.revolute for joint in joints),
        limited=tuple(bool(joint.lower <= joint.upper) for joint in joints),
        effort_limits=tuple(float(joint.effort_limit) for joint in joints),
        body_names=names,
        body_joints=carriers,
        link_names=tuple(link.name for link in links),
        link_joints=tuple(link.pose.joint for link in links),
        joint_rotations=_real([joint.pose.rotation for joint in joints]),
        joint_offsets=_real([joint.pose.offset for joint in joints]),
        axes=_real([joint.axis for joint in joints]),
        link_rotations=_real([link.pose.rotation for link in links]),
        link_offsets=_real([link.pose.offset for link in links]),
        masses=_real(masses),
        centers_of_mass=_real(centers),
        inertias=_real(inertias),
        damping=_real([joint.damping for joint in joints]),
        friction=_real(np.zeros(len(joints))),
        armature=_real(np.zeros(len(joints))),
        lower=_real([joint.lower for joint in joints]),
        upper=_real([joint.upper for joint in joints]),
        gravity=_real(gravity),
        linear_damping=_real(linear_damping),
        angular_damping=_real(angular_damping),
    )


def _real(numbers: Any) -> jnp.ndarray:
    return jnp.asarray(np.asarray(numbers, float))
