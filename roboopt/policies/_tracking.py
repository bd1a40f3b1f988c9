"""Trajectory tracking: feedforward of a desired motion, and feedback on the error.

    u = M(q_d) q̈_d + h(q_d, q̇_d) + D q̇_d + K_p (q_d − q) + K_d (q̇_d − q̇)

The robot is computed at the desired motion only, so that model errors act as a
disturbance and cannot destabilize (Kelly and Salgado, 1994, PD control with computed
feedforward of robot manipulators); so is its joint damping D. In steps of Δt that holds
while max eig(M⁻¹ (D + K_d)) Δt < 2, to which gains are sized here along the motion.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen
from roboopt._errors import RobooptError
from roboopt.dynamics import Multibody
from roboopt.policies._fourier import FourierReference
from roboopt.policies._linear import leading
from roboopt.policies._pd import (
    MAX_STEP_ANGLE,
    MAX_STEP_DAMPING,
    JointGains,
    PDGravityCompensation,
)
from roboopt.policies._protocol import TimeVaryingPolicy

STABILITY_BOUND = 2.0  # of max eig(M⁻¹ (D + K_d)) Δt
INSTANTS = 50  # of the period, at which the mass matrix is computed


class TrackingController(JointGains, TimeVaryingPolicy):
    """Follows `reference(time) -> (q, q̇, q̈)`, for observations [q, q̇, ...]."""

    reference: Frozen[Any]

    def __init__(
        self, robot: Multibody, reference: Any, stiffness: AnyArray, damping: AnyArray
    ):
        """Follow `reference` with a gain of each kind for each joint of `robot`.

        Args:
            robot: as far as it is known; actuated at every joint.
            reference: `reference(time) -> (q, q̇, q̈)`, such as a `FourierReference`.
            stiffness: K_p [N·m/rad or N/m].
            damping: K_d [N·m·s/rad or N·s/m].
        """
        super().__init__(robot, stiffness, damping)
        self.reference = Frozen(reference)

    @classmethod
    def from_limits(
        cls,
        robot: Multibody,
        reference: FourierReference,
        effort_limits: Any,
        time_step: float,
    ) -> "TrackingController":
        """Choose gains that track as stiffly as motors and time step allow.

        The gains begin as those of `PDGravityCompensation.from_limits`. At 50 instants
        of the motion, with the joints coupled, K_p may then turn the fastest mode by
        0.2 rad in a step, and K_d take half of its velocity, or half of what the
        joints' own damping leaves up to the bound of stability, where that is less.

        Args:
            robot: as far as it is known.
            reference: the motion, over its period.
            effort_limits: of every joint [N·m or N].
            time_step: Δt of the control [s].
        """
        guess = PDGravityCompensation.from_limits(
            robot, effort_limits, time_step, saturation=0.05, damping_ratio=1.0
        )
        times = jnp.linspace(0.0, reference.period, INSTANTS, endpoint=False)
        q, _, _ = jax.vmap(reference)(times)
        matrices = np.asarray(jax.vmap(robot.mass_matrix)(q))
        own = _fastest(matrices, robot.damping) * time_step
        if own >= STABILITY_BOUND:
            raise RobooptError(
                "`time_step` must be short enough for the joints' damping, of which a "
                f"step may take less than {STABILITY_BOUND:g} times the velocity, got "
                f"{time_step}, with which it takes {own:.3g}."
            )
        stiff = _fastest(matrices, guess.stiffness) * time_step**2
        damped = _fastest(matrices, guess.damping) * time_step
        room = min(MAX_STEP_DAMPING, (STABILITY_BOUND - own) / 2)
        return cls(
            robot,
            reference,
            guess.stiffness * min(1.0, MAX_STEP_ANGLE**2 / stiff),
            guess.damping * min(1.0, room / damped),
        )

    def __call__(
        self, observation: Float[AnyArray, " obs"], time: float | Float[Array, ""]
    ) -> Float[Array, " act"]:
        """Return the effort [N·m or N] on every joint at `time` [s]."""
        joints = self.log_stiffness.shape[0]
        q, velocity = jnp.split(leading(observation, 2 * joints), 2)
        desired, speed, acceleration = self.reference()(time)
        forward = self.robot().inverse_dynamics(desired, speed, acceleration)
        feedback = self.stiffness * (desired - q) + self.damping * (speed - velocity)
        return forward + feedback


def _fastest(matrices: np.ndarray, gains: Any) -> float:
    """Return the largest eigenvalue of M⁻¹ diag(gains) over all M."""
    root = np.sqrt(np.asarray(gains, float))
    inverse = np.linalg.inv(matrices)
    return float(np.linalg.eigvalsh(root[:, None] * inverse * root).max())
