"""Normalization of numbers of any unit to mean 0 and scale 1, and back.

    y = (x − μ) / σ,   x = μ + σ y

with μ and σ the mean and the standard deviation of samples, axis by axis, fixed from
then on. A constant axis has σ = 1: its samples do not tell a scale.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen, compiled
from roboopt._errors import RobooptError, require

MIN_SPREAD_ROUNDINGS = 10.0  # a spread of fewer rounding errors counts as none
MIN_SPREAD = 1e-12  # of the largest number: less is the rounding of the mean of many
QUANTILES = 0.01, 0.99


class Normalizer(eqx.Module):
    """Maps `mean` to 0 and `mean + scale` to 1, axis by axis; never trained."""

    mean: Frozen[Float[Array, "*shape"]]
    scale: Frozen[Float[Array, "*shape"]]

    def __init__(self, mean: Any, scale: Any):
        """Set mean and scale, in the unit of each axis.

        Raises:
            RobooptError: if they differ in shape or are scalars, a mean is not finite,
                or a scale is not positive and finite.
        """
        mean, scale = np.asarray(mean, float), np.asarray(scale, float)
        if mean.ndim == 0 or mean.shape != scale.shape:
            raise RobooptError(
                "`mean` and `scale` must each hold one number an axis, got shapes "
                f"{mean.shape} and {scale.shape}."
            )
        require(np.all(np.isfinite(mean)), "mean", "be finite", mean)
        if not np.all((scale > 0) & np.isfinite(scale)):
            raise RobooptError(f"`scale` must be positive and finite, got {scale}.")
        self.mean = Frozen(jnp.asarray(mean))
        self.scale = Frozen(jnp.asarray(scale))

    @classmethod
    def of(
        cls, samples: Float[AnyArray, "*sample axis"], *, quantiles: bool = False
    ) -> "Normalizer":
        """Build the normalizer of `samples` from their mean and standard deviation.

        Args:
            samples: at least one.
            quantiles: whether the 1 % and the 99 % quantile go to −1 and 1 instead:
                few far outliers then do not shrink the rest.

        Raises:
            RobooptError: if there is no sample, or one is not finite.
        """
        precision = float(np.finfo(samples.dtype).eps)
        # In float64 even if the samples are not: their mean may dwarf their spread.
        rows = np.asarray(samples, float).reshape(-1, samples.shape[-1])
        if len(rows) == 0:
            raise RobooptError(
                f"`samples` must hold at least one, got shape {samples.shape}."
            )
        if not np.all(np.isfinite(rows)):
            first = tuple(int(i) for i in np.argwhere(~np.isfinite(samples))[0])
            raise RobooptError(
                f"`samples` must be finite, got {samples[first]} at {first}."
            )
        middle, spread = rows.mean(0), rows.std(0)
        least = max(MIN_SPREAD_ROUNDINGS * precision, MIN_SPREAD) * np.abs(rows).max(0)
        if quantiles:
            low, high = np.quantile(rows, QUANTILES, axis=0)
            # Where almost all are alike, only the outliers tell a scale.
            known = high - low > 2 * least
            middle = np.where(known, (low + high) / 2, middle)
            spread = np.where(known, (high - low) / 2, spread)
        return cls(middle, np.where(spread <= least, 1.0, spread))

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of a sample."""
        return self.mean.value.shape

    @property
    def size(self) -> int:
        """Return the number of axes."""
        return self.mean.value.size

    @compiled
    def __call__(self, x: Float[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
        """Return (x − μ)/σ of one sample, dimensionless."""
        return (jnp.asarray(x) - self.mean()) / self.scale()

    @compiled
    def inverse(self, y: Float[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
        """Return μ + σ y, in the unit of each axis."""
        return self.mean() + self.scale() * jnp.asarray(y)
