"""Mass matrix and bias of a robot in plain NumPy, from body Jacobians.

For m moving joints, whose velocities are K times those of the n coordinates,

    M = Σ_b m J_vᵀJ_v + J_ωᵀ I J_ω        h = Σ_b m J_vᵀ(a − g) + J_ωᵀ(I α + ω × I ω)

with the Jacobians J_v, J_ω of body b's center of mass, and its accelerations a, α at
q̈ = 0; in coordinates they are KᵀMK and Kᵀh. Robots are sized (assumed efforts,
singular mass matrices) with these formulas, where JAX is not at hand and PyBullet may
refuse to answer.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from roboopt.urdf._model import PRISMATIC, UrdfModel

EARTH_GRAVITY = (0.0, 0.0, -9.81)
"""[m/s²]"""


def mass_matrix(model: UrdfModel, q: Any) -> np.ndarray:
    """Return M (n, n) at the coordinates `q` (n,) [kg·m², kg·m or kg]."""
    return RigidBodies(model).mass_matrix(q)


def gravity_effort(
    model: UrdfModel, q: Any, gravity: Any = EARTH_GRAVITY
) -> np.ndarray:
    """Return the efforts that hold the robot still at `q`, (n,) [N·m or N]."""
    return RigidBodies(model).gravity_effort(q, gravity)


class RigidBodies:
    """The links of a model that have inertia, and the moving joints that carry them."""

    def __init__(
        self, model: UrdfModel, mass_factors: Mapping[str, float] | None = None
    ):
        """Take the numbers of a model; masses and inertias by link times a factor."""
        joints, poses = model.moving, model.joint_poses
        self._parents = [pose.joint for pose in poses]
        self._rotations = np.array([pose.rotation for pose in poses])
        self._offsets = np.array([pose.offset for pose in poses])
        self._axes = np.array([joint.axis for joint in joints])
        self._revolute = np.array([joint.kind != PRISMATIC for joint in joints])
        cross = np.array([_cross_matrix(axis) for axis in self._axes])
        self._turns = cross, cross @ cross
        # Whether a joint (column) carries the frame of another (row).
        self._above = np.eye(len(joints), dtype=bool)
        for joint, parent in enumerate(self._parents):
            if parent >= 0:
                self._above[joint] |= self._above[parent]
        bodies, carriers = [], []
        for link, inertial in model.inertials.items():
            if not (inertial.mass or inertial.inertia.any()):
                continue
            carrier, rotation, offset = model.link_poses[link]
            factor = (mass_factors or {}).get(link, 1.0)
            mass, center, inertia = inertial.to_parent(rotation, offset)
            bodies.append((factor * mass, center, factor * inertia))
            carriers.append(carrier)
        self._carriers = np.array(carriers, int)
        self._masses = np.array([body[0] for body in bodies])
        self._centers = np.array([body[1] for body in bodies]).reshape(-1, 3)
        self._inertias = np.array([body[2] for body in bodies]).reshape(-1, 3, 3)
        self._coupling = model.coupling

    def mass_matrix(self, q: Any) -> np.ndarray:
        """Return M (n, n) at the coordinates `q` (n,) [kg·m², kg·m or kg]."""
        matrix, offset = self._coupling
        moving, _ = self.equations_of_motion(matrix @ q + offset)
        return matrix.T @ moving @ matrix

    def gravity_effort(self, q: Any, gravity: Any = EARTH_GRAVITY) -> np.ndarray:
        """Return the efforts that hold the robot still at `q`, (n,) [N·m or N]."""
        matrix, offset = self._coupling
        _, bias = self.equations_of_motion(matrix @ q + offset, gravity=gravity)
        return matrix.T @ bias

    def potential_energy(self, q: Any, gravity: Any = EARTH_GRAVITY) -> float:
        """Return −Σ m gᵀ c [J] at the coordinates `q` (n,), 0 at the root's origin."""
        matrix, offset = self._coupling
        _, center, *_ = self._frames(np.asarray(matrix @ q + offset, float))
        return -float(self._masses @ (center @ np.asarray(gravity, float)))

    def equations_of_motion(
        self,
        q: Any,
        velocity: Any = None,
        gravity: Any = EARTH_GRAVITY,
        air: tuple[float, float] = (0.0, 0.0),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return M (m, m) and h (m,) of all m moving joints [SI units].

        Args:
            q: positions of the moving joints (m,) [rad or m].
            velocity: their velocities [rad/s or m/s]; None is at rest.
            gravity: (3,) [m/s²].
            air: Bullet's damping of the links' linear and angular velocities [1/s].
        """
        turn, center, origin, axis = self._frames(np.asarray(q, float))
        arm = center[:, None] - origin  # (body, joint, 3)
        revolute = self._revolute[:, None]
        above = self._above[self._carriers, :, None]
        linear = above * np.where(revolute, _cross(axis, arm), axis)
        angular = (above & revolute) * axis
        inertia = turn @ self._inertias @ turn.swapaxes(1, 2)
        spin = np.einsum("bij,bnj->bni", inertia, angular)
        matrix = np.einsum("b,bni,bki->nk", self._masses, linear, linear)
        matrix += np.einsum("bni,bki->nk", angular, spin)
        pull = np.broadcast_to(-np.asarray(gravity, float), center.shape)
        moment = np.zeros_like(center)
        if velocity is not None:
            speed = np.asarray(velocity, float)
            rate = np.einsum("bni,n->bi", angular, speed)
            motion = np.einsum("bni,n->bi", linear, speed)
            # Velocities of the joints' origins, and turning of the joints' axes.
            between = origin[:, None] - origin
            at_origin = np.where(revolute, _cross(axis, between), axis)
            moved = np.einsum("jn,jni,n->ji", self._above, at_origin, speed)
            strictly = self._above & ~np.eye(len(speed), dtype=bool)
            carrier = (strictly * (self._revolute * speed)) @ axis
            turning = _cross(carrier, axis) * speed[:, None]
            away = motion[:, None] - moved
            change = _cross(turning, arm) + _cross(axis * speed[:, None], away)
            change = np.where(revolute, change, turning)
            pull = pull + (above * change).sum(axis=1)
            swing = ((above & revolute) * turning).sum(axis=1)
            moment = np.einsum("bij,bj->bi", inertia, swing)
            momentum = np.einsum("bij,bj->bi", inertia, rate)
            moment += _cross(rate, momentum)
            if any(air):
                pull = pull + air[0] * motion * (1 + _length(motion))
                moment += air[1] * momentum * (1 + _length(rate))
        bias = np.einsum("b,bni,bi->n", self._masses, linear, pull)
        return matrix, bias + np.einsum("bni,bi->n", angular, moment)

    def _frames(self, q: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the bodies' rotations and centers, the joints' origins and axes."""
        first, second = self._turns
        angle = np.where(self._revolute, q, 0.0)[:, None, None]
        local = np.eye(3) + np.sin(angle) * first + (1 - np.cos(angle)) * second
        local = self._rotations @ local
        slide = np.where(self._revolute, 0.0, q)[:, None] * self._axes
        offset = self._offsets + np.einsum("nij,nj->ni", self._rotations, slide)
        rotations, origins = np.empty_like(local), np.empty_like(offset)
        for joint, parent in enumerate(self._parents):
            if parent < 0:
                rotations[joint], origins[joint] = local[joint], offset[joint]
            else:
                before = rotations[parent]
                rotations[joint] = before @ local[joint]
                origins[joint] = origins[parent] + before @ offset[joint]
        turn = rotations[self._carriers]
        center = np.einsum("bij,bj->bi", turn, self._centers) + origins[self._carriers]
        return turn, center, origins, np.einsum("nij,nj->ni", rotations, self._axes)


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1, keepdims=True)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    x, y, z = (a[..., i] for i in range(3))
    u, v, w = (b[..., i] for i in range(3))
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=-1)


def _cross_matrix(axis: np.ndarray) -> np.ndarray:
    x, y, z = axis
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
