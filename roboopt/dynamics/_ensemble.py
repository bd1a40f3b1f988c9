"""An ensemble of dynamics: its mean, and the disagreement of its members.

Networks with different initial weights, trained on the same data, agree where data are
dense and differ where they are sparse: their disagreement shows where a model must not
be trusted. Each member is trained on all of the data, which is at least as good as
bootstrap samples (Lakshminarayanan et al., 2017), with
`roboopt.objectives.over_ensemble`: the error of the mean alone would let the members'
errors cancel.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from roboopt._core import AnyArray, compiled
from roboopt._errors import RobooptError, require
from roboopt.dynamics._gaussian_dynamics import Gaussian
from roboopt.dynamics._wrapped import WrappedDynamics


class Ensemble(WrappedDynamics):
    """The mean of several dynamics, a dynamics itself.

    If its members return a `Gaussian`, the ensemble returns the mean and variance of
    their mixture: the members' mean variance plus the variance of their means.
    """

    members: Any
    """One dynamics whose arrays have a leading axis of members."""
    count: int = eqx.field(static=True)

    def __init__(self, members: Sequence[Any]):
        """Stack dynamics of one kind and size.

        Raises:
            RobooptError: if there are fewer than two, or they differ in structure.
        """
        members = list(members)
        require(len(members) >= 2, "members", "be at least 2", len(members))
        parts = [eqx.partition(member, eqx.is_array) for member in members]
        arrays, rest = zip(*parts, strict=True)
        shapes = [[x.shape for x in jax.tree.leaves(a)] for a in arrays]
        for number in range(1, len(members)):
            same = eqx.tree_equal(rest[0], rest[number]) is True
            if not same or shapes[number] != shapes[0]:
                raise RobooptError(
                    "`members` must be alike in all but their numbers, got member "
                    f"{number} unlike member 0."
                )
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays)
        self.members = eqx.combine(stacked, rest[0])
        self.count = len(members)

    @classmethod
    def of(
        cls, make: Callable[[PRNGKeyArray], Any], count: int, key: PRNGKeyArray
    ) -> "Ensemble":
        """Return an ensemble of `count` members, each `make(key)` with its own key.

        Raises:
            RobooptError: as `Ensemble` does.
        """
        return cls([make(k) for k in jax.random.split(key, count)])

    def member(self, index: int | Int[Array, ""]) -> Any:
        """Return one of the members, a dynamics by itself."""
        arrays, rest = eqx.partition(self.members, eqx.is_array)
        return eqx.combine(jax.tree.map(lambda x: x[index], arrays), rest)

    def sample(self, key: PRNGKeyArray) -> Any:
        """Return one of the members, drawn at random."""
        return self.member(jax.random.randint(key, (), 0, self.count))

    @property
    def inner(self) -> Any:
        """Return the first member, whose joints and actuators are all members'."""
        return self.member(0)

    @property
    def mean_dynamics(self) -> "Ensemble":
        """Return the dynamics that gives one next state: the mean."""
        if not hasattr(self.members, "mean_dynamics"):
            return self
        return eqx.tree_at(lambda e: e.members, self, self.members.mean_dynamics)

    @compiled
    def predictions(
        self, state: Float[AnyArray, " state"], action: Float[AnyArray, " act"]
    ) -> Any:
        """Return each member's prediction, with a leading axis of members."""
        call = lambda member: member(state, action)  # noqa: E731
        return eqx.filter_vmap(call)(self.members)

    def disagreement(
        self, state: Float[AnyArray, " state"], action: Float[AnyArray, " act"]
    ) -> Float[Array, " state"]:
        """Return the standard deviation between the members, in the state's units."""
        predicted = self.predictions(state, action)
        gaussian = isinstance(predicted, Gaussian)
        return jnp.std(predicted.mean if gaussian else predicted, 0)

    def __call__(
        self, state: Float[AnyArray, " state"], action: Float[AnyArray, " act"]
    ) -> Float[Array, " state"] | Gaussian:
        """Return the members' mean, or their mixture's if they are Gaussian."""
        predicted = self.predictions(state, action)
        if not isinstance(predicted, Gaussian):
            return jnp.mean(predicted, 0)
        variance = jnp.mean(predicted.variance, 0) + jnp.var(predicted.mean, 0)
        return Gaussian(jnp.mean(predicted.mean, 0), variance)
