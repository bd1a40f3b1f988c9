"""Learned dynamics: a network of the state's increments, with or without its variance.

    s' = s + μ_Δ + σ_Δ ∘ f((φ(s, a) − μ) / σ)

A step changes the state by little, and the network is given that little to say, in
units of how much recorded steps changed it. After Nagabandi et al. (2018) and Chua et
al. (2018), PETS. Of the variance a second network gives the logarithm of the standard
deviation, axis by axis; it stays within a factor of where it began, so that no
likelihood runs away where the data are thin.
"""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Frozen, Jittable, check_shape
from roboopt._errors import RobooptError
from roboopt.data import Normalizer, Trajectory
from roboopt.dynamics._gaussian import Gaussian
from roboopt.dynamics._transitions import Transitions
from roboopt.networks import NormalizedMLP

DEVIATION_FACTOR = 1e4  # How far a standard deviation goes from where it began.
LEAST_DEVIATION = 1e-3  # Where it begins at least, in standard deviations of a step.


class NetworkDynamics(Jittable):
    """A dynamics `dynamics(state, action) -> next_state`, learned from recordings.

    The state is [q, q̇], the action the effort [N·m or N] on the actuated joints, held
    within `effort_limits`.
    """

    increment: NormalizedMLP
    """The change of the state in one step."""
    time_step: float = eqx.field(static=True)
    """[s]"""
    actuated: tuple[int, ...] = eqx.field(static=True)
    """The joints that an action drives, in its order."""
    effort_limits: Frozen[Float[Array, " act"]]
    """[N·m or N]; infinite where there is none."""

    def __init__(
        self,
        increment: NormalizedMLP,
        time_step: float,
        *,
        actuated: tuple[int, ...] | None = None,
        effort_limits: Any = math.inf,
    ):
        """Step by `increment`; all joints are actuated where none are named.

        Raises:
            RobooptError: if `increment` does not give one number for each of the
            state's,
                `time_step` is not positive and finite, the actuated joints are not one
                for each number of an action, or an effort limit is not positive.
        """
        size = increment.size
        if increment.output_size != size or size % 2:
            raise RobooptError(
                "`increment` must give the change of a state [q, q̇], got "
                f"{increment.output_size} outputs for a state of {size}."
            )
        if not 0 < time_step < math.inf:
            raise RobooptError(
                f"`time_step` must be positive and finite, got {time_step}."
            )
        joints, actions = range(size // 2), increment.extra_size
        actuated = tuple(joints) if actuated is None else tuple(actuated)
        if not len(set(actuated) & set(joints)) == len(actuated) == actions:
            raise RobooptError(
                f"`actuated` must name {actions} of the joints {list(joints)}, one for "
                f"each number of an action, got {actuated}."
            )
        limits = np.asarray(effort_limits, float)
        if limits.shape not in ((), (actions,)) or not np.all(limits > 0):
            raise RobooptError(
                f"`effort_limits` must be one positive number or {actions} of them, "
                f"got {effort_limits}."
            )
        self.increment = increment
        self.time_step = float(time_step)
        self.actuated = actuated
        self.effort_limits = Frozen(jnp.asarray(np.broadcast_to(limits, (actions,))))

    @classmethod
    def of(
        cls,
        trajectories: Trajectory | Sequence[Trajectory],
        *,
        key: PRNGKeyArray,
        joints: int | None = None,
        angles: tuple[int, ...] = (),
        actuated: tuple[int, ...] | None = None,
        effort_limits: Any = math.inf,
        width: int = 64,
        depth: int = 2,
    ) -> "NetworkDynamics":
        """Return one with small random weights, normalized by `trajectories`.

        Args:
            trajectories: observations [q, q̇, ...], evenly spaced; the dynamics steps
                by their time step.
            key: of the weights.
            joints: how many; half of an observation where none is given.
            angles: the joints that go round, of which the network sees sine and cosine.
            actuated: the joints that an action drives, all where none are named.
            effort_limits: [N·m or N]
            width: neurons a hidden layer.
            depth: hidden layers.

        Raises:
            RobooptError: if an angle jumps by half a turn or more in a step; and as
                `Transitions.of`, `NormalizedMLP.of` and `NetworkDynamics` do.
        """
        steps = Transitions.of(trajectories, joints)
        changes = steps.next_states - steps.states
        increment = NormalizedMLP.of(
            steps.states,
            Normalizer.of(changes),
            extra=steps.actions,
            key=key,
            angles=angles,
            width=width,
            depth=depth,
        )
        jumps = np.abs(changes[:, np.array(increment.angles, int)])
        if jumps.size and jumps.max() >= np.pi:
            raise RobooptError(
                "`angles` must go on beyond a turn in `trajectories` (`numpy.unwrap`), "
                f"got a jump of {jumps.max():.3g} rad in one step."
            )
        limits = {"actuated": actuated, "effort_limits": effort_limits}
        return cls(increment, steps.time_step, **limits)

    @property
    def joints(self) -> int:
        """Return how many joints move."""
        return self.increment.size // 2

    @property
    def action_size(self) -> int:
        """Return how many joints an action drives."""
        return len(self.actuated)

    def clip(self, action: Float[Array, " act"]) -> Float[Array, " act"]:
        """Return the action that the actuators can follow."""
        limits = self.effort_limits().astype(action.dtype)
        return jnp.clip(action, -limits, limits)

    def effort(self, action: Float[Array, " act"]) -> Float[Array, " joint"]:
        """Return the effort [N·m or N] on every joint, 0 where none is actuated."""
        applied = self.clip(action)
        zero = jnp.zeros(self.joints, applied.dtype)
        return zero.at[np.array(self.actuated)].set(applied)

    def __call__(
        self, state: Float[AnyArray, " state"], action: Float[AnyArray, " act"]
    ) -> Float[Array, " state"]:
        """Return the state one `time_step` later.

        Raises:
            RobooptError: if `state` or `action` is of another size.
        """
        check_shape("state", state.shape, (self.increment.size,))
        check_shape("action", action.shape, (self.action_size,))
        action = self.clip(jnp.asarray(action))
        return jnp.asarray(state) + self.increment(state, action)


def bounded_logarithm(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return x near 0, held smoothly within ±log `DEVIATION_FACTOR`."""
    bound = math.log(DEVIATION_FACTOR)
    return bound * jnp.tanh(x / bound)


class GaussianNetworkDynamics(Jittable):
    """A stochastic dynamics `dynamics(state, action) -> Gaussian(mean, variance)`.

    Its mean is a dynamics like any other: where one next state is needed, as in a
    `Rollout`, `mean_dynamics` is what to run.
    """

    mean_dynamics: Any
    """`dynamics(state, action) -> next_state`, such as a `NetworkDynamics`."""
    log_deviation: NormalizedMLP
    """The logarithm of the next state's standard deviation, in the state's units,
    before it is held within a factor of its start."""

    def __check_init__(self):
        network, size = self.log_deviation, 2 * self.mean_dynamics.joints
        sizes = network.size, network.extra_size, network.output_size
        expected = size, self.mean_dynamics.action_size, size
        if sizes != expected:
            raise RobooptError(
                "`log_deviation` must fit `mean_dynamics` in state, action and outputs,"
                f" {expected}, got {sizes}."
            )

    @classmethod
    def of(
        cls,
        mean_dynamics: Any,
        trajectories: Trajectory | Sequence[Trajectory],
        *,
        key: PRNGKeyArray,
        angles: tuple[int, ...] = (),
        width: int = 64,
        depth: int = 2,
    ) -> "GaussianNetworkDynamics":
        """Return one whose deviation is at first what `mean_dynamics` errs by.

        Args:
            mean_dynamics: what gives the mean; tuned together with the deviation.
            trajectories: observations [q, q̇, ...], evenly spaced.
            key: of the weights.
            angles: the joints that go round.
            width: neurons a hidden layer.
            depth: hidden layers.

        Raises:
            RobooptError: as `Transitions.of` and `NormalizedMLP.of` do.
        """
        steps = Transitions.of(trajectories, mean_dynamics.joints)
        predicted = jax.vmap(mean_dynamics)(steps.states, steps.actions)
        errors = np.asarray(predicted - steps.next_states)
        typical = Normalizer.of(steps.next_states - steps.states).scale()
        start = np.maximum(np.sqrt((errors**2).mean(0)), LEAST_DEVIATION * typical)
        log_deviation = NormalizedMLP.of(
            steps.states,
            Normalizer(np.log(start), np.ones_like(start)),
            extra=steps.actions,
            key=key,
            angles=angles,
            width=width,
            depth=depth,
            last_gain=0.0,
        )
        return cls(mean_dynamics, log_deviation)

    @property
    def time_step(self) -> float:
        """Return the length of a step [s]."""
        return self.mean_dynamics.time_step

    @property
    def joints(self) -> int:
        """Return how many joints move."""
        return self.mean_dynamics.joints

    @property
    def action_size(self) -> int:
        """Return how many joints an action drives."""
        return self.mean_dynamics.action_size

    def clip(self, action: Float[Array, " act"]) -> Float[Array, " act"]:
        """Return the action that the actuators can follow."""
        return self.mean_dynamics.clip(action)

    def effort(self, action: Float[Array, " act"]) -> Float[Array, " joint"] | None:
        """Return the effort [N·m or N] on every joint, if an action says it."""
        return self.mean_dynamics.effort(action)

    def __call__(
        self, state: Float[AnyArray, " state"], action: Float[AnyArray, " act"]
    ) -> Gaussian:
        """Return the distribution of the state one `time_step` later.

        Raises:
            RobooptError: if `state` or `action` is of another size.
        """
        mean = self.mean_dynamics(state, action)
        units = self.log_deviation.outputs
        start = 0.0 if units is None else units.mean()
        change = bounded_logarithm(self.log_deviation(state, action) - start)
        return Gaussian(mean, jnp.exp(2 * (start + change)))
