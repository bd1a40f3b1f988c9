"""A policy whose actions stay within limits: a' = min(max(a, low), high).

An environment clips what it is given, but a policy that is loaded or exported meets an
actuator without that environment, so the limits belong to the policy.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import Frozen, per_axis
from roboopt._errors import RobooptError
from roboopt._readable import Readable
from roboopt.policies._protocol import (
    Action,
    Observation,
    OpenLoop,
    StatefulPolicy,
    Time,
    TimeVaryingPolicy,
    over_action,
)


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
        low, high = (
            per_axis(name, limit, "not NaN", lambda x: ~np.isnan(x))
            for name, limit in (("low", low), ("high", high))
        )
        fit = not (low.ndim and high.ndim) or low.shape == high.shape
        if not fit or not np.all(low < high):
            raise RobooptError(f"`low` must be below `high`, got {low} and {high}.")
        self.policy = policy
        self.low, self.high = Frozen(jnp.asarray(low)), Frozen(jnp.asarray(high))

    def clip(self, action: Any) -> Float[Array, "..."]:
        """Return `action`, real numbers that the limits fit, within the limits."""
        action = jnp.asarray(action)
        low = over_action("low", self.low(), action, "policy")
        high = over_action("high", self.high(), action, "policy")
        return jnp.minimum(jnp.maximum(action, low), high)

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
        return self.policy.init(key)

    def __call__(  # pyright: ignore
        self, carry: Any, observation: Observation, time: Time
    ) -> tuple[Any, Action]:
        carry, action = self.policy(carry, observation, time)
        return carry, self.clip(action)
