"""XML elements of a URDF file: names, numbers and poses, each of them checked.

Files are read as leniently as PyBullet and ROS read them: a byte order mark or white
space before the declaration, a default namespace, prefixes that nobody declares, and
"--" in comments do no harm. Elements with a prefix belong to other programs.
"""

import codecs
import re
from collections import Counter
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from roboopt.urdf._notes import Fault, Notes
from roboopt.urdf._rotations import rotation_from_rpy

UTF_16 = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE


def parse_robot(path: str | PathLike, notes: Notes) -> Element:
    """Return the `<robot>` of a URDF or xacro file, without namespaces."""
    xacro = str(path).endswith(".xacro")
    data = _compiled(path) if xacro else Path(path).read_bytes()
    try:
        robot = _parse(data)
    except expat.ExpatError as error:
        raise Fault(f"{path} must be XML, and is not valid XML: {error}.") from None
    if robot.tag != "robot":
        raise Fault(f"the root of {path} must be <robot>, got <{robot.tag}>.")
    for element in robot.iter():
        if element.tag.startswith("xacro:"):
            notes.add(
                "xacro elements that are left in the file and have no effect (compile "
                "the file with xacro, or give the .xacro itself)",
                f"<{element.tag}>",
            )
    _strip(robot)
    return robot


def _parse(data: bytes) -> Element:
    encoding = None
    if not data.startswith(UTF_16):
        data = data.removeprefix(codecs.BOM_UTF8)
        data = re.sub(rb"<\?xml\s[^>]*\?>", b"", data, count=1).lstrip()
        data = re.sub(rb"<!--.*?-->", _line_breaks, data, flags=re.DOTALL)
        try:
            data.decode("utf-8")
            encoding = "utf-8"
        except UnicodeDecodeError:
            encoding = "iso-8859-1"
    builder, parser = TreeBuilder(), expat.ParserCreate(encoding)
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.Parse(data, True)
    return builder.close()


def _line_breaks(comment: re.Match[bytes]) -> bytes:
    return b"\n" * comment.group().count(b"\n")


def _strip(element: Element) -> None:
    """Drop namespaces, and the elements and attributes of other programs."""
    for name in [n for n in element.attrib if ":" in n or n == "xmlns"]:
        del element.attrib[name]
    for child in list(element):
        if ":" in child.tag:
            element.remove(child)
        else:
            _strip(child)


def _compiled(path: str | PathLike) -> bytes:
    """Return the URDF that a xacro file expands to."""
    try:
        from xacrodoc import XacroDoc
    except ImportError:
        raise Fault(
            f"{path} needs xacro: install `roboopt[ros]`, or compile the file to URDF."
        ) from None
    try:
        return XacroDoc.from_file(str(path)).to_urdf_string().encode()
    except Exception as error:  # a xacro file runs expressions of any kind
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Fault(f"{path} must be a xacro file that compiles: {reason}.") from error


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
    element: Element | None,
    attribute: str,
    default: Sequence[float],
    where: str,
    *,
    finite: bool = True,
) -> np.ndarray:
    """Return the numbers of an attribute, as many as `default` has."""
    text = None if element is None else element.get(attribute)
    if element is None or text is None:
        return np.array(default, float)
    try:
        found = np.array([float(word) for word in text.split()])
    except ValueError:
        found = np.array([])
    valid = np.isfinite(found) if finite else ~np.isnan(found)
    if found.size != len(default) or not valid.all():
        hint = ": compile the file with xacro" if "${" in text else ""
        raise Fault(
            f"`{attribute}` of <{element.tag}> in {where} must be {len(default)} "
            f"{'finite ' if finite else ''}number(s), got {text!r}{hint}."
        )
    return found


def number(
    element: Element | None,
    attribute: str,
    default: float,
    where: str,
    *,
    finite: bool = True,
) -> float:
    """Return the number of an attribute."""
    return float(numbers(element, attribute, (default,), where, finite=finite)[0])


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
