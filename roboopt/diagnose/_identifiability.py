"""What data can tell of a model's parameters, and what they cannot.

From the Jacobian J of the residuals at the fitted parameters x, whose columns are
scaled to unit length: J D⁻¹ = U S Vᵀ. A direction v_k of small singular value is one
along which the parameters may move without the data minding. What is left is the
robot's base parameters (Gautier and Khalil, 1990), found here from the data themselves,
with what these do not excite taken out too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from roboopt._errors import RobooptError
from roboopt.diagnose._covariance import score_covariance
from roboopt.optimize import Bound
from roboopt.optimize._least_squares import Fit, fitting, jacobian, limits

WIDE = 0.1  # of what would matter: with more standard error, it is not known
HIDDEN = 0.5  # likewise, even if all other parameters were known
RANK = 1e-11  # of the largest singular value: 0, but for rounding
QUANTILE = 1.959963984540054  # of the normal distribution, for 95 %
LEAST = 1e-2  # of the largest share in a combination: what is less is not said

IDENTIFIED = "identified"
COMBINED = "only in combination"
NOT_EXCITED = "not excited"
AT_BOUND = "at its bound"


@dataclass(frozen=True)
class IdentifiabilityReport:
    """What the data say of each parameter, in its order."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    values: Float[np.ndarray, " parameter"]
    """In their units."""
    lower: Float[np.ndarray, " parameter"]
    upper: Float[np.ndarray, " parameter"]
    """Ends of the 95 % intervals; infinite (or 0, where it must be positive) where the
    data do not tell."""
    verdicts: tuple[str, ...]
    """Each "identified", "only in combination", "not excited" or "at its bound"."""
    partners: tuple[tuple[str, ...], ...]
    """With which others each one is known in combination only, most of all first."""
    combinations: tuple[str, ...]
    """What is known of those, in words."""
    singular_values: Float[np.ndarray, " direction"]
    """Of the Jacobian with columns of unit length, without what is not excited or at
    its bound."""
    covariance: Float[np.ndarray, "parameter parameter"]
    """Of the coordinates, over the directions that are known."""
    model: Any
    fit: Fit

    @property
    def condition(self) -> float:
        """Return the largest over the smallest singular value."""
        if not len(self.singular_values):
            return 1.0
        return float(self.singular_values[0] / max(self.singular_values[-1], 1e-300))

    def sentence(self, index: int) -> str:
        """Return the verdict on a parameter, with its partners."""
        if not self.partners[index]:
            return self.verdicts[index]
        others = ", ".join(self.partners[index][:3])
        more = len(self.partners[index]) - 3
        return f"{self.verdicts[index]} with {others}" + (
            f" and {more} more" if more > 0 else ""
        )

    def interval(
        self, quantity: Callable[[Any], Any]
    ) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
        """Return what `quantity(model)` is, and half the width of its 95 % interval.

        By its derivative along the known directions (the delta method): for what is
        computed from parameters, such as an inertia.
        """

        def of(x: jax.Array) -> jax.Array:
            return jnp.asarray(quantity(self.fit.model(x)))

        x = jnp.asarray(self.fit.start())
        both = jax.jit(lambda x: (of(x), jax.jacfwd(of)(x)))
        value, slope = map(np.asarray, both(x))
        variance = np.einsum("...i,ij,...j->...", slope, self.covariance, slope)
        return value, np.asarray(QUANTILE * np.sqrt(np.maximum(variance, 0.0)))


def identifiability(
    objective: Any,
    model: Any,
    data: Any,
    *,
    trainable: Callable[[Any], Any] | None = None,
    bounds: Sequence[Bound] = (),
) -> IdentifiabilityReport:
    """Return what `data` tell of the parameters of a fitted model.

    Args:
        objective: that the model was fitted with, with `residuals`.
        model: as fitted; its `names`, `units`, `values()`, `positive` and `spans()`,
            where it has them as a `ParametricTwin` has, are used.
        data: that it was fitted to, whose instants are in the order of time.
        trainable: which parts were tuned, as in `least_squares`.
        bounds: that were kept to.

    Raises:
        RobooptError: if the objective has no residuals, or nothing is tuned.
    """
    if not hasattr(objective, "residuals"):
        raise RobooptError(
            f"`objective` must have residuals, got {type(objective).__name__}."
        )
    fit = fitting(objective, model, data, trainable)
    x = fit.start()
    shape = eqx.filter_eval_shape(objective.residuals, model, fit.data).shape
    flat, slopes = map(np.asarray, jacobian(fit, jnp.asarray(x)))
    outputs = shape[-1] if len(shape) > 1 else 1
    slopes = slopes.reshape(-1, outputs, x.size)
    residuals = flat.reshape(-1, outputs)
    return _Analysis(
        fit, model, x, residuals, slopes, limits(fit, bounds, model)
    ).verdict()


class _Analysis:
    """Sorts the parameters by what the Jacobian says of them."""

    def __init__(
        self,
        fit: Fit,
        model: Any,
        x: np.ndarray,
        residuals: np.ndarray,
        slopes: np.ndarray,
        limits: tuple[np.ndarray, np.ndarray],
    ):
        self.fit, self.model, self.x = fit, model, x
        self.residuals, self.slopes = residuals, slopes
        size = x.size
        self.names = tuple(fit.names())
        described = getattr(model, "names", None) == self.names
        self.units = model.units if described else ("1",) * size
        self.positive = np.array(model.positive if described else (False,) * size)
        self.values = np.asarray(model.values(), float) if described else x
        spans = model.spans() if described else np.full(size, 1e-3)
        self.spans = np.where(self.positive, 1.0, np.maximum(np.abs(x), spans))
        self.at_bound = (x <= limits[0]) | (x >= limits[1])

    def verdict(self) -> IdentifiabilityReport:
        lengths = np.sqrt(np.sum(self.slopes**2, (0, 1)))
        noise = np.sqrt(
            np.sum(self.residuals**2) / max(self.residuals.size - self.x.size, 1)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            alone = np.where(lengths > 0, noise / lengths, np.inf)
        # Seen only through rounding, or not through the noise even by itself.
        felt = lengths * self.spans
        dead = (alone > HIDDEN * self.spans) | (felt <= RANK * max(felt.max(), 1e-300))
        dead &= ~self.at_bound
        kept = np.flatnonzero(~dead & ~self.at_bound)
        covariance, unseen, unknown, singular = self._covariance(kept, lengths)
        loose = np.zeros(self.x.size, bool)
        errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        share = np.sqrt(np.sum(unseen**2, 1)) if unseen.size else np.zeros(len(kept))
        endless = dead.copy()
        endless[kept] = share > LEAST
        loose[kept] = endless[kept] | (errors[kept] > WIDE * self.spans[kept])
        verdicts = np.select(
            [self.at_bound, dead, loose], [AT_BOUND, NOT_EXCITED, COMBINED], IDENTIFIED
        )
        half = QUANTILE * np.where(endless, np.inf, errors)
        lower, upper = self._ends(half)
        partners: list[tuple[str, ...]] = [()] * self.x.size
        for index in np.flatnonzero(loose):
            partners[index] = self._partners(int(index), kept, unknown, covariance)
            if not partners[index]:
                verdicts[index] = NOT_EXCITED
        return IdentifiabilityReport(
            names=self.names,
            units=tuple(self.units),
            values=self.values,
            lower=lower,
            upper=upper,
            verdicts=tuple(str(v) for v in verdicts),
            partners=tuple(partners),
            combinations=self._combinations(kept, loose, unknown),
            singular_values=singular,
            covariance=covariance,
            model=self.model,
            fit=self.fit,
        )

    def _covariance(
        self, kept: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the covariance, directions without effect, those not known, and S.

        A direction is one of the `kept` parameters over their spans, of unit length. It
        is without effect but for rounding, or known no better than would matter. The
        covariance is that over all directions with an effect.
        """
        covariance = np.zeros((self.x.size, self.x.size))
        if not kept.size:
            nothing = np.zeros((0, 0))
            return covariance, nothing, nothing, np.zeros(0)
        scaled = self.slopes[:, :, kept] / lengths[kept]
        flat = scaled.reshape(-1, kept.size)
        triangle = np.linalg.qr(flat, mode="r")
        _, singular, rows = np.linalg.svd(triangle, full_matrices=True)
        singular = np.pad(singular, (0, kept.size - singular.size))
        omega = rows @ score_covariance(self.residuals, scaled) @ rows.T
        inverse = 1 / np.maximum(singular, RANK * singular[0])
        spread = omega * inverse[:, None] ** 2 * inverse[None] ** 2
        # The same directions in parameters over their spans.
        along = rows / (lengths[kept] * self.spans[kept])
        reach = np.sqrt(np.maximum(np.diag(spread), 0.0)) * np.abs(along).max(1)
        null = singular <= RANK * singular[0]
        back = rows[~null] / lengths[kept]
        covariance[np.ix_(kept, kept)] = back.T @ spread[np.ix_(~null, ~null)] @ back
        unseen, unknown = (
            _orthonormal(along[null]),
            _orthonormal(along[null | (reach > WIDE)]),
        )
        return covariance, unseen, unknown, singular

    def _ends(self, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(over="ignore"):
            low, high = self.x - half, self.x + half
            lower = np.where(self.positive, np.exp(low), low)
            upper = np.where(self.positive, np.exp(high), high)
        scale = np.where(self.positive, 1.0, self.values - self.x)
        return lower + np.where(self.positive, 0.0, scale), upper + np.where(
            self.positive, 0.0, scale
        )

    def _partners(
        self,
        index: int,
        kept: np.ndarray,
        unknown: np.ndarray,
        covariance: np.ndarray,
    ) -> tuple[str, ...]:
        """Return the names of those that move with a parameter unseen."""
        row = int(np.flatnonzero(kept == index)[0])
        if unknown.size:
            together = np.abs(unknown @ unknown[row])
        else:
            together = np.zeros(kept.size)
        if together[row] < LEAST**2:
            spread = np.sqrt(np.maximum(np.diag(covariance)[kept], 1e-300))
            together = np.abs(covariance[index, kept]) / spread / spread[row]
        order = np.argsort(-together)
        return tuple(
            self.names[kept[i]]
            for i in order
            if i != row and together[i] > 0.05 * together[row]
        )

    def _combinations(
        self, kept: np.ndarray, loose: np.ndarray, unknown: np.ndarray
    ) -> tuple[str, ...]:
        """Return the sums of loose parameters that are known: base parameters."""
        rows = np.flatnonzero(loose[kept])
        if not rows.size or not unknown.size:
            return ()
        free = unknown[rows]
        # What is orthogonal to all unknown directions, within the loose parameters.
        left, values, _ = np.linalg.svd(free, full_matrices=True)
        rank = int(np.sum(values > 1e-6))
        known = left[:, rank:].T
        if not known.size:
            return ()
        # One unit of each parameter, not of its coordinate: dm = m dμ.
        unit = np.where(self.positive, self.values, 1.0)[kept[rows]]
        known = known / (self.spans[kept[rows]] * unit)
        names = [self.names[kept[i]] for i in rows]
        return tuple(_sum(row, names, unit) for row in _echelon(known))


def _orthonormal(rows: np.ndarray) -> np.ndarray:
    """Return a basis of what the rows span, in columns."""
    if not rows.size:
        return rows.T
    return np.linalg.qr((rows / np.linalg.norm(rows, axis=1, keepdims=True)).T)[0]


def _echelon(matrix: np.ndarray) -> np.ndarray:
    """Return the rows' reduced echelon form, by the largest pivots."""
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


def _sum(row: np.ndarray, names: list[str], size: np.ndarray) -> str:
    matter = np.abs(row) * size
    parts = []
    for i in np.argsort(-matter):
        if matter[i] <= LEAST * matter.max():
            break
        factor = "" if abs(row[i] - 1) < 1e-9 else f"{abs(row[i]):.3g} "
        sign = ("− " if row[i] < 0 else "+ ") if parts else ("−" if row[i] < 0 else "")
        parts.append(f"{sign}{factor}{names[i]}")
    return " ".join(parts)
