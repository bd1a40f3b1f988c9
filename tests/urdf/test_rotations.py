import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from roboopt.urdf import (
    quaternion_from_rotation,
    rotation_from_quaternion,
    rotation_from_rpy,
    rpy_from_rotation,
)


def test_rotation_of_a_quaternion_by_hand():
    # A quarter turn about z takes x to y; the quaternion's length does not matter.
    turn = rotation_from_quaternion((0.0, 0.0, 2.0, 2.0))
    np.testing.assert_allclose(turn, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-15)


def test_quaternions_are_those_of_scipy():
    # Each of the four numbers is the largest of some; half turns have w = 0.
    numbers = np.random.default_rng(0).normal(size=(2, 50, 4))
    numbers[0, :3] = np.eye(4)[:3]
    rotations = rotation_from_quaternion(numbers)
    expected = Rotation.from_quat(numbers.reshape(-1, 4))
    flat = rotations.reshape(-1, 3, 3)
    np.testing.assert_allclose(flat, expected.as_matrix(), rtol=0, atol=1e-15)
    turned = quaternion_from_rotation(rotations).reshape(-1, 4)
    same = Rotation.from_matrix(flat).as_quat()
    np.testing.assert_allclose(turned, same, rtol=0, atol=1e-15)
    assert set(np.abs(turned).argmax(1)) == {0, 1, 2, 3}


def test_roll_pitch_yaw_by_hand():
    # A roll of 90° takes y to z, and then a yaw of 90° takes x to y: z stays y's image.
    turn = rotation_from_rpy([np.pi / 2, 0.0, np.pi / 2])
    np.testing.assert_allclose(turn, [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-15)


@pytest.mark.parametrize("pitch", [0.3, np.pi / 2, -np.pi / 2, np.pi / 2 - 1e-9, 3.0])
def test_rotations_keep_their_precision_at_every_pitch(pitch):
    rotation = rotation_from_rpy([0.7, pitch, -2.0])
    again = rotation_from_rpy(rpy_from_rotation(rotation))
    np.testing.assert_allclose(again, rotation, rtol=0, atol=1e-15)
