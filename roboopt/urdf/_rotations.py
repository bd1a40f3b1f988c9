"""Rotation matrices from and to roll-pitch-yaw angles and quaternions."""

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
    """Return the rotation of a nonzero quaternion (x, y, z, w) of any length."""
    x, y, z, w = quaternion
    s = 2.0 / (x * x + y * y + z * z + w * w)
    return np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
            [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
            [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
        ]
    )


def rotation_about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Return the rotation by an angle [rad] about a unit vector (Rodrigues)."""
    x, y, z = axis
    screw = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * screw + (1 - np.cos(angle)) * screw @ screw
