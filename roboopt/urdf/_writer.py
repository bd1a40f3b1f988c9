"""The numbers of a robot written into the URDF that the robot was read from.

The file is edited in place: comments, order and unknown elements stay, and a value that
agrees with the file's is not rewritten. PyBullet, and `read_urdf` after it, determine
the principal axes of an inertia only to about 1e-9, and set an inertia to zero whose
moments break the triangle inequality by a rounding error. A changed inertia is
therefore written as its principal moments, about axes given by `<origin rpy>`.
"""

import contextlib
import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any
from xml.dom.expatbuilder import parseString
from xml.dom.minidom import Element, Text
from xml.sax.saxutils import quoteattr

import numpy as np

from roboopt._errors import RobooptError
from roboopt.urdf._elements import urdf_text
from roboopt.urdf._model import Inertial, Pose, UrdfModel, composite
from roboopt.urdf._principal_axes import exact_principal_axes
from roboopt.urdf._reader import read_template
from roboopt.urdf._rotations import rotation_from_rpy, rpy_from_rotation

MOMENT_TOLERANCE = 1e-9  # on the rules for moments, relative to the largest moment
DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'
ENTRIES = {
    **{"ixx": (0, 0), "ixy": (0, 1), "ixz": (0, 2)},
    **{"iyy": (1, 1), "iyz": (1, 2), "izz": (2, 2)},
}


def edit_urdf(
    robot: Any,
    template: str | PathLike,
    folder: str | PathLike | None,
    *,
    xacro_args: Mapping[str, str] | None = None,
    argument: str = "robot",
) -> bytes:
    """Return the text of `template` with the masses and joint frictions of `robot`.

    If bodies that fixed joints connect were merged and their composite inertia has
    changed, the first link gets all of it and the others get no mass. A changed damping
    or friction goes to the joint itself, less the shares of the joints that follow it.

    Args:
        robot: an object with the attributes of `roboopt.dynamics.Multibody`, whose
            joints and links are the file's; joints of the file that the robot lacks
            count as locked at zero.
        template: the URDF that the robot was read from.
        folder: where the new file will be. Relative paths of meshes and textures are
            rewritten to lead to the same files from there. With None, every path that
            PyBullet can resolve becomes absolute, package:// included.
        xacro_args: values of the arguments of a .xacro file, by name.
        argument: the caller's name for `robot`, used in messages.

    Raises:
        RobooptError: if `template` is not the robot's, or an inertia is impossible.
    """
    model = read_template(template, xacro_args)
    _check_names(robot, model)
    document = parseString(urdf_text(template, xacro_args), namespaces=False)
    root = document.documentElement
    assert root is not None  # `read_urdf` has found <robot>
    links, joints = _named(root, "link"), _named(root, "joint")
    tolerance = 64 * float(np.finfo(np.asarray(robot.masses).dtype).eps)
    for link, inertial in _changed_inertials(robot, model, tolerance).items():
        _check_inertial(inertial, link, argument)
        old = model.inertials[link]
        _write_inertial(links[link], old, inertial, tolerance, argument)
    for name, losses in _changed_losses(robot, model, tolerance).items():
        _set(joints[name], "dynamics", {k: repr(v) for k, v in losses.items()})
    before = Path(template).resolve().parent
    for tag in ("mesh", "texture"):
        for element in root.getElementsByTagName(tag):
            _redirect(element, before, None if folder is None else Path(folder))
    nodes = [_text(node) for node in document.childNodes]
    return "\n".join([DECLARATION, *nodes, ""]).encode()


def _text(node: Any) -> str:
    """Return the XML of a node; `Element.toxml` loses spaces once xacro is imported."""
    if not isinstance(node, Element):
        return node.toxml()
    pairs = [f" {name}={quoteattr(value)}" for name, value in node.attributes.items()]
    tag, inside = node.tagName, "".join(map(_text, node.childNodes))
    return f"<{tag}{''.join(pairs)}" + (f">{inside}</{tag}>" if inside else "/>")


def _array(numbers: Any) -> np.ndarray:
    return np.asarray(numbers, np.float64)


def _check_names(robot: Any, model: UrdfModel) -> None:
    moving = [joint.name for joint in model.moving]
    if not {*robot.joint_names, *(joint.name for joint in robot.moving)} <= {*moving}:
        raise RobooptError(
            f"`template` must have the joints of the robot, {list(robot.joint_names)}, "
            f"got {moving}."
        )
    if sorted(robot.link_names) != sorted(model.link_names):
        raise RobooptError(
            f"`template` must have the links of the robot, {sorted(robot.link_names)}, "
            f"got {sorted(model.link_names)}."
        )


def _changed_inertials(
    robot: Any, model: UrdfModel, tolerance: float
) -> dict[str, Inertial]:
    """Return the inertials to be written, by link and in the link's frame."""
    columns = robot.masses, robot.centers_of_mass, robot.inertias
    rows = zip(robot.body_names, *map(_array, columns), strict=True)
    bodies = {name: Inertial(float(mass), *rest) for name, mass, *rest in rows}
    groups: dict[int, dict[str, Pose]] = {}
    poses = map(_array, (robot.link_rotations, robot.link_offsets))
    links = zip(robot.link_names, robot.link_joints, *poses, strict=True)
    for link, joint, rotation, offset in links:
        if joint >= 0:
            groups.setdefault(joint, {})[link] = Pose(joint, rotation, offset)
    written = {}
    for group in groups.values():
        ours = {link: bodies[link] for link in group if link in bodies}
        theirs = {
            link: model.inertials[link].to_parent(pose.rotation, pose.offset)
            for link, pose in group.items()
        }
        if any(link not in ours and _any(theirs[link]) for link in group):
            both = (composite([*found.values()]) for found in (ours, theirs))
            if all(_near(a, b, tolerance) for a, b in zip(*both, strict=True)):
                continue  # The merged body is the file's.
        for link, pose in group.items():
            old = model.inertials[link]
            if link in ours:
                written[link] = _in_link(ours[link], old, theirs[link], pose, tolerance)
            elif _any(old):
                written[link] = Inertial(0.0, old.center, np.zeros((3, 3)))
    return written


def _in_link(
    body: Inertial, old: Inertial, old_in_joint: Inertial, pose: Pose, tolerance: float
) -> Inertial:
    """Return a body in its link's frame, with the file's numbers where they agree.

    The numbers are compared in the joint's frame, in which the robot has them: moved
    into the link's frame they carry the rounding error of the move.
    """
    center, inertia = body.from_parent(pose.rotation, pose.offset)[1:]
    if _near(body.center, old_in_joint.center, tolerance):
        center = old.center
    if _near(body.inertia, old_in_joint.inertia, tolerance):
        inertia = old.inertia
    return Inertial(body.mass, center, inertia)


def _changed_losses(
    robot: Any, model: UrdfModel, tolerance: float
) -> dict[str, dict[str, float]]:
    """Return the damping and friction to be written, by joint."""
    written: dict[str, dict[str, float]] = {}
    joints = {joint.name: joint for joint in model.moving}
    for number, name in enumerate(robot.joint_names):
        factors = {name: 1.0} | {
            joint.name: joint.multiplier
            for joint in robot.moving
            if joint.follows == number and joint.name != name
        }
        for loss, power in (("damping", 2), ("friction", 1)):
            shares = {
                follower: abs(factor) ** power * getattr(joints[follower], loss)
                for follower, factor in factors.items()
            }
            own, total = shares.pop(name), float(getattr(robot, loss)[number])
            others = sum(shares.values())
            if _near(total, own + others, tolerance):
                continue
            if others <= total:
                written.setdefault(name, {})[loss] = total - others
                continue
            for follower in (name, *shares):  # The joints that follow have too much.
                scaled = getattr(joints[follower], loss) * total / others
                value = 0.0 if follower == name else scaled
                written.setdefault(follower, {})[loss] = value
    return written


def _any(body: Inertial) -> bool:
    return bool(body.mass or np.any(body.inertia))


def _near(a: Any, b: Any, tolerance: float) -> bool:
    scale = max(np.abs(a).max(), np.abs(b).max())
    return bool(np.abs(np.subtract(a, b)).max() <= tolerance * scale)


def _check_inertial(body: Inertial, link: str, argument: str) -> None:
    numbers = [body.mass, *body.center, *body.inertia.ravel()]
    if not (np.all(np.isfinite(numbers)) and body.mass >= 0):
        raise RobooptError(
            f"`{argument}` must have finite numbers, and no mass must be negative, got "
            f"{body.mass} kg and {numbers[1:]} for link {link!r}."
        )


def _write_inertial(
    link: Element, old: Inertial, new: Inertial, tolerance: float, argument: str
) -> None:
    same = [np.array_equal(a, b) for a, b in zip(new, old, strict=True)]
    if all(same):
        return
    inertial = _child(link, "inertial")
    if inertial is None:
        inertial, same = _insert(link, "inertial"), [False] * 3
    pose, mass, tensor = {}, {}, {}
    if not same[0]:
        mass = {"value": repr(new.mass)}
    if not same[1]:
        pose["xyz"] = _words(new.center)
    if not same[2]:
        origin = _child(inertial, "origin")
        rpy = (origin and origin.getAttribute("rpy")) or "0 0 0"
        axes = rotation_from_rpy([float(word) for word in rpy.split()])
        name = link.getAttribute("name")
        moments, turn = _moments(axes.T @ new.inertia @ axes, tolerance, name, argument)
        if not np.array_equal(turn, np.eye(3)):
            pose["rpy"] = _words(rpy_from_rotation(axes @ turn))
        entries = np.diag(moments)
        tensor = {key: repr(float(entries[at])) for key, at in ENTRIES.items()}
        for contact in link.getElementsByTagName("contact"):
            scaling = _child(contact, "inertia_scaling")
            if scaling is not None:
                contact.removeChild(scaling)
    # A missing child is inserted first, so that the usual order is the reverse.
    for tag, attributes in (("inertia", tensor), ("mass", mass), ("origin", pose)):
        _set(inertial, tag, attributes)


def _moments(
    inertia: np.ndarray, tolerance: float, link: str, argument: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return moments that Bullet keeps unchanged, and the rotation to their axes."""
    turn = np.eye(3)
    off_diagonal = inertia - np.diag(np.diag(inertia))
    if np.abs(off_diagonal).max() > tolerance * np.abs(inertia).max():
        turn = exact_principal_axes(inertia)
    moments = np.diag(turn.T @ inertia @ turn).copy()
    largest, slack = int(np.argmax(moments)), MOMENT_TOLERANCE * np.abs(moments).max()
    bound = np.delete(np.maximum(moments, 0), largest).sum()
    if moments.min() < -slack or moments[largest] > bound + slack:
        raise RobooptError(
            f"`{argument}` must have principal moments of inertia that are not negative"
            " and satisfy the triangle inequality (none greater than the sum of the "
            f"other two), got {moments.tolist()} kg·m² for link {link!r}."
        )
    moments = np.maximum(moments, 0)
    moments[largest] = min(moments[largest], bound)
    return moments, turn


def _named(root: Element, tag: str) -> dict[str, Element]:
    return {
        node.getAttribute("name"): node
        for node in root.childNodes
        if isinstance(node, Element) and node.tagName == tag
    }


def _child(parent: Element, tag: str) -> Element | None:
    for node in parent.childNodes:
        if isinstance(node, Element) and node.tagName == tag:
            return node
    return None


def _insert(parent: Element, tag: str) -> Element:
    """Insert a child at the beginning, indented like the child that was first."""
    document, first = parent.ownerDocument, parent.firstChild
    assert document is not None
    child = document.createElement(tag)
    parent.insertBefore(child, first)
    if isinstance(first, Text):
        parent.insertBefore(document.createTextNode(first.data), child)
    return child


def _set(parent: Element, tag: str, attributes: dict[str, str]) -> None:
    """Set attributes of a child, which is inserted if it is missing."""
    if not attributes:
        return
    child = _child(parent, tag) or _insert(parent, tag)
    for name, value in attributes.items():
        child.setAttribute(name, value)


def _words(numbers: np.ndarray) -> str:
    return " ".join(repr(float(x)) for x in numbers)


def _redirect(element: Element, before: Path, after: Path | None) -> None:
    """Let a relative path lead to the same file from another folder."""
    filename = element.getAttribute("filename")
    name = filename if after else filename.removeprefix("package://")
    if not name or "://" in name or Path(name).is_absolute():
        return
    if after and before == after.resolve():
        return
    # Bullet searches the folders above, too.
    found = [f / name for f in (before, *before.parents) if (f / name).is_file()]
    if found:
        path = found[0].resolve()
        if after:
            with contextlib.suppress(ValueError):  # The folder is on another drive.
                path = Path(os.path.relpath(path, after.resolve()))
        element.setAttribute("filename", path.as_posix())
