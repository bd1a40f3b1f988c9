"""Objectives that are sums of squares: half the mean square of their residuals."""

from abc import abstractmethod
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt.objectives._objective import Objective, Term


class ResidualObjective(Objective):
    """An objective with residuals r, dimensionless: its value is mean(r²)/2."""

    @abstractmethod
    def residuals(self, model: Any, batch: Any) -> Float[Array, "..."]:
        """Return the residuals; `roboopt.least_squares` takes them in any shape."""

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return half the mean square of the residuals, named for the class."""
        value = 0.5 * jnp.mean(self.residuals(model, batch) ** 2)
        return {_snake(type(self).__name__): Term(value, 1.0, "1")}


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
