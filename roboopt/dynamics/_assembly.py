"""A `Multibody` assembled from rows: one for each joint, link frame and body."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.dynamics._multibody import MovingJoint, Multibody
from roboopt.urdf import FRICTION_VELOCITY, Inertial, Mimic, Pose
from roboopt.urdf.friction import FrictionLaw, joined


class JointRow(NamedTuple):
    """A moving joint and the pose of its frame at zero in the moving joint before."""

    name: str
    revolute: bool
    pose: Pose
    axis: np.ndarray
    damping: float
    lower: float
    upper: float
    effort_limit: float
    friction: float = 0.0
    armature: float = 0.0
    mimic: Mimic | None = None
    """The joint that this one follows; its limits do not count then."""
    driven: bool = True
    friction_velocity: float = FRICTION_VELOCITY
    friction_law: FrictionLaw | None = None


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
    free = [joint for joint in joints if joint.mimic is None]
    moving = _moving_joints(joints, [joint.name for joint in free])
    losses = np.zeros((3, len(free)))
    for joint, (_, _, at, factor, _) in zip(joints, moving, strict=True):
        losses[:, at] += (
            factor**2 * joint.damping,
            abs(factor) * joint.friction,
            factor**2 * joint.armature,
        )
    damping, friction, armature = losses
    law = joined([joint.friction_law for joint in free])
    return Multibody(
        joint_names=tuple(joint.name for joint in free),
        parents=tuple(joint.pose.joint for joint in joints),
        revolute=tuple(joint.revolute for joint in free),
        limited=tuple(bool(joint.lower <= joint.upper) for joint in free),
        effort_limits=tuple(float(joint.effort_limit) for joint in free),
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
        damping=_real(damping),
        friction=_real(friction),
        armature=_real(armature),
        lower=_real([joint.lower for joint in free]),
        upper=_real([joint.upper for joint in free]),
        gravity=_real(gravity),
        linear_damping=_real(linear_damping),
        angular_damping=_real(angular_damping),
        moving=moving if len(free) < len(joints) else (),
        driven=() if all(j.driven for j in free) else tuple(j.driven for j in free),
        friction_velocity=_real([joint.friction_velocity for joint in free]),
        friction_law=None if law is None else FrictionLaw(*map(_real, law)),
    )


def _moving_joints(joints: list[JointRow], names: list[str]) -> tuple[MovingJoint, ...]:
    """Return each joint with the number of the joint that it follows, or is."""
    moving = []
    for joint in joints:
        follows = joint.mimic or Mimic(joint.name, 1.0, 0.0)
        if follows.joint not in names:
            raise RobooptError(
                f"joint {joint.name!r} must follow a joint that moves independently, "
                f"of {names}, got {follows.joint!r}."
            )
        number, factor, offset = names.index(follows.joint), *follows[1:]
        moving.append(MovingJoint(joint.name, joint.revolute, number, factor, offset))
    return tuple(moving)


def _real(numbers: Any) -> jnp.ndarray:
    # With its type stated, the copy is taken without a program for its shape.
    return jnp.asarray(np.array(numbers, float), float)
