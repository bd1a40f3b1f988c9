"""The robot as its URDF describes it, read as PyBullet reads it.

PyBullet's ways, where the format leaves room: joints are counted depth first, in the
file's order; a link without <inertial> has mass 1 and inertia (1, 1, 1); the root
stands in the world, its inertia dropped; inertias are the file's, as under
`URDF_USE_INERTIA_FROM_FILE`; friction, effort and velocity limits are not used. Frames:
a joint's frame is that of the link after it.
"""

from collections.abc import Iterable, Sequence
from os import PathLike

import numpy as np

from roboopt._errors import RobooptError
from roboopt.dynamics._assembly import WORLD, Assembly
from roboopt.dynamics._bullet import BULLET_DAMPING
from roboopt.dynamics._multibody import Multibody
from roboopt.dynamics._urdf_file import (
    FIXED,
    PRISMATIC,
    Joint,
    UrdfFile,
    read_urdf_file,
)


def load_urdf(
    path: str | PathLike,
    *,
    locked: Iterable[str] = (),
    gravity: Sequence[float] = (0.0, 0.0, -9.81),
    linear_damping: float = BULLET_DAMPING,
    angular_damping: float = BULLET_DAMPING,
) -> Multibody:
    """Read a robot on a fixed base from a URDF file.

    Args:
        path: the file.
        locked: names of joints to be taken as fixed at zero, such as the second finger
            of a gripper that mimics the first.
        gravity: [m/s²], in the axes of the root link.
        linear_damping: of each body [1/s], by default PyBullet's.
        angular_damping: likewise.

    Raises:
        FileNotFoundError: if there is no such file.
        RobooptError: if the file is not a URDF of links that form one tree; a joint is
            not revolute, continuous, prismatic or fixed; an axis, inertia or limit is
            impossible, a number missing or not finite; nothing moves, or what moves
            has no mass; or an argument is out of range.
    """
    _check_physics(gravity, linear_damping, angular_damping)
    file = read_urdf_file(path, locked)
    _check_carried_mass(file)
    return _assemble(file).multibody(
        gravity=gravity, linear_damping=linear_damping, angular_damping=angular_damping
    )


def _check_physics(
    gravity: Sequence[float], linear_damping: float, angular_damping: float
) -> None:
    if np.shape(gravity) != (3,) or not np.all(np.isfinite(gravity)):
        raise RobooptError(f"`gravity` must be three finite numbers, got {gravity}.")
    for name, damping in (
        ("linear_damping", linear_damping),
        ("angular_damping", angular_damping),
    ):
        if not 0 <= damping < np.inf:
            raise RobooptError(
                f"`{name}` must be finite and not negative, got {damping}."
            )


def _check_carried_mass(file: UrdfFile) -> None:
    """Refuse a moving joint that carries, before the next one, no mass."""
    for joint in file.joints:
        if joint.kind == FIXED:
            continue
        carried = _rigidly_joined(file, joint.child)
        if not any(file.inertials[link].mass for link in carried):
            raise RobooptError(
                f"`mass` of link {joint.child!r}, which joint {joint.name!r} moves, "
                f"must be positive, got 0 kg for all of {carried}."
            )


def _rigidly_joined(file: UrdfFile, link: str) -> list[str]:
    fixed = [j.child for j in file.joints if j.parent == link and j.kind == FIXED]
    return [link] + [name for child in fixed for name in _rigidly_joined(file, child)]


def _assemble(file: UrdfFile) -> Assembly:
    children: dict[str, list[Joint]] = {}
    for joint in file.joints:
        children.setdefault(joint.parent, []).append(joint)
    robot = Assembly()

    def add(link: str, carrier: int, rotation: np.ndarray, offset: np.ndarray) -> None:
        """Add a link and all that hangs from it, depth first as Bullet does."""
        robot.add_link(link, carrier, rotation, offset)
        if link != file.root:
            mass, center, inertia = file.inertials[link]
            center = offset + rotation @ center
            robot.add_body(link, carrier, mass, center, rotation @ inertia @ rotation.T)
        for joint in children.get(link, []):
            pose = rotation @ joint.rotation, offset + rotation @ joint.offset
            if joint.kind == FIXED:
                add(joint.child, carrier, *pose)
            else:
                moved = _add_joint(robot, joint, carrier, *pose)
                add(joint.child, moved, np.eye(3), np.zeros(3))

    add(file.root, WORLD, np.eye(3), np.zeros(3))
    return robot


def _add_joint(
    robot: Assembly,
    joint: Joint,
    carrier: int,
    rotation: np.ndarray,
    offset: np.ndarray,
) -> int:
    # Bullet, too, says "no limits" with a lower one above the upper one.
    lower, upper = joint.limits or (0.0, -1.0)
    return robot.add_joint(
        name=joint.name,
        parent=carrier,
        revolute=joint.kind != PRISMATIC,
        rotation=rotation,
        offset=offset,
        axis=joint.axis,
        damping=joint.damping,
        lower=lower,
        upper=upper,
    )
