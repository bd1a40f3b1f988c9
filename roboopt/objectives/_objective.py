"""The one form of what is minimized: `objective(model, batch) -> scalar`.

An objective is a weighted sum of named terms,

    L(model, batch) = Σ_i w_i · t_i,

each t_i in a unit of its own and w_i in one over it, so that newtons and joules and
radians are added only where somebody has said what they are worth to each other.
"""

import math
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._core import Jittable
from roboopt._errors import RobooptError


class Term(eqx.Module):
    """A part of an objective: `value` in `unit`, and what one unit of it is worth."""

    value: Float[Array, "*batch"]
    weight: Any
    """A number, in one over `unit`."""
    unit: str = eqx.field(static=True)


def total(terms: dict[str, Term]) -> Float[Array, "*batch"]:
    """Return Σ weight · value."""
    return jnp.asarray(sum(term.weight * term.value for term in terms.values()))


def check_weight(name: str, weight: Any) -> None:
    """Raise a ValueError unless `weight` is a number of 0 or more, or traced."""
    if isinstance(weight, int | float) and not 0 <= weight < math.inf:
        raise RobooptError(f"`{name}` must be finite and not negative, got {weight}.")


class Objective(Jittable):
    """Something to minimize: pure, differentiable in the model, added with `+` and `*`.

    `a + b` is the objective whose terms are those of both, on the same model and
    batch; `w * a` weighs each of a's terms w times as much.
    """

    @abstractmethod
    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return the named parts, means over the batch."""

    @property
    def differentiable(self) -> bool:
        """Whether JAX can trace and differentiate the objective."""
        return True

    def evaluate_many(self, models: Any, batch: Any) -> dict[str, Term]:
        """Return the terms of each of many models on one batch.

        Args:
            models: a model whose arrays have a leading axis of models.
            batch: as for `terms`.

        Returns:
            The terms, their values of shape (models,).
        """
        return eqx.filter_vmap(lambda model: self.terms(model, batch))(models)

    def ranks(self, batch: Any) -> bool:
        """Return whether a lower value on `batch` means a better model.

        So it does unless an objective says otherwise, as a surrogate must, of which
        only the gradient means something: `minimize` then keeps the latest model.
        """
        return True

    def __call__(self, model: Any, batch: Any) -> Float[Array, ""]:
        """Return the weighted sum of the terms."""
        return total(self.terms(model, batch))

    def __add__(self, other: "Objective") -> "Objective":
        """Return the sum of both."""
        if not isinstance(other, Objective):
            return NotImplemented
        return Sum((*_parts(self), *_parts(other)))

    def __mul__(self, weight: Any) -> "Objective":
        """Return the objective weighed `weight` times.

        Raises:
            RobooptError: if `weight` is negative or not finite.
        """
        return Sum(tuple((weight * w, part) for w, part in _parts(self)))

    __rmul__ = __mul__


class Sum(Objective):
    """Objectives added, each with its weight. Names that meet get their part's number.

    Two terms "energy" of the first and second part are "1.energy" and "2.energy".
    """

    parts: tuple[tuple[Any, Objective], ...]

    def __check_init__(self):
        for weight, _ in self.parts:
            check_weight("weight", weight)

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return the terms of all parts."""
        return self._merged([part.terms(model, batch) for _, part in self.parts])

    def evaluate_many(self, models: Any, batch: Any) -> dict[str, Term]:
        """Return the terms of all parts for each of many models."""
        return self._merged(
            [part.evaluate_many(models, batch) for _, part in self.parts]
        )

    def _merged(self, found: list[dict[str, Term]]) -> dict[str, Term]:
        names = [name for terms in found for name in terms]
        result = {}
        for number, ((weight, _), terms) in enumerate(
            zip(self.parts, found, strict=True), start=1
        ):
            for name, term in terms.items():
                label = name if names.count(name) == 1 else f"{number}.{name}"
                result[label] = Term(term.value, weight * term.weight, term.unit)
        return result

    @property
    def differentiable(self) -> bool:
        """Whether JAX can differentiate every part."""
        return all(part.differentiable for _, part in self.parts)

    def ranks(self, batch: Any) -> bool:
        """Return whether every part's value does."""
        return all(part.ranks(batch) for _, part in self.parts)

    def residuals(self, model: Any, batch: Any) -> Float[Array, " residual"]:
        """Return the parts' residuals in one vector, half whose mean square is the sum.

        Raises:
            RobooptError: if a part has no residuals.
        """
        found = []
        for weight, part in self.parts:
            if not hasattr(part, "residuals"):
                raise RobooptError(
                    "`objective` must consist of parts with residuals, got "
                    f"{type(part).__name__}."
                )
            own = jnp.ravel(part.residuals(model, batch))  # type: ignore
            found.append((weight, own))
        count = sum(own.size for _, own in found)
        return jnp.concatenate(
            [jnp.sqrt(weight * count / own.size) * own for weight, own in found]
        )


def _parts(objective: Objective) -> tuple[tuple[Any, Objective], ...]:
    return objective.parts if isinstance(objective, Sum) else ((1.0, objective),)
