"""Actions, and chunks of them, as vectors of numbers near 1, and back."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray
from roboopt._errors import RobooptError
from roboopt.data import Demonstrations, Normalizer


class ActionUnits(eqx.Module):
    """Takes an action of `shape` to a vector, normalized, and back."""

    normalizer: Normalizer
    """Of the vector's axes."""
    shape: tuple[int, ...] = eqx.field(static=True)
    """(act,), or (chunk, act)"""

    @classmethod
    def of(cls, samples: Demonstrations) -> "ActionUnits":
        """Return those of the samples' actions, the same at each place of a chunk.

        Actions that weigh nothing do not count.

        Raises:
            RobooptError: if the actions are choices, or as `Normalizer.of`.
        """
        actions = np.asarray(samples.actions)
        if not np.issubdtype(actions.dtype, np.floating):
            raise RobooptError(
                "`samples` must have actions of real numbers, got "
                f"{actions.dtype}: choices are for a `CategoricalPolicy`."
            )
        weights = samples.weights
        counted = actions if weights is None else actions[np.asarray(weights) > 0]
        one, shape = Normalizer.of(counted), actions.shape[1:]
        times = math.prod(shape[:-1])
        return cls(
            Normalizer(np.tile(one.mean(), times), np.tile(one.scale(), times)), shape
        )

    @property
    def size(self) -> int:
        """Return the vector's size."""
        return self.normalizer.size

    def __call__(self, action: Float[AnyArray, "..."]) -> Float[Array, " axis"]:
        """Return the vector of one action.

        Raises:
            RobooptError: if `action` is not of this shape.
        """
        check_shape("action", action.shape, self.shape)
        return self.normalizer(jnp.reshape(jnp.asarray(action), (-1,)))

    def inverse(self, y: Float[Array, " axis"]) -> Float[Array, "..."]:
        """Return the action of one vector, in its units."""
        return self.normalizer.inverse(y).reshape(self.shape)

    def log_scale(self) -> Float[Array, " axis"]:
        """Return the logarithm of each axis' unit: in sum, log |∂ action/∂ vector|."""
        return jnp.log(self.normalizer.scale())


def check_shape(name: str, shape: Sequence[int], expected: Sequence[int]) -> None:
    """Refuse a `name` of another shape than `expected`, before it broadcasts."""
    if tuple(shape) != tuple(expected):
        raise RobooptError(
            f"`{name}` must have shape {tuple(expected)}, got {tuple(shape)}."
        )
