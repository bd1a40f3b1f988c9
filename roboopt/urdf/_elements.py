"""XML elements of a URDF file: names, numbers and poses, each of them checked.

Files are read as leniently as PyBullet and ROS read them: a byte order mark or white
space before the declaration, a default namespace, prefixes that nobody declares, and
"--" in comments do no harm. Elements with a prefix belong to other programs; those
within links are dropped, and `_left_out` judges the others.
"""

import codecs
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from os import PathLike
from xml.etree.ElementTree import Element

import numpy as np

from roboopt._reading import parse_xml, read_bytes, with_comments
from roboopt.urdf._notes import Fault, Notes
from roboopt.urdf._rotations import rotation_from_rpy
from roboopt.urdf._xacro import expanded

# As Python reads numbers, but not 1_0 nor digits of other scripts.
NUMBER = re.compile(
    r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)", re.ASCII | re.IGNORECASE
)
LFS_POINTER = "version https://git-lfs"
UTF_16 = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE


def urdf_text(path: str | PathLike, xacro_args: Mapping[str, str] | None = None) -> str:
    """Return the text of a URDF file, or of what a .xacro file compiles to, as XML.

    The declaration is dropped, and "--" in comments becomes "- -".
    """
    if str(path).endswith(".xacro"):
        text = expanded(path, xacro_args or {})
    elif xacro_args:
        raise Fault(f"a .xacro file alone takes arguments by `xacro_args`, got {path}.")
    else:
        data = read_bytes(path)
        text = _decoded(data, "utf-16" if data.startswith(UTF_16) else "utf-8-sig")
    if found := re.search(r"<\?xml\s", text):
        _, ended, after = text[found.start() :].partition("?>")
        text = text[: found.start()] + after if ended else text
    return with_comments(text.strip("\0 \t\r\n"), _valid_comment)


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("iso-8859-1")


def _valid_comment(comment: str) -> str:
    content = re.sub("-(?=-|$)", "- ", comment)
    return f"<!--{content}-->"


def parse_robot(
    path: str | PathLike, notes: Notes, xacro_args: Mapping[str, str] | None = None
) -> Element:
    """Return the `<robot>` of a URDF or .xacro file, without namespaces."""
    text = urdf_text(path, xacro_args)
    if text.startswith(LFS_POINTER):
        raise Fault(
            f"{path} is a pointer of Git LFS: get the file itself by `git lfs pull`."
        )
    try:
        robot = parse_xml(text.encode(errors="replace"), "utf-8")
    except ValueError as error:
        raise Fault(f"{path} {error}.") from None
    if robot.tag != "robot":
        raise Fault(f"the root of {path} must be <robot>, got <{robot.tag}>.")
    for element in robot.iter():
        if element.tag.startswith("xacro:"):
            notes.add(
                "xacro elements that are left in the file and have no effect (name the "
                "file .urdf.xacro, or compile it with xacro)",
                f"<{element.tag}>",
            )
    _strip(robot)
    return robot


def _strip(element: Element, *, inside_link: bool = False) -> None:
    """Drop namespaces, attributes of other programs, and their elements in links."""
    for name in [n for n in element.attrib if ":" in n or n == "xmlns"]:
        del element.attrib[name]
    for child in list(element):
        if child.tag.startswith("xacro:") or ":" in child.tag and inside_link:
            element.remove(child)
        else:
            _strip(child, inside_link=inside_link or child.tag == "link")


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
    # "1, 2 3" is read as written; "1,5" may be a decimal comma.
    found = _listed(text)
    valid = np.isfinite(found) if finite else ~np.isnan(found)
    if found.size != len(default) or not valid.all():
        hint = _remedy(text, len(default))
        raise Fault(
            f"`{attribute}` of <{element.tag}> in {where} must be {len(default)} "
            f"{'finite ' if finite else ''}number(s), got {text!r}{hint}."
        )
    return found


def _listed(text: str) -> np.ndarray:
    """Return the numbers in a text, none where it holds anything else."""
    words = re.split(r",?\s+", text.strip())
    valid = all(NUMBER.fullmatch(word) for word in words)
    return np.array([float(word) for word in words] if valid else [])


def _remedy(text: str, count: int) -> str:
    """Return how to write `count` numbers that are written in a usual, wrong way."""
    if re.search(r"\$[{(]", text):
        return ": compile the file with xacro"
    if "," in text and _listed(text.replace(",", ".")).size == count:
        return ": write a decimal point, not a comma"
    if re.search("[,;]", text) and _listed(re.sub("[,;]", " ", text)).size == count:
        return ": separate the numbers by spaces"
    return ""


def number(
    element: Element | None,
    attribute: str,
    default: float,
    where: str,
    *,
    finite: bool = True,
) -> float:
    """Return the number of an attribute; an empty attribute counts as missing."""
    if element is not None and not element.get(attribute, "").strip():
        return default
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
