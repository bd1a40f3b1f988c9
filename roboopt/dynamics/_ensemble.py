"""Several dynamics as one: what they agree on, and how far they do not.

Networks that start from weights of their own and learn from the same data agree where
the data are and differ where they are not: their disagreement tells where a model must
not be trusted. Each is trained on all of the data, which serves as well as bootstrap
samples or better (Lakshminarayanan et al., 2017), with
`roboopt.objectives.over_ensemble`: the error of the mean prediction would let the
members' errors cancel.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from roboopt._core import AnyArray, Jittable
from roboopt._errors import RobooptError
from roboopt.dynamics._gaussian import Gaussian


class Ensemble(Jittable):
    """The mean of several dynamics, a dynamics itself.

    Of members that give a `Gaussian` it gives one too, with the mean and the variance
    of their mixture: the members' mean variance, and the variance of their means.
    """

    members: Any
    """One dynamics in form, every array of it with a leading axis of members."""
    count: int = eqx.field(static=True)

    def __init__(self, members: Sequence[Any]):
        """Join dynamics of one kind and size.

        Raises:
            RobooptError: if there are fewer than two, or they differ in more than their
                numbers.
        """
        members = list(members)
        if len(members) < 2:
            raise RobooptError(f"`members` must be at least 2, got {len(members)}.")
        arrays, rest = zip(
            *(eqx.partition(m, eqx.is_array) for m in members), strict=True
        )
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
    def mean_dynamics(self) -> "Ensemble":
        """Return a dynamics that gives one next state: the mean."""
        if not hasattr(self.members, "mean_dynamics"):
            return self
        return eqx.tree_at(lambda e: e.members, self, self.members.mean_dynamics)

    @property
    def time_step(self) -> float:
        """Return the length of a step [s]."""
        return self.members.time_step

    @property
    def joints(self) -> int:
        """Return how many joints move."""
        return self.member(0).joints

    @property
    def action_size(self) -> int:
        """Return how many joints an action drives."""
        return self.member(0).action_size

    def clip(self, action: Float[Array, " act"]) -> Float[Array, " act"]:
        """Return the action that the actuators can follow."""
        return self.member(0).clip(action)

    def effort(self, action: Float[Array, " act"]) -> Float[Array, " joint"] | None:
        """Return the effort [N·m or N] on every joint, if an action says it."""
        return self.member(0).effort(action)

    def predictions(
        self, state: Float[AnyArray, " state"], action: Float[AnyArray, " act"]
    ) -> Any:
        """Return what each member says, with a leading axis of members."""
        call = lambda member: member(state, action)  # noqa: E731
        return eqx.filter_vmap(call)(self.members)

    def disagreement(
        self, state: Float[AnyArray, " state"], action: Float[AnyArray, " act"]
    ) -> Float[Array, " state"]:
        """Return the standard deviation between the members, in the state's units."""
        said = self.predictions(state, action)
        return jnp.std(said.mean if isinstance(said, Gaussian) else said, 0)

    def __call__(
        self, state: Float[AnyArray, " state"], action: Float[AnyArray, " act"]
    ) -> Float[Array, " state"] | Gaussian:
        """Return the members' mean, or the mixture's where they are Gaussian."""
        said = self.predictions(state, action)
        if not isinstance(said, Gaussian):
            return jnp.mean(said, 0)
        variance = jnp.mean(said.variance, 0) + jnp.var(said.mean, 0)
        return Gaussian(jnp.mean(said.mean, 0), variance)
