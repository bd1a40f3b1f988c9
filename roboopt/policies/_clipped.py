"""A policy whose actions stay within limits: a' = min(max(a, low), high).

An environment clips what it is given, but a policy that is loaded or exported meets an
actuator without that environment, so the limits belong to the policy.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from roboopt._core import AnyArray, Frozen
from roboopt._errors import RobooptError
from roboopt._readable import Readable
from roboopt.policies._protocol import OpenLoop, StatefulPolicy, TimeVaryingPolicy


class _ByKind(type(eqx.Module)):
    """Makes `Clipped(policy, ...)` a policy of the same kind as `policy`."""

    def __call__(cls, policy: Any, low: Any, high: Any) -> Any:  # pyright: ignore
        if cls is Clipped:
            for kind in (StatefulPolicy, TimeVaryingPolicy, OpenLoop):
                if isinstance(policy, kind):
                    cls = next(c for c in Clipped.__subclasses__() if kind in c.__mro__)
        return super().__call__(policy, low, high)


class Clipped(Readable, eqx.Module, metaclass=_ByKind):
    """`policy` with its actions clipped to [`low`, `high`].

    The clipped policy is called as `policy` is, on the observation, on the time, on
    both, or with a memory, and it is an instance of the same protocol class. It has
    `sample` where `policy` has it. It has no `log_prob`: a clipped distribution has
    point masses at the limits; use `clipped.policy.log_prob`.
    """

    policy: Any
    low: Frozen[Float[Array, "..."]]
    high: Frozen[Float[Array, "..."]]

    def __init__(self, policy: Any, low: Any, high: Any):
        """Clip the actions of `policy`.

        Args:
            policy: any policy with real-valued actions.
            low: the least action, one number or one an axis, -inf for no limit.
            high: the greatest action, likewise, inf for no limit.

        Raises:
            RobooptError: if `policy` is no policy, a limit is NaN or no vector, or
                `low` is not below `high`.
        """
        if not callable(policy) and not isinstance(policy, StatefulPolicy):
            raise RobooptError(f"`policy` must be a policy, got {policy!r}.")
        low, high = (np.asarray(limit, float) for limit in (low, high))
        for name, limit in (("low", low), ("high", high)):
            if limit.ndim > 1 or np.isnan(limit).any():
                raise RobooptError(
                    f"`{name}` must be one number or one an axis of an action, got "
                    f"{limit}."
                )
        fit = not (low.ndim and high.ndim) or low.shape == high.shape
        if not fit or not np.all(low < high):
            raise RobooptError(f"`low` must be below `high`, got {low} and {high}.")
        self.policy = policy
        self.low, self.high = Frozen(jnp.asarray(low)), Frozen(jnp.asarray(high))

    def clip(self, action: Shaped[AnyArray, "..."]) -> Float[Array, "..."]:
        """Return `action` within the limits.

        Raises:
            RobooptError: if `action` is an integer, or the limits do not fit it.
        """
        action = jnp.asarray(action)
        if not jnp.issubdtype(action.dtype, jnp.floating):
            raise RobooptError(
                f"`policy` must return real numbers to be clipped, got {action.dtype}."
            )
        limits = []
        for name, limit in (("low", self.low()), ("high", self.high())):
            if limit.ndim and limit.shape != action.shape[-1:]:
                raise RobooptError(
                    f"`{name}` must hold one number or {action.shape[-1]}, one an axis "
                    f"of an action, got shape {limit.shape}."
                )
            limits.append(jnp.broadcast_to(limit.astype(action.dtype), action.shape))
        return jnp.minimum(jnp.maximum(action, limits[0]), limits[1])

    def __call__(self, *inputs: Any) -> Any:
        """Return the clipped action on the inputs of `policy`."""
        return self.clip(self.policy(*inputs))

    # A property, so that `hasattr` answers for the policy inside.
    @property
    def sample(self) -> Any:
        """Return `sample(observation, key) -> action`."""
        sample = self.policy.sample
        return lambda observation, key: self.clip(sample(observation, key))


def within_limits(policy: Any, action_space: Any) -> Any:
    """Return `policy` clipped to the limits of an action space, where it has any.

    Args:
        policy: any policy; returned as it is where there is nothing to clip.
        action_space: a Gymnasium space, or None for no limits.
    """
    if not hasattr(action_space, "low"):
        return policy
    low, high = np.asarray(action_space.low), np.asarray(action_space.high)
    if not np.isfinite([low, high]).any():
        return policy
    return Clipped(policy, low, high)


class ClippedTimeVaryingPolicy(Clipped, TimeVaryingPolicy):
    """`Clipped` of a `TimeVaryingPolicy`."""


class ClippedOpenLoop(Clipped, OpenLoop):
    """`Clipped` of an `OpenLoop`."""


class ClippedStatefulPolicy(Clipped, StatefulPolicy):
    """`Clipped` of a `StatefulPolicy`."""

    def init(self, key: PRNGKeyArray | None) -> Any:
        """Return the carry of `policy` at the beginning of an episode."""
        return self.policy.init(key)

    def __call__(  # pyright: ignore
        self, carry: Any, observation: Shaped[AnyArray, "..."], time: Float[Array, ""]
    ) -> tuple[Any, Float[Array, "..."]]:
        """Return the next carry, and the clipped action at `time` [s]."""
        carry, action = self.policy(carry, observation, time)
        return carry, self.clip(action)
