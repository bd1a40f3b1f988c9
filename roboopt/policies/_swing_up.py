"""Swing-up of a cart-pole by energy shaping, and balancing by linear feedback.

Away from the top the cart is accelerated by

    a = k_E Ẽ M₀₁ θ̇ − k_x x − k_v ẋ,    Ẽ = ½ M₁₁ θ̇² + U(θ) − U(0)

under which the pole's energy relative to standing upright obeys Ẽ' = −k_E Ẽ (M₀₁ θ̇)²
but for the last two terms, and decays; the force is the one that gives the cart this
acceleration (Spong, 1996, Energy based control of a class of underactuated mechanical
systems). Near the top linear feedback takes over, by a smooth weight instead of a
switch, so that the controller is differentiable.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen, Jittable, compiled
from roboopt._errors import RobooptError, require, require_positive
from roboopt._readable import readable
from roboopt.dynamics import Multibody
from roboopt.policies._linear import leading

BLEND_WIDTH = 0.02  # of the blend, in cos θ


class EnergyShapingSwingUp(Jittable):
    """Energy shaping blended into linear feedback, for the state [x, θ, ẋ, θ̇].

    θ = 0 is upright. The first joint is driven, the second is not.
    """

    log_energy_gain: Float[Array, ""]
    log_position_gain: Float[Array, ""]
    log_velocity_gain: Float[Array, ""]
    gains: Float[Array, " 4"]
    blend_angle: float = eqx.field(static=True)
    robot: Frozen[Multibody]

    def __init__(
        self,
        robot: Multibody,
        gains: Float[AnyArray, "..."],
        *,
        energy_gain: float,
        position_gain: float = 1.0,
        velocity_gain: float = 1.0,
        blend_angle: float = 0.5,
    ):
        """Swing up `robot`.

        Args:
            robot: a cart-pole: joint 0 is driven, joint 1 carries the pole.
            gains: K of the linear feedback near the top [N/m, N/rad, N·s/m, N·s/rad].
            energy_gain: k_E [1/(J·kg·s)], rate at which energy is pumped.
            position_gain: k_x [1/s²], which pulls the cart to the middle.
            velocity_gain: k_v [1/s], which slows the cart.
            blend_angle: angle from upright at which both have equal weight [rad].
        """
        rule = "have two joints"
        require(len(robot.joint_names) == 2, "robot", rule, len(robot.joint_names))
        if np.shape(gains) != (4,):
            raise RobooptError(f"`gains` must be four numbers, got {np.shape(gains)}.")
        require_positive(energy_gain=energy_gain)
        require_positive(position_gain=position_gain)
        require_positive(velocity_gain=velocity_gain)
        rule = "lie between 0 and π/2"
        require(0 < blend_angle < np.pi / 2, "blend_angle", rule, blend_angle)
        self.log_energy_gain = jnp.log(jnp.asarray(energy_gain, float))
        self.log_position_gain = jnp.log(jnp.asarray(position_gain, float))
        self.log_velocity_gain = jnp.log(jnp.asarray(velocity_gain, float))
        self.gains = jnp.asarray(gains, float)
        self.blend_angle = float(blend_angle)
        self.robot = Frozen(robot)

    def _shown(self) -> dict[str, Any]:
        gains = self.log_energy_gain, self.log_position_gain, self.log_velocity_gain
        energy, position, velocity = (readable(jnp.exp(gain)) for gain in gains)
        return {
            "energy_gain": f"{energy} 1/(J·kg·s)",
            "position_gain": f"{position} 1/s²",
            "velocity_gain": f"{velocity} 1/s",
            "gains": f"{readable(self.gains)} N/m, N/rad, N·s/m, N·s/rad",
            "blend_angle": f"{readable(self.blend_angle)} rad",
        }

    @compiled
    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " 1"]:
        """Return the force on the cart [N]."""
        q, velocity = jnp.split(leading(observation, 4), 2)
        angle = jnp.arctan2(jnp.sin(q[1]), jnp.cos(q[1]))
        upright = jnp.stack([q[0], angle, velocity[0], velocity[1]])
        hold = -jnp.dot(self.gains, upright)
        near = (jnp.cos(angle) - np.cos(self.blend_angle)) / BLEND_WIDTH
        weight = jax.nn.sigmoid(near)
        return (weight * hold + (1 - weight) * self._pump(q, velocity))[None]

    def _pump(self, q: Array, velocity: Array) -> Array:
        robot = self.robot()
        matrix, bias = robot.mass_matrix(q), robot.bias(q, velocity)
        coupling, inertia = matrix[0, 1], matrix[1, 1]
        height = robot.potential_energy(q) - robot.potential_energy(q.at[1].set(0.0))
        energy = 0.5 * inertia * velocity[1] ** 2 + height
        acceleration = (
            jnp.exp(self.log_energy_gain) * energy * coupling * velocity[1]
            - jnp.exp(self.log_position_gain) * q[0]
            - jnp.exp(self.log_velocity_gain) * velocity[0]
        )
        pole = -(coupling * acceleration + bias[1]) / inertia
        return matrix[0, 0] * acceleration + coupling * pole + bias[0]
