"""Principal axes of an inertia, computed as Bullet computes them.

Bullet applies Jacobi rotations (Golub and Van Loan, Matrix Computations, §8.5), each of
which zeroes the largest off-diagonal element, until this element is below 1e-6 of the
trace, and then drops the off-diagonal rest (btMatrix3x3::diagonalize). Bullet therefore
integrates an inertia that differs from the file's by about 1e-9 of its size, and a twin
must do the same.
"""

import numpy as np

THRESHOLD, MAX_ROTATIONS = 1e-6, 30  # BulletURDFImporter::getMassAndInertia2
EPSILON = float(np.finfo(float).eps)


def principal_axes(inertia: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the principal moments (3,) and the rotation whose columns are the axes."""
    remaining, axes = np.array(inertia, float), np.eye(3)
    for _ in range(MAX_ROTATIONS):
        pairs = [(0, 1), (0, 2), (1, 2)]
        p, q = max(pairs, key=lambda pair: abs(remaining[pair]))
        largest = abs(remaining[p, q])
        small = THRESHOLD * np.abs(np.diag(remaining)).sum()
        if largest <= EPSILON * small:
            break
        turn = _jacobi_rotation(remaining, p, q)
        remaining, axes = turn.T @ remaining @ turn, axes @ turn
        if largest <= small:
            break
    return np.diag(remaining).copy(), axes


def exact_principal_axes(inertia: np.ndarray) -> np.ndarray:
    """Return a rotation to axes in which `inertia` is diagonal to rounding."""
    turn = np.eye(3)
    # One pass leaves up to 1e-9 beside the diagonal, and three passes nothing.
    for _ in range(3):
        turn = turn @ principal_axes(turn.T @ inertia @ turn)[1]
    return turn


def _jacobi_rotation(matrix: np.ndarray, p: int, q: int) -> np.ndarray:
    """Return the rotation in the plane (p, q) that zeroes matrix[p, q]."""
    theta = (matrix[q, q] - matrix[p, p]) / (2 * matrix[p, q])
    tangent = np.copysign(1 / (abs(theta) + np.hypot(1, theta)), theta)
    cosine = 1 / np.hypot(1, tangent)
    turn = np.eye(3)
    turn[p, p] = turn[q, q] = cosine
    turn[p, q], turn[q, p] = cosine * tangent, -cosine * tangent
    return turn
