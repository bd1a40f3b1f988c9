"""The file that PyBullet is given: written from a `UrdfModel`, never the user's own.

PyBullet then has no decision left to take. Inertias are principal moments about axes
given by `<origin rpy>`, of which Bullet changes no bit; a joint has no damping, since
the world applies damping as an effort, and of a robot in which joints follow others
also these and the limits. Shapes are the user's, with the paths of meshes resolved. A
mesh that is not found is replaced by capsules from the link's joint to the joints after
it. A link that shows nothing is seen by its collision shapes, or else by rods to the
joints after it or to its center of mass, by capsules where no link shows anything.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from roboopt.urdf._meshes import Mesh
from roboopt.urdf._model import FIXED, PRISMATIC, Inertial, UrdfModel
from roboopt.urdf._principal_axes import exact_principal_axes
from roboopt.urdf._rotations import rpy_from_rotation
from roboopt.urdf._shapes import SHAPES, shape_fault

CAPSULE_RADIUS, ROD_RADIUS = 0.03, 0.01  # of the robot's reach


def bullet_urdf(
    model: UrdfModel, meshes: Mapping[str, Mesh], *, shapes: bool = True
) -> bytes:
    """Return the text of a URDF that PyBullet loads as `model`.

    Joints and links have the order of the model.

    Args:
        model: the robot.
        meshes: the files of its meshes, as `find_meshes` returns them.
        shapes: whether the robot has its own shapes, or capsules alone.
    """
    robot = Element("robot", name=model.element.get("name") or "robot")
    if shapes:
        robot.extend(copy.deepcopy(e) for e in model.element.findall("material"))
    for texture in robot.iter("texture"):
        texture.attrib.pop("filename", None)
    own = {str(e.get("name")): e for e in model.element.findall("link")}
    shown = {e.tag for link in own.values() for e in link if e.tag in SHAPES}
    for name in model.link_names:
        link = SubElement(robot, "link", name=name)
        _write_inertial(link, model.inertials.get(name))
        if not shapes:
            for tag in SHAPES:
                _write_capsules(link, tag, model)
            continue
        _copy_shapes(own[name], link, model, meshes)
        if own[name].find("visual") is None:
            _write_stand_in(link, model, own, whole="visual" not in shown)
    lower, upper = model.position_limits
    # A limit stops joints that follow each other together, and Bullet's only one.
    coupled = any(joint.mimic is not None for joint in model.moving)
    limits = dict(zip(model.joint_names, zip(lower, upper, strict=True), strict=True))
    for joint in model.joints:
        ends = limits.get(joint.name, (-np.inf, np.inf))
        bounded = bool(np.isfinite(ends).all()) and not coupled
        kind = joint.kind
        if kind not in (FIXED, PRISMATIC):
            kind = "revolute" if bounded else "continuous"
        element = SubElement(robot, "joint", name=joint.name, type=kind)
        SubElement(element, "parent", link=joint.parent)
        SubElement(element, "child", link=joint.child)
        _write_origin(element, joint.offset, joint.rotation)
        SubElement(element, "axis", xyz=_words(joint.axis))
        if kind in ("revolute", PRISMATIC):
            # Bullet takes a lower limit above the upper one as no limits.
            low, high = map(repr, map(float, ends if bounded else (1.0, -1.0)))
            SubElement(element, "limit", lower=low, upper=high)
    ElementTree.indent(robot)  # Bullet does not take lines of 8 kB.
    return ElementTree.tostring(robot, encoding="utf-8", xml_declaration=True)


def without_frames(model: UrdfModel) -> UrdfModel:
    """Return a robot without the links at the ends of its tree that are mere frames.

    Such a link hangs on a fixed joint, and has neither mass nor shape.
    """
    links = model.element.findall("link")
    kept = {
        x.get("name") for x in links if any(x.find(tag) is not None for tag in SHAPES)
    }
    kept |= {name for name, body in model.inertials.items() if body.mass}
    kept |= {name for name, body in model.inertials.items() if body.inertia.any()}
    for joint in reversed(model.joints):
        if joint.kind != FIXED or joint.child in kept:
            kept |= {joint.child, joint.parent}
    joints = tuple(joint for joint in model.joints if joint.child in kept)
    inertials = {name: body for name, body in model.inertials.items() if name in kept}
    return replace(model, joints=joints, inertials=inertials)


def reach(model: UrdfModel) -> float:
    """Return the longest way from the root along the joints' origins [m], at least 0.

    A slide counts with its travel.
    """
    ways = {model.root: 0.0}
    for joint in model.joints:
        way = float(np.linalg.norm(joint.offset))
        if joint.kind == PRISMATIC and joint.lower is not None:
            way += max(abs(joint.lower), abs(joint.upper or 0.0))
        ways[joint.child] = ways[joint.parent] + way
    ends = [
        ways[name] + float(np.linalg.norm(inertial.center))
        for name, inertial in model.inertials.items()
        if inertial.mass
    ]
    return max([*ways.values(), *ends])


def _write_inertial(link: Element, inertial: Inertial | None) -> None:
    """Write an inertial, with moments that Bullet keeps as they are."""
    mass, center, inertia = inertial or Inertial(0.0, np.zeros(3), np.zeros((3, 3)))
    turn = np.eye(3)
    if (inertia != np.diag(np.diag(inertia))).any():
        turn = exact_principal_axes(inertia)
    moments = np.maximum(np.diag(turn.T @ inertia @ turn), 0.0)
    # Bullet drops an inertia that breaks the triangle inequality by a rounding error.
    largest = int(np.argmax(moments))
    moments[largest] = min(moments[largest], np.delete(moments, largest).sum())
    element = SubElement(link, "inertial")
    _write_origin(element, center, turn)
    SubElement(element, "mass", value=repr(float(mass)))
    entries = dict.fromkeys(("ixy", "ixz", "iyz"), "0")
    values = zip(("ixx", "iyy", "izz"), moments.tolist(), strict=True)
    SubElement(element, "inertia", {**entries, **{k: repr(v) for k, v in values}})


def _copy_shapes(
    source: Element, link: Element, model: UrdfModel, meshes: Mapping[str, Mesh]
) -> None:
    """Copy the shapes of a link, with capsules in place of unusable ones."""
    for tag in SHAPES:
        missing = False
        for shape in source.findall(tag):
            if shape_fault(shape, str(source.get("name")), meshes):
                missing = True
                continue
            shape = copy.deepcopy(shape)
            for element in shape.iter("mesh"):
                mesh = meshes[element.get("filename") or ""]
                element.set("filename", str(mesh.path))
            for element in shape.iter("texture"):
                element.attrib.pop("filename", None)
            link.append(shape)
        if missing:
            _write_capsules(link, tag, model)


def _write_capsules(link: Element, tag: str, model: UrdfModel) -> None:
    """Write capsules from a link's own joint to the joints after it."""
    name, size = str(link.get("name")), reach(model)
    radius = CAPSULE_RADIUS * (size or 1.0)
    ends = [joint.offset for joint in model.joints if joint.parent == name]
    inertial = model.inertials.get(name)
    if not any(np.linalg.norm(end) > radius for end in ends):
        ends = [] if inertial is None or not inertial.mass else [2 * inertial.center]
    for end in ends:
        if np.linalg.norm(end) > radius / 2:
            _write_capsule(link, tag, end, radius)


def _write_stand_in(
    link: Element, model: UrdfModel, own: Mapping[str, Element], *, whole: bool
) -> None:
    """Show a link that shows nothing, unless links fixed to it do.

    Args:
        link: of the file, with its collision shapes.
        model: the robot.
        own: the links of the user's file by name.
        whole: whether no link of the robot shows anything.
    """
    name, size = str(link.get("name")), reach(model)
    poses, seen = (
        model.link_poses,
        {x for x in own if own[x].find("visual") is not None},
    )
    carrier = poses[name].joint
    alone = all(poses[x].joint != carrier for x in seen)
    collisions = copy.deepcopy(link.findall("collision")) if alone else []
    for shape in collisions:
        shape.tag = "visual"
        link.append(shape)
    if collisions or (carrier < 0 and not whole):
        return
    if whole:
        _write_capsules(link, "visual", model)
        return
    ends = [
        joint.offset
        for joint in model.joints
        if joint.parent == name
        and np.linalg.norm(joint.offset) > CAPSULE_RADIUS * size
        and (joint.child in seen or (alone and joint.kind != FIXED))
    ]
    inertial = model.inertials.get(name)
    if alone and not ends and inertial is not None and inertial.mass:
        ends = [inertial.center]
    for end in ends:
        if np.linalg.norm(end) > ROD_RADIUS * size:
            _write_capsule(link, "visual", end, ROD_RADIUS * size)


def _write_capsule(link: Element, tag: str, end: np.ndarray, radius: float) -> None:
    """Write a capsule from the link's origin to `end` (3,) [m]."""
    length = float(np.linalg.norm(end))
    shape = SubElement(link, tag)
    _write_origin(shape, end / 2, _along(end / length))
    sizes = {"radius": repr(radius), "length": repr(length)}
    SubElement(SubElement(shape, "geometry"), "capsule", sizes)


def _along(direction: np.ndarray) -> np.ndarray:
    """Return a rotation that takes z to `direction`."""
    side = np.cross(np.eye(3)[np.argmin(np.abs(direction))], direction)
    side /= np.linalg.norm(side)
    return np.column_stack([side, np.cross(direction, side), direction])


def _write_origin(parent: Element, offset: np.ndarray, rotation: np.ndarray) -> None:
    rpy = rpy_from_rotation(rotation)
    SubElement(parent, "origin", xyz=_words(offset), rpy=_words(rpy))


def _words(numbers: np.ndarray) -> str:
    return " ".join(repr(float(x)) for x in numbers)
