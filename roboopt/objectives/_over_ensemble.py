"""The mean of an objective over the members of an ensemble.

    L(f_1, …, f_M) = 1/M · Σ_m objective(f_m, batch)

The gradient of a member is that of its own objective over M. The error of the mean
prediction, in contrast, would let the members' errors cancel.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from roboopt._errors import RobooptError
from roboopt.objectives._objective import Objective, Term


def over_ensemble(objective: Objective) -> Objective:
    """Return the mean of `objective` over the members of an `Ensemble`, on one batch.

    Args:
        objective: of a single member, such as `PredictionError`.
    """
    return _EnsembleMean(objective)


class _EnsembleMean(Objective):
    objective: Objective

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        if not hasattr(model, "members"):
            raise RobooptError(
                f"`model` must be an `Ensemble`, got {type(model).__name__}."
            )
        of_member = lambda member: self.objective.terms(member, batch)  # noqa: E731
        return {
            name: Term(jnp.mean(term.value), jnp.mean(term.weight), term.unit)
            for name, term in eqx.filter_vmap(of_member)(model.members).items()
        }
