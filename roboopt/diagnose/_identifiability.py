"""Identifiability: which parameters of a fitted model the data determine.

The Jacobian J of the residuals at the fitted parameters x is scaled to columns of unit
length: J D⁻¹ = U S Vᵀ. The data do not notice a motion of the parameters along a
direction v_k of small singular value. The remaining directions are the robot's base
parameters (Gautier and Khalil, 1990), computed here from the data, so that parameters
which the data do not excite are left out too.

A quantity that was not fitted, and is known to a standard deviation σ, moves the
residuals by n = σ ∂r/∂τ, and the parameters by (JᵀJ)⁻¹ Jᵀ n: what the data then tell of
these is the marginal distribution.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from roboopt.diagnose._base_parameters import Combination, combinations_of, orthonormal
from roboopt.diagnose._covariance import score_covariance
from roboopt.optimize import Bound, Fit

MAX_STANDARD_ERROR = 0.1  # of a parameter's span: below, it is known, be it zero or not
MAX_STANDARD_ERROR_ALONE = 0.5  # the same if all other parameters were known
RANK_TOLERANCE = 1e-11  # of the largest singular value: rounding
MIN_SHARE = 1e-2  # of a parameter's unit vector in the unseen directions
MIN_PARTNER_SHARE = 0.05  # of a parameter's own motion along unknown directions
QUANTILE = NormalDist().inv_cdf(0.975)
MAX_PARTNERS_NAMED = 3

IDENTIFIED = "identified"
COMBINED = "only in combination"
NOT_EXCITED = "not excited"
AT_BOUND = "at its bound"


@dataclass(frozen=True)
class IdentifiabilityReport:
    """Estimates, 95 % intervals and a verdict for each parameter, in its order."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    values: Float[np.ndarray, " parameter"]
    """Estimates in their units."""
    lower: Float[np.ndarray, " parameter"]
    """Lower ends of the 95 % intervals, within the bounds; −∞, or 0 for positive
    parameters, where neither data nor bounds determine the parameter."""
    upper: Float[np.ndarray, " parameter"]
    """Upper ends of the 95 % intervals, likewise; ∞ where nothing determines one."""
    verdicts: tuple[str, ...]
    """Each "identified", "only in combination", "not excited" or "at its bound".

    One that is identified has an interval that leaves out 0, or is small beside the
    parameter's span, or nothing that would be known in combination with it."""
    partners: tuple[tuple[str, ...], ...]
    """For a parameter known only in combination the others in it, largest first."""
    combinations: tuple[Combination, ...]
    """Base parameters: sums of such parameters that the data determine."""
    singular_values: Float[np.ndarray, " direction"]
    """Singular values of the Jacobian with columns of unit length, without parameters
    that are not excited or at a bound."""
    covariance: Float[np.ndarray, "parameter parameter"]
    """Covariance of the coordinates, over the directions that are known."""
    model: Any
    """The fitted model."""
    trained: tuple[bool, ...]
    """Which leaves of the model hold the parameters."""

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
        others = ", ".join(self.partners[index][:MAX_PARTNERS_NAMED])
        more = len(self.partners[index]) - MAX_PARTNERS_NAMED
        rest = f" and {more} more" if more > 0 else ""
        return f"{self.verdicts[index]} with {others}{rest}"

    def interval(
        self, quantity: Callable[[Any], Any]
    ) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
        """Return `quantity(model)` and half the width of its 95 % interval.

        The interval follows from the derivative along the known directions (delta
        method). It serves functions of the parameters, such as an inertia.
        """
        leaves, structure = jax.tree.flatten(self.model)
        pairs = list(zip(leaves, self.trained, strict=True))
        x, unravel = ravel_pytree([leaf for leaf, on in pairs if on])

        def of(x: jax.Array) -> jax.Array:
            parts = iter(unravel(x))
            moved = [next(parts) if on else leaf for leaf, on in pairs]
            return jnp.asarray(quantity(jax.tree.unflatten(structure, moved)))

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
    uncertain: Float[np.ndarray, "quantity ..."] | None = None,
) -> IdentifiabilityReport:
    """Judge which parameters of a fitted model the data determine.

    Args:
        objective: the objective of the fit, with `residuals`.
        model: the fitted model. Its `names`, `units`, `values()`, `positive` and
            `spans()` are used where it has them, as a `ParametricTwin` has.
        data: the data of the fit, with instants in the order of time.
        trainable: selects the parts that were trained, as in `least_squares`.
        bounds: the bounds of the fit.
        uncertain: derivatives of the residuals by independent quantities that were not
            fitted, such as a delay, times the standard deviations that these are known
            to; the covariance counts them.

    Raises:
        RobooptError: if the objective has no residuals, or no leaf is trained.
    """
    fit = Fit.of(objective, model, data, trainable=trainable)
    x = fit.start()
    shape = eqx.filter_eval_shape(objective.residuals, model, fit.data).shape
    residuals, slopes = map(np.asarray, fit.jacobian(jnp.asarray(x)))
    outputs = shape[-1] if len(shape) > 1 else 1
    leaves = jax.tree.leaves(fit.trained, is_leaf=lambda leaf: leaf is None)
    whole = jax.tree.leaves(model, is_leaf=lambda leaf: leaf is None)
    pairs = zip(whole, leaves, strict=True)
    lower, upper = fit.limits(bounds, model)
    analysis = _Analysis(
        model,
        tuple(fit.names()),
        x,
        (lower, upper),
        residuals.reshape(-1, outputs),
        slopes.reshape(-1, outputs, x.size),
        np.zeros((0, *residuals.shape)) if uncertain is None else uncertain,
    )
    return analysis.report(tuple(b is not None for a, b in pairs if a is not None))


class _Analysis:
    """The Jacobian of a fit, and what follows for its parameters."""

    def __init__(
        self,
        model: Any,
        names: tuple[str, ...],
        x: np.ndarray,
        bounds: tuple[np.ndarray, np.ndarray],
        residuals: np.ndarray,
        slopes: np.ndarray,
        uncertain: np.ndarray,
    ):
        self.model, self.names, self.x, self.bounds = model, names, x, bounds
        self.uncertain = uncertain.reshape(-1, *residuals.shape)
        self.at_bound = (x <= bounds[0]) | (x >= bounds[1])
        self.residuals, self.slopes = residuals, slopes
        described = getattr(model, "names", None) == names
        self.units = tuple(model.units) if described else ("1",) * x.size
        self.positive = np.array(model.positive if described else (False,) * x.size)
        self.values = np.asarray(model.values(), float) if described else x
        spans = model.spans() if described else np.full(x.size, 1e-3)
        self.spans = np.where(self.positive, 1.0, np.maximum(np.abs(x), spans))

    def report(self, trained: tuple[bool, ...]) -> IdentifiabilityReport:
        """Return the verdict on each parameter."""
        lengths = np.sqrt(np.sum(self.slopes**2, (0, 1)))
        dead = self._not_felt(lengths)
        kept = np.flatnonzero(~dead & ~self.at_bound)
        covariance, unseen, singular = self._covariance(kept, lengths)
        errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        share = np.sqrt(np.sum(unseen**2, 1)) if unseen.size else np.zeros(len(kept))
        endless, loose = dead.copy(), np.zeros(self.x.size, bool)
        endless[kept] = share > MIN_SHARE
        # An interval that leaves out 0 is known to what it says, however wide.
        sizes = np.where(self.positive, 1.0, np.abs(self.values))
        most = np.maximum(MAX_STANDARD_ERROR * self.spans, sizes / QUANTILE)
        loose[kept] = endless[kept] | (errors > most)[kept]
        verdicts = np.select(
            [self.at_bound, dead, loose], [AT_BOUND, NOT_EXCITED, COMBINED], IDENTIFIED
        )
        lower, upper = self._interval(QUANTILE * np.where(endless, np.inf, errors))
        partners: list[tuple[str, ...]] = [()] * self.x.size
        for index in np.flatnonzero(loose):
            partners[index] = self._partners(int(index), kept, unseen, covariance)
            if not partners[index]:
                verdicts[index] = NOT_EXCITED if endless[index] else IDENTIFIED
                loose[index] = endless[index]
        return IdentifiabilityReport(
            names=self.names,
            units=self.units,
            values=self.values,
            lower=lower,
            upper=upper,
            verdicts=tuple(str(v) for v in verdicts),
            partners=tuple(partners),
            combinations=self._combinations(kept, loose, unseen, covariance),
            singular_values=singular,
            covariance=covariance,
            model=self.model,
            trained=trained,
        )

    def _not_felt(self, lengths: np.ndarray) -> np.ndarray:
        """Return which parameters the data see through rounding or noise only."""
        degrees = max(self.residuals.size - self.x.size, 1)
        noise = np.sqrt(np.sum(self.residuals**2) / degrees)
        with np.errstate(divide="ignore", invalid="ignore"):
            alone = np.where(lengths > 0, noise / lengths, np.inf)
        felt = lengths * self.spans
        hidden = alone > MAX_STANDARD_ERROR_ALONE * self.spans
        rounding = felt <= RANK_TOLERANCE * max(felt.max(), 1e-300)
        return (hidden | rounding) & ~self.at_bound

    def _covariance(
        self, kept: np.ndarray, lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the covariance, the unseen directions, and the singular values.

        A direction is a unit vector of the `kept` parameters over their spans. Unseen
        directions have an effect by rounding only; the covariance is over all others.
        """
        covariance = np.zeros((self.x.size, self.x.size))
        if not kept.size:
            empty = np.zeros((0, 0))
            return covariance, empty, np.zeros(0)
        scaled = self.slopes[:, :, kept] / lengths[kept]
        flat = scaled.reshape(-1, kept.size)
        triangle = np.linalg.qr(flat, mode="r")
        _, singular, rows = np.linalg.svd(triangle, full_matrices=True)
        singular = np.pad(singular, (0, kept.size - singular.size))
        scores = np.einsum("toi,to->ti", scaled, self.residuals)
        moved = np.einsum("toi,kto->ik", scaled, self.uncertain)
        omega = score_covariance(self.residuals, scores) + moved @ moved.T
        omega = rows @ omega @ rows.T
        inverse = 1 / np.maximum(singular, RANK_TOLERANCE * singular[0])
        spread = omega * inverse[:, None] ** 2 * inverse[None] ** 2
        null = singular <= RANK_TOLERANCE * singular[0]
        unseen = orthonormal(rows[null] / (lengths[kept] * self.spans[kept]))
        back = rows[~null] / lengths[kept]
        told = back.T @ spread[np.ix_(~null, ~null)] @ back
        covariance[np.ix_(kept, kept)] = told
        return covariance, unseen, singular

    def _interval(self, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends, of exponentials for positive parameters."""
        with np.errstate(over="ignore"):
            low, high = (np.clip(self.x + h, *self.bounds) for h in (-half, half))
            offset = np.where(self.positive, 0.0, self.values - self.x)
            lower = np.where(self.positive, np.exp(low), low) + offset
            return lower, np.where(self.positive, np.exp(high), high) + offset

    def _partners(
        self, index: int, kept: np.ndarray, unseen: np.ndarray, covariance: np.ndarray
    ) -> tuple[str, ...]:
        """Return the parameters that move along with one while the data see nothing."""
        row = int(np.flatnonzero(kept == index)[0])
        together = np.abs(unseen @ unseen[row]) if unseen.size else 0 * self.x[kept]
        if together[row] < MIN_SHARE**2:
            spread = np.sqrt(np.maximum(np.diag(covariance)[kept], 1e-300))
            together = np.abs(covariance[index, kept]) / spread / spread[row]
        return tuple(
            self.names[kept[i]]
            for i in np.argsort(-together)
            if i != row and together[i] > MIN_PARTNER_SHARE * together[row]
        )

    def _combinations(
        self,
        kept: np.ndarray,
        loose: np.ndarray,
        unseen: np.ndarray,
        covariance: np.ndarray,
    ) -> tuple[Combination, ...]:
        """Return the sums of loose parameters that the data determine."""
        rows = np.flatnonzero(loose[kept])
        if not rows.size:
            return ()
        index = kept[rows]
        own, spans = covariance[np.ix_(index, index)], self.spans[index]
        unknown = _with_wide(unseen[rows], own / np.outer(spans, spans))
        if not unknown.size:
            return ()
        # One unit of each parameter, not of its coordinate: dm = m dμ.
        unit = np.where(self.positive, self.values, 1.0)[index]
        return combinations_of(
            [self.names[i] for i in index],
            self.values[index],
            unit,
            self.spans[index] * unit,
            unknown,
            QUANTILE**2 * own,
        )


def _with_wide(unseen: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the directions that are not known, in columns, of parameters over spans.

    They are the unseen ones, and axes of their covariance with large errors.
    """
    left, sizes, _ = np.linalg.svd(unseen, full_matrices=False)
    unseen = left[:, sizes > RANK_TOLERANCE]
    seen = np.eye(len(covariance)) - unseen @ unseen.T
    variances, axes = np.linalg.eigh(seen @ covariance @ seen)
    reach = np.sqrt(np.maximum(variances, 0.0)) * np.abs(axes).max(0)
    return orthonormal(np.hstack([unseen, axes[:, reach > MAX_STANDARD_ERROR]]).T)
