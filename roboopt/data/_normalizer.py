"""Numbers of any unit brought to mean 0 and scale 1, and back.

    y = (x − μ) / σ,   x = μ + σ y

with μ and σ the mean and the standard deviation of samples, axis by axis, fitted once
and given from then on. An axis that never changed has σ = 1: nothing says what a change
of it would be worth, and a zero would divide.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen
from roboopt._errors import RobooptError

ROUNDINGS = 10.0  # A spread of fewer roundings than that is no spread.


class Normalizer(eqx.Module):
    """Takes `mean` to 0 and `mean + scale` to 1, axis by axis; never tuned."""

    mean: Frozen[Float[Array, " axis"]]
    scale: Frozen[Float[Array, " axis"]]

    def __init__(self, mean: Any, scale: Any):
        """Set both, in the unit of each axis.

        Raises:
            RobooptError: if they differ in shape or are not one number an axis, a mean
            is
                not finite, or a scale is not positive and finite.
        """
        mean, scale = np.asarray(mean, float), np.asarray(scale, float)
        if mean.ndim != 1 or mean.shape != scale.shape:
            raise RobooptError(
                "`mean` and `scale` must each hold one number an axis, got shapes "
                f"{mean.shape} and {scale.shape}."
            )
        if not np.all(np.isfinite(mean)):
            raise RobooptError(f"`mean` must be finite, got {mean}.")
        if not np.all((scale > 0) & np.isfinite(scale)):
            raise RobooptError(f"`scale` must be positive and finite, got {scale}.")
        self.mean = Frozen(jnp.asarray(mean))
        self.scale = Frozen(jnp.asarray(scale))

    @classmethod
    def of(cls, samples: Float[AnyArray, "*sample axis"]) -> "Normalizer":
        """Return the normalizer of `samples`, its mean and standard deviation theirs.

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
        spread = rows.std(0)
        constant = spread <= ROUNDINGS * precision * np.abs(rows).max(0)
        return cls(rows.mean(0), np.where(constant, 1.0, spread))

    @property
    def size(self) -> int:
        """Return the number of axes."""
        return self.mean.value.shape[-1]

    def __call__(self, x: Float[AnyArray, " axis"]) -> Float[Array, " axis"]:
        """Return (x − μ)/σ of one sample, dimensionless."""
        return (jnp.asarray(x) - self.mean()) / self.scale()

    def inverse(self, y: Float[AnyArray, " axis"]) -> Float[Array, " axis"]:
        """Return μ + σ y, in the unit of each axis."""
        return self.mean() + self.scale() * jnp.asarray(y)
