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
    return EnsembleMean(objective)


class EnsembleMean(Objective):
    """The objective that `over_ensemble` makes."""

    objective: Objective

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return the means of the members' terms.

        Raises:
            RobooptError: if `model` has no `members`.
        """
        if not hasattr(model, "members"):
            raise RobooptError(
                f"`model` must be an `Ensemble`, got {type(model).__name__}."
            )
        terms = eqx.filter_vmap(lambda member: self.objective.terms(member, batch))(
            model.members
        )
        return {
            name: Term(jnp.mean(term.value), jnp.mean(term.weight), term.unit)
            for name, term in terms.items()
        }
