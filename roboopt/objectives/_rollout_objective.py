"""Objectives of the motions that a rollout makes from the starts in a batch."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from roboopt._errors import is_number, require
from roboopt._programs import filter_jit
from roboopt.data import Trajectory
from roboopt.objectives._objective import Objective, Term


class RolloutObjective(Objective):
    """An objective of `rollout(model, starts) -> Trajectory`.

    `objective(model, starts)` takes the starts' observations (starts, obs), or a
    `Trajectory`, one or a batch, of which it takes the first observations. Where the
    rollout runs a simulator outside JAX, many models are evaluated at once by
    `rollout.many(models, starts)`.
    """

    rollout: eqx.AbstractVar[Any]

    def __check_init__(self):
        # None measures recorded motions only. What has actions is a dynamics.
        own = callable(self.rollout) and not hasattr(self.rollout, "action_size")
        rule = "be `rollout(model, starts) -> Trajectory`, such as a `Rollout`"
        kind = type(self.rollout)
        require(self.rollout is None or own, "rollout", rule, kind)

    @abstractmethod
    def trajectory_terms(self, trajectory: Trajectory, batch: Any) -> dict[str, Term]:
        """Return the terms of the motions made from the starts in `batch`."""

    def starts(self, batch: Any) -> Any:
        """Return the observations at the starts in a batch."""
        if not isinstance(batch, Trajectory):
            return batch
        first = jnp.asarray(batch.observations)[..., 0, :]
        return first.reshape(-1, first.shape[-1])

    @property
    def differentiable(self) -> bool:
        return bool(getattr(self.rollout, "differentiable", True))

    def terms(self, model: Any, batch: Any) -> dict[str, Term]:
        """Return the terms of the motions that `model` makes from `batch`."""
        return self.trajectory_terms(self.rollout(model, self.starts(batch)), batch)

    def evaluate_many(self, models: Any, batch: Any) -> dict[str, Term]:
        if self.differentiable:
            return super().evaluate_many(models, batch)
        made = self.rollout.many(models, np.asarray(self.starts(batch)))
        return _terms_of_each(self, jax.tree.map(_in_jax, made), batch)


@filter_jit
def _terms_of_each(objective: Any, made: Trajectory, batch: Any) -> dict[str, Term]:
    return eqx.filter_vmap(lambda own: objective.trajectory_terms(own, batch))(made)


def _in_jax(leaf: Any) -> jax.Array:
    leaf = np.asarray(leaf)
    return jnp.asarray(leaf, float) if leaf.dtype.kind == "f" else jnp.asarray(leaf)


def check_discount(discount: Any) -> None:
    """Refuse a `discount` that is not above 0 and at most 1, unless traced."""
    valid = eqx.is_array(discount) or (is_number(discount) and 0 < discount <= 1)
    require(valid, "discount", "be above 0 and at most 1", discount)
