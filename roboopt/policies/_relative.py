"""A policy whose actions are relative to what it sees: a = o[axes] + π(o).

Where actions are desired positions, the position now is most of them. The rest, which a
network learns, is small, and does not depend on where the robot is.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Jittable
from roboopt._errors import RobooptError
from roboopt.data import Demonstrations
from roboopt.policies._mlp import MLPPolicy


class RelativeActions(Jittable):
    """`policy` plus the axes of the observation that its actions are relative to.

    `sample`, `log_prob` and `flow_error` exist where `policy` has them. A chunk of
    actions is relative to the observation at which it was made.
    """

    policy: Any
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
        if len(axes) != width or not set(axes) <= set(range(size)):
            raise RobooptError(
                f"`axes` must name one of the axes 0 to {size - 1} of an observation "
                f"for each of the {width} of an action, got {axes}."
            )
        here = np.asarray(samples.observations)[:, list(axes)]
        here = here if samples.actions.ndim == 2 else here[:, None]
        actions, low, high = (
            None if x is None else np.asarray(x) - here
            for x in (samples.actions, samples.low, samples.high)
        )
        rest = Demonstrations(samples.observations, actions, samples.weights, low, high)  # type: ignore
        return cls(inner(rest, key=key, **settings), axes)

    def _here(self, observation: AnyArray) -> Array:
        return jnp.asarray(observation)[np.array(self.axes)]

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, "..."]:
        """Return the action, or chunk of actions."""
        return self._here(observation) + self.policy(observation)

    # Properties, so that `hasattr` answers for the inner policy.
    @property
    def sample(self) -> Callable[..., Array]:
        """Return `sample(observation, key) -> action`."""
        sample = self.policy.sample
        return lambda o, key: self._here(o) + sample(o, key)

    @property
    def log_prob(self) -> Callable[..., Array]:
        """Return `log_prob(observation, action)`."""
        log_prob = self.policy.log_prob
        return lambda o, action: log_prob(o, action - self._here(o))

    @property
    def flow_error(self) -> Callable[..., Array]:
        """Return `flow_error(observation, action, noise, level)`."""
        error = self.policy.flow_error
        return lambda o, action, *noise: error(o, action - self._here(o), *noise)
