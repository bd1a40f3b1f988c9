"""The kinds of policies: of the observation, of the time, of both, or with a memory.

A policy is any callable `policy(observation) -> action`. A function that steps policies
calls `initial_carry` at the beginning of an episode and `act` at each step, and so
serves all kinds.
"""

import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from roboopt._core import AnyArray, check_axes
from roboopt._errors import RobooptError

Action = Shaped[Array, "..."]
Observation = Shaped[AnyArray, "..."]
Time = Float[Array, ""]


class OpenLoop(eqx.Module):
    """Actions decided beforehand: `policy(time) -> action`, the time in [s]."""

    @abstractmethod
    def __call__(self, time: Time) -> Float[Array, " act"]:
        """Return the action at `time`."""


class TimeVaryingPolicy(eqx.Module):
    """Feedback that depends on the time: `policy(observation, time) -> action`."""

    @abstractmethod
    def __call__(
        self, observation: Float[AnyArray, " obs"], time: Time
    ) -> Float[Array, " act"]:
        """Return the action on `observation` at `time` [s]."""


class StatefulPolicy(eqx.Module):
    """A policy with a memory, in the form of a step of `jax.lax.scan`.

    The carry is a pytree of arrays, of the same shapes and dtypes at every step. A call
    with the observation alone is a `RobooptError` that names `initial_carry` and `act`.
    """

    def __init_subclass__(cls, **settings: Any):
        """Let the steps of a subclass name what they need."""
        super().__init_subclass__(**settings)
        if "__call__" in cls.__dict__:
            cls.__call__ = _with_carry(cls.__dict__["__call__"])

    @abstractmethod
    def init(self, key: PRNGKeyArray | None) -> Any:
        """Return the carry at the beginning of an episode.

        Args:
            key: the source of all randomness in the episode.

        Raises:
            RobooptError: if the policy is stochastic and `key` is None.
        """

    @abstractmethod
    def __call__(
        self, carry: Any, observation: Observation, time: Time
    ) -> tuple[Any, Action]:
        """Return the next carry, and the action on `observation` at `time` [s]."""


def _with_carry(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return the step of a policy, which says how it is called without a carry."""

    @functools.wraps(step)
    def called(self: Any, *arguments: Any, **named: Any) -> Any:
        if len(arguments) + len(named) == 1:
            raise RobooptError(
                f"`policy` has a memory ({type(self).__name__}) and needs its carry: "
                "begin an episode by `carry = ro.policies.initial_carry(policy)`, and "
                "take a step by `carry, action = ro.policies.act(policy, carry, "
                "observation, time)`, the time in [s]. What `roboopt export` writes "
                "keeps its memory by itself."
            )
        return step(self, *arguments, **named)

    return called


def initial_carry(policy: Any, key: PRNGKeyArray | None = None) -> Any:
    """Return the carry of any policy at the beginning of an episode, None for most."""
    return policy.init(key) if isinstance(policy, StatefulPolicy) else None


def act(
    policy: Any, carry: Any, observation: Observation, time: Time
) -> tuple[Any, Action]:
    """Return the next carry, and the action of any policy at `time` [s].

    Raises:
        RobooptError: if `policy` takes observations of another size.
    """
    if isinstance(policy, OpenLoop):
        return None, policy(time)
    if isinstance(policy, StatefulPolicy):
        return observe(lambda seen: policy(carry, seen, time), policy, observation)
    if isinstance(policy, TimeVaryingPolicy):
        return None, observe(lambda seen: policy(seen, time), policy, observation)
    return None, observe(policy, policy, observation)


def acts_by_chance(policy: Any) -> bool:
    """Return whether `policy` is an agent with a distribution to `draw` from."""
    return hasattr(policy, "draw") and hasattr(
        getattr(policy, "policy", policy), "sample"
    )


def draw(policy: Any, observation: Any, key: PRNGKeyArray) -> tuple[Action, Action]:
    """Return the sample that `policy` draws with `key`, and the action it stands for.

    Both are the action where the policy is deterministic.
    """
    if not acts_by_chance(policy):
        action = observe(policy, policy, observation)
        return action, action
    drawn = observe(lambda seen: policy.draw(seen, key), policy, observation)
    return drawn, policy.execute(drawn)


def observe(
    call: Callable[[Any], Any], policy: Any, observation: Any, argument: str = "policy"
) -> Any:
    """Return `call(observation)`, where `call` is a policy or one of its methods.

    Args:
        call: `call(observation)`.
        policy: whose method it is.
        observation: one observation.
        argument: the caller's name for `policy`, used in messages.

    Raises:
        RobooptError: if the call fails because of the observation's size, which is so
            where it succeeds with observations of another size.
    """
    try:
        return call(observation)
    except (TypeError, ValueError) as error:
        known = isinstance(error, RobooptError | jax.errors.JAXTypeError)
        if known or np.ndim(observation) != 1 or _takes(call, observation.size):
            raise
        shapes = [np.shape(leaf) for leaf in jax.tree.leaves(policy)]
        likely = [size for shape in shapes for size in shape]
        taken = next((n for n in (*likely, *range(1, 65)) if _takes(call, n)), None)
        if taken is None:
            raise
        raise RobooptError(
            f"`{argument}` must take observations of {observation.size} numbers, got "
            f"one that takes {taken}."
        ) from error


def _takes(call: Callable[[Any], Any], size: int) -> bool:
    """Return whether a policy's `call` takes observations of `size` numbers."""
    try:
        jax.eval_shape(call, jax.ShapeDtypeStruct((size,), float))
    except Exception:  # A policy of another may fail in any way.
        return False
    return True


def over_action(name: str, values: Array, action: Array, policy: str) -> Array:
    """Return `values`, one number or one an axis, in the shape of a real action.

    Messages say the `name` of the values, and that of the `policy` that acted.
    """
    if not jnp.issubdtype(action.dtype, jnp.floating):
        raise RobooptError(f"`{policy}` must return real numbers, got {action.dtype}.")
    check_axes(name, values.shape, action.shape[-1])
    return jnp.broadcast_to(values.astype(action.dtype), action.shape)
