"""A Gaussian prior on a model's parameters.

    L(θ) = 1/(2n) · Σ_i ((θ_i − θ⁰_i) / s_i)²

Beside a least-squares objective of N residuals in units of their noise, the weight n/N
makes the sum the negative log-posterior for beliefs of standard deviation s.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._errors import require
from roboopt.objectives._objective import ResidualObjective


class Prior(ResidualObjective):
    """Keeps the arrays that `where(model)` returns near those of `center`."""

    center: Any
    """A model like the one that is fitted."""
    where: Callable[[Any], Any] = eqx.field(static=True)
    scale: Any = 1.0
    """Standard deviations, a number or a tree of arrays as `where` returns it, in the
    parameters' units; `ParametricTwin.coordinates` hold the logarithm of a mass."""

    def __check_init__(self):
        for leaf in jax.tree.leaves(self.scale):
            require(np.all(np.asarray(leaf) > 0), "scale", "be positive", leaf)

    def residuals(self, model: Any, batch: Any) -> Float[Array, "..."]:
        """Return the scaled differences, which do not depend on `batch`."""
        here, there = self.where(model), self.where(self.center)
        scale = self.scale
        if jax.tree.structure(scale) != jax.tree.structure(here):
            scale = jax.tree.map(lambda _: self.scale, here)
        scaled = jax.tree.map(lambda a, b, s: (a - b) / s, here, there, scale)
        return jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(scaled)])
