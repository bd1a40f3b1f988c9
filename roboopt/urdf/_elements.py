"""XML elements of a URDF file: names, numbers and poses, each of them checked."""

from collections import Counter
from collections.abc import Sequence
from os import PathLike
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from roboopt.urdf._rotations import rotation_from_rpy


class Fault(Exception):
    """A rule that a file breaks; `read_urdf` adds the name of the argument."""


def parse_robot(path: str | PathLike) -> Element:
    """Return the `<robot>` of a file."""
    try:
        robot = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise Fault(f"{path} must be XML, and is not valid XML: {error}.") from None
    if robot.tag != "robot":
        raise Fault(f"the root of {path} must be <robot>, got <{robot.tag}>.")
    return robot


def named(robot: Element, tag: str) -> dict[str, Element]:
    """Return the robot's own links or joints by name, in the file's order.

    Only direct children count: a `<transmission>` has a `<joint>` of the same name.
    """
    elements = robot.findall(tag)
    names = [element.get("name") or "" for element in elements]
    if not all(names):
        raise Fault(f"every <{tag}> must have a `name`, got {names}.")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise Fault(f"every <{tag}> must have its own `name`, got twice: {repeated}.")
    return dict(zip(names, elements, strict=True))


def title(element: Element) -> str:
    """Return how messages refer to a link or joint."""
    return f"{element.tag} {element.get('name')!r}"


def numbers(
    element: Element | None, attribute: str, default: Sequence[float], where: str
) -> np.ndarray:
    """Return the finite numbers of an attribute, as many as `default` has."""
    text = None if element is None else element.get(attribute)
    if element is None or text is None:
        return np.array(default, float)
    try:
        found = np.array([float(word) for word in text.split()])
    except ValueError:
        found = np.array([])
    if found.size != len(default) or not np.all(np.isfinite(found)):
        raise Fault(
            f"`{attribute}` of <{element.tag}> in {where} must be {len(default)} finite"
            f" number(s), got {text!r}."
        )
    return found


def number(
    element: Element | None, attribute: str, default: float, where: str
) -> float:
    """Return the finite number of an attribute."""
    return float(numbers(element, attribute, (default,), where)[0])


def required(element: Element, tag: str, attribute: str, where: str) -> str:
    """Return an attribute that a child element must have."""
    child = element.find(tag)
    value = None if child is None else child.get(attribute)
    if not value:
        raise Fault(f"{where} must have a <{tag} {attribute}=…>, got none.")
    return value


def origin(element: Element, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the rotation and offset [m] of an `<origin>`, which may be missing."""
    found = element.find("origin")
    rpy = numbers(found, "rpy", (0.0, 0.0, 0.0), where)
    return rotation_from_rpy(rpy), numbers(found, "xyz", (0.0, 0.0, 0.0), where)
