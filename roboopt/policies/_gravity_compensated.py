"""A learned policy on a robot whose weight is known: a = π(o) + g(q).

To hold an arm still takes most of a controller's effort, and the robot's model says
how much. What is left for a network to clone is smaller, and nearly linear.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Frozen, Jittable
from roboopt._errors import RobooptError
from roboopt.data import Demonstrations
from roboopt.dynamics import Multibody
from roboopt.policies._action_units import check_shape
from roboopt.policies._mlp import MLPPolicy


class GravityCompensated(Jittable):
    """`policy` plus the effort g(q) that holds `robot` still where it is.

    It has `sample`, `log_prob` and `flow_error` where `policy` has them.
    """

    policy: Any
    robot: Frozen[Multibody]
    first: int = eqx.field(static=True)
    """The axis of an observation at which q begins."""

    def __init__(self, policy: Any, robot: Multibody, *, first: int = 0):
        """Compensate the gravity of `robot`, which is not tuned.

        Args:
            policy: of the rest of the effort, one number a joint [N·m or N].
            robot: with a joint for every axis of an action.
            first: the axis of an observation at which q begins; with a history, that of
                the last observation in it.

        Raises:
            RobooptError: if `first` is negative.
        """
        if first < 0:
            raise RobooptError(f"`first` must be at least 0, got {first}.")
        self.policy, self.robot, self.first = policy, Frozen(robot), first

    @classmethod
    def of(
        cls,
        samples: Demonstrations,
        robot: Multibody,
        inner: Callable[..., Any] = MLPPolicy.of,
        *,
        key: PRNGKeyArray,
        first: int = 0,
        **settings: Any,
    ) -> "GravityCompensated":
        """Return one around `inner(rest, key=key, **settings)`.

        Args:
            samples: of the training split, the actions efforts [N·m or N].
            robot: with a joint for every axis of an action.
            inner: makes the policy of the rest of the effort, such as `GMMPolicy.
                of`, from `samples` less gravity, the limits where they are clipped too.
            key: of the weights.
            first: as `GravityCompensated`.
            **settings: of `inner`.

        Raises:
            RobooptError: if `first` is negative, the actions are chunks, or not one
                number a joint, or the observations have no q; and as `inner`.
        """
        shell = cls(None, robot, first=first)
        check_shape("actions", samples.actions.shape[1:], (len(robot.joint_names),))
        hold = jax.jit(jax.vmap(shell.gravity))(jnp.asarray(samples.observations))
        actions = np.asarray(samples.actions) - np.asarray(hold)
        low, high = (
            None if limit is None else np.asarray(limit) - np.asarray(hold)
            for limit in (samples.low, samples.high)
        )
        rest = Demonstrations(samples.observations, actions, samples.weights, low, high)
        return cls(inner(rest, key=key, **settings), robot, first=first)

    def gravity(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " joint"]:
        """Return g(q) [N·m or N].

        Raises:
            RobooptError: if `observation` is too short to hold q.
        """
        robot = self.robot()
        end = self.first + len(robot.joint_names)
        if observation.shape[0] < end:
            raise RobooptError(
                f"`observation` must have q at axes {self.first} to {end - 1}, got "
                f"shape {observation.shape}."
            )
        return robot.gravity_effort(jnp.asarray(observation)[self.first : end])

    def _total(self, observation: AnyArray, rest: Array) -> Array:
        gravity = self.gravity(observation)
        check_shape("policy(observation)", rest.shape, gravity.shape)
        return gravity + rest

    def _rest(self, observation: AnyArray, action: AnyArray) -> Array:
        gravity = self.gravity(observation)
        check_shape("action", action.shape, gravity.shape)
        return jnp.asarray(action) - gravity

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " joint"]:
        """Return the effort [N·m or N].

        Raises:
            RobooptError: if `policy` gives a chunk, whose later actions come at another
                q, or does not give one number a joint.
        """
        return self._total(observation, self.policy(observation))

    # As properties, so that who asks for one is told what the policy inside has.
    @property
    def sample(self) -> Callable[[AnyArray, PRNGKeyArray], Array]:
        """Return `sample(observation, key) -> action`."""
        sample = self.policy.sample
        return lambda observation, key: self._total(
            observation, sample(observation, key)
        )

    @property
    def log_prob(self) -> Callable[[AnyArray, AnyArray], Array]:
        """Return `log_prob(observation, action)`."""
        log_prob = self.policy.log_prob
        return lambda observation, action: log_prob(
            observation, self._rest(observation, action)
        )

    @property
    def flow_error(self) -> Callable[[AnyArray, AnyArray, AnyArray, AnyArray], Array]:
        """Return `flow_error(observation, action, noise, level)`."""
        flow_error = self.policy.flow_error
        return lambda observation, action, noise, level: flow_error(
            observation, self._rest(observation, action), noise, level
        )
