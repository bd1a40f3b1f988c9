"""A URDF file read into a `UrdfModel`, everything in it checked.

Missing values are filled in as PyBullet fills them in. Values that PyBullet would
silently change are refused: an axis that is not a unit vector, an inertia that no body
can have (PyBullet sets it to zero), some but not all products of inertia. Inertias are
those of the file, as with PyBullet's `URDF_USE_INERTIA_FROM_FILE`.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from roboopt._errors import RobooptError, require
from roboopt.urdf._decisions import for_twin
from roboopt.urdf._elements import (
    Fault,
    named,
    number,
    numbers,
    origin,
    parse_robot,
    required,
    title,
)
from roboopt.urdf._model import FIXED, PRISMATIC, Inertial, Joint, UrdfModel
from roboopt.urdf._principal_axes import principal_axes

KINDS = ("revolute", "continuous", PRISMATIC, FIXED)
UNIT_TOLERANCE = 1e-6  # on an axis' length: files give about six digits
DEFAULT_INERTIAL = Inertial(1.0, np.zeros(3), np.eye(3))  # PyBullet's


def read_urdf(
    path: str | PathLike,
    decide: Callable[[UrdfModel], UrdfModel] = for_twin,
    *,
    locked: Iterable[str] = (),
    argument: str = "path",
) -> UrdfModel:
    """Read a robot on a fixed base from a URDF file.

    Args:
        path: the file.
        decide: a function that accepts, changes or refuses the model as the file
            states it: `for_twin` or `for_pybullet`.
        locked: names of joints to be treated as fixed at zero.
        argument: the caller's name for `path`, used in messages.

    Raises:
        RobooptError: if there is no such file, it is no URDF whose links form one tree
            with a moving joint, a number is missing or impossible, or `decide` refuses
            the model.
    """
    there = isinstance(path, str | PathLike) and Path(path).is_file()
    require(there, argument, "be a URDF file", path)
    try:
        return decide(_read(path, tuple(locked)))
    except Fault as fault:
        raise RobooptError(f"`{argument}`: {fault}") from None


def _read(path: str | PathLike, locked: tuple[str, ...]) -> UrdfModel:
    robot = parse_robot(path)
    links, elements = named(robot, "link"), named(robot, "joint")
    unknown = [name for name in locked if name not in elements]
    if unknown:
        raise RobooptError(
            f"`locked` must name joints of {sorted(elements)}, got {unknown}."
        )
    found = [_joint(e, fixed=name in locked) for name, e in elements.items()]
    root = _root(tuple(links), found)
    joints = _depth_first(root, found)
    if not any(joint.kind != FIXED for joint in joints):
        raise Fault(
            f"{path} must have a revolute, continuous or prismatic joint that moves, "
            f"got {len(links)} link(s) that cannot move."
        )
    model = UrdfModel(root, joints, {}, ())
    carried = [name for name, pose in model.link_poses.items() if pose.joint >= 0]
    inertials = {name: _inertial(links[name]) for name in carried}
    without = [name for name in carried if links[name].find("inertial") is None]
    return UrdfModel(root, joints, inertials, tuple(without))


def _joint(element: Element, *, fixed: bool) -> Joint:
    where = title(element)
    kind = FIXED if fixed else element.get("type")
    if kind not in KINDS:
        raise Fault(f"`type` of {where} must be one of {KINDS}, got {kind!r}.")
    rotation, offset = origin(element, where)
    limit, mimic = element.find("limit"), element.find("mimic")
    if kind in ("revolute", PRISMATIC) and limit is None:
        raise Fault(f"{where} must have a <limit>, being {kind}, got none.")
    moves = kind != FIXED
    damping = number(element.find("dynamics"), "damping", 0.0, where)
    if damping < 0 and moves:
        raise Fault(f"`damping` of {where} must not be negative, got {damping}.")
    lower, upper = (_limit(limit, name, kind, where) for name in ("lower", "upper"))
    return Joint(
        name=str(element.get("name")),
        kind=kind,
        parent=required(element, "parent", "link", where),
        child=required(element, "child", "link", where),
        rotation=rotation,
        offset=offset,
        axis=_axis(element, where) if moves else np.array([1.0, 0.0, 0.0]),
        damping=damping,
        lower=lower,
        upper=upper,
        effort_limit=number(limit, "effort", 0.0, where) if moves else 0.0,
        mimics=None if mimic is None else mimic.get("joint", ""),
    )


def _axis(joint: Element, where: str) -> np.ndarray:
    axis = numbers(joint.find("axis"), "xyz", (1.0, 0.0, 0.0), where)
    length = float(np.linalg.norm(axis))
    # Bullet scales the motion by the length in some places and not in others.
    if abs(length - 1) > UNIT_TOLERANCE:
        raise Fault(
            f"`axis` of {where} must be a unit vector, got {axis.tolist()} of length "
            f"{length:.6g}."
        )
    return axis / length


def _limit(limit: Element | None, name: str, kind: str, where: str) -> float | None:
    """Return a limit, None for a continuous joint: PyBullet ignores its limits."""
    if kind in (FIXED, "continuous") or limit is None or limit.get(name) is None:
        return None
    return number(limit, name, 0.0, where)


def _inertial(link: Element) -> Inertial:
    where = title(link)
    element = link.find("inertial")
    if element is None:
        return DEFAULT_INERTIAL
    required(element, "mass", "value", f"<inertial> of {where}")
    mass = number(element.find("mass"), "value", 0.0, where)
    if mass < 0:
        raise Fault(f"`mass` of {where} must not be negative, got {mass} kg.")
    rotation, center = origin(element, where)
    inertia = _inertia(element, where)
    return Inertial(mass, center, rotation @ inertia @ rotation.T)


def _inertia(inertial: Element, where: str) -> np.ndarray:
    for name in ("ixx", "iyy", "izz"):
        required(inertial, "inertia", name, f"<inertial> of {where}")
    element = inertial.find("inertia")
    products = "ixy", "ixz", "iyz"
    given = [n for n in products if element is not None and element.get(n)]
    if len(given) not in (0, 3):
        raise Fault(
            f"`inertia` of {where} must have all of ixy, ixz and iyz or none of them, "
            f"got {given}."
        )
    names = "ixx", "iyy", "izz", *products
    xx, yy, zz, xy, xz, yz = (number(element, name, 0.0, where) for name in names)
    moments, axes = principal_axes(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
    if any(m < 0 or m > sum(np.delete(moments, i)) for i, m in enumerate(moments)):
        raise Fault(
            f"`inertia` of {where} must have principal moments that are not negative "
            "and satisfy the triangle inequality (none greater than the sum of the "
            f"other two), got {moments.tolist()} kg·m²."
        )
    return axes @ np.diag(moments) @ axes.T


def _root(links: tuple[str, ...], joints: list[Joint]) -> str:
    """Return the root, having checked that the links form a tree."""
    if not links:
        raise Fault("the robot must have at least one <link>, got none.")
    for joint in joints:
        for end, link in (("parent", joint.parent), ("child", joint.child)):
            if link not in links:
                raise Fault(
                    f"`{end}` of joint {joint.name!r} must be one of the links "
                    f"{links}, got {link!r}."
                )
    children = Counter(joint.child for joint in joints)
    repeated = [link for link, count in children.items() if count > 1]
    if repeated:
        raise Fault(
            "every link must be the child of one joint at most, got more for "
            f"{repeated}."
        )
    roots = [link for link in links if link not in children]
    if len(roots) > 1:
        raise Fault(f"the links must have one root, got {len(roots)}: {roots}.")
    reached = set(roots)
    while new := {j.child for j in joints if j.parent in reached} - reached:
        reached |= new
    if len(reached) < len(links) or not roots:
        loop = [link for link in links if link not in reached]
        raise Fault(f"the links must form a tree, got a loop of {loop}.")
    return roots[0]


def _depth_first(root: str, joints: list[Joint]) -> tuple[Joint, ...]:
    ordered: list[Joint] = []
    waiting = [joint for joint in reversed(joints) if joint.parent == root]
    while waiting:
        ordered.append(waiting.pop())
        child = ordered[-1].child
        waiting += [joint for joint in reversed(joints) if joint.parent == child]
    return tuple(ordered)
