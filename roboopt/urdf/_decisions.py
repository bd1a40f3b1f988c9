"""Decisions on traits of a URDF that the format leaves open or PyBullet ignores.

The reader refuses files that are malformed for every purpose. Whether a well-formed
trait, such as a mimic joint or a joint without mass, is accepted depends on what the
model is for, and is decided here and nowhere else: each function takes the model as
the file states it and returns the model that the rest of the library sees.
"""

import math
import warnings
from dataclasses import replace

from roboopt.urdf._elements import Fault
from roboopt.urdf._model import FIXED, PRISMATIC, Joint, UrdfModel


def for_twin(model: UrdfModel) -> UrdfModel:
    """Return the model for rigid-body dynamics in roboopt.

    A joint with `<mimic>` is refused unless it is locked. Limits must both be given, in
    order, or both be missing. An effort limit that is not positive counts as none.
    Every moving joint must carry mass before the next moving joint.
    """
    for joint in model.moving:
        if joint.mimics is not None:
            raise Fault(
                f"joint {joint.name!r} must move independently, got one that mimics "
                f"joint {joint.mimics!r}: fix it with `locked=({joint.name!r},)`."
            )
        lower, upper = joint.lower, joint.upper
        if (lower is None) != (upper is None):
            given = "upper" if lower is None else "lower"
            raise Fault(
                f"<limit> of joint {joint.name!r} must have both `lower` and `upper` "
                f"or neither, got {[given]}."
            )
        if lower is not None and upper is not None and lower > upper:
            raise Fault(
                f"`lower` of joint {joint.name!r} must not exceed `upper`, got {lower} "
                f"and {upper}."
            )
    for number, joint in enumerate(model.moving):
        poses = model.link_poses.items()
        carried = [link for link, pose in poses if pose.joint == number]
        if not any(model.inertials[link].mass for link in carried):
            raise Fault(
                f"`mass` of link {joint.child!r}, which joint {joint.name!r} moves, "
                f"must be positive, got 0 kg for all of {carried}."
            )
    return replace(model, joints=tuple(_unlimited_effort(j) for j in model.joints))


def for_pybullet(model: UrdfModel, *, mimic: bool = False) -> UrdfModel:
    """Return the model for a simulation by PyBullet.

    PyBullet ignores `<mimic>`, so that a joint with `<mimic>` is refused unless `mimic`
    is True. A missing limit counts as 0, limits in reverse order count as none, equal
    limits are refused, and so are negative effort limits. Every moving joint must carry
    mass or, unless it is prismatic, inertia.

    Warns:
        UserWarning: if a carried link has no `<inertial>`; PyBullet makes it 1 kg.
    """
    joints = []
    for joint in model.joints:
        if joint.kind != FIXED:
            joint = _pybullet_joint(joint, mimic)
        joints.append(_unlimited_effort(joint))
    for number, joint in enumerate(model.moving):
        links = [link for link in model.inertials if number in model.chain(link)]
        mass = sum(model.inertials[link].mass for link in links)
        inertia = any(model.inertials[link].inertia.any() for link in links)
        if mass == 0 and (joint.kind == PRISMATIC or not inertia):
            raise Fault(
                f"joint {joint.name!r} must move some mass, got the links {links} of "
                "mass 0."
            )
    for link in model.without_inertial:
        warnings.warn(
            f"link {link!r} has no <inertial>: PyBullet gives it 1 kg and 1 kg·m². For "
            "a massless frame write an <inertial> with mass 0 and inertia 0.",
            UserWarning,
            stacklevel=4,
        )
    return replace(model, joints=tuple(joints))


def _pybullet_joint(joint: Joint, mimic: bool) -> Joint:
    where = f"joint {joint.name!r}"
    if joint.mimics is not None and not mimic:
        raise Fault(f"{where} must not mimic another: PyBullet ignores <mimic>.")
    if joint.effort_limit < 0:
        raise Fault(
            f"the effort limit of {where} must not be negative, got "
            f"{joint.effort_limit}."
        )
    if joint.kind == "continuous":
        return joint
    lower, upper = joint.lower or 0.0, joint.upper or 0.0
    if lower == upper:
        raise Fault(
            f"the limits of {where} must leave room to move, got {lower} and {upper}."
        )
    if lower > upper:
        return joint._replace(lower=None, upper=None)
    return joint._replace(lower=lower, upper=upper)


def _unlimited_effort(joint: Joint) -> Joint:
    limit = joint.effort_limit if joint.effort_limit > 0 else math.inf
    return joint._replace(effort_limit=limit)
