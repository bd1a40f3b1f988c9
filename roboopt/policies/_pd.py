"""Proportional-derivative control of the joints with gravity compensation.

    τ = g(q) + K_p (q* − q) − K_d q̇

which makes q* a globally attractive equilibrium for any positive gains in continuous
time (Takegaki and Arimoto, 1981, A new feedback method for dynamic control of
manipulators). In steps of Δt that holds while max eig(M⁻¹ K_d) Δt < 2: so the gains
that are guessed here are sized by the joints' inertias.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from roboopt._core import AnyArray, Frozen, Jittable
from roboopt._errors import RobooptError
from roboopt._readable import Readable, readable
from roboopt.dynamics import Multibody
from roboopt.policies._linear import leading

MAX_STEP_ANGLE = 0.2  # ω Δt of a joint's own oscillation [rad]
MAX_STEP_DAMPING = 0.5  # d Δt / m: share of the velocity damped in a step


class JointGains(Readable, eqx.Module):
    """Stiffness and damping of each joint of a robot.

    The parameters are the logarithms of the gains, which therefore stay positive.
    """

    log_stiffness: Float[Array, " joint"]
    log_damping: Float[Array, " joint"]
    robot: Frozen[Multibody]

    def __init__(self, robot: Multibody, stiffness: AnyArray, damping: AnyArray):
        """Set the gains, K_p [N·m/rad or N/m] and K_d [N·m·s/rad or N·s/m].

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

    @property
    def stiffness(self) -> Float[Array, " joint"]:
        """K_p [N·m/rad or N/m]."""
        return jnp.exp(self.log_stiffness)

    @property
    def damping(self) -> Float[Array, " joint"]:
        """K_d [N·m·s/rad or N·s/m]."""
        return jnp.exp(self.log_damping)

    def _shown(self) -> dict[str, Any]:
        robot, gains = self.robot.value, zip(self.stiffness, self.damping, strict=True)
        units = {True: ("N·m/rad", "N·m·s/rad"), False: ("N/m", "N·s/m")}
        texts = {
            name: ", ".join(
                f"{readable(gain)} {unit}"
                for gain, unit in zip(pair, units[bool(turns)], strict=True)
            )
            for name, turns, pair in zip(
                robot.joint_names, robot.revolute, gains, strict=True
            )
        }
        return {"gains": texts}


class PDGravityCompensation(JointGains, Jittable):
    """τ = g(q) + K_p (q* − q) − K_d q̇, for observations [q, q̇, q*]."""

    def __init__(self, robot: Multibody, stiffness: AnyArray, damping: AnyArray):
        """Control `robot` with a gain of each kind for each joint.

        Args:
            robot: the robot whose gravity is compensated.
            stiffness: K_p [N·m/rad or N/m].
            damping: K_d [N·m·s/rad or N·s/m].

        Raises:
            RobooptError: if a gain is missing or not positive.
        """
        super().__init__(robot, stiffness, damping)

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
        """Guess gains from the motors' limits: a start for tuning any robot.

        K_p gives full effort at an error of `saturation` times half the joint's range,
        and K_d = 2 ζ √(K_p m), with m = 1 / (M⁻¹)_jj the inertia that the joint feels
        at the middle of its range while the others are free. Gains of light joints are
        reduced: in a step of Δt a joint's own oscillation turns by at most 0.2 rad, and
        damping takes at most half of its velocity.

        Args:
            robot: the robot.
            effort_limits: of every joint [N·m or N].
            time_step: Δt [s].
            saturation: a fraction; smaller values give stiffer gains.
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
            inertia * (MAX_STEP_ANGLE / time_step) ** 2,
        )
        damping = jnp.minimum(
            2 * damping_ratio * jnp.sqrt(stiffness * inertia),
            inertia * (MAX_STEP_DAMPING / time_step),
        )
        return cls(robot, stiffness, damping)

    def __call__(self, observation: Float[AnyArray, " obs"]) -> Float[Array, " act"]:
        """Return the effort [N·m or N] on every joint."""
        joints = self.log_stiffness.shape[0]
        q, velocity, goal = jnp.split(leading(observation, 3 * joints), 3)
        feedback = self.stiffness * (goal - q) - self.damping * velocity
        return self.robot().gravity_effort(q) + feedback
