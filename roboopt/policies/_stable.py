"""A policy of point-to-point motions that ends at their goal from everywhere.

A diffeomorphism φ bends the state x into y = φ(x) − φ(x*), where the motion is a
straight line to the origin at a learned speed:

    x_{k+1} = φ⁻¹(φ(x*) + exp(−λ(x_k) Δt) · (φ(x_k) − φ(x*))),   λ(x) ≥ λ_min > 0

So V(x) = |φ(x) − φ(x*)| falls by the factor exp(−λ Δt) < 1 in every step: whatever the
weights are, the closed loop x_{k+1} = x_k + Δt v_k converges to the goal x* (after Rana
et al., 2020, Euclideanizing flows; Perrin and Schlehuber-Caissier, 2016, Fast
diffeomorphic matching). Their field is in continuous time; the step is ours, so that
stability holds in discrete time, and needs no inverse of a Jacobian. φ is a chain of
affine coupling layers (Dinh et al., 2017, Density estimation using Real NVP), each of
which has a closed inverse on all of space.

Limits that cut an action short, and a robot that does not do what it is told, are not
covered by the proof.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from roboopt._core import AnyArray, Frozen, Jittable
from roboopt._errors import RobooptError, require_at_least, require_positive
from roboopt.data import Demonstrations, Normalizer
from roboopt.networks import MLP

LAYERS = 8
MAX_LOG_STRETCH = 1.0  # of a coupling layer: bounds how much it bends space
MIN_RATE = 0.05  # of the mean rate of the demonstrations
LAST_GAIN = 0.01


class Coupling(eqx.Module):
    """x_b ↦ x_b exp(s(x_a)) + t(x_a), with the axes x_a as they are."""

    network: MLP
    bent: tuple[int, ...] = eqx.field(static=True)
    """The axes x_b."""
    kept: tuple[int, ...] = eqx.field(static=True)
    """The axes x_a."""

    def _parts(self, x: Array) -> tuple[Array, Array]:
        stretch, shift = jnp.split(self.network(x[np.array(self.kept)]), 2)
        return MAX_LOG_STRETCH * jnp.tanh(stretch / MAX_LOG_STRETCH), shift

    def __call__(self, x: Float[Array, " axis"]) -> Float[Array, " axis"]:
        stretch, shift = self._parts(x)
        rows = np.array(self.bent)
        return x.at[rows].set(x[rows] * jnp.exp(stretch) + shift)

    def inverse(self, y: Float[Array, " axis"]) -> Float[Array, " axis"]:
        stretch, shift = self._parts(y)
        rows = np.array(self.bent)
        return y.at[rows].set((y[rows] - shift) * jnp.exp(-stretch))


class StablePolicy(Jittable):
    """The velocity, or the next position, on a way that ends at `goal`."""

    layers: tuple[Coupling, ...]
    """φ"""
    speed: MLP
    """log(λ − λ_min), of the normalized state."""
    inputs: Normalizer
    goal: Frozen[Float[Array, " axis"]]
    """x*"""
    rate: float = eqx.field(static=True)
    """The unit of λ [1/s]."""
    time_step: float = eqx.field(static=True)
    """Δt [s]"""
    velocities: bool = eqx.field(static=True)
    """Whether actions are velocities; if not, next positions."""

    @classmethod
    def of(
        cls,
        samples: Any,
        *,
        key: PRNGKeyArray,
        goal: Any,
        time_step: float,
        velocities: bool | None = None,
        layers: int = LAYERS,
        width: int = 64,
        depth: int = 1,
        **settings: Any,
    ) -> "StablePolicy":
        """Build a policy that goes straight to the goal.

        Args:
            samples: demonstrations whose observation is the position alone, and whose
                actions are velocities or desired next positions.
            key: random key of the weights.
            goal: x*, such as the mean of the last observations.
            time_step: Δt [s].
            velocities: whether actions are velocities; if None, the one of both by
                which the demonstrations come closer to the goal with less effort.
            layers: number of coupling layers.
            width: hidden-layer width.
            depth: hidden layers of each network.
            **settings: those of other networks, which are not used.

        Raises:
            RobooptError: if observations and actions differ in size, or another
                argument breaks its rule.
        """
        samples = Demonstrations.of(samples)
        seen, acted = (
            np.asarray(x, float) for x in (samples.observations, samples.actions)
        )
        if seen.shape != acted.shape:
            raise RobooptError(
                "`samples` must have a velocity or next position for every axis of the "
                f"position observed, got shapes {acted.shape} and {seen.shape}."
            )
        require_positive(time_step=time_step)
        require_at_least(1, layers=layers, width=width, depth=depth)
        goal = np.asarray(goal, float)
        if velocities is None:
            velocities = _are_velocities(seen, acted, goal)
        inputs = Normalizer.of(seen)
        size, keys = seen.shape[1], jax.random.split(key, layers + 1)
        small = {"width": width, "depth": depth, "last_gain": LAST_GAIN}
        couplings = []
        for k in range(layers if size > 1 else 0):
            kept = tuple(axis for axis in range(size) if (axis + k) % 2)
            bent = tuple(axis for axis in range(size) if not (axis + k) % 2)
            network = MLP(len(kept), 2 * len(bent), key=keys[k], **small)
            couplings.append(Coupling(network, bent, kept))
        moved = acted if velocities else (acted - seen) / time_step
        away = np.linalg.norm((seen - goal) / np.asarray(inputs.scale()), axis=1)
        fast = np.linalg.norm(moved / np.asarray(inputs.scale()), axis=1)
        rate = float(np.median(fast) / max(np.median(away), 1e-6)) or 1.0
        speed = MLP(size, 1, key=keys[-1], **small)
        frozen = Frozen(jnp.asarray(goal))
        step = float(time_step)
        return cls(
            tuple(couplings), speed, inputs, frozen, rate, step, bool(velocities)
        )

    @property
    def size(self) -> int:
        """Return the size of an observation."""
        return self.inputs.size

    def bend(self, position: Float[AnyArray, " axis"]) -> Float[Array, " axis"]:
        """Return φ(x), whose distance to φ(x*) falls in every step."""
        y = self.inputs(position)
        for layer in self.layers:
            y = layer(y)
        return y

    def __call__(self, observation: Float[AnyArray, " axis"]) -> Float[Array, " axis"]:
        """Return the velocity, or the next position."""
        here = jnp.asarray(observation)
        end, log_rate = self.bend(self.goal()), self.speed(self.inputs(here))[0]
        rate = self.rate * (MIN_RATE + jnp.exp(log_rate))
        y = end + jnp.exp(-rate * self.time_step) * (self.bend(here) - end)
        for layer in reversed(self.layers):
            y = layer.inverse(y)
        following = self.inputs.inverse(y)
        return (following - here) / self.time_step if self.velocities else following


def _are_velocities(seen: np.ndarray, acted: np.ndarray, goal: np.ndarray) -> bool:
    """Return whether actions are rather velocities: positions are near where one is."""
    spread = np.linalg.norm(seen - goal, axis=1).mean()
    return bool(np.linalg.norm(acted - seen, axis=1).mean() > 0.5 * spread)
