"""Objectives on parts of a batch, so that those of different data can be added."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from roboopt._errors import RobooptError
from roboopt.objectives._objective import Term
from roboopt.objectives._residuals import ResidualObjective


class Keyed(ResidualObjective):
    """`objective` on `batch[key]`: `Keyed("a", f) + Keyed("b", g)` takes {"a", "b"}."""

    key: str = eqx.field(static=True)
    objective: ResidualObjective

    def _part(self, batch: Any) -> Any:
        if not isinstance(batch, dict) or self.key not in batch:
            has = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
            raise RobooptError(f"`batch` must be a dict with {self.key!r}, got {has}.")
        return batch[self.key]

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return the objective's terms on its part of the batch."""
        return self.objective.terms(model, self._part(batch))

    def residuals(self, model: Any, batch: Any) -> Float[Array, "..."]:
        """Return the objective's residuals on its part of the batch."""
        return self.objective.residuals(model, self._part(batch))

    @property
    def differentiable(self) -> bool:
        """Whether JAX can differentiate the objective."""
        return self.objective.differentiable

    def evaluate_many(self, models: Any, batch: Any) -> dict[str, Term]:
        """Return the objective's terms for each of many models."""
        return self.objective.evaluate_many(models, self._part(batch))
