"""What every member of an ensemble is to learn by itself.

    L(f_1, …, f_M) = 1/M · Σ_m L_m,    L_m = objective(f_m, batch)

The gradient of a member is that of its own objective over M: no member hides behind the
others, as they could in the error of their mean.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from roboopt._errors import RobooptError
from roboopt.objectives._objective import Objective, Term


class EachMember(Objective):
    """The mean of an objective over the members of an `Ensemble`, all on one batch."""

    objective: Objective

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return the terms, means over the members of the ensemble `model`.

        Raises:
            RobooptError: if `model` has no members.
        """
        if not hasattr(model, "members"):
            raise RobooptError(
                f"`model` must be an `Ensemble`, got {type(model).__name__}."
            )
        measure = lambda member: self.objective.terms(member, batch)  # noqa: E731
        terms = eqx.filter_vmap(measure)(model.members)
        return {
            name: Term(jnp.mean(term.value), jnp.mean(term.weight), term.unit)
            for name, term in terms.items()
        }
