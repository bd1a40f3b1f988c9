"""Proportional-derivative control of the joints, with the gravity compensated.

    τ = g(q) + K_p (q* − q) − K_d q̇

which makes q* an equilibrium that attracts from everywhere, for any positive gains in
continuous time (Takegaki and Arimoto, 1981, A new feedback method for dynamic control
of manipulators). In steps of Δt it holds while max eig(M⁻¹ K_d) Δt < 2: so the gains
that are guessed here are sized by the joints' inertias.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen, Jittable
from roboopt._errors import RobooptError
from roboopt.dynamics import Multibody

OSCILLATION = 0.2  # ω Δt
DAMPING = 0.5  # d Δt / m


class PDGravityCompensation(Jittable):
    """τ = g(q) + K_p (q* − q) − K_d q̇, the goal q* read from the observation.

    An observation is [q, q̇, q*]. The gains are the exponentials of what is tuned, and
    so positive.
    """

    log_stiffness: Float[Array, " joint"]
    log_damping: Float[Array, " joint"]
    robot: Frozen[Multibody]

    def __init__(
        self,
        robot: Multibody,
        stiffness: Float[AnyArray, "..."],
        damping: Float[AnyArray, "..."],
    ):
        """Control `robot` with a gain of each kind for each joint.

        Args:
            robot: whose gravity is compensated.
            stiffness: K_p [N·m/rad or N/m].
            damping: K_d [N·m·s/rad or N·s/m].

        Raises:
            RobooptError: if a gain is missing or not positive.
        """
        joints = len(robot.joint_names)
        for name, value in (("stiffness", stiffness), ("damping", damping)):
            value = np.asarray(value)
            if value.shape != (joints,) or not np.all((value > 0) & np.isfinite(value)):
                raise RobooptError(
                    f"`{name}` must hold a positive number for each of the {joints} "
                    f"joints, got {value}."
                )
        self.log_stiffness = jnp.log(jnp.asarray(stiffness, float))
        self.log_damping = jnp.log(jnp.asarray(damping, float))
        self.robot = Frozen(robot)

    @classmethod
    def from_limits(
        cls,
        robot: Multibody,
        effort_limits: Any,
        time_step: float,
        *,
        saturation: float = 0.25,
        damping_ratio: float = 0.6,
    ) -> "PDGravityCompensation":
        """Guess gains from what the motors can do: a start for tuning, for any robot.

        K_p gives full effort at an error of `saturation` times half the joint's range,
        and K_d = 2 ζ √(K_p m), with m = 1 / (M⁻¹)_jj the inertia that the joint feels
        amid its range while the others are free. Light joints get less, so that in
        steps of Δt they turn by at most 0.2 of a radian of their own oscillation and
        damping takes at most half of their speed.

        Args:
            robot: the robot.
            effort_limits: of every joint [N·m or N].
            time_step: Δt [s].
            saturation: a fraction; the smaller, the stiffer.
            damping_ratio: ζ; 1 is critical for a joint that moves alone.

        Raises:
            RobooptError: if an argument is not positive.
        """
        for name, value in (
            ("effort_limits", effort_limits),
            ("time_step", time_step),
            ("saturation", saturation),
            ("damping_ratio", damping_ratio),
        ):
            if not np.all((np.asarray(value) > 0) & np.isfinite(value)):
                raise RobooptError(
                    f"`{name}` must be positive and finite, got {value}."
                )
        span = robot.upper - robot.lower
        limited = (span >= 0) & (span < 4 * np.pi)
        half = jnp.where(limited & (span > 0), span / 2, np.pi)
        middle = jnp.where(limited, robot.lower + span / 2, 0.0)
        inertia = 1 / jnp.diag(jnp.linalg.inv(robot.mass_matrix(middle)))
        stiffness = jnp.minimum(
            jnp.asarray(effort_limits) / (saturation * half),
            inertia * (OSCILLATION / time_step) ** 2,
        )
        damping = jnp.minimum(
            2 * damping_ratio * jnp.sqrt(stiffness * inertia),
            inertia * (DAMPING / time_step),
        )
        return cls(robot, stiffness, damping)

    @property
    def stiffness(self) -> Float[Array, " joint"]:
        """K_p [N·m/rad or N/m]."""
        return jnp.exp(self.log_stiffness)

    @property
    def damping(self) -> Float[Array, " joint"]:
        """K_d [N·m·s/rad or N·s/m]."""
        return jnp.exp(self.log_damping)

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the effort [N·m or N] on every joint."""
        joints = self.log_stiffness.shape[0]
        q, velocity, goal = jnp.split(observation[: 3 * joints], 3)
        feedback = self.stiffness * (goal - q) - self.damping * velocity
        return self.robot().gravity_effort(q) + feedback
