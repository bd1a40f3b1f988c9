"""The robot of a fitted model, checked for what PyBullet can take.

`changeDynamics` cannot move a center of mass or turn principal axes. Fitted numbers
therefore reach Bullet through the robot's URDF, edited by `roboopt.urdf.edit_urdf`.
"""

from typing import Any

import numpy as np

from roboopt._errors import RobooptError

NUMBERS = (
    *("masses", "centers_of_mass", "inertias", "damping", "friction", "armature"),
    *("gravity", "linear_damping", "angular_damping"),
)


def fitted_robot(
    model: Any, joint_names: tuple[str, ...], link_names: tuple[str, ...]
) -> Any:
    """Return the robot of a model: the model itself, or its attribute `robot`.

    Raises:
        RobooptError: if `model` has not the attributes of a `dynamics.Multibody` with
            the joints and links named, a number is not finite, a friction is negative,
            or an armature is not 0.
    """
    robot = getattr(model, "robot", model)
    if not hasattr(robot, "joint_names"):
        raise RobooptError(
            "`model` must be a robot, or have one as its `robot`, got "
            f"{type(model).__name__}."
        )
    if tuple(robot.joint_names) != joint_names:
        raise RobooptError(
            f"`model` must have the joints {list(joint_names)}, in this order, got "
            f"{list(robot.joint_names)}."
        )
    unknown = sorted(set(link_names) - set(robot.link_names))
    if unknown:
        raise RobooptError(
            f"`model` must have the robot's links, among them {unknown}, got "
            f"{list(robot.link_names)}."
        )
    for name in NUMBERS:
        if not np.isfinite(np.asarray(getattr(robot, name))).all():
            raise RobooptError(
                f"`model` must have finite numbers, got {name} {getattr(robot, name)}."
            )
    armature = dict(zip(joint_names, np.asarray(robot.armature).tolist(), strict=True))
    if any(armature.values()):
        raise RobooptError(
            "`model` must have no armature, which PyBullet cannot simulate, got "
            f"{ {name: value for name, value in armature.items() if value} }."
        )
    if (np.asarray(robot.friction) < 0).any():
        raise RobooptError(
            f"`model` must have no negative friction, got {robot.friction}."
        )
    return robot
