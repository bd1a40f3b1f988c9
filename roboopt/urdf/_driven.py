"""Which coordinates of a robot a motor drives.

Where a file has `<transmission>` or `<ros2_control>` elements, the joints that these
name are driven. Otherwise the joints are driven whose `<limit>` does not have an effort
of 0. Where that would leave most joints passive, the file is taken for incomplete: it
gives the motors of a head and its grippers, say, or zeros of a CAD exporter.

Drake's files state the rotor of a motor, I, and the ratio of its gear, ρ, in the
`<actuator>` of a `<transmission>`: the joint's armature is ρ² I.
"""

from collections.abc import Iterable, Mapping
from xml.etree.ElementTree import Element

from roboopt._errors import require
from roboopt.urdf._elements import number, title
from roboopt.urdf._model import FIXED, Joint
from roboopt.urdf._notes import Fault, Notes

ALL = "all"  # of `actuated`
ROTOR_INERTIA, GEAR_RATIO = "drake:rotor_inertia", "drake:gear_ratio"


def with_motors(
    joints: list[Joint],
    robot: Element,
    elements: Mapping[str, Element],
    actuated: Iterable[str] | None,
    notes: Notes,
) -> tuple[Joint, ...]:
    """Return the joints with `driven` set."""
    moving = {joint.name: joint for joint in joints if joint.kind != FIXED}
    coordinates = [name for name, joint in moving.items() if joint.mimic is None]
    if actuated is None:
        driven = _driven_by_file(moving, coordinates, robot, elements, notes)
    elif actuated == ALL:
        driven = set(coordinates)
    else:
        driven = {actuated} if isinstance(actuated, str) else set(actuated)
        rule = f"be {ALL!r}, or name joints that move independently, of {coordinates}"
        require(driven <= set(coordinates), "actuated", rule, sorted(driven))
    return tuple(joint._replace(driven=joint.name in driven) for joint in joints)


def rotor_armatures(robot: Element) -> dict[str, float]:
    """Return the armatures [kg·m² or kg] that `<transmission>`s state, by joint."""
    found = {}
    for transmission in robot.findall("transmission"):
        where = title(transmission)
        for actuator in transmission.findall("actuator"):
            inertia = number(actuator.find(ROTOR_INERTIA), "value", 0.0, where)
            ratio = number(actuator.find(GEAR_RATIO), "value", 1.0, where)
            if inertia < 0:
                raise Fault(
                    f"`value` of <{ROTOR_INERTIA}> in {where} must not be negative, "
                    f"got {inertia}."
                )
            for joint in transmission.findall("joint") if inertia else ():
                found[joint.get("name") or ""] = inertia * ratio**2
    return found


def _driven_by_file(
    moving: Mapping[str, Joint],
    coordinates: list[str],
    robot: Element,
    elements: Mapping[str, Element],
    notes: Notes,
) -> set[str]:
    efforts = {name: _stated_effort(elements[name]) for name in coordinates}
    named = _named_by_motors(robot)
    for name in sorted(named - {*elements, ""}):
        kind = "motors of joints that the robot lacks, in <transmission>, left out"
        notes.add(kind, name)
    named &= set(moving)
    # The motor of a gripper may be named at the finger that follows the other.
    mimics = {name: joint.mimic for name, joint in moving.items()}
    named = {name if (m := mimics[name]) is None else m.joint for name in named}
    driven = named or {name for name, effort in efforts.items() if effort != 0}
    most_are_passive = 2 * len(driven) < len(coordinates)
    for name in coordinates:
        if name in driven or named and not efforts[name]:
            continue
        if not most_are_passive:
            if named:
                kind = "passive joints, which no <transmission> drives"
                notes.add(f"{kind} (drive them by `actuated='all'`)", name)
            continue
        driven.add(name)
        if named:
            kind = "joints that are driven without a transmission, as most have no "
            notes.add(kind + "<transmission> (name the driven by `actuated`)", name)
        else:
            notes.add('joints that are driven in spite of effort="0", as most', name)
    return driven


def _stated_effort(joint: Element) -> float | None:
    """Return the effort limit [N·m or N] of a `<joint>`, None without one."""
    limit = joint.find("limit")
    if limit is None or not limit.get("effort", "").strip():
        return None
    return number(limit, "effort", 0.0, title(joint), finite=False)


def _named_by_motors(robot: Element) -> set[str]:
    """Return the joints of `<transmission>`s, and those that ros2_control commands."""
    found = [j for t in robot.findall("transmission") for j in t.findall("joint")]
    found += [
        joint
        for control in robot.findall("ros2_control")
        for joint in control.findall("joint")
        if joint.find("command_interface") is not None
    ]
    return {joint.get("name") or "" for joint in found}
