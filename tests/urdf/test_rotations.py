import numpy as np
import pytest

from roboopt.urdf import rotation_from_quaternion, rotation_from_rpy, rpy_from_rotation


def test_rotation_of_a_quaternion_by_hand():
    # A quarter turn about z takes x to y; the quaternion's length does not matter.
    turn = rotation_from_quaternion((0.0, 0.0, 2.0, 2.0))
    np.testing.assert_allclose(turn, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-15)


def test_roll_pitch_yaw_by_hand():
    # A roll of 90° takes y to z, and then a yaw of 90° takes x to y: z stays y's image.
    turn = rotation_from_rpy([np.pi / 2, 0.0, np.pi / 2])
    np.testing.assert_allclose(turn, [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-15)


@pytest.mark.parametrize("pitch", [0.3, np.pi / 2, -np.pi / 2, np.pi / 2 - 1e-9, 3.0])
def test_rotations_keep_their_precision_at_every_pitch(pitch):
    rotation = rotation_from_rpy([0.7, pitch, -2.0])
    again = rotation_from_rpy(rpy_from_rotation(rotation))
    np.testing.assert_allclose(again, rotation, rtol=0, atol=1e-15)
