"""Principal axes of an inertia, as Bullet finds them.

Jacobi's rotations (Golub and Van Loan, Matrix Computations, §8.5), each of which makes
the largest off-diagonal element zero, until that is below 1e-6 of the trace; what is
left beside the diagonal Bullet drops (btMatrix3x3::diagonalize). So it integrates an
inertia that differs from the file's by some 1e-9 of it, and a twin must do the same.
"""

import numpy as np

THRESHOLD, MAX_ROTATIONS = 1e-6, 30  # BulletURDFImporter::getMassAndInertia2
EPSILON = float(np.finfo(float).eps)


def principal_axes(inertia: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the moments (3,) and the rotation whose columns are their axes."""
    remaining, axes = np.array(inertia, float), np.eye(3)
    for _ in range(MAX_ROTATIONS):
        pairs = [(0, 1), (0, 2), (1, 2)]
        p, q = max(pairs, key=lambda pair: abs(remaining[pair]))
        largest = abs(remaining[p, q])
        small = THRESHOLD * np.abs(np.diag(remaining)).sum()
        if largest <= EPSILON * small:
            break
        turn = _rotation(remaining, p, q)
        remaining, axes = turn.T @ remaining @ turn, axes @ turn
        if largest <= small:
            break
    return np.diag(remaining).copy(), axes


def _rotation(matrix: np.ndarray, p: int, q: int) -> np.ndarray:
    """Return the rotation in the plane (p, q) that makes matrix[p, q] zero."""
    theta = (matrix[q, q] - matrix[p, p]) / (2 * matrix[p, q])
    tangent = np.copysign(1 / (abs(theta) + np.hypot(1, theta)), theta)
    cosine = 1 / np.hypot(1, tangent)
    turn = np.eye(3)
    turn[p, p] = turn[q, q] = cosine
    turn[p, q], turn[q, p] = cosine * tangent, -cosine * tangent
    return turn
