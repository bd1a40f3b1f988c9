"""What a URDF must satisfy before PyBullet sees it.

Given broken input PyBullet ends the process, or drops what it cannot use after a line
on standard output. So the XML is read here first, with the standard library, and what
Bullet would get wrong is refused by the name of the element.
"""

import math
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

MOVING = ("revolute", "continuous", "prismatic")


def check_urdf(path: Path, *, mimic: bool = False) -> set[str]:
    """Refuse a file that Bullet cannot simulate as it stands.

    Args:
        path: the URDF.
        mimic: accept `<mimic>`, which Bullet ignores.

    Returns:
        The moving links that have a moment of inertia.

    Raises:
        ValueError: if it is not XML, or no robot; if its joints do not make one tree of
            its links, with at least one that moves and none with more than one degree
            of freedom; if an axis is not a unit vector, a number is missing or not
            finite, a mass or moment of inertia negative, an inertia impossible
            (triangle inequality), a joint has nothing to move or nowhere to go, or
            mimics another.

    Warns:
        UserWarning: if a moving link has no `<inertial>`; Bullet makes it 1 kg.
    """
    try:
        root = ET.parse(path).getroot()
    except (ET.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"`robot`: {path} is not valid XML: {error}.") from error
    if root.tag != "robot":
        raise ValueError(
            f"`robot`: the root of {path} must be <robot>, got <{root.tag}>."
        )
    links = _by_name(root, "link")
    joints = _by_name(root, "joint")
    children = _tree(links, joints)
    for name, joint in joints.items():
        _check_joint(name, joint, mimic=mimic)
    moving = [name for name, joint in joints.items() if joint.get("type") in MOVING]
    if not moving:
        raise ValueError(f"`robot`: {path} must have a moving joint, got none.")
    carried = {
        name: _subtree(_link(joints[name], "child"), children) for name in moving
    }
    inertias = {
        name: _inertia(name, links[name])
        for name in links
        if any(name in below for below in carried.values())
    }
    for name in moving:
        mass = sum(inertias[link][0] for link in carried[name])
        turns = any(inertias[link][1] for link in carried[name])
        if mass == 0 and not (turns and joints[name].get("type") != "prismatic"):
            raise ValueError(
                f"`robot`: joint {name!r} must move some mass, got links "
                f"{sorted(carried[name])} of mass 0."
            )
    return {name for name, (_, extended) in inertias.items() if extended}


def _by_name(root: ET.Element, tag: str) -> dict[str, ET.Element]:
    elements: dict[str, ET.Element] = {}
    for element in root.findall(tag):
        name = element.get("name")
        if not name or name in elements:
            raise ValueError(
                f"`robot`: every <{tag}> must have a name of its own, got {name!r}"
                f"{' twice' if name else ''}."
            )
        elements[name] = element
    return elements


def _link(joint: ET.Element, end: str) -> str:
    element = joint.find(end)
    return "" if element is None else element.get("link", "")


def _tree(
    links: dict[str, ET.Element], joints: dict[str, ET.Element]
) -> dict[str, list[str]]:
    """Return the children of each link, once sure that they make one tree."""
    children: dict[str, list[str]] = {name: [] for name in links}
    parents: dict[str, str] = {}
    for name, joint in joints.items():
        parent, child = _link(joint, "parent"), _link(joint, "child")
        for end, link in (("parent", parent), ("child", child)):
            if link not in links:
                raise ValueError(
                    f"`robot`: <{end}> of joint {name!r} must name a link, one of "
                    f"{sorted(links)}, got {link!r}."
                )
        if child in parents:
            raise ValueError(
                f"`robot`: link {child!r} must have one parent, got {parents[child]!r} "
                f"and {parent!r}."
            )
        parents[child] = parent
        children[parent].append(child)
    roots = [name for name in links if name not in parents]
    if len(roots) != 1 or len(_subtree(roots[0], children)) != len(links):
        raise ValueError(
            f"`robot`: links and joints must make one tree, got the roots {roots}."
        )
    return children


def _subtree(link: str, children: dict[str, list[str]]) -> set[str]:
    found, waiting = set(), [link]
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting += children[name]
    return found


def _numbers(element: ET.Element | None, key: str, default: str, where: str):
    """Return the numbers in an attribute, refusing what is not finite."""
    text = default if element is None else element.get(key, default)
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != len(default.split()) or not all(map(math.isfinite, values)):
        raise ValueError(
            f"`robot`: {key!r} of {where} must hold {len(default.split())} finite "
            f"number(s), got {text!r}."
        )
    return values


def _check_joint(name: str, joint: ET.Element, *, mimic: bool):
    kind = joint.get("type")
    if kind not in (*MOVING, "fixed"):
        raise ValueError(
            f"`robot`: joint {name!r} must be one of {[*MOVING, 'fixed']}, got "
            f"{kind!r}."
        )
    where = f"joint {name!r}"
    for key in ("xyz", "rpy"):
        _numbers(joint.find("origin"), key, "0 0 0", where)
    if kind == "fixed":
        return
    length = math.hypot(*_numbers(joint.find("axis"), "xyz", "1 0 0", where))
    # Bullet scales the motion by the length in some places and not in others.
    if abs(length - 1.0) > 1e-6:
        raise ValueError(
            f"`robot`: the axis of {where} must have length 1, got {length}."
        )
    limit = joint.find("limit")
    (lower,), (upper,), (effort,) = (
        _numbers(limit, key, "0", where) for key in ("lower", "upper", "effort")
    )
    (damping,) = _numbers(joint.find("dynamics"), "damping", "0", where)
    if effort < 0 or damping < 0:
        raise ValueError(
            f"`robot`: effort and damping of {where} must not be negative, got "
            f"{effort} and {damping}."
        )
    if kind != "continuous" and lower == upper:
        raise ValueError(
            f"`robot`: the limits of {where} must leave room to move, got "
            f"{lower} and {upper}."
        )
    if joint.find("mimic") is not None and not mimic:
        raise ValueError(
            f"`robot`: {where} must not mimic another: Bullet ignores <mimic>."
        )


def _inertia(name: str, link: ET.Element) -> tuple[float, bool]:
    """Return the mass of a link [kg], and whether it has a moment of inertia."""
    where = f"link {name!r}"
    inertial = link.find("inertial")
    if inertial is None:
        warnings.warn(
            f"{where} has no <inertial>: Bullet gives it 1 kg and 1 kg·m². For a mere "
            "frame write an <inertial> with mass 0 and inertia 0.",
            UserWarning,
            stacklevel=2,
        )
        return 1.0, True
    mass_element, tensor = inertial.find("mass"), inertial.find("inertia")
    if mass_element is None or tensor is None:
        raise ValueError(
            f"`robot`: <inertial> of {where} must have a <mass> and an <inertia>, got "
            f"{[element.tag for element in inertial]}."
        )
    if not {"ixx", "iyy", "izz"} <= set(tensor.keys()):
        raise ValueError(
            f"`robot`: <inertia> of {where} must have 'ixx', 'iyy' and 'izz', got "
            f"{tensor.keys()}."
        )
    for key in ("xyz", "rpy"):
        _numbers(inertial.find("origin"), key, "0 0 0", where)
    (mass,) = _numbers(mass_element, "value", "0", where)
    xx, xy, xz, yy, yz, zz = (
        _numbers(tensor, f"i{key}", "0", where)[0]
        for key in ("xx", "xy", "xz", "yy", "yz", "zz")
    )
    moments = np.linalg.eigvalsh([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    if mass < 0 or moments[0] < -1e-12 * moments[2]:
        raise ValueError(
            f"`robot`: mass and moments of inertia of {where} must not be negative, "
            f"got {mass} kg and {moments} kg·m²."
        )
    if moments[2] > (moments[0] + moments[1]) * (1 + 1e-12):
        raise ValueError(
            f"`robot`: the moments of inertia of {where} must satisfy the triangle "
            f"inequality, got {moments} kg·m²: Bullet would set them to 0."
        )
    return mass, bool(moments[2] > 0)
