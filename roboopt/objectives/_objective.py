"""The contract of an objective: `objective(model, batch) -> scalar`.

An objective is a weighted sum of named terms,

    L(model, batch) = Σ_i w_i · t_i,

each t_i in a unit of its own and w_i in the inverse of that unit, so that newtons,
joules and radians are added only with an explicit weight.
"""

import math
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from roboopt._core import Jittable
from roboopt._errors import RobooptError, is_number, require
from roboopt._readable import readable


class Term(eqx.Module):
    """A part of an objective: a value with a unit, and its weight."""

    value: Float[Array, "*batch"]
    weight: Any
    """In the inverse of `unit`."""
    unit: str = eqx.field(static=True)

    def __check_init__(self):
        require(isinstance(self.unit, str), "unit", "be text", self.unit)

    def __repr__(self) -> str:
        unit = "" if self.unit == "1" else f" {self.unit}"
        return f"{readable(self.value)}{unit} (weight {readable(self.weight)})"


def total(terms: dict[str, Any]) -> Float[Array, "*batch"]:
    """Return Σ weight · value."""
    require(len(terms) > 0, "terms", "hold at least one `Term`", terms)
    for name, term in terms.items():
        require(
            isinstance(term, Term),
            "terms",
            "hold a `Term` each",
            f"{term!r} as {name!r}",
        )
    return jnp.asarray(sum(term.weight * term.value for term in terms.values()))


def check_weights(**weights: Any) -> None:
    """Refuse weights that are not numbers of at least 0, or traced."""
    for name, weight in weights.items():
        valid = is_number(weight) and 0 <= weight < math.inf
        rule = "be finite and not negative"
        require(eqx.is_array(weight) or valid, name, rule, weight)


class Objective(Jittable):
    """Something to minimize: pure, differentiable in the model, added with `+` and `*`.

    `a + b` is the objective whose terms are those of both, on the same model and
    batch; `w * a` multiplies the weight of each of a's terms by w.
    """

    @abstractmethod
    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return the named parts, means over the batch."""

    @property
    def differentiable(self) -> bool:
        """Whether JAX can trace and differentiate the objective."""
        return True

    def evaluate_many(self, models: Any, batch: Any) -> dict[str, Term]:
        """Return the terms of each of many models on one batch, of shape (models,).

        Args:
            models: a model whose arrays have a leading axis of models.
            batch: as for `terms`.
        """
        return eqx.filter_vmap(lambda model: self.terms(model, batch))(models)

    def ranks(self, batch: Any) -> bool:
        """Return whether a lower value on `batch` means a better model.

        A surrogate of which only the gradient has a meaning returns False: `minimize`
        then keeps the latest model instead of the best.
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
        """Return the objective multiplied by `weight`, which must not be negative."""
        return Sum(tuple((weight * w, part) for w, part in _parts(self)))

    __rmul__ = __mul__


def _parts(objective: Objective) -> tuple[tuple[Any, Objective], ...]:
    return objective.parts if isinstance(objective, Sum) else ((1.0, objective),)


class Sum(Objective):
    """A weighted sum of objectives.

    Terms of equal names get their part's number: "1.energy" and "2.energy".
    """

    parts: tuple[tuple[Any, Objective], ...]

    def __check_init__(self):
        for weight, _ in self.parts:
            check_weights(weight=weight)

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return the terms of all parts."""
        return self._merged([part.terms(model, batch) for _, part in self.parts])

    def evaluate_many(self, models: Any, batch: Any) -> dict[str, Term]:
        found = [part.evaluate_many(models, batch) for _, part in self.parts]
        return self._merged(found)

    def _merged(self, found: list[dict[str, Term]]) -> dict[str, Term]:
        names = [name for terms in found for name in terms]
        result = {}
        for number, (terms, (weight, _)) in enumerate(
            zip(found, self.parts, strict=True), start=1
        ):
            for name, term in terms.items():
                label = name if names.count(name) == 1 else f"{number}.{name}"
                result[label] = Term(term.value, weight * term.weight, term.unit)
        return result

    @property
    def differentiable(self) -> bool:
        return all(part.differentiable for _, part in self.parts)

    def ranks(self, batch: Any) -> bool:
        return all(part.ranks(batch) for _, part in self.parts)

    def residuals(self, model: Any, batch: Any) -> Float[Array, " residual"]:
        """Return the parts' residuals in one vector, half whose mean square is the sum.

        Raises:
            RobooptError: if a part has no residuals.
        """
        found = []
        for weight, part in self.parts:
            rule = "consist of parts with residuals"
            require(hasattr(part, "residuals"), "objective", rule, type(part))
            own = jnp.ravel(part.residuals(model, batch))  # type: ignore
            found.append((weight, own))
        count = sum(own.size for _, own in found)
        return jnp.concatenate(
            [jnp.sqrt(weight * count / own.size) * own for weight, own in found]
        )


class ResidualObjective(Objective):
    """An objective with dimensionless residuals r: its value is mean(r²)/2."""

    @abstractmethod
    def residuals(self, model: Any, batch: Any) -> Float[Array, "..."]:
        """Return the residuals, in any shape, for `roboopt.least_squares`."""

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return half the mean square of the residuals, named for the class."""
        name = type(self).__name__
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
        value = 0.5 * jnp.mean(self.residuals(model, batch) ** 2)
        return {snake: Term(value, 1.0, "1")}


class Keyed(ResidualObjective):
    """`objective` on `batch[key]`: `Keyed("a", f) + Keyed("b", g)` takes {"a", "b"}."""

    key: str = eqx.field(static=True)
    objective: ResidualObjective

    def part(self, batch: Any) -> Any:
        """Return `batch[key]`.

        Raises:
            RobooptError: if `batch` is no dict with this key.
        """
        if not isinstance(batch, dict) or self.key not in batch:
            has = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
            raise RobooptError(f"`batch` must be a dict with {self.key!r}, got {has}.")
        return batch[self.key]

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return the objective's terms on its part of the batch."""
        return self.objective.terms(model, self.part(batch))

    def residuals(self, model: Any, batch: Any) -> Float[Array, "..."]:
        """Return the objective's residuals on its part of the batch."""
        return self.objective.residuals(model, self.part(batch))

    @property
    def differentiable(self) -> bool:
        return self.objective.differentiable

    def evaluate_many(self, models: Any, batch: Any) -> dict[str, Term]:
        return self.objective.evaluate_many(models, self.part(batch))


def over_ensemble(objective: Objective) -> Objective:
    """Return the mean of `objective` over the members of an `Ensemble`, on one batch.

    The gradient of a member is that of its own objective over their number. The error
    of the mean prediction, in contrast, would let the members' errors cancel.

    Args:
        objective: of a single member, such as `PredictionError`.
    """
    return _EnsembleMean(objective)


class _EnsembleMean(Objective):
    objective: Objective

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        require(hasattr(model, "members"), "model", "be an `Ensemble`", type(model))
        of_member = lambda member: self.objective.terms(member, batch)  # noqa: E731
        return {
            name: Term(jnp.mean(term.value), jnp.mean(term.weight), term.unit)
            for name, term in eqx.filter_vmap(of_member)(model.members).items()
        }
