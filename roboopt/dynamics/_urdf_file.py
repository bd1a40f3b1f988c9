"""A URDF file as it is written: links, joints, numbers, every one checked.

What a file leaves out is filled in as PyBullet fills it in, and what PyBullet would
quietly make something else of is refused: an axis that is not a unit vector, an inertia
that no body has (it becomes zero), one of a joint's limits without the other.
"""

from collections import Counter
from collections.abc import Iterable
from os import PathLike
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from roboopt._errors import RobooptError
from roboopt.dynamics._principal_axes import principal_axes

FIXED, PRISMATIC = "fixed", "prismatic"
KINDS = ("revolute", "continuous", PRISMATIC, FIXED)
UNIT_TOLERANCE = 1e-6  # of an axis' length: files give some six digits


class Inertial(NamedTuple):
    """A link's inertia, in the axes of its frame."""

    mass: float  # [kg]
    center: np.ndarray  # (3,) [m]
    inertia: np.ndarray  # (3, 3) [kg·m²] about the center of mass


class Joint(NamedTuple):
    """A joint, and the pose of the link after it at q = 0 in the link before it."""

    name: str
    kind: str
    parent: str
    child: str
    rotation: np.ndarray  # (3, 3)
    offset: np.ndarray  # (3,) [m]
    axis: np.ndarray  # (3,) unit vector
    damping: float  # [N·m·s/rad] or [N·s/m]
    limits: tuple[float, float] | None  # [rad or m]


class UrdfFile(NamedTuple):
    """A tree of links; the root's inertia is nobody's business, and not read."""

    root: str
    inertials: dict[str, Inertial]
    joints: tuple[Joint, ...]


# What PyBullet gives a link that says nothing of its inertia.
DEFAULT_INERTIAL = Inertial(1.0, np.zeros(3), np.eye(3))


def read_urdf_file(path: str | PathLike, locked: Iterable[str]) -> UrdfFile:
    """Read `path`, with the joints named in `locked` fixed at zero.

    Raises:
        FileNotFoundError: if there is no such file.
        RobooptError: if the file is not a URDF, its links and joints are no tree, or a
            number in it is missing or impossible.
    """
    robot = _robot(path)
    links = _named(robot, "link")
    elements = _named(robot, "joint")
    locked = tuple(locked)
    unknown = [name for name in locked if name not in elements]
    if unknown:
        raise RobooptError(
            f"`locked` must name joints of {sorted(elements)}, got {unknown}."
        )
    joints = tuple(_joint(e, fixed=name in locked) for name, e in elements.items())
    root = _root(tuple(links), joints)
    inertials = {n: _inertial(e) for n, e in links.items() if n != root}
    return UrdfFile(root, inertials, joints)


def _robot(path: str | PathLike) -> Element:
    try:
        robot = ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"`path` must be that of a URDF file, and there is none at {path}."
        ) from None
    except ElementTree.ParseError as error:
        raise RobooptError(f"`path` must hold XML; {path} does not: {error}.") from None
    if robot.tag != "robot":
        raise RobooptError(
            f"`path` must hold a URDF, a <robot>; {path} holds a <{robot.tag}>."
        )
    return robot


def _named(robot: Element, tag: str) -> dict[str, Element]:
    """Return the robot's links or joints by name, in the file's order."""
    elements = robot.findall(tag)
    names = [e.get("name") or "" for e in elements]
    if not all(names):
        raise RobooptError(f"every <{tag}> must have a `name`, got {names}.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise RobooptError(
            f"every <{tag}> must have its own `name`, got twice: {twice}."
        )
    return dict(zip(names, elements, strict=True))


def _title(element: Element) -> str:
    return f"{element.tag} {element.get('name')!r}"


def _numbers(
    element: Element | None, attribute: str, default: tuple[float, ...], where: str
) -> np.ndarray:
    """Return an attribute's numbers, as many as `default` has."""
    text = None if element is None else element.get(attribute)
    if text is None:
        return np.array(default, float)
    try:
        numbers = np.array([float(word) for word in text.split()])
    except ValueError:
        numbers = np.array([])
    if numbers.size != len(default) or not np.all(np.isfinite(numbers)):
        tag = "" if element is None else element.tag
        raise RobooptError(
            f"`{attribute}` of <{tag}> in {where} must be {len(default)} finite "
            f"number(s), got {text!r}."
        )
    return numbers


def _number(
    element: Element | None, attribute: str, default: float, where: str
) -> float:
    return float(_numbers(element, attribute, (default,), where)[0])


def _required(element: Element, tag: str, attribute: str, where: str) -> str:
    """Return the attribute of a child element that must be there."""
    child = element.find(tag)
    value = None if child is None else child.get(attribute)
    if not value:
        raise RobooptError(f"{where} must have a <{tag} {attribute}=…>, got none.")
    return value


def _pose(element: Element, where: str) -> tuple[np.ndarray, np.ndarray]:
    origin = element.find("origin")
    roll, pitch, yaw = _numbers(origin, "rpy", (0.0, 0.0, 0.0), where)
    offset = _numbers(origin, "xyz", (0.0, 0.0, 0.0), where)
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll, pitch, yaw]), np.sin([roll, pitch, yaw])
    # R = R_z(yaw) R_y(pitch) R_x(roll)
    rotation = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.array(rotation), offset


def _inertial(link: Element) -> Inertial:
    where = _title(link)
    element = link.find("inertial")
    if element is None:
        return DEFAULT_INERTIAL
    _required(element, "mass", "value", f"<inertial> of {where}")
    mass = _number(element.find("mass"), "value", 0.0, where)
    if mass < 0:
        raise RobooptError(f"`mass` of {where} must not be negative, got {mass} kg.")
    rotation, center = _pose(element, where)
    inertia = _inertia(element, where)
    return Inertial(mass, center, rotation @ inertia @ rotation.T)


def _inertia(inertial: Element, where: str) -> np.ndarray:
    for name in ("ixx", "iyy", "izz"):
        _required(inertial, "inertia", name, f"<inertial> of {where}")
    element = inertial.find("inertia")
    given = [n for n in ("ixy", "ixz", "iyz") if element is not None and element.get(n)]
    if len(given) not in (0, 3):
        raise RobooptError(
            f"`inertia` of {where} must have all of ixy, ixz and iyz or none of them, "
            f"got {given}."
        )
    xx, yy, zz, xy, xz, yz = (
        _number(element, name, 0.0, where)
        for name in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")
    )
    inertia = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    moments, axes = principal_axes(inertia)
    if any(m < 0 or m > sum(np.delete(moments, i)) for i, m in enumerate(moments)):
        raise RobooptError(
            f"`inertia` of {where} must be one that a body can have: principal moments "
            "not negative, none greater than the sum of the other two, got "
            f"{moments.tolist()} kg·m²."
        )
    return axes @ np.diag(moments) @ axes.T


def _joint(element: Element, *, fixed: bool) -> Joint:
    where = _title(element)
    kind = FIXED if fixed else element.get("type")
    if kind not in KINDS:
        raise RobooptError(f"`type` of {where} must be one of {KINDS}, got {kind!r}.")
    if kind != FIXED and element.find("mimic") is not None:
        raise RobooptError(
            f"{where} must move by itself, got one that mimics another: fix it with "
            f"`locked=({element.get('name')!r},)`."
        )
    rotation, offset = _pose(element, where)
    return Joint(
        name=str(element.get("name")),
        kind=kind,
        parent=_required(element, "parent", "link", where),
        child=_required(element, "child", "link", where),
        rotation=rotation,
        offset=offset,
        axis=np.array([1.0, 0.0, 0.0]) if kind == FIXED else _axis(element, where),
        damping=_number(element.find("dynamics"), "damping", 0.0, where),
        limits=_limits(element, kind, where),
    )


def _axis(joint: Element, where: str) -> np.ndarray:
    axis = _numbers(joint.find("axis"), "xyz", (1.0, 0.0, 0.0), where)
    length = float(np.linalg.norm(axis))
    if abs(length - 1) > UNIT_TOLERANCE:
        raise RobooptError(
            f"`axis` of {where} must be a unit vector, got {axis.tolist()} of length "
            f"{length:.6g}."
        )
    return axis / length


def _limits(joint: Element, kind: str, where: str) -> tuple[float, float] | None:
    """Return where the joint stops; a continuous one does not, whatever it says."""
    if kind in (FIXED, "continuous"):
        return None
    limit = joint.find("limit")
    if limit is None:
        raise RobooptError(f"{where} must have a <limit>, being {kind}, got none.")
    given = [name for name in ("lower", "upper") if limit.get(name) is not None]
    if not given:
        return None
    if len(given) == 1:
        raise RobooptError(
            f"<limit> of {where} must have both `lower` and `upper` or neither, got "
            f"{given}."
        )
    lower, upper = (_number(limit, name, 0.0, where) for name in ("lower", "upper"))
    if lower > upper:
        raise RobooptError(
            f"`lower` of {where} must not exceed `upper`, got {lower} and {upper}."
        )
    return lower, upper


def _root(links: tuple[str, ...], joints: tuple[Joint, ...]) -> str:
    """Return the one link that hangs on no joint, from which all others hang."""
    for joint in joints:
        for end, link in (("parent", joint.parent), ("child", joint.child)):
            if link not in links:
                raise RobooptError(
                    f"`{end}` of joint {joint.name!r} must be one of the links "
                    f"{links}, got {link!r}."
                )
    hung = Counter(joint.child for joint in joints)
    twice = [link for link, count in hung.items() if count > 1]
    if twice:
        raise RobooptError(
            f"every link must be the child of one joint at most, got more for {twice}."
        )
    roots = [link for link in links if link not in hung]
    if len(roots) > 1:
        raise RobooptError(
            f"the links must hang together from one root, got {len(roots)}: {roots}."
        )
    reached = set(roots)
    while new := {j.child for j in joints if j.parent in reached} - reached:
        reached |= new
    if len(reached) < len(links) or not roots:
        loop = [link for link in links if link not in reached]
        raise RobooptError(
            f"the links must form a tree, got ones that hang from themselves: {loop}."
        )
    return roots[0]
