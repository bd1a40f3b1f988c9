import numpy as np
import pytest

from roboopt.urdf import principal_axes


def test_a_diagonal_is_left_as_it_stands():
    moments, axes = principal_axes(np.diag([3.0, 1.0, 2.0]))
    np.testing.assert_array_equal(moments, [3, 1, 2])
    np.testing.assert_array_equal(axes, np.eye(3))


def test_one_rotation_by_hand():
    # [[2, 1], [1, 2]] has eigenvalues 1 and 3 along (1, ∓1)/√2.
    moments, axes = principal_axes(np.array([[2.0, 1, 0], [1, 2, 0], [0, 0, 5]]))
    np.testing.assert_allclose(moments, [1, 3, 5], rtol=1e-15)
    np.testing.assert_allclose(np.abs(axes[:2, :2]), np.full((2, 2), 0.5**0.5))


@pytest.mark.parametrize("seed", range(5))
def test_are_the_eigenvectors_to_within_bullets_threshold(seed):
    matrix = np.random.default_rng(seed).normal(size=(3, 3))
    inertia = matrix @ matrix.T
    moments, axes = principal_axes(inertia)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-14)
    rebuilt = axes @ np.diag(moments) @ axes.T
    np.testing.assert_allclose(rebuilt, inertia, atol=2e-6 * np.trace(inertia))
    np.testing.assert_allclose(
        np.sort(moments), np.linalg.eigvalsh(inertia), atol=1e-10 * np.trace(inertia)
    )
