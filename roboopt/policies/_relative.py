"""A policy whose actions are relative to what it sees: a = o[axes] + π(o).

Where actions are desired positions, the position now is most of them. The rest, which a
network learns, is small, and does not depend on where the robot is.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from roboopt._core import AnyArray
from roboopt._errors import require
from roboopt.data import Demonstrations
from roboopt.policies._mlp import MLPPolicy
from roboopt.policies._offset import OffsetPolicy, reduced


class RelativeActions(OffsetPolicy):
    """`policy` plus the axes of the observation that its actions are relative to.

    `sample`, `log_prob` and `flow_error` exist where `policy` has them. A chunk of
    actions is relative to the observation at which it was made.
    """

    axes: tuple[int, ...] = eqx.field(static=True)
    """The axis of the observation for each axis of an action."""

    @classmethod
    def of(
        cls,
        samples: Any,
        axes: Sequence[int],
        inner: Callable[..., Any] = MLPPolicy.of,
        *,
        key: PRNGKeyArray,
        **settings: Any,
    ) -> "RelativeActions":
        """Build a policy around `inner(rest, key=key, **settings)`.

        Args:
            samples: demonstrations.
            axes: the axis of the observation for each axis of an action.
            inner: builds the inner policy, such as `GMMPolicy.of`, from demonstrations
                whose actions and limits are relative.
            key: random key of the weights.
            **settings: of `inner`.

        Raises:
            RobooptError: if there is not one axis for each of an action's, or an
                observation lacks one.
        """
        samples = Demonstrations.of(samples)
        width, size = samples.actions.shape[-1], samples.observations.shape[1]
        axes = tuple(int(axis) for axis in axes)
        rule = f"name one of the axes 0 to {size - 1} of an observation for each of the"
        valid = len(axes) == width and set(axes) <= set(range(size))
        require(valid, "axes", f"{rule} {width} of an action", axes)
        here = np.asarray(samples.observations)[:, list(axes)]
        here = here if samples.actions.ndim == 2 else here[:, None]
        return cls(inner(reduced(samples, here), key=key, **settings), axes)

    def _offset(self, observation: AnyArray, action: Any, name: str) -> Array:
        return jnp.asarray(observation)[np.array(self.axes)]
