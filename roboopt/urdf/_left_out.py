"""Parts of a URDF that change a robot's motion and that its tree has no place for.

A loop is refused, since the open chain is another robot; all else is noted. PyBullet
ignores all of it. Loops and springs come as elements of URDF's successors, of Gazebo,
old and new, and of Drake, whose names have a prefix.
"""

import re
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from roboopt.urdf._model import UrdfModel
from roboopt.urdf._notes import Fault, Notes

KNOWN = (
    *("link", "joint", "loop_joint", "constraint", "material", "transmission"),
    *("gazebo", "ros2_control", "sensor", "mujoco", "version"),
)
HARMLESS = ("drake:collision_filter_group",)
ENDS = re.compile(r"link[12]|body[12]|parent|child|.*_body_[ab]", re.IGNORECASE)
"""The children of a connection that name the links at its ends."""
SPRINGS = ("springStiffness", "spring_stiffness", "stiffness")
OFF, ON = ("false", "0"), ("true", "1")


def note_left_out(robot: Element, joints: Mapping[str, Element], notes: Notes) -> None:
    """Note springs, couplings and links without gravity, and unknown elements."""
    for child in robot:
        if child.tag not in (*KNOWN, *HARMLESS) and len(_ends(child)) != 2:
            notes.add("elements that URDF does not have, left out", f"<{child.tag}>")
    for name, joint in joints.items():
        for dynamics in joint.findall("dynamics"):
            if any(_is_not_zero(dynamics.get(stiffness)) for stiffness in SPRINGS):
                _add_spring(name, notes)
    for extension in robot.findall("gazebo"):
        name = extension.get("reference") or ""
        if any(_is_not_zero(extension.findtext(stiffness)) for stiffness in SPRINGS):
            _add_spring(name, notes)
        gravity = _word(extension.findtext("gravity"))
        if gravity in OFF or _word(extension.findtext("turnGravityOff")) in ON:
            notes.add("links without gravity in Gazebo, which have gravity here", name)
        for coupled in extension.iter("mimicJoint"):
            follower = joints.get((coupled.text or "").strip())
            if follower is not None and follower.find("mimic") is None:
                kind = "joints that follow others in Gazebo alone, and are free here"
                notes.add(kind, str(follower.get("name")))


def _add_spring(joint: str, notes: Notes) -> None:
    notes.add("joints with a spring, which is left out", joint)


def check_open(model: UrdfModel, notes: Notes) -> None:
    """Refuse a robot with a loop, unless the links at its ends do not move apart."""
    poses, loops, held = model.link_poses, [], set()
    for element in _connections(model.element):
        ends = _ends(element)
        known = [model.root if end == "world" else end for end in ends]
        title = f"<{element.tag}> between {' and '.join(map(repr, ends))}"
        if len(ends) != 2 or not all(ends):
            if element.tag.startswith(("joint:", "loop_joint", "constraint")):
                name = f"<{element.tag}> {element.get('name') or ''}".strip()
                notes.add("connections without two links, left out", name)
        elif not all(end in poses for end in known):
            notes.add("connections of links that the robot lacks, left out", title)
        elif poses[known[0]].joint != poses[known[1]].joint:
            loops.append(title)
            chains = [{*model.chain(end)} for end in known]
            held |= {model.moving[joint].name for joint in chains[0] ^ chains[1]}
    if loops:
        names = tuple(joint.name for joint in model.moving if joint.name in held)
        raise Fault(
            f"the robot must be an open chain, got a loop that is closed by "
            f"{', '.join(loops)}. Remove the element where the open chain is meant, or "
            f"hold the joints of the loop by `locked={names}`."
        )


def _connections(robot: Element) -> Iterator[Element]:
    """Yield the elements that may connect two links beside the tree's own joints."""
    yield from robot.findall("loop_joint")
    yield from robot.findall("constraint")
    yield from robot.findall("gazebo//joint")
    for child in robot:
        if child.tag not in ("link", "joint"):
            yield from (each for each in child.iter() if ":" in each.tag)


def _ends(connection: Element) -> list[str]:
    """Return the links that an element connects."""
    local = (each.tag.rpartition(":")[2] for each in connection)
    pairs = zip(connection, local, strict=True)
    return [_link(each) for each, name in pairs if ENDS.fullmatch(name)]


def _link(end: Element) -> str:
    """Return the link's name, an attribute or, in Gazebo, a path as text."""
    named = end.get("link") or end.get("name")
    return named or (end.text or "").strip().rpartition("::")[2]


def _is_not_zero(text: str | None) -> bool:
    return not re.fullmatch(r"[+-]?0*\.?0*", (text or "").strip())


def _word(text: str | None) -> str:
    return (text or "").strip().lower()
