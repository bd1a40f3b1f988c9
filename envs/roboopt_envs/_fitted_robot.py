"""The robot of a fitted model, checked for what PyBullet can take.

`changeDynamics` cannot move a center of mass or turn principal axes. Fitted numbers
therefore reach Bullet through a model of the robot, from which its file is written.
"""

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from roboopt._errors import RobooptError, require
from roboopt.urdf import Inertial, UrdfModel, principal_axes

from ._sizing import check_inertia
from ._world import PybulletWorld

MOMENT_TOLERANCE = 1e-9  # on the rules for moments, relative to the largest moment
NUMBERS = (
    *("masses", "centers_of_mass", "inertias", "damping", "friction", "armature"),
    *("friction_velocity", "gravity", "linear_damping", "angular_damping"),
)


def load_world(
    urdf: UrdfModel,
    path: str | Path,
    *,
    packages: Mapping[str, str | PathLike] | None,
    gui: bool,
    model: Any,
) -> PybulletWorld:
    """Load a robot into PyBullet, with the numbers of a fitted `model` unless None."""
    world = PybulletWorld(urdf, path, packages=packages, gui=gui)
    if model is not None:
        fitted = fitted_robot(model, urdf.joint_names, urdf.link_names[1:])
        with world.replaced(fitted_model(urdf, fitted), fitted):
            pass
    check_inertia(world)
    return world


def fitted_robot(
    model: Any, joint_names: tuple[str, ...], link_names: tuple[str, ...]
) -> Any:
    """Return the robot of a model: the model itself, or its attribute `robot`.

    It must have the attributes of a `dynamics.Multibody`, and possible numbers.
    """
    robot = getattr(model, "robot", model)
    rule = "be a robot, or have one as its `robot`"
    require(hasattr(robot, "joint_names"), "model", rule, type(model))
    rule = f"have the joints {list(joint_names)}, in this order"
    held = list(robot.joint_names)
    require(held == list(joint_names), "model", rule, held)
    unknown = sorted(set(link_names) - set(robot.link_names))
    rule = f"have the robot's links, among them {unknown}"
    require(not unknown, "model", rule, list(robot.link_names))
    for name in NUMBERS:
        if not np.isfinite(np.asarray(getattr(robot, name))).all():
            raise RobooptError(
                f"`model` must have finite numbers, got {name} {getattr(robot, name)}."
            )
    for name in ("masses", "damping", "friction", "armature"):
        values = getattr(robot, name)
        valid = not (np.asarray(values) < 0).any()
        require(valid, "model", f"have no negative {name}", values)
    velocities = robot.friction_velocity
    rule = "have positive velocity scales of friction"
    require((np.asarray(velocities) > 0).all(), "model", rule, velocities)
    return robot


def fitted_model(model: UrdfModel, robot: Any) -> UrdfModel:
    """Return a model whose links have the inertia of a fitted robot's bodies."""
    columns = (robot.masses, robot.centers_of_mass, robot.inertias)
    numbers = (np.asarray(column, np.float64) for column in columns)
    bodies = {
        name: Inertial(float(mass), center, inertia)
        for name, mass, center, inertia in zip(robot.body_names, *numbers, strict=True)
    }
    poses = (robot.link_rotations, robot.link_offsets)
    links = zip(
        robot.link_names, *(np.asarray(x, np.float64) for x in poses), strict=True
    )
    inertials = dict.fromkeys(
        model.inertials, Inertial(0.0, np.zeros(3), np.zeros((3, 3)))
    )
    for link, rotation, offset in links:
        if link in inertials and link in bodies:
            body = bodies[link]
            _check_moments(link, body)
            inertials[link] = body.from_parent(rotation, offset)
    return replace(model, inertials=inertials)


def _check_moments(link: str, body: Inertial) -> None:
    moments, _ = principal_axes(body.inertia)
    slack = MOMENT_TOLERANCE * np.abs(moments).max()
    rest = np.maximum(moments, 0).sum() - moments.max()
    if moments.min() < -slack or moments.max() > rest + slack:
        raise RobooptError(
            "`model` must have principal moments of inertia that are not negative and "
            "satisfy the triangle inequality (none greater than the sum of the other "
            f"two), got {moments.tolist()} kg·m² for link {link!r}."
        )
