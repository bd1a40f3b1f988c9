"""Parts of a model that are given, not learned."""

from typing import Any, Generic, TypeVar

import equinox as eqx
import jax

T = TypeVar("T")


class Frozen(eqx.Module, Generic[T]):
    """Holds a part of a model that no optimizer touches, such as a controller's robot.

    `minimize` leaves it out, and whoever calls it gets the part without its gradient.
    """

    value: T

    def __call__(self) -> T:
        """Return the part; nothing is differentiated through it."""
        arrays, rest = eqx.partition(self.value, eqx.is_inexact_array)
        return eqx.combine(jax.lax.stop_gradient(arrays), rest)


def trainable(model: Any) -> Any:
    """Return for every leaf of `model` whether it is an array that can be tuned."""
    frozen = lambda x: isinstance(x, Frozen)  # noqa: E731
    return jax.tree.map(
        lambda x: (
            jax.tree.map(lambda _: False, x) if frozen(x) else eqx.is_inexact_array(x)
        ),
        model,
        is_leaf=frozen,
    )
