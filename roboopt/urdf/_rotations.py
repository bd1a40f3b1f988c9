"""Rotation matrices from and to roll-pitch-yaw angles and quaternions.

Those of SciPy take a quarter of a second to import.
"""

from typing import Any

import numpy as np


def rotation_from_rpy(rpy: Any) -> np.ndarray:
    """Return R_z(yaw) R_y(pitch) R_x(roll), (3, 3), of angles (3,) [rad]."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def rpy_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """Return roll, pitch and yaw [rad] of a rotation, precise at every pitch.

    Near a pitch of ±π/2 only the sum or difference of roll and yaw is determined. The
    yaw is computed first, and roll and pitch from the rotation that remains, so that
    the three angles together reproduce the rotation to rounding.
    """
    yaw = np.arctan2(rotation[1, 0], rotation[0, 0])
    rest = rotation_from_rpy([0.0, 0.0, yaw]).T @ rotation
    roll = np.arctan2(-rest[1, 2], rest[1, 1])
    return np.array([roll, np.arctan2(-rest[2, 0], rest[0, 0]), yaw])


def rotation_from_quaternion(quaternion: Any) -> np.ndarray:
    """Return rotations (..., 3, 3) of nonzero quaternions (..., 4), as (x, y, z, w)."""
    x, y, z, w = np.moveaxis(np.asarray(quaternion), -1, 0)
    s = 2.0 / (x * x + y * y + z * z + w * w)
    rows = [
        [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
        [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
        [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def quaternion_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """Return the unit quaternions (..., 4) of rotations (..., 3, 3), as (x, y, z, w).

    The largest number is positive, and the others follow from their products with it
    (Shepperd, 1978).
    """
    (a, b, c), (d, e, f), (g, h, i) = np.moveaxis(rotation, (-2, -1), (0, 1))
    products = [
        [1 + a - e - i, b + d, c + g, h - f],
        [b + d, 1 - a + e - i, f + h, c - g],
        [c + g, f + h, 1 - a - e + i, d - b],
        [h - f, c - g, d - b, 1 + a + e + i],
    ]
    every = np.moveaxis(np.array(products), (0, 1), (-2, -1))
    largest = np.argmax(np.diagonal(every, axis1=-2, axis2=-1), -1)
    found = np.take_along_axis(every, largest[..., None, None], -2)[..., 0, :]
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def rotation_about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Return the rotation by an angle [rad] about a unit vector (Rodrigues)."""
    x, y, z = axis
    screw = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * screw + (1 - np.cos(angle)) * screw @ screw
