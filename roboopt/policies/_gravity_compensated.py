"""A learned policy on a robot of known weight: a = π(o) + g(q).

Holding an arm against gravity takes most of a controller's effort, and the robot's
model says how much. The rest, which a network learns, is smaller and nearly linear.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Frozen, check_shape
from roboopt._errors import RobooptError, require_at_least
from roboopt.data import Demonstrations
from roboopt.dynamics import Multibody
from roboopt.policies._mlp import MLPPolicy
from roboopt.policies._offset import OffsetPolicy, reduced


class GravityCompensated(OffsetPolicy):
    """`policy` plus the effort g(q) that holds `robot` still where it is.

    `sample`, `log_prob` and `flow_error` exist where `policy` has them. `policy` must
    not return chunks, whose later actions come at another q.
    """

    robot: Frozen[Multibody]
    first: int = eqx.field(static=True)
    """The axis of an observation at which q begins."""

    def __init__(self, policy: Any, robot: Multibody, *, first: int = 0):
        """Compensate the gravity of `robot`.

        Args:
            policy: returns the rest of the effort, one number a joint [N·m or N].
            robot: with a joint for every axis of an action.
            first: the axis of an observation at which q begins; with a history, that of
                the latest observation.
        """
        require_at_least(0, first=first)
        self.policy, self.robot, self.first = policy, Frozen(robot), first

    @classmethod
    def of(
        cls,
        samples: Any,
        robot: Multibody,
        inner: Callable[..., Any] = MLPPolicy.of,
        *,
        key: PRNGKeyArray,
        first: int = 0,
        **settings: Any,
    ) -> "GravityCompensated":
        """Build a policy around `inner(rest, key=key, **settings)`.

        Args:
            samples: demonstrations whose actions are efforts [N·m or N].
            robot: with a joint for every axis of an action.
            inner: builds the inner policy, such as `GMMPolicy.of`, from demonstrations
                whose actions and limits are reduced by gravity.
            key: random key of the weights.
            first: the axis of an observation at which q begins.
            **settings: of `inner`.
        """
        samples = Demonstrations.of(samples)
        shell = cls(None, robot, first=first)
        check_shape("actions", samples.actions.shape[1:], (len(robot.joint_names),))
        gravity = jax.jit(jax.vmap(shell.gravity))(jnp.asarray(samples.observations))
        policy = inner(reduced(samples, gravity), key=key, **settings)
        return cls(policy, robot, first=first)

    def gravity(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " joint"]:
        """Return g(q) [N·m or N]."""
        robot = self.robot()
        end = self.first + len(robot.joint_names)
        if observation.shape[0] < end:
            raise RobooptError(
                f"`observation` must have q at axes {self.first} to {end - 1}, got "
                f"shape {observation.shape}."
            )
        return robot.gravity_effort(jnp.asarray(observation)[self.first : end])

    def _offset(self, observation: AnyArray, action: Any, name: str) -> Array:
        gravity = self.gravity(observation)
        check_shape(name, action.shape, gravity.shape)
        return gravity
