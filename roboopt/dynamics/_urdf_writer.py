"""A robot written into the URDF it came from: its inertias, dampings and frictions.

PyBullet, and `load_urdf` after it, find the principal axes of an inertia only to about
1e-9 of it, and make zero of one whose moments break the triangle inequality by a
rounding. So an inertia that changes is written as its principal moments, about axes
that <origin rpy> gives. What is as the file has it is not written: its text stays.
"""

import os
import warnings
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from roboopt._errors import RobooptError
from roboopt.data import atomic_write
from roboopt.dynamics._multibody import Multibody
from roboopt.dynamics._principal_axes import principal_axes
from roboopt.dynamics._urdf_file import FIXED, Inertial, UrdfFile, read_urdf_file
from roboopt.dynamics._xml_text import Element, XmlText

NOTHING = Inertial(0.0, np.zeros(3), np.zeros((3, 3)))
ENTRIES = {
    **{"ixx": (0, 0), "ixy": (0, 1), "ixz": (0, 2)},
    **{"iyy": (1, 1), "iyz": (1, 2), "izz": (2, 2)},
}
ROUNDING = 1e-9  # of the largest moment, by which the rules for moments may be missed


def save_urdf(robot: Multibody, template: str | PathLike, path: str | PathLike) -> None:
    """Write `template` with the masses, inertias and joint frictions of `robot`.

    The rest of the file stays as it is, to the byte, but for the relative paths of
    meshes and textures, which are made to lead there from the new folder; package://
    is left alone. The file says what the robot is: a <dynamics friction> that the robot
    does not have becomes 0. Where bodies were merged and what they make together has
    changed, the first link gets all of it, and the others weigh nothing.

    Args:
        robot: whose joints and links are the file's; joints of the file that it lacks
            count as locked at zero.
        template: the URDF that it was read from, by `load_urdf` or PyBullet.
        path: of the file to be written, which may be `template`.

    Raises:
        FileNotFoundError: if there is no file at `template`.
        RobooptError: if `template` is not a URDF that `load_urdf` reads, its joints or
            links are not the robot's, or no body can have one of the robot's masses
            and inertias.

    Warns:
        UserWarning: if an armature is not 0: a URDF has no place for it.
    """
    if not Path(template).is_file():
        raise FileNotFoundError(
            f"`template` must be a URDF file, and there is none at {template}."
        )
    text = XmlText(Path(template).read_bytes())
    joints = text.root.named("joint")
    # Locked or not, the inertias are the same; a joint that mimics has to be.
    file = read_urdf_file(template, joints)
    _check_names(robot, text, file)
    links = text.root.named("link")
    for link, inertial in _changed_inertials(robot, file).items():
        _write_inertial(text, links[link], file.inertials[link], inertial, robot)
    for name, damping, friction in zip(
        robot.joint_names, robot.damping, robot.friction, strict=True
    ):
        given = {"damping": float(damping), "friction": float(friction)}
        _write_dynamics(text, joints[name], given)
    _redirect_meshes(text, Path(template), Path(path))
    _warn_of_armature(robot)
    with atomic_write(path) as out:
        out.write(text.data())


def _check_names(robot: Multibody, text: XmlText, file: UrdfFile) -> None:
    moving = [
        name
        for name, element in text.root.named("joint").items()
        if element.attributes.get("type") != FIXED
    ]
    if not set(robot.joint_names) <= set(moving):
        raise RobooptError(
            f"`template` must have the joints of the robot, {list(robot.joint_names)}, "
            f"got {moving}."
        )
    links = sorted({file.root, *file.inertials})
    if sorted(robot.link_names) != links:
        raise RobooptError(
            f"`template` must have the links of the robot, {sorted(robot.link_names)}, "
            f"got {links}."
        )


class _Pose(NamedTuple):
    """A link's frame in its joint's."""

    rotation: np.ndarray
    offset: np.ndarray

    def inside(self, body: Inertial) -> Inertial:
        """Return a body of the joint's frame in the link's."""
        center = self.rotation.T @ (body.center - self.offset)
        inertia = self.rotation.T @ body.inertia @ self.rotation
        return Inertial(body.mass, center, inertia)

    def outside(self, body: Inertial) -> Inertial:
        """Return a body of the link's frame in the joint's."""
        center = self.offset + self.rotation @ body.center
        inertia = self.rotation @ body.inertia @ self.rotation.T
        return Inertial(body.mass, center, inertia)


def _changed_inertials(robot: Multibody, file: UrdfFile) -> dict[str, Inertial]:
    """Return by link what is to be written, in the link's frame."""
    poses = [
        _Pose(np.asarray(rotation, float), np.asarray(offset, float))
        for rotation, offset in zip(
            robot.link_rotations, robot.link_offsets, strict=True
        )
    ]
    bodies = {
        name: Inertial(float(mass), np.asarray(center, float), np.asarray(i, float))
        for name, mass, center, i in zip(
            robot.body_names,
            robot.masses,
            robot.centers_of_mass,
            robot.inertias,
            strict=True,
        )
    }
    groups: dict[int, dict[str, _Pose]] = {}
    for link, joint, pose in zip(
        robot.link_names, robot.link_joints, poses, strict=True
    ):
        if joint >= 0:
            groups.setdefault(joint, {})[link] = pose
    written = {}
    for group in groups.values():
        ours = {link: bodies[link] for link in group if link in bodies}
        theirs = {link: file.inertials[link] for link in group}
        missing = [link for link in group if link not in ours and _any(theirs[link])]
        together = [pose.outside(theirs[link]) for link, pose in group.items()]
        if missing and _same(
            _composite(list(ours.values())), _composite(together), robot
        ):
            continue
        for link, pose in group.items():
            if link in ours:
                written[link] = _placed(ours[link], theirs[link], pose, robot)
            elif _any(theirs[link]):
                written[link] = NOTHING._replace(center=theirs[link].center)
    return written


def _placed(
    body: Inertial, theirs: Inertial, pose: _Pose, robot: Multibody
) -> Inertial:
    """Return a body in its link's frame, the file's own numbers where they agree."""
    # Compared where the robot has them: moved into the link they carry its rounding.
    tolerance, before, after = (
        _tolerance(robot),
        pose.outside(theirs),
        pose.inside(body),
    )
    if _near(body.center, before.center, tolerance):
        after = after._replace(center=theirs.center)
    if _near(body.inertia, before.inertia, tolerance):
        after = after._replace(inertia=theirs.inertia)
    return after


def _any(body: Inertial) -> bool:
    return bool(body.mass or np.any(body.inertia))


def _composite(bodies: list[Inertial]) -> Inertial:
    mass = sum(body.mass for body in bodies)
    moment = sum((body.mass * body.center for body in bodies), np.zeros(3))
    center = moment / (mass or 1.0)
    inertia = np.zeros((3, 3))
    for body in bodies:
        r = body.center - center
        inertia += body.inertia + body.mass * (r @ r * np.eye(3) - np.outer(r, r))
    return Inertial(mass, center, inertia)


def _tolerance(robot: Multibody) -> float:
    """Return the error of turning numbers of this precision into another frame."""
    return 64 * float(np.finfo(robot.masses.dtype).eps)


def _near(a: np.ndarray | float, b: np.ndarray | float, tolerance: float) -> bool:
    scale = max(np.abs(a).max(), np.abs(b).max())
    return bool(np.abs(np.subtract(a, b)).max() <= tolerance * scale)


def _same(a: Inertial, b: Inertial, robot: Multibody) -> bool:
    tolerance = _tolerance(robot)
    return all(_near(x, y, tolerance) for x, y in zip(a, b, strict=True))


def _write_inertial(
    text: XmlText, link: Element, old: Inertial, new: Inertial, robot: Multibody
) -> None:
    name, tolerance = link.attributes["name"], _tolerance(robot)
    numbers = [new.mass, *new.center, *new.inertia.ravel()]
    if not (np.all(np.isfinite(numbers)) and new.mass >= 0):
        raise RobooptError(
            f"`robot` must have finite numbers and no negative mass, got {new.mass} kg "
            f"and {numbers[1:]} for link {name!r}."
        )
    element = link.find("inertial")
    origin = None if element is None else element.find("origin")
    rpy = "0 0 0" if origin is None else origin.attributes.get("rpy", "0 0 0")
    moved, tensor = {}, {}
    weighed = {} if new.mass == old.mass else {"value": repr(new.mass)}
    if not np.array_equal(new.center, old.center):
        moved["xyz"] = _triple(new.center)
    if not np.array_equal(new.inertia, old.inertia):
        axes = _rotation(np.array([float(word) for word in rpy.split()]))
        moments, turn = _moments(axes.T @ new.inertia @ axes, tolerance, name)
        if not np.array_equal(turn, np.eye(3)):
            moved["rpy"] = _triple(_roll_pitch_yaw(axes @ turn))
        entries = np.diag(moments)
        tensor = {key: repr(float(entries[at])) for key, at in ENTRIES.items()}
    if element is None:
        if moved or weighed or tensor:
            text.insert(link, _inertial_text(new, name, tolerance))
        return
    for tag, attributes in (("origin", moved), ("mass", weighed), ("inertia", tensor)):
        _write(text, element, tag, attributes)


def _inertial_text(body: Inertial, name: str, tolerance: float) -> str:
    moments, turn = _moments(body.inertia, tolerance, name)
    entries = np.diag(moments)
    tensor = " ".join(f'{key}="{float(entries[at])!r}"' for key, at in ENTRIES.items())
    pose = f'xyz="{_triple(body.center)}" rpy="{_triple(_roll_pitch_yaw(turn))}"'
    mass = f'<mass value="{body.mass!r}"/>'
    return f"<inertial><origin {pose}/>{mass}<inertia {tensor}/></inertial>"


def _write_dynamics(text: XmlText, joint: Element, given: dict[str, float]) -> None:
    element = joint.find("dynamics")
    has = {} if element is None else element.attributes
    changed = {k: repr(v) for k, v in given.items() if float(has.get(k) or 0.0) != v}
    _write(text, joint, "dynamics", changed)


def _write(
    text: XmlText, parent: Element, tag: str, attributes: dict[str, str]
) -> None:
    """Set the attributes of a child, which is made where it is missing."""
    if not attributes:
        return
    child = parent.find(tag)
    if child is not None:
        text.set(child, **attributes)
        return
    words = " ".join(f'{key}="{value}"' for key, value in attributes.items())
    text.insert(parent, f"<{tag} {words}/>")


def _moments(
    inertia: np.ndarray, tolerance: float, link: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return moments that Bullet takes as they are, and the rotation to their axes."""
    turn = np.eye(3)
    beside = inertia - np.diag(np.diag(inertia))
    if np.abs(beside).max() > tolerance * np.abs(inertia).max():
        # Bullet's one pass leaves up to 1e-9 beside the diagonal; three leave nothing.
        for _ in range(3):
            turn = turn @ principal_axes(turn.T @ inertia @ turn)[1]
    moments = np.diag(turn.T @ inertia @ turn).copy()
    largest, slack = int(np.argmax(moments)), ROUNDING * np.abs(moments).max()
    most = np.delete(np.maximum(moments, 0), largest).sum()
    if moments.min() < -slack or moments[largest] > most + slack:
        raise RobooptError(
            "`robot` must have inertias that a body can have: principal moments not "
            "negative, none greater than the sum of the other two, got "
            f"{moments.tolist()} kg·m² for link {link!r}."
        )
    moments = np.maximum(moments, 0)
    moments[largest] = min(moments[largest], most)
    return moments, turn


def _rotation(rpy: np.ndarray) -> np.ndarray:
    """Return R_z(yaw) R_y(pitch) R_x(roll)."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return about_z @ about_y @ about_x


def _roll_pitch_yaw(rotation: np.ndarray) -> np.ndarray:
    """Return the angles of a rotation, exact near a pitch of ±π/2 too.

    There roll and yaw are not told apart; taking the yaw first and the others from what
    it leaves over keeps what they make together.
    """
    yaw = np.arctan2(rotation[1, 0], rotation[0, 0])
    rest = _rotation(np.array([0.0, 0.0, yaw])).T @ rotation
    roll = np.arctan2(-rest[1, 2], rest[1, 1])
    return np.array([roll, np.arctan2(-rest[2, 0], rest[0, 0]), yaw])


def _triple(numbers: np.ndarray) -> str:
    return " ".join(repr(float(x)) for x in numbers)


def _redirect_meshes(text: XmlText, template: Path, path: Path) -> None:
    """Let relative paths lead from the new folder where they led from the old one."""
    before, after = template.resolve().parent, path.resolve().parent
    if before == after:
        return
    for element in text.root.walk():
        filename = element.attributes.get("filename", "")
        if element.tag not in ("mesh", "texture") or "://" in filename:
            continue
        # Bullet looks in the folders above, too.
        found = [
            folder / filename
            for folder in (before, *before.parents)
            if (folder / filename).is_file()
        ]
        if filename and not Path(filename).is_absolute() and found:
            text.set(element, filename=_relative(found[0].resolve(), after))


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive
        return path.as_posix()


def _warn_of_armature(robot: Multibody) -> None:
    armature = {
        name: float(value)
        for name, value in zip(robot.joint_names, robot.armature, strict=True)
        if value
    }
    if armature:
        warnings.warn(
            "a URDF has no place for the armature of a joint, which is left out "
            f"[kg·m² or kg]: {armature}.",
            UserWarning,
            stacklevel=3,
        )
