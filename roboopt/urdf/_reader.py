"""A URDF file read into a `UrdfModel`: every decision about a robot is taken here.

The model is the robot that the file means. A trait that a program cannot mean is
refused by naming element, rule and value; a trait whose meaning is plain is mended with
a warning. Inertias are those of the file, as with PyBullet's
`URDF_USE_INERTIA_FROM_FILE`.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from roboopt._errors import RobooptError, argument_called, floats, require
from roboopt.urdf._driven import rotor_armatures, with_motors
from roboopt.urdf._elements import named, parse_robot
from roboopt.urdf._inertials import check_masses, read_inertials
from roboopt.urdf._joints import checked_locked, read_joints
from roboopt.urdf._left_out import check_open, note_left_out
from roboopt.urdf._model import FIXED, FRICTION_VELOCITY, Joint, UrdfModel
from roboopt.urdf._notes import Fault, Notes
from roboopt.urdf._side_file import read_side_file
from roboopt.urdf._tree import depth_first, find_root

WORLD = "world"  # the link that Drake's files hang a robot on, and do not declare


def read_urdf(
    path: str | PathLike,
    *,
    locked: Iterable[str] | Mapping[str, float] = (),
    actuated: Iterable[str] | None = None,
    effort_limits: Any = None,
    repair: bool = False,
    bullet_defaults: bool = False,
    xacro_args: Mapping[str, str] | None = None,
    argument: str = "path",
) -> UrdfModel:
    """Read a robot on a fixed base from a URDF file, or from a .xacro file.

    Numbers that a URDF has no place for are read from the file beside it, if there is
    one: see `save_urdf`.

    Args:
        path: the file.
        locked: names of joints to be held at zero, or a mapping from names to the
            positions [rad or m] at which joints are held. Joints that follow a held
            joint by `<mimic>` are held, too.
        actuated: names of the joints that a motor drives, which may be none, or "all";
            by default those
            that a `<transmission>` or `<ros2_control>` names or, without such elements,
            those whose effort limit is not 0.
        effort_limits: limits instead of the file's [N·m or N]: one for all driven
            joints, one for each, or a mapping from the names of some to their limits.
        repair: replace physically inconsistent inertias by the nearest possible ones;
            changes up to 5 % of the inertia of the body are made in any case.
        bullet_defaults: give links without `<inertial>`, which are massless frames,
            PyBullet's 1 kg and 1 kg·m².
        xacro_args: values of the arguments of a .xacro file, by name.
        argument: the caller's name for `path`, used in messages.

    Raises:
        RobooptError: if there is no such file, it is no URDF whose links form one tree
            with a moving joint and without a loop, a number is missing or impossible, a
            joint moves no mass, or an argument names no joint.

    Warns:
        UserWarning: once, about everything that is read differently from the file.
    """
    notes = Notes()
    with _faults(path, argument, notes):
        robot = parse_robot(path, notes, xacro_args)
        model = _read(
            path,
            robot,
            notes,
            locked=locked,
            actuated=actuated,
            effort_limits=effort_limits,
            repair=repair,
            bullet_defaults=bullet_defaults,
            xacro_args=xacro_args,
        )
        check_open(model, notes)
        check_masses(model)
    notes.warn(path)
    return model


def read_template(
    path: str | PathLike, xacro_args: Mapping[str, str] | None = None
) -> UrdfModel:
    """Read a file that numbers are to be written to, whatever its own are."""
    notes = Notes()
    with _faults(path, "template", notes):
        robot = parse_robot(path, notes, xacro_args)
        return _read(path, robot, notes, effort_limits=np.inf, repair=True)


@contextlib.contextmanager
def _faults(path: Any, argument: str, notes: Notes) -> Iterator[None]:
    there = isinstance(path, str | PathLike) and Path(path).is_file()
    gone = isinstance(path, str | PathLike) and not Path(path).exists()
    shown = f"{path}, which does not exist" if gone else path
    require(there, argument, "be a URDF file", shown)
    try:
        with argument_called("path", argument):
            yield
    except Fault as fault:
        raise RobooptError(f"`{argument}`: {notes.beside(fault)}") from None


def _read(
    path: str | PathLike,
    robot: Element,
    notes: Notes,
    *,
    locked: Iterable[str] | Mapping[str, float] = (),
    actuated: Iterable[str] | None = None,
    effort_limits: Any = None,
    repair: bool = False,
    bullet_defaults: bool = False,
    xacro_args: Mapping[str, str] | None = None,
) -> UrdfModel:
    links, elements = named(robot, "link"), named(robot, "joint")
    note_left_out(robot, elements, notes)
    held = checked_locked(locked, elements)
    told = effort_limits if isinstance(effort_limits, Mapping) else elements
    replaced = () if effort_limits is None else tuple(told)
    found = read_joints(elements, held, efforts_replaced=replaced, notes=notes)
    if WORLD not in links and any(joint.parent == WORLD for joint in found):
        links[WORLD] = SubElement(robot, "link", name=WORLD)
        notes.add("links that are not declared, and count as frames", WORLD)
    root = find_root(tuple(links), found)
    _check_that_something_moves(found, elements)
    joints = with_motors(depth_first(root, found), robot, elements, actuated, notes)
    if effort_limits is not None:
        joints = _with_efforts(joints, effort_limits)
    beside = read_side_file(path, list(elements))
    armature = {**rotor_armatures(robot), **beside.armature}
    slow = beside.friction_velocity
    joints = tuple(
        j._replace(
            armature=armature.get(j.name, 0.0),
            friction_velocity=slow.get(j.name, FRICTION_VELOCITY),
            friction_law=beside.friction_law(j.name),
        )
        for j in joints
    )
    gravity = None if beside.gravity is None else np.array(beside.gravity)
    model = UrdfModel(root, joints, {}, robot, gravity, dict(xacro_args or {}))
    inertials = read_inertials(
        model, links, repair=repair, bullet_defaults=bullet_defaults, notes=notes
    )
    return replace(model, inertials=inertials)


def _check_that_something_moves(
    joints: list[Joint], elements: Mapping[str, Element]
) -> None:
    if any(joint.kind != FIXED for joint in joints):
        return
    held = [name for name, each in elements.items() if each.get("type") != FIXED]
    held_there = f", with {held} locked or between equal limits" if held else ""
    raise Fault(
        "the robot must have a revolute, continuous or prismatic joint that moves, got "
        f"{len(joints) + 1} link(s) that cannot move{held_there}."
    )


def _with_efforts(joints: tuple[Joint, ...], given: Any) -> tuple[Joint, ...]:
    names = [joint.name for joint in joints if joint.driven]
    by_name = isinstance(given, Mapping)
    if by_name:
        unknown = [name for name in given if name not in names]
        require(not unknown, "effort_limits", f"name driven joints of {names}", unknown)
        names = list(given)
    limits = floats("effort_limits", [*given.values()] if by_name else given)
    if by_name and not (limits > 0).all():
        raise RobooptError(
            f"`effort_limits` must be positive for the joints {names}, got {given}."
        )
    if limits.shape not in ((), (len(names),)) or not (limits > 0).all():
        raise RobooptError(
            f"`effort_limits` must hold one positive number, or one for each of the "
            f"joints {names}, got {given}."
        )
    values = np.broadcast_to(limits, (len(names),)).tolist()
    new = dict(zip(names, values, strict=True))
    return tuple(
        j._replace(effort_limit=new[j.name]) if j.name in new else j for j in joints
    )
