"""Stochastic dynamics: a mean, and a learned standard deviation of the next state.

A network gives the logarithm of the standard deviation, axis by axis. It stays within a
factor of its start, so that no likelihood diverges where data are sparse (after Chua et
al., 2018, PETS).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, compiled
from roboopt._errors import require
from roboopt.data import Normalizer, Trajectory
from roboopt.dynamics._transitions import Transitions
from roboopt.dynamics._wrapped import WrappedDynamics
from roboopt.networks import NormalizedMLP

MAX_DEVIATION_FACTOR = 1e4  # from the deviation's start
MIN_START_DEVIATION = 1e-3  # relative to the standard deviation of a step's change


class Gaussian(NamedTuple):
    """A normal distribution with independent axes."""

    mean: Float[Array, "*shape"]
    variance: Float[Array, "*shape"]
    """In the mean's units squared."""


def bounded_logarithm(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return x near 0, bounded smoothly to ±log `MAX_DEVIATION_FACTOR`."""
    bound = math.log(MAX_DEVIATION_FACTOR)
    return bound * jnp.tanh(x / bound)


class GaussianNetworkDynamics(WrappedDynamics):
    """A stochastic dynamics `dynamics(state, action) -> Gaussian(mean, variance)`.

    A `Rollout` needs one next state: it runs `mean_dynamics`.
    """

    mean_dynamics: Any
    """`dynamics(state, action) -> next_state`, such as a `NetworkDynamics`."""
    log_deviation: NormalizedMLP
    """The logarithm of the next state's standard deviation, in the state's units, which
    is then bounded to a factor of its start."""

    def __check_init__(self):
        """Check the sizes of the network."""
        network, size = self.log_deviation, 2 * self.mean_dynamics.joints
        sizes = network.size, network.extra_size, network.output_size
        expected = size, self.mean_dynamics.action_size, size
        rule = f"fit `mean_dynamics` in state, action and outputs, {expected}"
        require(sizes == expected, "log_deviation", rule, sizes)

    @classmethod
    def of(
        cls,
        mean_dynamics: Any,
        trajectories: Trajectory | Sequence[Trajectory],
        *,
        key: PRNGKeyArray,
        **network: Any,
    ) -> "GaussianNetworkDynamics":
        """Return a dynamics whose deviation starts as the error of `mean_dynamics`.

        Args:
            mean_dynamics: the dynamics of the mean, trained with the deviation.
            trajectories: observations [q, q̇, ...], evenly spaced in time.
            key: key of the weights.
            **network: `angles`, `width` and `depth` of the `NormalizedMLP`.

        Raises:
            RobooptError: as `Transitions.of` and `NormalizedMLP` do.
        """
        steps = Transitions.of(trajectories, mean_dynamics.joints)
        predicted = jax.vmap(mean_dynamics)(steps.states, steps.actions)
        errors = np.asarray(predicted - steps.next_states)
        typical = Normalizer.of(steps.next_states - steps.states).scale()
        start = np.maximum(np.sqrt((errors**2).mean(0)), MIN_START_DEVIATION * typical)
        log_deviation = NormalizedMLP.of(
            steps.states,
            Normalizer(np.log(start), np.ones_like(start)),
            extra=steps.actions,
            key=key,
            last_gain=0.0,
            **network,
        )
        return cls(mean_dynamics, log_deviation)

    @property
    def inner(self) -> Any:
        """Return the dynamics of the mean."""
        return self.mean_dynamics

    @compiled
    def __call__(
        self, state: Float[AnyArray, " state"], action: Float[AnyArray, " act"]
    ) -> Gaussian:
        """Return the distribution of the state one `time_step` later.

        Raises:
            RobooptError: if `state` or `action` has another size.
        """
        mean = self.mean_dynamics(state, action)
        units = self.log_deviation.outputs
        start = 0.0 if units is None else units.mean()
        change = bounded_logarithm(self.log_deviation(state, action) - start)
        return Gaussian(mean, jnp.exp(2 * (start + change)))
