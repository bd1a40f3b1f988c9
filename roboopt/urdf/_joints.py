"""The joints of a URDF: type, axis, limits, friction, and which of them move.

A `continuous` joint has no limits, whatever its `<limit>` says. A missing `lower` or
`upper` is 0 where the other is given, as the format has it; without either, and with
`lower` above `upper`, which is PyBullet's way to say so, a joint has no limits. A joint
whose limits are equal is fixed there. A `<limit>` of nothing but zeros at every joint
comes from an exporter that was told no limits, and counts as none.
"""

import contextlib
import math
import re
from collections.abc import Collection, Iterable, Mapping
from xml.etree.ElementTree import Element

import numpy as np

from roboopt._errors import RobooptError, floats, require
from roboopt.urdf._elements import number, numbers, origin, required, title
from roboopt.urdf._model import FIXED, PRISMATIC, Joint, Mimic
from roboopt.urdf._notes import Fault, Notes
from roboopt.urdf._rotations import rotation_about

KINDS = ("revolute", "continuous", PRISMATIC, FIXED)
INSTEAD = {kind: repr(kind) for kind in KINDS} | {
    "planar": "two prismatic joints and a revolute one, in series, in its place",
    "spherical": "three revolute joints, in series, in its place",
}
"""How to write a joint by the types that are read, by the lower-case type it has."""
# On an axis' length: files give about six digits, and some only four.
UNIT_TOLERANCE, NORMALIZED_TOLERANCE = 1e-6, 1e-3


def read_joints(
    elements: Mapping[str, Element],
    locked: Mapping[str, float],
    *,
    efforts_replaced: Collection[str],
    notes: Notes,
) -> list[Joint]:
    """Return the joints, those that cannot move or are locked as fixed ones.

    Args:
        elements: each `<joint>` by name.
        locked: the positions of joints that are held [rad or m].
        efforts_replaced: joints whose effort limits do not count.
        notes: what is changed is added here.
    """
    joints = {
        name: _joint(element, name in locked, name in efforts_replaced, notes)
        for name, element in elements.items()
    }
    moving = [name for name, j in joints.items() if j.kind != FIXED]
    unset = [name for name in moving if _only_zeros(elements[name].find("limit"))]
    if unset == moving:
        for name in unset:
            notes.add("joints with a <limit> of zeros, which count as unlimited", name)
            joints[name] = joints[name]._replace(lower=None, upper=None)
    held = dict(locked)
    for name, joint in joints.items():
        if joint.lower is not None and joint.lower == joint.upper and not joint.mimic:
            held.setdefault(name, joint.lower)
            notes.add("joints with equal limits, which are fixed there", name)
    followed = {name: _followed(j, joints, held) for name, j in joints.items()}
    for name, position in locked.items():
        _judge_lock(elements[name], position, joints, followed, held, notes)
    return [_settled(j, followed[j.name], held, joints, notes) for j in joints.values()]


def _judge_lock(
    element: Element,
    position: float,
    joints: Mapping[str, Joint],
    followed: Mapping[str, Mimic | None],
    held: Mapping[str, float],
    notes: Notes,
) -> None:
    """Note a lock that the joint's limits or its `<mimic>` contradict."""
    joint, mimic = joints[str(element.get("name"))], element.find("mimic")
    if joint.kind != FIXED and _is_beyond(element, joint, position):
        kind = "joints that are locked outside of their limits"
        notes.add(kind, f"{joint.name} at {position:g}")
    leader = str(mimic.get("joint")) if mimic is not None else ""
    follows = followed.get(leader)
    first = follows.joint if follows else leader
    if first in joints and first not in held and joints[first].kind != FIXED:
        kind = "joints that are locked, while the joint that they follow moves"
        notes.add(kind, f"{joint.name} of {first}")


def _is_beyond(element: Element, joint: Joint, position: float) -> bool:
    """Return whether a position is outside limits that can be read."""
    limit = element.find("limit")
    slack = 1e-6 * max(1.0, abs(position))  # of decimals in the file
    with contextlib.suppress(Fault):
        lower, upper = _limits(limit, joint, title(element), Notes())
        if lower is not None and upper is not None and not _only_zeros(limit):
            return not lower - slack <= position <= upper + slack
    return False


def checked_locked(
    locked: Iterable[str] | Mapping[str, float], elements: Mapping[str, Element]
) -> dict[str, float]:
    """Return the position of each locked joint [rad or m]."""
    if isinstance(locked, Mapping):
        values = {str(name): float(floats("locked", at)) for name, at in locked.items()}
    else:
        names = (locked,) if isinstance(locked, str) else tuple(locked)
        values = dict.fromkeys(names, 0.0)
    unknown = [name for name in values if name not in elements]
    require(not unknown, "locked", f"name joints of {sorted(elements)}", unknown)
    if not np.isfinite(list(values.values())).all():
        raise RobooptError(f"`locked` must hold finite positions, got {values}.")
    return values


def _joint(element: Element, locked: bool, any_effort: bool, notes: Notes) -> Joint:
    where = title(element)
    kind = element.get("type")
    if kind not in KINDS and not locked:
        instead = INSTEAD.get((kind or "").strip().lower())
        name = element.get("name")
        raise Fault(
            f"`type` of {where} must be one of {KINDS}, or locked by "
            f"`locked=({name!r},)`, got {kind!r}"
            + (f": write {instead}." if instead else ".")
        )
    rotation, offset = origin(element, where)
    joint = Joint(
        name=str(element.get("name")),
        kind=kind if kind in KINDS else FIXED,
        parent=required(element, "parent", "link", where),
        child=required(element, "child", "link", where),
        rotation=rotation,
        offset=offset,
        axis=np.array([1.0, 0.0, 0.0]),
        damping=0.0,
        friction=0.0,
        lower=None,
        upper=None,
        effort_limit=math.inf,
        mimic=None,
        driven=False,
    )
    if joint.kind == FIXED:
        return joint
    joint = joint._replace(axis=_axis(element, where, notes))
    if locked:
        return joint
    dynamics, limit = element.find("dynamics"), element.find("limit")
    losses = {n: number(dynamics, n, 0.0, where) for n in ("damping", "friction")}
    for name, value in losses.items():
        if value < 0:
            raise Fault(f"`{name}` of {where} must not be negative, got {value}.")
    effort = number(limit, "effort", math.inf, where, finite=False)
    if effort < 0 and not any_effort:
        raise Fault(
            f"`effort` of {where} must not be negative, got {effort}: give "
            "`effort_limits`."
        )
    lower, upper = _limits(limit, joint, where, notes)
    return joint._replace(
        **losses,
        lower=lower,
        upper=upper,
        effort_limit=effort if effort > 0 else math.inf,
        mimic=_mimic(element, where),
    )


def _axis(joint: Element, where: str, notes: Notes) -> np.ndarray:
    axis = numbers(joint.find("axis"), "xyz", (1.0, 0.0, 0.0), where)
    length = float(np.linalg.norm(axis))
    error = abs(length - 1)
    # Bullet scales the motion by the length in some places and not in others.
    if error > NORMALIZED_TOLERANCE:
        raise Fault(
            f"`axis` of {where} must be a unit vector, got {axis.tolist()} of length "
            f"{length:.6g}{_unit(axis)}."
        )
    if error > UNIT_TOLERANCE:
        shown = f"{joint.get('name')} of length {length:.6g}"
        notes.add("axes that were normalized", shown)
    return axis / length


def _unit(axis: np.ndarray) -> str:
    """Return how to write an axis with length 1."""
    if not axis.any():
        return ""
    shown = " ".join(f"{x:.9g}" for x in axis / np.linalg.norm(axis))
    return f': write `xyz="{shown}"`'


def _limits(
    limit: Element | None, joint: Joint, where: str, notes: Notes
) -> tuple[float | None, float | None]:
    if joint.kind == "continuous":
        return None, None
    ends = "lower", "upper"
    if limit is None or not any(limit.get(name, "").strip() for name in ends):
        notes.add("joints without limits, which count as unlimited", joint.name)
        return None, None
    lower, upper = (number(limit, n, 0.0, where, finite=False) for n in ends)
    if lower > upper:
        kind = "joints with `lower` above `upper`, which count as unlimited"
        notes.add(kind, f"{joint.name} ({lower:g}, {upper:g})")
        return None, None
    if math.isinf(lower) and math.isinf(upper):
        return None, None
    if math.isinf(lower) or math.isinf(upper):
        raise Fault(
            f"`lower` and `upper` of {where} must both be finite or both be infinite, "
            f"got {lower} and {upper}."
        )
    return lower, upper


def _mimic(element: Element, where: str) -> Mimic | None:
    found = element.find("mimic")
    if found is None:
        return None
    return Mimic(
        required(element, "mimic", "joint", where),
        number(found, "multiplier", 1.0, where),
        number(found, "offset", 0.0, where),
    )


def _only_zeros(limit: Element | None) -> bool:
    names = "lower", "upper", "effort", "velocity"
    texts = [] if limit is None else [limit.get(name) or "" for name in names]
    return bool(texts) and all(re.fullmatch(r"[+-]?0*\.?0*", t) and t for t in texts)


def _followed(
    joint: Joint, joints: Mapping[str, Joint], held: Mapping[str, float]
) -> Mimic | None:
    """Return the joint at the end of a chain of `<mimic>`, which moves or is held."""
    factor, offset, passed = 1.0, 0.0, [joint.name]
    while joint.mimic is not None and joint.name not in held:
        leader = joint.mimic.joint
        if leader not in joints:
            raise Fault(
                f"`joint` of <mimic> in joint {joint.name!r} must be one of "
                f"{sorted(joints)}, got {leader!r}."
            )
        if leader in passed:
            raise Fault(
                "joints must not follow each other in a loop of <mimic>, got "
                f"{[*passed, leader]}."
            )
        offset += factor * joint.mimic.offset
        factor *= joint.mimic.multiplier
        passed.append(leader)
        joint = joints[leader]
    return None if len(passed) == 1 else Mimic(joint.name, factor, offset)


def _settled(
    joint: Joint,
    follows: Mimic | None,
    held: Mapping[str, float],
    joints: Mapping[str, Joint],
    notes: Notes,
) -> Joint:
    """Return a joint fixed, following a coordinate, or as it is."""
    if joint.name in held:
        return _fixed(joint, held[joint.name])
    if follows is None:
        return joint
    leader, factor, offset = follows
    if leader in held:
        return _fixed(joint, factor * held[leader] + offset)
    if factor == 0 or joints[leader].kind == FIXED:
        return _fixed(joint, offset)
    joint = joint._replace(mimic=follows)
    first = joints[leader]
    if joint.lower is not None and joint.upper is not None and joint.kind != FIXED:
        ends = sorted([(end - offset) / factor for end in (joint.lower, joint.upper)])
        lower, upper = first.lower, first.upper
        lower = ends[0] if lower is None else max(lower, ends[0])
        upper = ends[1] if upper is None else min(upper, ends[1])
        if lower >= upper:
            kind = (
                "limits of <mimic> joints that no position of the joint that they "
                "follow meets, left out"
            )
            notes.add(kind, joint.name)
            joint = joint._replace(lower=None, upper=None)
    return joint


def _fixed(joint: Joint, position: float) -> Joint:
    """Return a joint fixed at a position [rad or m]."""
    rotation, offset = joint.rotation, joint.offset
    if position and joint.kind == PRISMATIC:
        offset = offset + rotation @ joint.axis * position
    elif position and joint.kind != FIXED:
        rotation = rotation @ rotation_about(joint.axis, position)
    return joint._replace(
        kind=FIXED,
        rotation=rotation,
        offset=offset,
        mimic=None,
        lower=None,
        upper=None,
        damping=0.0,
        friction=0.0,
    )
