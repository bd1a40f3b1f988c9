"""A robot put together joint by joint and link by link, as the readers meet them."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from roboopt._errors import RobooptError
from roboopt.dynamics._multibody import Multibody

WORLD = -1


class Assembly:
    """Collects joints, links and bodies in order, and makes a `Multibody` of them."""

    def __init__(self):
        """Start with nothing but the world."""
        self._joints: list[dict[str, Any]] = []
        self._links: list[dict[str, Any]] = []
        self._bodies: list[dict[str, Any]] = []

    def add_joint(self, **fields: Any) -> int:
        """Add a moving joint and return its number.

        Args:
            **fields: name, parent (number of the joint before it), revolute; rotation,
                offset [m] (the pose of its frame at q = 0 in its parent's), axis,
                damping, lower, upper.
        """
        self._joints.append(fields)
        return len(self._joints) - 1

    def add_link(
        self, name: str, joint: int, rotation: np.ndarray, offset: np.ndarray
    ) -> None:
        """Add a named frame, standing thus in the frame of `joint`."""
        pose = {"rotation": rotation, "offset": offset}
        self._links.append({"name": name, "joint": joint, **pose})

    def add_body(
        self,
        name: str,
        joint: int,
        mass: float,
        center: np.ndarray,
        inertia: np.ndarray,
    ) -> None:
        """Add an inertia in the frame of `joint`, if it is any and can move."""
        if joint != WORLD and (mass or np.any(inertia)):
            body = {"mass": mass, "center": center, "inertia": inertia}
            self._bodies.append({"name": name, "joint": joint, **body})

    def multibody(
        self,
        *,
        gravity: Any,
        linear_damping: float,
        angular_damping: float,
        **columns: Any,
    ) -> Multibody:
        """Return the robot.

        Args:
            gravity: [m/s²]
            linear_damping: of each body [1/s].
            angular_damping: likewise.
            **columns: damping, lower or upper of all joints, in place of what was
                added.

        Raises:
            RobooptError: if nothing moves.
        """
        if not self._joints:
            raise RobooptError(
                "a robot must have a revolute, continuous or prismatic joint, got "
                f"{len(self._links)} link(s) that cannot move."
            )
        joints, links = _columns(self._joints), _columns(self._links)
        bodies = _columns(self._bodies)
        count = len(self._joints)
        given = {k: np.broadcast_to(v, (count,)) for k, v in columns.items()}
        joints |= {k: list(v) for k, v in given.items()}
        limits = zip(joints["lower"], joints["upper"], strict=True)
        return Multibody(
            joint_names=tuple(joints["name"]),
            parents=tuple(joints["parent"]),
            revolute=tuple(joints["revolute"]),
            limited=tuple(bool(lower <= upper) for lower, upper in limits),
            body_names=tuple(bodies["name"]),
            body_joints=tuple(bodies["joint"]),
            link_names=tuple(links["name"]),
            link_joints=tuple(links["joint"]),
            joint_rotations=_real(joints["rotation"]),
            joint_offsets=_real(joints["offset"]),
            axes=_real(joints["axis"]),
            link_rotations=_real(links["rotation"]),
            link_offsets=_real(links["offset"]),
            masses=_real(bodies["mass"]),
            centers_of_mass=_real(bodies["center"]),
            inertias=_real(bodies["inertia"]),
            damping=_real(joints["damping"]),
            friction=_real(np.zeros(count)),
            armature=_real(np.zeros(count)),
            lower=_real(joints["lower"]),
            upper=_real(joints["upper"]),
            gravity=_real(gravity),
            linear_damping=_real(linear_damping),
            angular_damping=_real(angular_damping),
        )


def _columns(rows: list[dict[str, Any]]) -> dict[str, list]:
    return {key: [row[key] for row in rows] for key in rows[0]}


def _real(numbers: Any) -> jnp.ndarray:
    return jnp.asarray(np.asarray(numbers, float))
