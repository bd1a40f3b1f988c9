"""Base parameters: the fewest numbers that all efforts are linear in.

A column of Y that is a sum of others, K of them, gives its number to theirs: with
Y₂ = Y₁ K the efforts are Y₁ β, β = φ₁ + K φ₂ (Gautier, 1991, by the QR decomposition).
Columns are taken from the base outward, so that a link's numbers join those of the link
that carries it.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import block_diag, orth

from roboopt.diagnose import Combination, IdentifiabilityReport, score_covariance
from roboopt.dynamics import ParametricTwin, joint_numbers
from roboopt.sysid._condensed import Condensed

RANK_TOLERANCE = 1e-8  # of a column of unit length: below, it is a sum of others
MIN_SIZE = 1e-12  # of a column, over the largest: below, it is rounding
MIN_COEFFICIENT = 1e-6
ROUNDING_SI = 1e-12  # a value below is 0
QUANTILE = NormalDist().inv_cdf(0.975)
BODY = ("m", "m·x", "m·y", "m·z", "I_xx", "I_xy", "I_xz", "I_yy", "I_yz", "I_zz")
NOT_NEGATIVE = "m[", "I_xx[", "I_yy[", "I_zz[", "armature["
BODY_UNITS = ("kg", *3 * ("kg·m",), *6 * ("kg·m²",))
# The numbers that come last join others: those of a link that turns about z.
ORDER = (9, 4, 5, 6, 8, 1, 2, 7, 3, 0)


@dataclass(frozen=True)
class BaseParameter:
    """A sum of linear parameters that the recorded motion determines."""

    combination: Combination
    """The sum, with its value by least squares and its 95 % interval, which counts how
    long an error of the efforts lasts."""
    unit: str
    start: float
    """Of the robot as it was given."""
    estimate: float
    """Of the fitted robot."""

    @property
    def name(self) -> str:
        """Return the whole sum as text."""
        return str(self.combination)

    @property
    def least_squares(self) -> float:
        """Return the value by least squares."""
        return self.combination.value

    @property
    def deviation(self) -> float:
        """Return the standard deviation of the value by least squares."""
        return self.combination.half_width / QUANTILE

    @property
    def known(self) -> bool:
        """Return whether the interval of least squares leaves out 0."""
        return abs(self.least_squares) > max(self.combination.half_width, ROUNDING_SI)

    @property
    def impossible(self) -> bool:
        """Return whether the interval is of inertias or masses below 0, as no robot's.

        A sum with a negative part may be negative.
        """
        terms = self.combination.coefficients.items()
        least = all(c > 0 and name.startswith(NOT_NEGATIVE) for name, c in terms)
        return least and self.known and self.least_squares < 0


def base_parameters(
    condensed: Condensed,
    noise: Float[np.ndarray, " joint"],
    models: Sequence[ParametricTwin],
    numbers: Sequence[Float[np.ndarray, " number"]],
    free: Bool[np.ndarray, " number"],
    slopes: Float[np.ndarray, "joint row scale"] | None = None,
    instants: Iterable[Float[np.ndarray, "joint instant column"]] | None = None,
) -> tuple[BaseParameter, ...]:
    """Return the base parameters of recordings, by the noise of each joint's efforts.

    `numbers` are the linear parameters of the robot as given and as fitted, `models`;
    `slopes` the derivatives of each joint's efforts by what was fitted besides, whose
    uncertainty adds to theirs. `instants` are the rows that are condensed, in the order
    of time: intervals are as wide as errors that last make them (`score_covariance`).
    Columns after those of [Y, τ] are errors of the recorded efforts by one standard
    deviation of what may have delayed them.
    """
    before, _ = models
    given = numbers[0]
    used = noise > 0
    rows = (condensed.factors[used] / noise[used, None, None]).reshape(
        -1, len(given) + 1
    )
    order = _order(before, free)
    fixed = np.where(free, 0.0, given)
    target = rows @ np.append(-fixed, 1.0)
    size = np.linalg.norm(rows[:, order], axis=0)
    moves = size > MIN_SIZE * size.max(initial=0.0)
    felt, size = order[moves], size[moves]
    columns = rows[:, felt] / size
    kept = _independent(columns)
    lost = np.setdiff1d(np.arange(len(felt)), kept)
    orthogonal, triangle = np.linalg.qr(columns[:, kept])
    inverse = np.linalg.inv(triangle)
    scale = 1 / size
    grouped = inverse @ (orthogonal.T @ columns[:, lost])
    grouped = scale[kept][:, None] * grouped / scale[lost]
    best = scale[kept] * (inverse @ (orthogonal.T @ target))
    if slopes is not None:
        blocks = block_diag(*(slopes[used] / noise[used, None, None]))
        spanned = orth(blocks / np.maximum(np.linalg.norm(blocks, axis=0), 1e-300))
        told = columns[:, kept] - spanned @ (spanned.T @ columns[:, kept])
        inverse = np.linalg.pinv(np.linalg.qr(told, mode="r"))
    spread = scale[kept] * np.linalg.norm(inverse, axis=1)
    if instants is not None:
        told = scale[kept][:, None] * np.linalg.inv(triangle)
        whole = fixed.copy()
        whole[felt[kept]] += best
        numbered = felt[kept], np.append(whole, -1.0)
        longer, moved = _longer(instants, told, *numbered, noise)
        spread = np.hypot(spread * longer, moved)
    names, units = _names(before)
    values = [x[felt[kept]] + grouped @ x[felt[lost]] for x in numbers]
    largest = np.abs(numbers).max(0)[felt[lost]]
    found = []
    for row, k in enumerate(kept):
        terms = {names[felt[k]]: 1.0}
        for other in np.argsort(-np.abs(grouped[row]) * largest, kind="stable"):
            c = float(grouped[row, other])
            if abs(c) > MIN_COEFFICIENT:
                terms[names[felt[lost[other]]]] = c
        half_width = QUANTILE * float(spread[row])
        found.append(
            BaseParameter(
                Combination(terms, float(best[row]), half_width),
                units[felt[k]],
                *(float(value[row]) for value in values),
            )
        )
    return tuple(found)


def _longer(
    instants: Iterable[np.ndarray],
    inverse: np.ndarray,
    kept: np.ndarray,
    numbers: np.ndarray,
    noise: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how much wider the intervals of the `kept` are by errors that last.

    And how far delays of one standard deviation move the numbers. `inverse` is that of
    the triangle of their columns, weighted by the noise.
    """
    used = noise > 0
    residuals, scores, late = [], [], 0.0
    for rows in instants:
        rows = rows[used] / noise[used, None, None]
        left = rows[:, :, : numbers.size] @ numbers
        residuals.append(left.T)
        columns = rows[:, :, kept] @ inverse
        scores.append(np.einsum("jti,jt->ti", columns, left))
        late += np.einsum("jti,jtk->ik", columns, rows[:, :, numbers.size :])
    omega = score_covariance(np.concatenate(residuals), np.concatenate(scores))
    lasting = np.einsum("ij,jk,ik->i", inverse, omega, inverse)
    ratio = lasting / np.maximum(np.sum(inverse**2, 1), 1e-300)
    moved = np.linalg.norm(inverse @ late, axis=1)
    return np.sqrt(np.maximum(1.0, ratio)), moved


def no_narrower(
    report: IdentifiabilityReport, base: Sequence[BaseParameter]
) -> IdentifiabilityReport:
    """Return the report, no interval in it narrower than that of a base parameter.

    They estimate the noise differently; a number has one interval, the wider of both.
    """
    alone = {
        next(iter(one.combination.coefficients)): one.combination.half_width
        for one in base
        if list(one.combination.coefficients.values()) == [1.0]
    }
    half = np.array([alone.get(name, 0.0) for name in report.names])
    least = np.where(report.model.positive, 0.0, report.model.lower())
    lower = np.minimum(report.lower, np.maximum(report.values - half, least))
    most = np.where(report.model.positive, np.inf, report.model.upper())
    upper = np.maximum(report.upper, np.minimum(report.values + half, most))
    width = report.upper - report.lower
    kept = np.isfinite(width) & (width > 0) & (half > 0)
    return dataclasses.replace(
        report,
        lower=np.where(kept, lower, report.lower),
        upper=np.where(kept, upper, report.upper),
    )


def _order(model: ParametricTwin, free: np.ndarray) -> np.ndarray:
    """Return the free numbers, body by body from the base outward, then the joints'."""
    bodies = len(model.massive)
    parts = [10 * body + np.array(ORDER) for body in range(bodies)]
    parts.append(np.arange(10 * bodies, len(free)))
    order = np.concatenate(parts)
    return order[free[order]]


def _independent(columns: np.ndarray) -> np.ndarray:
    """Return the columns of unit length that are no sums of those before them."""
    kept: list[int] = []
    basis = np.zeros((len(columns), 0))
    for number, column in enumerate(columns.T):
        left = column
        for _ in range(2):  # once more against rounding
            left = left - basis @ (basis.T @ left)
        length = np.linalg.norm(left)
        if length > RANK_TOLERANCE:
            kept.append(number)
            basis = np.column_stack([basis, left / length])
    return np.array(kept, int)


def _names(model: ParametricTwin) -> tuple[list[str], list[str]]:
    """Return the names and the units of all linear parameters."""
    robot = model.inner.robot
    names = [f"{q}[{robot.body_names[b]}]" for b in model.massive for q in BODY]
    units = [unit for _ in model.massive for unit in BODY_UNITS]
    known = ParametricTwin.available(model.inner)
    for kind in joint_numbers(model):
        for joint in robot.joint_names:
            names.append(f"{kind}[{joint}]")
            units.append(known.get(names[-1], "N·m"))
    return names, units
