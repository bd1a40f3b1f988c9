"""Base parameters: sums of parameters that data determine although not each of them.

The known sums are orthogonal to all directions along which the data notice nothing. The
reduced echelon form makes them short (after Gautier, 1991, for symbolic models).
"""

from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Float

MIN_COEFFICIENT = 1e-2  # of the largest term: less is not printed
RANK_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Combination:
    """A sum Σ c_i p_i of parameters, with its value and its uncertainty."""

    coefficients: dict[str, float]
    """By parameter; after the main term those that contribute most come first."""
    value: float
    half_width: float
    """Half the width of the 95 % interval."""

    def __str__(self) -> str:
        """Return the sum as text, such as "mass[a] + 2 mass[b]"."""
        return self.text()

    def text(self, terms: int | None = None) -> str:
        """Return the sum as text, of its first `terms` alone, and how many follow."""
        text = ""
        for name, c in islice(self.coefficients.items(), terms):
            factor = f"{abs(c):.3g} ".removeprefix("1 ")
            sign = "−" if c < 0 else "+"
            lead = f" {sign} " if text else sign.replace("+", "")
            text += f"{lead}{factor}{name}"
        rest = 0 if terms is None else len(self.coefficients) - terms
        return f"{text} + {rest} smaller" if rest > 0 else text


def combinations_of(
    names: list[str],
    values: Float[np.ndarray, " parameter"],
    units: Float[np.ndarray, " parameter"],
    spans: Float[np.ndarray, " parameter"],
    unknown: Float[np.ndarray, "parameter direction"],
    spread: Float[np.ndarray, "parameter parameter"],
) -> tuple[Combination, ...]:
    """Return the sums that are orthogonal to all `unknown` directions.

    These are orthonormal columns, in parameters over their `spans`. `units` are the
    derivatives of the parameters by their coordinates, `spread` the squared half widths
    of the coordinates.
    """
    left, singular, _ = np.linalg.svd(unknown, full_matrices=True)
    known = left[:, int(np.sum(singular > RANK_TOLERANCE)) :].T
    if not known.size:
        return ()
    found = []
    for row in _echelon(known / spans):
        matter, slope = np.abs(row) * spans, row * units
        least = MIN_COEFFICIENT * matter.max()
        order = [i for i in np.argsort(-matter) if matter[i] > least]
        terms = {names[i]: float(row[i]) for i in order}
        half_width = float(np.sqrt(max(slope @ spread @ slope, 0.0)))
        found.append(Combination(terms, float(row @ values), half_width))
    return tuple(found)


def orthonormal(rows: np.ndarray) -> np.ndarray:
    """Return a basis of the span of `rows`, in columns."""
    if not rows.size:
        return rows.T
    return np.linalg.qr((rows / np.linalg.norm(rows, axis=1, keepdims=True)).T)[0]


def _echelon(matrix: np.ndarray) -> np.ndarray:
    """Return the reduced echelon form, by the largest pivots."""
    matrix = matrix.copy()
    scale = np.abs(matrix).max(0)
    done: list[int] = []
    for row in range(len(matrix)):
        weight = np.abs(matrix[row:]) / np.where(scale > 0, scale, 1.0)
        weight[:, done] = 0.0
        best, column = np.unravel_index(np.argmax(weight), weight.shape)
        matrix[[row, row + best]] = matrix[[row + best, row]]
        matrix[row] /= matrix[row, column]
        for other in range(len(matrix)):
            if other != row:
                matrix[other] -= matrix[other, column] * matrix[row]
        done.append(int(column))
    return matrix
